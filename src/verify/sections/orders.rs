//! What the sections about images share: orders, requests at the same moment, what the provider was asked, what the log says.

use std::collections::BTreeMap;
use std::time::Instant;

use mock_ideogram::Received;
use reference_core::http::{Request, Response};
use reference_native::Service;
use serde_json::{Map, Value, json};

use crate::verify::check::Lane;
use crate::verify::lab::{Answers, Exchange, Failed, Lab, Outcome};
use crate::verify::subject::{Row, Subject};

/// A model that answers with its image at once.
pub(super) const AT_ONCE: &str = "ideogram-v2";
/// A model whose orders have to be asked after.
pub(super) const ASKED_AFTER: &str = "ideogram-4-5";

/// An order of these fields.
pub(super) fn order_of(key: &str, body: &Value) -> Request {
    Request::new("POST", "/generate").bearer(key).json(body)
}

/// An order that is answered at once.
pub(super) fn order(key: &str, instance_id: &str, prompt: &str) -> Request {
    order_of(
        key,
        &json!({ "prompt": prompt, "model": AT_ONCE, "instance_id": instance_id }),
    )
}

/// An order of the superadmin's, on both sides.
pub(super) async fn ordered(lab: &mut Lab, instance_id: &str, prompt: &str) -> Outcome<Answers> {
    let request = order(&lab.keys.root, instance_id, prompt);
    lab.image(request).await
}

/// The same at the present moment, without any time before it.
pub(super) async fn ordered_now(lab: &mut Lab, instance_id: &str, prompt: &str) -> Outcome<Answers> {
    let request = order(&lab.keys.root, instance_id, prompt);
    lab.ask_now(Service::Image, |_| request.clone()).await
}

/// What both answered to requests at the same moment.
pub(super) struct Together {
    /// The reference's answers.
    pub reference: Vec<Response>,
    /// The subject's.
    pub subject: Vec<Response>,
}

/// Sends all of them at the same moment, the present one.
pub(super) async fn together(lab: &mut Lab, service: Service, requests: &[Request]) -> Outcome<Together> {
    let sent: Vec<(Service, Request)> = requests.iter().map(|request| (service, request.clone())).collect();
    let mut reference = Vec::new();
    for answer in lab.reference.send_all(&sent).await {
        reference.push(answer?);
    }
    let began = Instant::now();
    let since = |moment: Instant| moment.duration_since(began).as_secs_f64() * 1000.0;
    let mut subject = Vec::new();
    let mut lanes = Vec::new();
    let answers = match &lab.subject {
        Subject::Native(_) => {
            let answers = lab.subject.send_all(&sent).await;
            answers.into_iter().map(|answer| (0.0, 0.0, answer)).collect()
        }
        Subject::Workers(_) => {
            let timed = sent.iter().map(|(service, request)| async {
                let sent_at = Instant::now();
                let answer = lab.subject.send(*service, request).await;
                (since(sent_at), since(Instant::now()), answer)
            });
            futures_util::future::join_all(timed).await
        }
    };
    for ((began_ms, ended_ms, answer), (request, other)) in answers.into_iter().zip(requests.iter().zip(&reference)) {
        let answer = answer?;
        lanes.push(Lane {
            began_ms,
            ended_ms,
            status: answer.status,
            admitted: answer.status < 400,
        });
        lab.exchanges.push(Exchange {
            service,
            request: request.clone(),
            reference: other.clone(),
            subject: Some(answer.clone()),
            at_ms: lab.now_ms(),
        });
        subject.push(answer);
    }
    lab.lanes.extend(lanes);
    Ok(Together { reference, subject })
}

impl Together {
    /// How many answers of each status; the reference must have this many.
    pub(super) fn statuses(&self, wanted: &[(u16, usize)]) -> Outcome {
        let wanted: BTreeMap<u16, usize> = wanted.iter().copied().collect();
        let (reference, subject) = (statuses(&self.reference), statuses(&self.subject));
        if reference != wanted {
            return Err(Failed::Check(format!(
                "the reference answers {reference:?}, the check expects {wanted:?}"
            )));
        }
        if subject != wanted {
            return Err(Failed::Difference(format!(
                "answers at the same moment: {subject:?} in place of {wanted:?}"
            )));
        }
        Ok(())
    }
}

/// How many answers there are of each status.
pub(super) fn statuses(answers: &[Response]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

/// What a provider was asked: `order`, `ask` or `image`.
pub(super) fn kind(received: &Received) -> &'static str {
    if received.method == "POST" {
        "order"
    } else if received.target.contains("/generations/") {
        "ask"
    } else if received.target.starts_with("/api/images/") {
        "image"
    } else {
        "something else"
    }
}

/// All that a provider received.
pub(super) fn received(subject: &Subject) -> Vec<Received> {
    subject.with_mock(|mock| mock.journal().cloned().collect())
}

