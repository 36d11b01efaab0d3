//! `orchestrate verify`: the generated system, examined beside the reference on the real runtime.

mod progress;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use clap::{Args, ValueEnum};
use workerd_driver::Tools;

use super::CliError;
use super::context::print;
use crate::exit_code::ExitCode;
use crate::plan::diagnostic::nearest;
use crate::report::style::Style;
use crate::verify::boot::bundle_present;
use crate::verify::canary::canary;
use crate::verify::examine::{checks, is_meant, reference_worker_bundles};
use crate::verify::report::{Report, github, html, json, junit, sarif, table};
use crate::verify::requirements::{self, CONFIG_SERVICE, IMAGE_GENERATION};
use crate::verify::{BootError, Bundles, Examined, Finding, Implementation, Section, Selection, bundle, examine};
use progress::eprint;

/// Compare the generated system with the reference, requirement by requirement
///
/// Boots what was generated on the real Workers runtime, asks it and the bundled reference the same, and compares answers and stored state. Exit status 0: every
/// MUST holds; 5: something does not; 7: it could not be examined, and that is not its fault.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The generated system: a directory with `infrastructure/` and `workers/`, or one above it (default: where you stand)
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// What to examine instead of the generated system: the reference itself, on one of its hosts
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Subject::Generated)]
    subject: Subject,
    /// Ask these the same, for a column beside the subject's (default with --html: the reference on each host that is there)
    #[arg(long, value_name = "WHAT", value_enum)]
    compare: Vec<Compared>,
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
    /// A part of which no file is there yet is no failure: for a system that is still being built
    #[arg(long)]
    so_far: bool,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Say everything about a requirement, and examine nothing
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
    /// Print one JSON document for programs
    #[arg(long, conflicts_with = "github")]
    json: bool,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Print annotations for GitHub
    #[arg(long)]
    github: bool,
    /// Write a page for people: every requirement, and for each failure all that was seen
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::ReferenceNative => "reference-native",
            Self::ReferenceWorker => "reference-worker",
        }
    }
}

/// What is asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compared {
    /// The reference in process.
    ReferenceNative,
    /// The reference's own Worker.
    ReferenceWorker,
    /// Nothing.
    None,
}

fn section(name: &str) -> Result<Section, String> {
    Section::named(name).ok_or_else(|| {
        let names: Vec<&str> = Section::ALL.into_iter().map(Section::name).collect();
        let meant = nearest(name, names.iter().copied());
        let meant = meant
            .map(|meant| format!("did you mean `{meant}`? "))
            .unwrap_or_default();
        format!("there is no such section; {meant}there are {}", names.join(", "))
    })
}

/// Runs the command.
pub(super) fn run(arguments: &VerifyArguments) -> Result<ExitCode, CliError> {
    if let Some(id) = &arguments.explain {
        let requirement = requirements::find(id).ok_or_else(|| unknown(id, arguments.seed))?;
        let page = table::explain(requirement, &checks(arguments.seed), Style::of(&std::io::stdout()));
        print(&page)?;
        return Ok(ExitCode::Done);
    }
    let selection = selection(arguments)?;
    // From here on a signal is a wish: what was started must be ended, and what was written be removed.
    let is_cancelled = Arc::new(AtomicBool::new(false));
    cancel_on_interrupt(&is_cancelled)?;
    let directory = tempfile::Builder::new()
        .prefix("orchestrate-verify-")
        .tempdir()
        .map_err(|error| {
            CliError::new(ExitCode::Environment, error).hint("free some space in the temporary directory")
        })?;
    let began = Instant::now();
    let (implementation, missing) = self::implementation(arguments, arguments.subject, directory.path())?;
    // Whatever is missing shows before the first minute is spent.
    let others = compared(arguments)
        .into_iter()
        .map(|other| Ok((other, self::implementation(arguments, other, directory.path())?.0)))
        .collect::<Result<Vec<_>, CliError>>()?;
    self_test(
        std::iter::once(&implementation).chain(others.iter().map(|(_, other)| other)),
        directory.path(),
    )?;
    let examined = |subject: Subject, implementation: &Implementation| {
        examined(subject, implementation, &selection, directory.path(), &is_cancelled)
    };
    let subject = examined(arguments.subject, &implementation);
    let others = others
        .iter()
        .take_while(|_| !is_cancelled.load(Ordering::Relaxed))
        .map(|(other, implementation)| examined(*other, implementation))
        .collect();
    let report = Report {
        subject,
        others,
        seed: arguments.seed,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        is_interrupted: is_cancelled.load(Ordering::Relaxed),
        command: command(arguments),
        missing,
    };
    write(arguments, &report)?;
    Ok(report.exit_code())
}

