//! Where events come in: requests, and the cron trigger.

use reference_core::{config, image, log};
use worker::{Context, Env, Request, Response, Result, ScheduleContext, ScheduledEvent, console_error, event};

use crate::exchange;
use crate::host::Host;

/// Answers a request.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let is_config = env.var("SERVICE").is_ok_and(|service| service.to_string() == "config");
    let host = Host::new(env);
    let request = exchange::request_in(request).await?;
    let response = if is_config {
        config::handle(&host, &request).await
    } else {
        image::handle(&host, &request).await
    };
    exchange::response_out(response)
}

/// Deletes old log entries, and stores those that have waited long enough, should their alarm be late.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let host = Host::new(env);
    if let Err(problem) = image::scheduled(&host).await {
        console_error!("old log entries stay until the next time: {problem:?}");
    }
    flush_if_due(&host).await;
}

/// Stores log entries if it is time. Those that cannot be stored stay where they are.
pub(crate) async fn flush_if_due(host: &Host) {
    let is_due = log::waiting(host)
        .await
        .is_ok_and(|waiting| waiting.is_due(worker::Date::now().as_millis()));
    if is_due && let Err(problem) = log::flush(host).await {
        console_error!("log entries stay in their buffer: {problem:?}");
    }
}
