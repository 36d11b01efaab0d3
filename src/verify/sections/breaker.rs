//! Section breaker: when a circuit opens, who may try, and when it closes.

use std::time::Duration;

use reference_core::http::Response;
use reference_native::Service;
use serde_json::json;

use super::orders::{forget_calls, open_circuit, order, ordered, received, same_calls, same_orders, together};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};
use crate::verify::outage::Outage;
use crate::verify::subject::Subject;

/// Time that is surely before, and surely after, the end of an open circuit, in milliseconds: pauses between tries moved its beginning.
const STILL_OPEN_MS: u64 = 20_000;
const OPEN_NO_MORE_MS: u64 = 34_000;

fn check(name: &str, requirements: &[&'static str], run: impl AsyncFn(&mut Lab) -> Outcome + 'static) -> Check {
    Check::new(Section::Breaker, name, requirements, run)
}

/// The checks of this section.
pub(super) fn checks() -> Vec<Check> {
    vec![
        check("opens-after-five", &["BREAK-01"], opens_after_five),
        check("one-trial", &["BREAK-02", "BREAK-03"], one_trial),
        check("trial-that-fails", &["BREAK-03"], trial_that_fails),
        check("refusals-open-nothing", &["BREAK-04"], refusals_open_nothing),
        check("answers-end-the-row", &["BREAK-04", "BREAK-01"], answers_end_the_row),
        check("own-circuit-for-each-instance", &["BREAK-05"], own_circuits),
        check("kept-over-a-restart", &["BREAK-05"], kept_over_a_restart),
        check("trial-that-never-ends", &["BREAK-06"], trial_that_never_ends),
        check("unreachable-circuit", &["GEN-16", "BREAK-01"], unreachable_circuit),
    ]
}

/// Refused at once, with a time to wait that is no longer than a circuit is open.
fn refused(lab: &Lab, answer: &Response, most: u64) -> Outcome {
    let wait = answer
        .headers
        .get("retry-after")
        .and_then(|wait| wait.parse::<u64>().ok());
    lab.require(
        answer.status == 502
            && answer.json()["code"] == "PROVIDER_ERROR"
            && wait.is_some_and(|wait| (1..=most).contains(&wait)),
        format!(
            "an open circuit answers {} with Retry-After {wait:?}: {}",
            answer.status,
            answer.json()
        ),
    )
}

/// An order that an open circuit refuses without a call.
async fn is_refused(lab: &mut Lab, instance: &str) -> Outcome {
    forget_calls(lab);
    let answers = ordered(lab, instance, "while it is open")
        .await?
        .error(502, "PROVIDER_ERROR")?;
    refused(lab, &answers.subject, 30)?;
    same_calls(lab, &[])
}

async fn passes(lab: &mut Lab, instance: &str) -> Outcome {
    forget_calls(lab);
    ordered(lab, instance, "while it is closed").await?.status(200)?;
    same_calls(lab, &["order", "image"])
}

async fn opens_after_five(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    let failing = order(&lab.keys.root, &instance, "fails [[status-503]]");
    let mut orders = Vec::new();
    for _ in 0..2 {
        lab.pass_ms(0).await?;
        let found = together(lab, Service::Image, std::slice::from_ref(&failing)).await?;
        found.statuses(&[(502, 1)])?;
        orders.push(received(&lab.subject).len());
    }
    if orders == [3, 6] {
        for _ in 0..3 {
            lab.pass_ms(0).await?;
            together(lab, Service::Image, std::slice::from_ref(&failing))
                .await?
                .statuses(&[(502, 1)])?;
        }
        is_refused(lab, &instance).await?;
        return Err(Failed::Alternative {
            decision: "D52",
            what: "a request whose tries all failed counts once".to_owned(),
        });
    }
    same_orders(lab, 5)?;
    lab.require(
        orders == [3, 5],
        format!("{orders:?} calls after the first and second failing request"),
    )?;
    is_refused(lab, &instance).await?;
    // A project, another caller, another model: it is the provider that is spared.
    let by_admin = order(&lab.keys.admin, &instance, "by somebody else");
    let answers = lab.image(by_admin).await?.error(502, "PROVIDER_ERROR")?;
    refused(lab, &answers.subject, 30)?;
    lab.pass_ms(4_000).await?;
    is_refused(lab, &instance).await
}

async fn one_trial(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    open_circuit(lab, &instance).await?;
    lab.pass_ms(STILL_OPEN_MS).await?;
    is_refused(lab, &instance).await?;
    lab.pass_ms(OPEN_NO_MORE_MS - STILL_OPEN_MS).await?;
    forget_calls(lab);
    let trial = order(&lab.keys.root, &instance, "the trial [[slow-600]]");
    let found = together(lab, Service::Image, &vec![trial; 10]).await?;
    found.statuses(&[(200, 1), (502, 9)])?;
    same_orders(lab, 1)?;
    for answer in found.subject.iter().filter(|answer| answer.status != 200) {
        refused(lab, answer, 60)?;
    }
    passes(lab, &instance).await?;
    lab.pass_ms(0).await?;
    let request = order(&lab.keys.root, &instance, "all pass again");
    together(lab, Service::Image, &vec![request; 4])
        .await?
        .statuses(&[(200, 4)])
}

async fn trial_that_fails(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    open_circuit(lab, &instance).await?;
    for _ in 0..2 {
        lab.pass_ms(OPEN_NO_MORE_MS).await?;
        forget_calls(lab);
        let trial = order(&lab.keys.root, &instance, "the trial fails [[status-500]]");
        together(lab, Service::Image, &[trial]).await?.statuses(&[(502, 1)])?;
        same_orders(lab, 1)?;
        lab.pass_ms(STILL_OPEN_MS).await?;
        is_refused(lab, &instance).await?;
    }
    lab.pass_ms(OPEN_NO_MORE_MS).await?;
    // A refusal is an answer: the provider works.
    forget_calls(lab);
    ordered(lab, &instance, "the trial is refused [[status-400]]")
        .await?
        .status(502)?;
    same_calls(lab, &["order"])?;
    passes(lab, &instance).await
}

async fn refusals_open_nothing(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.pass_ms(0).await?;
    for (fault, status) in [("status-400", 502), ("status-422", 422), ("busy", 429)] {
        let request = order(&lab.keys.root, &instance, &format!("refused [[{fault}]]"));
        together(lab, Service::Image, &vec![request; 6])
            .await?
            .statuses(&[(status, 6)])?;
        lab.pass_ms(0).await?;
    }
    passes(lab, &instance).await
}

async fn answers_end_the_row(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    for fault in ["[[status-400]]", "", "[[status-422]]"] {
        lab.pass_ms(0).await?;
        let failing = order(&lab.keys.root, &instance, "three failures [[status-500]]");
        together(lab, Service::Image, &[failing]).await?.statuses(&[(502, 1)])?;
        ordered(lab, &instance, &format!("an answer {fault}")).await?;
    }
    forget_calls(lab);
    lab.pass_ms(0).await?;
    let failing = order(&lab.keys.root, &instance, "three more [[status-500]]");
    together(lab, Service::Image, &[failing]).await?.statuses(&[(502, 1)])?;
    same_orders(lab, 3)?;
    passes(lab, &instance).await
}

async fn own_circuits(lab: &mut Lab) -> Outcome {
    let one = lab.instance(json!({})).await?;
    let other = lab.instance_named(&format!("{one}-other"), json!({})).await?;
    open_circuit(lab, &one).await?;
    passes(lab, &other).await?;
    is_refused(lab, &one).await
}

async fn kept_over_a_restart(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    open_circuit(lab, &instance).await?;
    is_refused(lab, &instance).await?;
    lab.subject.crash().await?;
    is_refused(lab, &instance).await?;
    lab.pass_ms(OPEN_NO_MORE_MS).await?;
    passes(lab, &instance).await
}

async fn trial_that_never_ends(lab: &mut Lab) -> Outcome {
    if let Subject::Native(_) = lab.subject {
        return Ok(());
    }
    let instance = lab.instance(json!({})).await?;
    open_circuit(lab, &instance).await?;
    lab.pass_ms(OPEN_NO_MORE_MS).await?;
    forget_calls(lab);
    let trial = order(&lab.keys.root, &instance, "the trial hangs [[hang]]");
    // Only the subject: in the reference nothing ends while it waits.
    let under_way = async {
        while received(&lab.subject).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = lab.subject.send(Service::Image, &trial) => {
            let status = answer?.status;
            lab.require(false, format!("a trial that hangs is answered with {status} before its call"))?;
        }
        () = under_way => {}
    }
    lab.subject.crash().await?;
    lab.pass_ms(64_000).await?;
    let request = order(&lab.keys.root, &instance, "after a trial that never ended");
    let answer = lab.ask_subject(Service::Image, &request).await?;
    lab.require(
        answer.status == 200,
        format!(
            "a minute after a trial that never ended: {} {}",
            answer.status,
            answer.json()
        ),
    )
}

async fn unreachable_circuit(lab: &mut Lab) -> Outcome {
    let instance = lab.instance(json!({})).await?;
    lab.set_outage(Some(Outage::Breaker)).await?;
    passes(lab, &instance).await?;
    lab.set_outage(None).await
}
