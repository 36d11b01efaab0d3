//! `GET /jobs/{job_id}`: how a generation stands that its request did not wait for. Asking is what moves it on.

use serde_json::json;

use super::deadline::Deadline;
use super::lookup;
use super::provide::{Failure, Provider};
use super::store;
use super::{Outcome, authenticate};
use crate::caller::{self, Authenticated, Caller};
use crate::http::{Answer, Request};
use crate::job::{self, Command, Order, Record, State};
use crate::ports::ImageHost;
use crate::problem::Problem;
use crate::provider;

/// What asking may take.
const TIMEOUT_MS: u64 = 60_000;

/// Answers `GET /jobs/{job_id}`.
pub async fn read(host: &impl ImageHost, request: &Request, job_id: &str, slot: &mut Option<Authenticated>) -> Outcome {
    let credential = caller::credential(request).ok_or_else(|| Problem::unauthenticated("a key is needed"))??;
    let caller = authenticate(host, credential, slot).await?;
    let record = job::command(host, job_id, &Command::Read)
        .await?
        .ok_or_else(|| Problem::missing("job"))?;
    let sql = "SELECT 1 AS one FROM instances WHERE instance_id = ?1";
    if host
        .query(sql, vec![(&record.order.instance_id).into()])
        .await?
        .rows
        .is_empty()
    {
        return Err(Problem::missing("job"));
    }
    if !may_see(caller, &record.order) {
        return Err(Problem::forbidden());
    }
    let state = match &record.state {
        State::Pending { generation } => move_on(host, request, &record, generation).await?,
        State::Completed(_) | State::Failed(_) => record.state,
    };
    let mut answer = Answer::ok(json!({ "job_id": job_id }));
    let (status, more) = match state {
        State::Pending { .. } => ("pending", json!({})),
        State::Completed(fields) => ("completed", fields.into()),
        State::Failed(code) => ("failed", json!({ "reason": code })),
    };
    answer.fields.insert("status".to_owned(), status.into());
    answer.fields.extend(more.as_object().cloned().unwrap_or_default());
    Ok(answer)
}

fn may_see(caller: &Caller, order: &Order) -> bool {
    match caller {
        Caller::Project(project) => order.project_id.as_deref() == Some(&project.project_id),
        Caller::Person(_) | Caller::Service => caller.generates_with(&order.instance_id, &order.org_id),
    }
}

/// Asks the provider once, and finishes what is finished. Whoever cannot be asked just now leaves the job pending.
async fn move_on(
    host: &impl ImageHost,
    request: &Request,
    record: &Record,
    generation: &str,
) -> Result<State, Problem> {
    let order = &record.order;
    let deadline = Deadline(host.now_ms().saturating_add(TIMEOUT_MS));
    let configuration = lookup::configuration(host, &order.instance_id, &order.request_id, deadline).await;
    let configuration = configuration.ok().map(|(configuration, _)| configuration);
    let api_key = configuration
        .as_ref()
        .and_then(|configuration| configuration.api_key(&order.provider));
    let model = provider::model(Some(&order.model), Some(&order.provider));
    let (Some(api_key), Some(model)) = (api_key, model) else {
        return Ok(record.state.clone());
    };
    let provider = Provider {
        instance_id: &order.instance_id,
        api_key,
        model,
        deadline,
    };
    let fetched = match provider.ask(host, generation).await {
        Ok(Ok(finished)) => provider.fetch(host, &finished.url).await.map(|image| (finished, image)),
        Ok(Err(_)) | Err(Failure::TimedOut | Failure::Unreachable(_)) => return Ok(record.state.clone()),
        Err(failure @ Failure::Ended(_)) => Err(failure),
    };
    match fetched {
        Ok((finished, image)) => {
            let price = model.price_microdollars;
            let fields = store::store(host, order, &finished, price, image, &request.origin).await?;
            Ok(State::Completed(store::end(host, order, fields).await?))
        }
        Err(Failure::TimedOut | Failure::Unreachable(_)) => Ok(record.state.clone()),
        Err(Failure::Ended(problem)) => {
            let end = Command::End(State::Failed(problem.code.name().to_owned()));
            let ended = job::command(host, &order.job_id, &end).await?;
            Ok(ended.map_or_else(|| record.state.clone(), |record| record.state))
        }
    }
}
