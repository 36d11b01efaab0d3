//! `orchestrate verify`: the generated system, examined beside the reference on the real runtime.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use clap::{Args, ValueEnum};
use workerd_driver::Tools;

use super::CliError;
use super::context::print;
use crate::exit_code::ExitCode;
use crate::verify::examine::reference_worker_bundles;
use crate::verify::report::{self, Examined};
use crate::verify::{Checked, Implementation, Progress, Section, Selection, Verdict, bundle, examine};

/// Compare the generated system with the reference, requirement by requirement
///
/// Boots what was generated on the real Workers runtime, asks it and the bundled reference the same, and compares answers and stored state. Exit status 0: every
/// MUST holds; 5: something does not; 7: it could not be examined.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The generated system: a directory with `infrastructure/` and `workers/`, or one above it (default: where you stand)
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// What to examine instead of the generated system: the reference itself, on one of its hosts
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Subject::Generated)]
    subject: Subject,
    /// Where the reference's Worker was built to (`cargo xtask reference-worker`)
    #[arg(long, value_name = "DIR", default_value = "target/reference-worker")]
    reference_worker: PathBuf,
    /// Only these sections
    #[arg(long, value_name = "NAME", value_parser = section)]
    section: Vec<Section>,
    /// Only checks of this requirement, or the check of this name
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// What chance follows: the same seed asks the same
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
}

/// What is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The generated system.
    Generated,
    /// The reference in process: it must agree with itself.
    ReferenceNative,
    /// The reference's own Worker.
    ReferenceWorker,
}

fn section(name: &str) -> Result<Section, String> {
    Section::named(name).ok_or_else(|| {
        let names: Vec<&str> = Section::ALL.into_iter().map(Section::name).collect();
        format!("there is no such section; there are {}", names.join(", "))
    })
}

/// Runs the command.
pub(super) fn run(arguments: &VerifyArguments) -> Result<ExitCode, CliError> {
    let directory = tempfile::Builder::new()
        .prefix("orchestrate-verify-")
        .tempdir()
        .map_err(|error| {
            CliError::new(ExitCode::Environment, error).hint("free some space in the temporary directory")
        })?;
    let implementation = implementation(arguments, directory.path())?;
    let selection = Selection {
        sections: arguments.section.clone(),
        only: arguments.only.clone(),
        seed: arguments.seed,
        fail_fast: arguments.fail_fast,
        ..Selection::default()
    };
    let is_cancelled = Arc::new(AtomicBool::new(false));
    cancel_on_interrupt(&is_cancelled)?;
    let (sender, receiver) = channel();
    let began = std::time::Instant::now();
    let checked = std::thread::scope(|scope| {
        scope.spawn(move || show_progress(&receiver));
        // The sender ends with the examination, and with it the progress.
        let sender = sender;
        examine(&implementation, &selection, directory.path(), &sender, &is_cancelled)
    });
    let examined = Examined {
        checked,
        seed: arguments.seed,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    print(&report::table(&examined))?;
    Ok(exit_code(&examined.checked, arguments.fail_fast, &is_cancelled))
}

fn exit_code(checked: &[Checked], fail_fast: bool, is_cancelled: &AtomicBool) -> ExitCode {
    let any = |is_meant: fn(&Verdict) -> bool| checked.iter().any(|checked| is_meant(&checked.verdict));
    if any(|verdict| matches!(verdict, Verdict::Failed { .. })) {
        return ExitCode::NotConforming;
    }
    if is_cancelled.load(Ordering::Relaxed) && !fail_fast {
        return ExitCode::Interrupted;
    }
    if any(|verdict| matches!(verdict, Verdict::Error { .. })) || checked.is_empty() {
        return ExitCode::Environment;
    }
    ExitCode::Done
}

fn implementation(arguments: &VerifyArguments, directory: &Path) -> Result<Implementation, CliError> {
    if arguments.subject == Subject::ReferenceNative {
        return Ok(Implementation::Native);
    }
    let tools = Tools::ensure(&Tools::default_cache(), |what| eprint(&format!("{what}\n")))
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    if arguments.subject == Subject::ReferenceWorker {
        let bundles = reference_worker_bundles(&arguments.reference_worker).map_err(|error| {
            CliError::new(ExitCode::Environment, error).hint("build it first: cargo xtask reference-worker")
        })?;
        return Ok(Implementation::Workers {
            tools,
            bundles,
            root: None,
        });
    }
    let root = [arguments.directory.clone(), arguments.directory.join("generated")]
        .into_iter()
        .find(|root| root.join("infrastructure").is_dir() || root.join("workers").is_dir())
        .unwrap_or_else(|| arguments.directory.clone());
    if !root.is_dir() {
        return Err(CliError::message(
            ExitCode::Usage,
            format!("there is no directory `{}`", root.display()),
        ));
    }
    let root = root
        .canonicalize()
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    Ok(match bundle(&tools, &root, &directory.join("bundles"), None) {
        Ok(bundles) => Implementation::Workers {
            tools,
            bundles,
            root: Some(root),
        },
        Err(error) => Implementation::Files {
            root,
            reason: error.to_string(),
        },
    })
}

fn show_progress(receiver: &Receiver<Progress>) {
    let is_terminal = std::io::stderr().is_terminal();
    let (mut planned, mut done, mut failed) = (0, 0, 0);
    while let Ok(progress) = receiver.recv() {
        match progress {
            Progress::Planned(count) => planned = count,
            Progress::Checked(checked) => {
                done += 1;
                if let Verdict::Failed { what } = &checked.verdict {
                    failed += 1;
                    eprint(&format!(
                        "\r✗ {}/{}: {what}\x1b[K\n",
                        checked.section.name(),
                        checked.name
                    ));
                }
                if is_terminal {
                    eprint(&format!("\r{done} of {planned} checks, {failed} failed\x1b[K"));
                }
            }
        }
    }
    if is_terminal {
        eprint("\r\x1b[K");
    }
}

fn eprint(text: &str) {
    // Nobody is left to be told when standard error itself is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The first Ctrl-C ends the examination and everything that it started; so does a polite request to end.
fn cancel_on_interrupt(is_cancelled: &Arc<AtomicBool>) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::new(ExitCode::Environment, error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let is_cancelled = Arc::clone(is_cancelled);
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            is_cancelled.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}
