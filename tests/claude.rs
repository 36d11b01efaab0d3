//! The real Claude Code, driven through a scripted endpoint: every way in which a session ends is seen as what it is.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

mod support;

use orchestrate::core::event::{AgentExit, RefusalKind};
use support::agents::Exit;
use support::claude::{claude_launch, claude_place, subjects};
use support::endpoint::{Endpoint, Reply, Request};

const COMPLETION: &str = "[AGENT-1-1] Schema complete, tests passing";

/// Two commits, then the end.
fn diligent(request: &Request) -> Reply {
    if !request.is_agents() {
        return Reply::say("Schema work");
    }
    match request.turn() {
        0 => Reply::commit("infrastructure/database/schema.sql", "[AGENT-1-1] Schema: tables"),
        1 => Reply::commit("infrastructure/database/seed.sql", COMPLETION),
        _ => Reply::say("Everything is committed."),
    }
}

/// The exit's cost and tokens are what the endpoint served to the session.
fn assert_accounted(exit: &Exit, endpoint: &Endpoint) {
    let (served, price) = endpoint.served_to(exit.session.as_deref().unwrap());
    assert_eq!(exit.usage.tokens, served.tokens(), "{:?}", endpoint.account());
    let difference = exit.usage.cost.0.abs_diff(price.round() as u64);
    assert!(difference <= 1, "{:?} against {price}", exit.usage);
    assert!(exit.usage.cost.0 > 0);
}

#[tokio::test]
async fn a_session_that_commits_its_work_is_finished_and_its_usage_is_the_endpoints_account() {
    let endpoint = Endpoint::start(diligent);
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    let exit = host.exit().await;
    assert_eq!(exit.exit, AgentExit::Finished);
    assert_eq!(subjects(&place), [COMPLETION, "[AGENT-1-1] Schema: tables", "Base"]);
    assert_accounted(&exit, &endpoint);
}

#[tokio::test]
async fn a_bad_key_is_refused_for_authentication() {
    let endpoint = Endpoint::start(|_| Reply::Refuse {
        status: 401,
        kind: "authentication_error",
        retry_after_seconds: None,
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    let exit = host.exit().await.exit;
    assert_eq!(
        exit,
        AgentExit::Refused {
            kind: RefusalKind::Authentication,
            resets_at: None
        }
    );
}
