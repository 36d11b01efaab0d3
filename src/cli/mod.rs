//! The command line: clap types here, one file per command, errors mapped to exit codes at the end.

mod audit;
mod check;
mod context;
mod demo;
mod doctor;
mod error;
mod explain;
mod gate;
mod graph;
mod hook;
mod human;
mod init;
mod logs;
mod notice;
mod place;
mod plan;
mod reference;
mod release;
mod render;
mod replay_agent;
mod rollback;
mod run;
mod status;
mod stop;
mod supervise;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use error::CliError;
pub use place::Place;

use crate::exit_code::ExitCode;

/// Drive a fleet of coding agents through a plan.
#[derive(Debug, Parser)]
#[command(name = "orchestrate", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The repository to work in (default: the one you stand in)
    #[arg(long, global = true, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// The plan (default: phases.yaml in the repository)
    #[arg(long, global = true, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArguments),
    Check(check::CheckArguments),
    Graph(graph::GraphArguments),
    Render(render::RenderArguments),
    Explain(explain::ExplainArguments),
    Doctor(doctor::DoctorArguments),
    Run(run::RunArguments),
    Demo(demo::DemoArguments),
    Reference(reference::ReferenceArguments),
    Status(status::StatusArguments),
    Logs(logs::LogsArguments),
    Gate(gate::GateArguments),
    Verify(verify::VerifyArguments),
    Audit(audit::AuditArguments),
    Answer(human::AnswerArguments),
    Approve(human::ApproveArguments),
    Reject(human::RejectArguments),
    Pause(human::PauseArguments),
    Resume(human::ResumeArguments),
    Retry(human::RetryArguments),
    Rollback(rollback::RollbackArguments),
    Stop(stop::StopArguments),
    Release(release::ReleaseArguments),
    #[command(hide = true)]
    Supervise(supervise::Supervise),
    #[command(hide = true)]
    ExecuteAgent(supervise::ExecuteAgent),
    #[command(hide = true)]
    StopHook(supervise::StopHook),
    #[command(hide = true)]
    ReplayAgent(replay_agent::ReplayAgent),
    #[command(hide = true)]
    DeliverNotice,
    #[command(hide = true)]
    Hook(hook::HookArguments),
}

/// Runs what the command line asks for, and says how it ended. Errors are printed to standard error.
pub fn run(cli: Cli) -> ExitCode {
    // What goes wrong behind the scenes; `ORCHESTRATE_LOG=debug` says more.
    let filter = tracing_subscriber::EnvFilter::try_from_env("ORCHESTRATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time();
    // Only a second call in one process fails, and then the first one's settings hold.
    let _ = log.try_init();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    match &cli.command {
        Command::Supervise(command) => command.run(),
        Command::ExecuteAgent(command) => command.run(),
        Command::StopHook(command) => command.run(),
        Command::ReplayAgent(command) => command.run(),
        Command::DeliverNotice => notice::deliver(),
        Command::Hook(arguments) => hook::run(arguments),
        Command::Check(arguments) => check::run(&cli.global, arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Gate(arguments) => gate::run(&cli.global, arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Audit(arguments) => audit::run(&cli.global, arguments),
        Command::Graph(arguments) => graph::run(&cli.global, arguments),
        Command::Render(arguments) => render::run(&cli.global, arguments),
        Command::Doctor(arguments) => doctor::run(&cli.global, arguments),
        Command::Logs(arguments) => logs::run(&cli.global, arguments),
        Command::Status(arguments) => status::run(&cli.global, arguments),
        Command::Stop(arguments) => stop::run(&cli.global, arguments),
        Command::Release(arguments) => release::run(&cli.global, arguments),
        Command::Run(arguments) => run::run(&cli.global, arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Reference(arguments) => reference::run(arguments),
        Command::Init(arguments) => init::run(&cli.global, arguments),
        Command::Answer(arguments) => human::answer(&cli.global, arguments),
        Command::Approve(arguments) => human::approve(&cli.global, arguments),
        Command::Reject(arguments) => human::reject(&cli.global, arguments),
        Command::Pause(arguments) => human::pause(&cli.global, arguments),
        Command::Resume(arguments) => human::resume(&cli.global, arguments),
        Command::Retry(arguments) => human::retry(&cli.global, arguments),
        Command::Rollback(arguments) => rollback::run(&cli.global, arguments),
    }
}