fn selection(arguments: &VerifyArguments) -> Result<Selection, CliError> {
    let all = checks(arguments.seed);
    for only in &arguments.only {
        if all.iter().any(|check| is_meant(check, only)) {
            continue;
        }
        if let Some(requirement) = requirements::find(only) {
            return Err(CliError::message(
                ExitCode::Usage,
                format!("no check looks at {} by itself", requirement.id),
            )
            .hint(format!("orchestrate verify --explain {}", requirement.id)));
        }
        return Err(unknown(only, arguments.seed));
    }
    Ok(Selection {
        sections: arguments.section.clone(),
        only: arguments.only.clone(),
        seed: arguments.seed,
        fail_fast: arguments.fail_fast,
        so_far: arguments.so_far,
        ..Selection::default()
    })
}

/// An id that nothing has, with the one that may have been meant.
fn unknown(id: &str, seed: u64) -> CliError {
    let checks: Vec<String> = checks(seed).iter().map(|check| check.full_name()).collect();
    let candidates = requirements::all()
        .iter()
        .map(|requirement| requirement.id.as_str())
        .chain(checks.iter().map(String::as_str));
    let error = CliError::message(
        ExitCode::Usage,
        format!("there is no requirement and no check `{}`", id.escape_debug()),
    );
    match nearest(id, candidates) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!(
            "the requirements stand in {}, such as API-01",
            requirements::FILE
        )),
    }
}

fn compared(arguments: &VerifyArguments) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = arguments
        .compare
        .iter()
        .filter_map(|compared| match compared {
            Compared::ReferenceNative => Some(Subject::ReferenceNative),
            Compared::ReferenceWorker => Some(Subject::ReferenceWorker),
            Compared::None => None,
        })
        .collect();
    if arguments.compare.is_empty() && arguments.html.is_some() {
        subjects.push(Subject::ReferenceNative);
        if reference_worker_bundles(&arguments.reference_worker).is_ok() {
            subjects.push(Subject::ReferenceWorker);
        }
    }
    subjects.retain(|subject| *subject != arguments.subject);
    subjects
}

fn examined(
    subject: Subject,
    implementation: &Implementation,
    selection: &Selection,
    directory: &Path,
    is_cancelled: &Arc<AtomicBool>,
) -> Examined {
    let name = subject.name();
    let directory = directory.join(name);
    let (sender, receiver) = channel();
    let examined = std::thread::scope(|scope| {
        scope.spawn(move || progress::show(&receiver, Style::of(&std::io::stderr()), name));
        // The sender ends with the examination, and with it the progress.
        let sender = sender;
        examine(implementation, selection, &directory, &sender, is_cancelled)
    });
    Examined { name, ..examined }
}

/// What is examined, and a part of it that is not there yet.
fn implementation(
    arguments: &VerifyArguments,
    subject: Subject,
    directory: &Path,
) -> Result<(Implementation, Option<&'static str>), CliError> {
    if subject == Subject::ReferenceNative {
        return Ok((Implementation::Native, None));
    }
    let root = match subject {
        Subject::Generated => Some(root(&arguments.directory)?),
        Subject::ReferenceNative | Subject::ReferenceWorker => None,
    };
    let tools = Tools::ensure(&Tools::default_cache(), |what| eprint(&format!("{what}\n"))).map_err(|error| {
        CliError::new(ExitCode::Environment, error)
            .hint("the tools are kept in $XDG_CACHE_HOME/orchestrate, or ~/.cache/orchestrate")
    })?;
    let Some(root) = root else {
        let bundles = reference_worker_bundles(&arguments.reference_worker).map_err(|error| {
            CliError::new(ExitCode::Environment, error).hint("build it first: cargo xtask reference-worker")
        })?;
        return Ok((workers(tools, bundles, None, None), None));
    };
    let missing = [CONFIG_SERVICE, IMAGE_GENERATION]
        .into_iter()
        .find(|part| arguments.so_far && !root.join(part).exists());
    let place = directory.join("bundles");
    let bundled = match missing {
        Some(_) => bundle_present(&tools, &root, &place, None),
        None => bundle(&tools, &root, &place, None),
    };
    let implementation = match bundled {
        Ok(bundles) => workers(tools, bundles, Some(root), missing),
        Err(BootError::Driver(error @ workerd_driver::DriverError::File { .. })) => {
            return Err(CliError::new(ExitCode::Environment, error));
        }
        Err(error) => {
            let finding = Finding::new(&error.to_string(), hint(&error, &root));
            Implementation::Files { root, finding }
        }
    };
    Ok((implementation, missing))
}

