//! Claude Code, one headless session per attempt.

use std::io;
use std::path::Path;

use serde_json::json;
use uuid::Uuid;

use super::{Preparation, Start};
use crate::exit_code::ExitCode;
use crate::ids::MicroDollars;
use crate::shell::agent::record::{Dialect, Fallback, Invocation, PoliteEnd, write_private};
use crate::shell::agent::stop_hook::StopHookOrder;

/// What the program says when a session that is to be continued does not exist: it was killed before its first write, or the home directory changed.
const NO_SESSION: &str = "No conversation found";

/// Tries of one request before the session gives up: about 20 seconds. Beyond that it is for the fleet's breaker to wait, not for each agent alone.
const MAX_RETRIES: &str = "5";

/// The exit status with which our hook refuses; the vendor's own is 2, which is also what a wrong command line ends with.
const STOP_REFUSED: u8 = ExitCode::GateNotMet as u8;

/// Seconds that the stop hook may take; it runs three git commands.
const STOP_HOOK_SECONDS: u32 = 60;

/// Writes the settings, and gives the command line.
pub(super) fn prepare(preparation: &Preparation<'_>, program: &str) -> io::Result<Start> {
    let Preparation {
        launch,
        directory,
        own_program,
        capabilities,
        head,
        continued,
    } = preparation;
    let settings_file = directory.path().join("settings.json");
    let order_file = directory.path().join("stop-hook.json");
    StopHookOrder::new(launch, head.clone()).write(&order_file)?;
    // Only our own refusal holds the agent back: a hook that fails in any other way must not keep it going for ever.
    let hook = format!(
        "{} stop-hook {} || {{ [ $? -eq {STOP_REFUSED} ] && exit 2; exit 0; }}",
        shell_quoted(own_program),
        shell_quoted(&order_file)
    );
    let settings = json!({
        "hooks": { "Stop": [{ "hooks": [{ "type": "command", "command": hook, "timeout": STOP_HOOK_SECONDS }] }] }
    });
    write_private(&settings_file, settings.to_string().as_bytes())?;

    let mut common: Vec<String> = [
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--permission-mode",
        "bypassPermissions",
    ]
    .map(str::to_owned)
    .to_vec();
    // A question that nobody answers is answered with no, at once.
    if capabilities.knows("--permission-prompts") {
        common.extend(["--permission-prompts", "none"].map(str::to_owned));
    }
    // The user's own servers and settings are no part of the plan.
    if capabilities.knows("--strict-mcp-config") {
        common.push("--strict-mcp-config".to_owned());
    }
    if capabilities.knows("--setting-sources") {
        common.extend(["--setting-sources", "project"].map(str::to_owned));
    }
    common.extend(["--settings".to_owned(), settings_file.display().to_string()]);
    if let Some(turns) = launch.settings.max_turns {
        common.extend(["--max-turns".to_owned(), turns.to_string()]);
    }
    if let Some(model) = &launch.settings.model {
        common.extend(["--model".to_owned(), model.clone()]);
    }

    let invocation = |session: [&str; 2], spent_before: MicroDollars, input: &Path| {
        let mut arguments = common.clone();
        arguments.extend(session.map(str::to_owned));
        if let Some(remaining) = launch.remaining_budget
            && capabilities.knows("--max-budget-usd")
        {
            let budget = remaining.plus(spent_before);
            arguments.extend(["--max-budget-usd".to_owned(), format!("{:.6}", budget.dollars())]);
        }
        Invocation {
            program: Some(program.to_owned()),
            arguments,
            input: input.to_path_buf(),
        }
    };
    let nothing = MicroDollars::default();
    // The program counts what a continued session has cost before against its budget.
    let before = continued.as_ref().map_or(nothing, |account| account.total.cost);
    let fresh_session = Uuid::new_v4().to_string();
    let (first, fallback) = match &launch.session {
        None => (
            invocation(["--session-id", &fresh_session], nothing, &directory.prompt()),
            None,
        ),
        Some(session) => {
            let input = if launch.fresh_prompt.is_some() {
                directory.fresh_prompt()
            } else {
                directory.prompt()
            };
            let fallback = Fallback {
                when_errors_contain: NO_SESSION.to_owned(),
                invocation: invocation(["--session-id", &fresh_session], nothing, &input),
                set: vec![("ORCHESTRATE_PROMPT".to_owned(), input.display().to_string())],
            };
            (
                invocation(["--resume", session], before, &directory.prompt()),
                Some(fallback),
            )
        }
    };

    let mut set: Vec<(String, String)> = [
        ("DISABLE_AUTOUPDATER", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_MAX_RETRIES", MAX_RETRIES),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    if rustix::process::geteuid().is_root() {
        // Without it the program refuses to work unattended as root.
        set.push(("IS_SANDBOX".to_owned(), "1".to_owned()));
    }
    Ok(Start {
        dialect: Dialect::Claude,
        invocation: first,
        fallback,
        set,
        polite_end: PoliteEnd::Interrupt,
    })
}

fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
