//! `orchestrate status`: where everything stands, from the journal alone, so that it answers at once and disturbs nobody.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::context::{common_directory, journal_error, now, print, terminal_size};
use super::{CliError, Global, Place};
use crate::core::{RunLine, RunStatus, State, View, Work, apply, view};
use crate::exit_code::ExitCode;
use crate::ids::{BranchName, MicroDollars, Oid, Time};
use crate::plan::load;
use crate::report::event_text::short;
use crate::report::style::Style;
use crate::report::{Presence, Snapshot, json, table};
use crate::shell::git::Git;
use crate::shell::journal::{Journal, JournalError, JournalReader};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Show where everything stands
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Print one JSON document for programs
    #[arg(long)]
    json: bool,
    /// Keep showing it until the run ends
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, arguments: &StatusArguments) -> Result<ExitCode, CliError> {
    let place = Place::find(global)?;
    let common_directory = common_directory(&place)?;
    if arguments.watch {
        return watch(&place, &common_directory);
    }
    let mut follower = Follower::new(&place, &common_directory);
    let snapshot = follower.look()?;
    let text = if arguments.json {
        json::render(&snapshot).map_err(anyhow::Error::from)?
    } else {
        table::render(&snapshot, Style::of(&io::stdout()), terminal_size().0)
    };
    print(&text)?;
    Ok(ExitCode::Done)
}

fn watch(place: &Place, common_directory: &Path) -> Result<ExitCode, CliError> {
    let style = Style::of(&io::stdout());
    let mut follower = Follower::new(place, common_directory);
    let mut shown = None;
    loop {
        let snapshot = follower.look()?;
        let over = snapshot.presence == Presence::Absent;
        let (columns, rows) = terminal_size();
        let text = table::render(&snapshot, style, columns);
        let printed = if style.live {
            let clear = if shown.is_none() { "\u{1b}[2J" } else { "" };
            shown = Some((nothing_yet(), over));
            print(&format!("{clear}{}", frame(&text, rows)))?
        } else {
            // Without a screen to redraw, only what changed is worth a new page. Its clocks always do.
            let facts = View {
                at: Time(0),
                run: RunLine {
                    eta: None,
                    ..snapshot.view.run.clone()
                },
                ..snapshot.view.clone()
            };
            let news = shown.as_ref() != Some(&(facts.clone(), over));
            shown = Some((facts, over));
            !news || print(&format!("{text}\n"))?
        };
        if over || !printed {
            return Ok(ExitCode::Done);
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// One picture on a terminal: every line is overwritten in place, so that nothing flickers, and what is left below is cleared.
fn frame(text: &str, rows: Option<usize>) -> String {
    let mut frame = "\u{1b}[H".to_owned();
    // One row stays free for the cursor: a line feed in the last row would scroll.
    let room = rows.map_or(usize::MAX, |rows| rows.saturating_sub(1));
    for line in text.lines().take(room) {
        frame.push_str(line);
        frame.push_str("\u{1b}[K\n");
    }
    frame.push_str("\u{1b}[J");
    frame
}

/// Reads a journal as it grows.
struct Follower<'a> {
    place: &'a Place,
    common_directory: &'a Path,
    reader: Option<JournalReader>,
    state: State,
    next_sequence: u64,
}

impl<'a> Follower<'a> {
    fn new(place: &'a Place, common_directory: &'a Path) -> Self {
        Self {
            place,
            common_directory,
            reader: None,
            state: State::default(),
            next_sequence: 1,
        }
    }

    fn look(&mut self) -> Result<Snapshot, CliError> {
        self.catch_up().map_err(journal_error)?;
        let holder = Journal::lock_holder(self.common_directory).map_err(journal_error)?;
        let presence = match holder {
            Some(holder) => Presence::Alive(holder.map(|holder| holder.to_string())),
            None => Presence::Absent,
        };
        // Whatever was written before the lock was seen free has to be seen too: a run that ended in between has not vanished.
        if presence == Presence::Absent {
            self.catch_up().map_err(journal_error)?;
        }
        let (project, view) = match &self.state.plan {
            Some(plan) => (plan.project.clone(), view(&self.state, plan, now())),
            None => match load(&self.place.plan_file, &self.place.plan_name).plan {
                Some(plan) => (plan.project.clone(), view(&self.state, &plan, now())),
                // What is wrong with the plan is told by `check`; a status has nothing to say of it.
                None => (String::new(), nothing_yet()),
            },
        };
        let discrepancies = match presence {
            // A living run sees for itself what moves, and the journal may be a moment behind.
            Presence::Alive(_) => Vec::new(),
            Presence::Absent => self.discrepancies(),
        };
        Ok(Snapshot {
            project,
            view,
            presence,
            discrepancies,
        })
    }

    /// Branches that do not stand where the run left them. No history is walked.
    fn discrepancies(&self) -> Vec<String> {
        let Some(plan) = &self.state.plan else {
            return Vec::new();
        };
        let teams = plan.teams().filter_map(|team| {
            let team_state = self.state.teams.get(&team.id).filter(|team| team.landed.is_none())?;
            let tip = team_state.tip.as_ref()?;
            Some((team.branch.clone(), tip, "the next `orchestrate run` looks at it"))
        });
        let actors = self.state.actors.iter().filter_map(|(actor, actor_state)| {
            // Whoever is merged may have been tidied away.
            let is_merged = matches!(actor_state.work, Work::Merged { .. });
            let tip = actor_state.tip.as_ref().filter(|_| !is_merged)?;
            Some((
                plan.branch_of(actor)?,
                tip,
                "the next `orchestrate run` takes in what is new",
            ))
        });
        let known: Vec<(BranchName, &Oid, &str)> = teams.chain(actors).collect();
        let branches: Vec<BranchName> = known.iter().map(|(branch, _, _)| branch.clone()).collect();
        // Whatever keeps git from answering is the business of `doctor`; the journal's story stands without it.
        let Ok(tips) = Git::open(&self.place.repository).and_then(|git| git.tips(&branches)) else {
            return Vec::new();
        };
        known
            .into_iter()
            .filter_map(|(branch, left_at, then)| match tips.get(&branch) {
                Some(tip) if tip == left_at => None,
                Some(tip) => Some(format!(
                    "branch `{branch}` stands at {}, the run saw it at {}: {then}",
                    short(tip),
                    short(left_at)
                )),
                None => Some(format!(
                    "branch `{branch}` is gone; the run saw it at {}",
                    short(left_at)
                )),
            })
            .collect()
    }

    /// Folds what is new in the journal.
    fn catch_up(&mut self) -> Result<(), JournalError> {
        if self.reader.is_none() {
            self.reader = Journal::open_read_only(self.common_directory)?;
        }
        let Some(reader) = &self.reader else { return Ok(()) };
        let (state, next_sequence) = (&mut self.state, &mut self.next_sequence);
        reader.replay_condensed(*next_sequence, |record| {
            *next_sequence = record.sequence + 1;
            // The commands were performed, or will be, by the run itself.
            drop(apply(state, record.at, &record.event));
        })
    }
}

/// What there is to see before the first run when the plan cannot be read either.
fn nothing_yet() -> View {
    View {
        at: now(),
        run: RunLine {
            id: String::new(),
            status: RunStatus::NotStarted,
            started: None,
            spent: MicroDollars(0),
            budget: None,
            eta: None,
            reasons: Vec::new(),
        },
        phases: Vec::new(),
        teams: Vec::new(),
        agents: Vec::new(),
        leaders: Vec::new(),
        escalations: Vec::new(),
        merges: Vec::new(),
        rollbacks: Vec::new(),
        notes: Vec::new(),
    }
}
