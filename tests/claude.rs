//! The real Claude Code, driven through a scripted endpoint: every way in which a session ends is seen as what it is.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod support;

use orchestrate::core::event::{AgentExit, RefusalKind};
use orchestrate::ids::{Attempt, MicroDollars};
use orchestrate::plan::Driver;
use orchestrate::shell::agent::Launch;
use orchestrate::shell::agent::record::{ExitRecord, read_record};
use support::agents::{Exit, Place, eventually};
use support::claude::{claude_launch, claude_place, make_repository, subjects};
use support::endpoint::{Endpoint, Reply, Request, fleet};

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

/// A refusal that never ends, and what it is seen as.
async fn refused(status: u16, kind: &'static str) -> AgentExit {
    let endpoint = Endpoint::start(move |_| Reply::Refuse {
        status,
        kind,
        retry_after_seconds: None,
    });
    let mut place = claude_place(&endpoint);
    let launch = impatient(&mut place);
    let mut host = place.host();
    host.start(launch).await;
    host.exit().await.exit
}

/// A launch whose session tries a request only twice.
fn impatient(place: &mut Place) -> Launch {
    place.set("CLAUDE_CODE_MAX_RETRIES", "1");
    let mut launch = claude_launch(place);
    launch.settings.env.push("CLAUDE_CODE_MAX_RETRIES".to_owned());
    launch
}

#[tokio::test]
async fn a_bad_key_is_refused_for_authentication() {
    let expected = AgentExit::Refused {
        kind: RefusalKind::Authentication,
        resets_at: None,
    };
    assert_eq!(refused(401, "authentication_error").await, expected);
}

#[tokio::test]
async fn a_limit_that_stays_is_refused_for_quota() {
    let expected = AgentExit::Refused {
        kind: RefusalKind::Quota,
        resets_at: None,
    };
    assert_eq!(refused(429, "rate_limit_error").await, expected);
}

#[tokio::test]
async fn an_overload_that_stays_is_refused_as_unavailable() {
    let expected = AgentExit::Refused {
        kind: RefusalKind::Unavailable,
        resets_at: None,
    };
    assert_eq!(refused(529, "overloaded_error").await, expected);
}

#[tokio::test]
async fn a_missing_credit_is_refused_for_billing() {
    let expected = AgentExit::Refused {
        kind: RefusalKind::Billing,
        resets_at: None,
    };
    assert_eq!(refused(402, "billing_error").await, expected);
}