/// Both providers were asked just this, in this order.
pub(super) fn same_calls(lab: &Lab, wanted: &[&str]) -> Outcome {
    let kinds = |subject: &Subject| -> Vec<&str> { received(subject).iter().map(kind).collect() };
    let (reference, subject) = (kinds(&lab.reference), kinds(&lab.subject));
    if reference != wanted {
        return Err(Failed::Check(format!(
            "the reference calls the provider for {reference:?}, the check expects {wanted:?}"
        )));
    }
    lab.require(
        subject == wanted,
        format!("calls to the provider: {subject:?} in place of {wanted:?}"),
    )
}

/// Both providers got this many orders.
pub(super) fn same_orders(lab: &Lab, wanted: usize) -> Outcome {
    let count = |subject: &Subject| {
        received(subject)
            .iter()
            .filter(|received| kind(received) == "order")
            .count()
    };
    let (reference, subject) = (count(&lab.reference), count(&lab.subject));
    if reference != wanted {
        return Err(Failed::Check(format!(
            "the reference submits {reference} times, the check expects {wanted}"
        )));
    }
    lab.require(
        subject == wanted,
        format!("{subject} submissions to the provider in place of {wanted}"),
    )
}

/// Both providers forget what they received.
pub(super) fn forget_calls(lab: &Lab) {
    for subject in [&lab.reference, &lab.subject] {
        subject.with_mock(mock_ideogram::Mock::clear_journal);
    }
}

/// The rows of usage are the same on both sides, and this many.
pub(super) async fn same_usage(lab: &mut Lab, wanted: usize) -> Outcome {
    let sql = "SELECT org_id, instance_id, project_id, user_id, request_id, timestamp, provider, model, tokens_used, cost FROM usage_logs ORDER BY timestamp, instance_id";
    let (reference, _) = lab.rows(sql).await?;
    if reference.len() == wanted {
        return Ok(());
    }
    let found = reference.len();
    Err(Failed::Check(format!(
        "the reference has {found} rows of usage, the check expects {wanted}"
    )))
}

/// What an entry of an answer to `POST /generate` must hold, without how long it took.
fn entry(row: &Row) -> (Value, bool) {
    let mut entry = row.clone();
    let metadata = row.get("metadata").and_then(Value::as_str).unwrap_or_default();
    let mut metadata: Map<String, Value> = serde_json::from_str(metadata).unwrap_or_default();
    let is_timed = metadata.remove("duration_ms").is_some_and(|duration| duration.is_u64());
    entry.insert("metadata".to_owned(), metadata.into());
    (entry.into(), is_timed)
}

/// The entries of the log that tell of answers to `POST /generate` are the same, and this many. Metadata may hold more than it must.
pub(super) async fn same_log(lab: &mut Lab, wanted: usize) -> Outcome {
    lab.settle().await?;
    let sql = format!(
        "SELECT timestamp, level, message, request_id, instance_id, user_id, component, metadata FROM logs \
        WHERE {} ORDER BY instance_id, timestamp, request_id",
        lab.own_entries()
    );
    let (reference, subject) = (lab.reference.rows(&sql).await?, lab.subject.rows(&sql).await?);
    if reference.len() != wanted {
        let found = reference.len();
        return Err(Failed::Check(format!(
            "the reference has {found} entries, the check expects {wanted}"
        )));
    }
    lab.require(
        subject.len() == wanted,
        format!(
            "{} entries of answers to POST /generate in the log, not {wanted}",
            subject.len()
        ),
    )?;
    for (one, another) in reference.iter().zip(&subject) {
        let ((one, _), (mut another, is_timed)) = (entry(one), entry(another));
        lab.require(is_timed, format!("duration_ms is no whole number in {another}"))?;
        if let (Some(musts), Some(metadata)) = (one["metadata"].as_object(), another["metadata"].as_object_mut()) {
            let known = [
                "event",
                "route",
                "method",
                "status",
                "code",
                "provider",
                "model",
                "provider_attempts",
                "config_source",
                "replayed",
            ];
            metadata.retain(|name, _| musts.contains_key(name) || known.contains(&name.as_str()));
        }
        lab.same("log entry", &one, &another)?;
    }
    Ok(())
}

/// Opens the circuit of an instance on both sides, whichever way failures are counted, and forgets the calls. Five requests fail at the same time.
pub(super) async fn open_circuit(lab: &mut Lab, instance_id: &str) -> Outcome {
    lab.pass_ms(0).await?;
    let failing = order(&lab.keys.root, instance_id, "to open the circuit [[status-500]]");
    together(lab, Service::Image, &vec![failing; 5])
        .await?
        .statuses(&[(502, 5)])?;
    forget_calls(lab);
    Ok(())
}