/// The runtime and its simulators, before anybody is judged by what they do.
fn self_test<'a>(
    mut implementations: impl Iterator<Item = &'a Implementation>,
    directory: &Path,
) -> Result<(), CliError> {
    let Some(tools) = implementations.find_map(|implementation| match implementation {
        Implementation::Workers { tools, .. } => Some(tools),
        Implementation::Native | Implementation::Files { .. } => None,
    }) else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    runtime
        .block_on(canary(tools, &directory.join("canary")))
        .map_err(|error| {
            CliError::new(ExitCode::Environment, error).hint(
                "nothing was examined: see `orchestrate doctor`, and remove the tools in $XDG_CACHE_HOME/orchestrate to have them fetched again",
            )
        })
}

fn workers(tools: Tools, bundles: Bundles, root: Option<PathBuf>, missing: Option<&'static str>) -> Implementation {
    Implementation::Workers {
        tools,
        bundles,
        root,
        missing,
    }
}

/// Where the generated system is.
fn root(directory: &Path) -> Result<PathBuf, CliError> {
    let root = [directory.to_path_buf(), directory.join("generated")]
        .into_iter()
        .find(|root| root.join("infrastructure").is_dir() || root.join("workers").is_dir())
        .unwrap_or_else(|| directory.to_path_buf());
    if !root.is_dir() {
        return Err(
            CliError::message(ExitCode::Usage, format!("there is no directory `{}`", root.display()))
                .hint("name the directory that has `infrastructure/` and `workers/`"),
        );
    }
    root.canonicalize()
        .map_err(|error| CliError::new(ExitCode::Environment, error))
}

/// What helps against a system that cannot be built.
fn hint(error: &BootError, root: &Path) -> String {
    let place = root.display();
    match error {
        BootError::Driver(_) if !root.join("node_modules").is_dir() => {
            format!("npm ci, in {place}: its dependencies are not installed")
        }
        BootError::Driver(_) => format!("npm run check, in {place}, shows every mistake"),
        BootError::NoWorker { .. } => {
            "write it; a system that is still being built is examined with --so-far".to_owned()
        }
        BootError::Configuration { .. } | BootError::Sql { .. } | BootError::File { .. } => {
            format!("mend the file, then `orchestrate verify {place}` again")
        }
    }
}

/// What to type to examine the same again.
fn command(arguments: &VerifyArguments) -> String {
    let mut words = vec!["orchestrate verify".to_owned()];
    if arguments.subject != Subject::Generated {
        words.push(format!("--subject {}", arguments.subject.name()));
    } else if arguments.directory != Path::new(".") {
        words.push(arguments.directory.display().to_string());
    }
    if arguments.seed != 1 {
        words.push(format!("--seed {}", arguments.seed));
    }
    if arguments.so_far {
        words.push("--so-far".to_owned());
    }
    words.join(" ")
}

fn write(arguments: &VerifyArguments, report: &Report) -> Result<(), CliError> {
    if arguments.json {
        print(&json::json(report))?;
        eprint(&table::summary(report, Style::of(&std::io::stderr())));
    } else {
        print(&table::table(report, Style::of(&std::io::stdout())))?;
        if arguments.github {
            print(&github::annotations(report))?;
        }
    }
    type Writer = fn(&Report) -> String;
    let documents: [(&Option<PathBuf>, Writer); 3] = [
        (&arguments.junit, junit::junit),
        (&arguments.sarif, sarif::sarif),
        (&arguments.html, html::html),
    ];
    for (file, document) in documents {
        if let Some(file) = file {
            put(file, &document(report)).map_err(|error| {
                CliError::message(
                    ExitCode::Environment,
                    format!("cannot write {}: {error}", file.display()),
                )
                .hint("name a file in a directory that is there and may be written to")
            })?;
        }
    }
    Ok(())
}

/// Writes a whole file or none: whoever reads it never sees half of a report.
fn put(file: &Path, text: &str) -> std::io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut fresh = tempfile::Builder::new()
        .prefix(".verify-")
        .tempfile_in(directory.unwrap_or(Path::new(".")))?;
    fresh.write_all(text.as_bytes())?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fresh.as_file().set_permissions(mode)?;
    fresh.persist(file)?;
    Ok(())
}

/// The first Ctrl-C ends the examination and everything that it started; so does a polite request to end.
fn cancel_on_interrupt(is_cancelled: &Arc<AtomicBool>) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::new(ExitCode::Environment, error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let listening = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ))
    });
    let (mut interrupt, mut terminate, mut hangup) = listening.map_err(failed)?;
    let is_cancelled = Arc::clone(is_cancelled);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            is_cancelled.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}