#[tokio::test]
async fn a_limit_that_passes_is_waited_for() {
    let endpoint = Endpoint::start(|request| match request.repetition {
        0 if request.is_agents() && request.turn() == 1 => Reply::Refuse {
            status: 429,
            kind: "rate_limit_error",
            retry_after_seconds: Some(1),
        },
        _ => diligent(request),
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    let exit = host.exit().await;
    assert_eq!(exit.exit, AgentExit::Finished);
    assert_accounted(&exit, &endpoint);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_asked_for_again() {
    let endpoint = Endpoint::start(|request| match request.repetition {
        0 if request.is_agents() && request.turn() == 1 => Reply::Drop,
        _ => diligent(request),
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(subjects(&place)[0], COMPLETION);
}

#[tokio::test]
async fn a_tool_that_is_denied_makes_success_denied() {
    let endpoint = Endpoint::start(diligent);
    let place = claude_place(&endpoint);
    let settings = place.workspace().join(".claude/settings.json");
    std::fs::create_dir(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, r#"{ "permissions": { "deny": ["Bash(mkdir:*)"] } }"#).unwrap();
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    assert_eq!(
        host.exit().await.exit,
        AgentExit::Denied {
            tools: vec!["Bash".to_owned()]
        }
    );
    assert_eq!(subjects(&place), ["Base"]);
}

#[tokio::test]
async fn turns_that_run_out_are_exhausted() {
    let endpoint = Endpoint::start(|request| Reply::bash(&format!("echo {}", request.turn())));
    let place = claude_place(&endpoint);
    let mut launch = claude_launch(&place);
    launch.settings.max_turns = Some(3);
    let mut host = place.host();
    host.start(launch).await;
    let exit = host.exit().await;
    assert!(
        matches!(&exit.exit, AgentExit::Exhausted { reason } if reason.starts_with("its turns ran out")),
        "{exit:?}"
    );
    assert_accounted(&exit, &endpoint);
}

#[tokio::test]
async fn a_budget_that_runs_out_is_exhausted() {
    let endpoint = Endpoint::start(|request| Reply::bash(&format!("echo {}", request.turn())));
    let place = claude_place(&endpoint);
    let mut launch = claude_launch(&place);
    launch.remaining_budget = Some(MicroDollars(30_000));
    let mut host = place.host();
    host.start(launch).await;
    let exit = host.exit().await;
    assert!(
        matches!(&exit.exit, AgentExit::Exhausted { reason } if reason.starts_with("its budget ran out")),
        "{exit:?}"
    );
    assert_accounted(&exit, &endpoint);
    assert!(exit.usage.cost < MicroDollars(50_000), "{exit:?}");
}

#[tokio::test]
async fn a_budget_counts_only_what_the_attempt_itself_spends() {
    let endpoint = Endpoint::start(diligent);
    let place = claude_place(&endpoint);
    let mut launch = claude_launch(&place);
    let mut host = place.host();
    host.start(launch.clone()).await;
    let first = host.exit().await;
    launch.attempt = Attempt(2);
    launch.session = first.session;
    launch.prompt = "Go on.".to_owned();
    // Less than the session has cost before, more than one further turn.
    launch.remaining_budget = Some(MicroDollars(first.usage.cost.0 - 1_000));
    host.start(launch).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
}

#[tokio::test]
async fn a_session_that_hangs_ends_when_it_is_asked_to_tells_its_price_and_can_be_continued() {
    let endpoint = Endpoint::start(hangs_before_the_continuation);
    let place = claude_place(&endpoint);
    let mut host = place.host();
    let mut launch = claude_launch(&place);
    host.start(launch.clone()).await;
    second_request(&endpoint).await;
    host.stop(false).await;
    let first = host.exit().await;
    assert_eq!(first.exit, AgentExit::Stopped);
    assert_accounted(&first, &endpoint);
    let (served, price) = endpoint.served();

    launch.attempt = Attempt(2);
    launch.session = first.session.clone();
    launch.prompt = "Go on.".to_owned();
    host.start(launch).await;
    let second = host.exit().await;
    assert_eq!((&second.exit, &second.session), (&AgentExit::Finished, &first.session));
    let (both, both_price) = endpoint.served();
    assert_eq!(second.usage.tokens, both.tokens() - served.tokens());
    assert!(
        (second.usage.cost.0 as f64 - (both_price - price)).abs() <= 1.0,
        "{:?}",
        second.usage
    );
}

/// Waits for the request after the first tool, which hangs.
async fn second_request(endpoint: &Endpoint) {
    eventually("the request that hangs", || {
        endpoint
            .requests()
            .iter()
            .any(|request| request.turn() == 1)
            .then_some(())
    })
    .await;
}

/// Kills the first attempt while its second request hangs, and gives how it ended.
async fn killed_in_the_second_request(place: &Place, endpoint: &Endpoint) -> Exit {
    let mut host = place.host();
    host.start(claude_launch(place)).await;
    second_request(endpoint).await;
    host.stop(true).await;
    host.exit().await
}

fn hangs_before_the_continuation(request: &Request) -> Reply {
    let continued = request.prompt().contains("Go on");
    match (continued, request.turn()) {
        (false, 1) => Reply::Hang,
        (true, 0) => Reply::commit("infrastructure/database/seed.sql", COMPLETION),
        _ => diligent(request),
    }
}

#[tokio::test]
async fn a_killed_session_is_continued_with_its_memory_and_every_attempt_counts_its_own_cost() {
    let endpoint = Endpoint::start(hangs_before_the_continuation);
    let place = claude_place(&endpoint);
    let first = killed_in_the_second_request(&place, &endpoint).await;
    assert_eq!(first.exit, AgentExit::Stopped);
    let session = first.session.clone().unwrap();
    // The program never told a price: the estimate is close to the list price of what was served.
    let (served, price) = endpoint.served_to(&session);
    assert_eq!(served.messages, 1);
    assert!(
        (first.usage.cost.0 as f64 / price - 1.0).abs() < 0.2,
        "{:?} against {price}",
        first.usage
    );

    let mut launch = claude_launch(&place);
    launch.attempt = Attempt(2);
    launch.session = Some(session.clone());
    launch.prompt = "Go on.".to_owned();
    let mut host = place.host();
    host.start(launch.clone()).await;
    let second = host.exit().await;
    assert_eq!(
        (&second.exit, second.session.as_ref()),
        (&AgentExit::Finished, Some(&session))
    );
    assert_eq!(subjects(&place), [COMPLETION, "[AGENT-1-1] Schema: tables", "Base"]);
    let last = endpoint.requests().pop().unwrap();
    assert!(
        last.prompts.iter().any(|prompt| prompt.contains("Write the schema")),
        "{:?}",
        last.prompts
    );
    let (both, both_price) = endpoint.served_to(&session);
    assert_eq!(second.usage.tokens, both.tokens() - served.tokens());
    assert!(
        (second.usage.cost.0 as f64 - (both_price - price)).abs() <= 1.0,
        "{:?}",
        second.usage
    );

    // A third one continues a session whose price is known by now, and counts only what is new.
    launch.attempt = Attempt(3);
    launch.prompt = "Go on, the tests fail.".to_owned();
    host.start(launch).await;
    let third = host.exit().await;
    assert_eq!(third.exit, AgentExit::Finished);
    let (all, all_price) = endpoint.served_to(&session);
    assert_eq!(third.usage.tokens, all.tokens() - both.tokens());
    assert!(
        (third.usage.cost.0 as f64 - (all_price - both_price)).abs() <= 1.0,
        "{:?}",
        third.usage
    );
}

#[tokio::test]
async fn a_session_that_does_not_exist_is_begun_afresh_with_the_whole_prompt() {
    let endpoint = Endpoint::start(diligent);
    let place = claude_place(&endpoint);
    let mut launch = claude_launch(&place);
    launch.session = Some("22222222-2222-4222-8222-222222222222".to_owned());
    launch.fresh_prompt = Some("All of it: write the schema.".to_owned());
    launch.prompt = "Go on.".to_owned();
    let mut host = place.host();
    host.start(launch).await;
    let exit = host.exit().await;
    assert_eq!(exit.exit, AgentExit::Finished);
    assert_ne!(exit.session.as_deref(), Some("22222222-2222-4222-8222-222222222222"));
    assert!(
        endpoint
            .requests()
            .iter()
            .any(|request| request.prompt().contains("All of it"))
    );
    assert!(
        !endpoint
            .requests()
            .iter()
            .any(|request| request.prompt().contains("Go on."))
    );
    let record: ExitRecord = read_record(&place.attempt(1).exit()).unwrap().unwrap();
    assert!(record.fell_back);
    assert_accounted(&exit, &endpoint);
}

#[tokio::test]
async fn a_session_that_was_killed_before_its_first_word_is_begun_afresh() {
    let endpoint = Endpoint::start(|request| {
        if request.prompts.iter().any(|prompt| prompt.contains("Again")) {
            diligent(request)
        } else {
            Reply::Hang
        }
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    let mut launch = claude_launch(&place);
    host.start(launch.clone()).await;
    eventually("the request that hangs", || {
        (!endpoint.requests().is_empty()).then_some(())
    })
    .await;
    host.stop(true).await;
    let first = host.exit().await;
    assert_eq!(first.exit, AgentExit::Stopped);
    // Whether the program had written its session down by then is its own affair; both ways end well.
    launch.session = first.session;
    launch.attempt = Attempt(2);
    launch.fresh_prompt = Some("Again: write the schema.".to_owned());
    launch.prompt = "Again.".to_owned();
    host.start(launch).await;
    let second = host.exit().await;
    assert_eq!(second.exit, AgentExit::Finished);
    assert_eq!(subjects(&place)[0], COMPLETION);
}

#[tokio::test]
async fn done_without_a_commit_is_sent_back_by_the_hook_and_mended() {
    let endpoint = Endpoint::start(|request| {
        let sent_back = request
            .prompts
            .iter()
            .any(|prompt| prompt.contains("No commit of this session completes"));
        match (sent_back, request.turn()) {
            (true, 0) => Reply::commit("infrastructure/database/schema.sql", COMPLETION),
            _ => Reply::say("Done."),
        }
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(subjects(&place), [COMPLETION, "Base"]);
}

#[tokio::test]
async fn uncommitted_work_is_sent_back_by_the_hook_and_committed() {
    let endpoint = Endpoint::start(|request| {
        let sent_back = request
            .prompts
            .iter()
            .any(|prompt| prompt.contains("not committed") && prompt.contains("left.sql"));
        match (sent_back, request.turn()) {
            (true, 0) => Reply::bash(&format!("git add -A && git commit -q -m '{COMPLETION}'")),
            (false, 0) => Reply::bash("echo left > left.sql"),
            _ => Reply::say("Done."),
        }
    });
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    assert_eq!(host.exit().await.exit, AgentExit::Finished);
    assert_eq!(subjects(&place), [COMPLETION, "Base"]);
}

#[tokio::test]
async fn an_agent_that_only_says_done_is_sent_back_three_times_and_no_more() {
    let endpoint = Endpoint::start(|_| Reply::say("Done, really."));
    let place = claude_place(&endpoint);
    let mut host = place.host();
    host.start(claude_launch(&place)).await;
    let exit = host.exit().await;
    // What it left, nothing, is for the core to judge.
    assert_eq!(exit.exit, AgentExit::Finished);
    assert_eq!(subjects(&place), ["Base"]);
    assert_eq!(
        endpoint.requests().iter().filter(|request| request.is_agents()).count(),
        4
    );
}

#[tokio::test]
async fn sessions_run_beside_each_other() {
    let work = |number: u32| {
        vec![
            Reply::commit(&format!("part-{number}.sql"), "[AGENT-1-1] Part: write it"),
            Reply::commit("last.sql", COMPLETION),
        ]
    };
    let endpoint = Endpoint::start(fleet(
        (1..=4)
            .map(|number| (format!("Write part {number}"), work(number)))
            .collect(),
    ));
    let place = claude_place(&endpoint);
    let mut host = place.host();
    for number in 1..=4 {
        let mut launch = claude_launch(&place);
        launch.prompt = format!("Write part {number}.");
        launch.workspace = place.path(&format!("workspace-{number}"));
        std::fs::create_dir(&launch.workspace).unwrap();
        make_repository(&launch.workspace);
        launch.attempt = Attempt(number);
        host.start(launch).await;
    }
    for _ in 0..4 {
        let exit = host.exit().await;
        assert_eq!(exit.exit, AgentExit::Finished);
        assert_accounted(&exit, &endpoint);
    }
    for number in 1..=4 {
        assert!(place.path(&format!("workspace-{number}/part-{number}.sql")).exists());
    }
    assert_eq!(endpoint.served().0.messages, 12);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_with_the_remedy() {
    let place = Place::new();
    let host = place.host();
    let launch = place.launch(Driver::Claude {
        program: "claude-that-nobody-has".to_owned(),
    });
    let error = host.host.start(launch).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot find the program `claude-that-nobody-has`; install it, or name another one under `agent: program:` in the plan"
    );
}
