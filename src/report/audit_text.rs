//! `audit` for people and for scripts.

use serde::Serialize;

use super::style::{Mark, Style, Tone};
use super::text::{clip, neutralise, one_line, plural};
use crate::proof::{Audit, Entry, EntryKind, Vanished};

/// The version of the document's shape.
const SCHEMA: u32 = 1;
/// Lines of one file that are shown to people; the document has more.
const LINES_MAX: usize = 5;
/// A shown line is cut here.
const COLUMNS_MAX: usize = 100;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    holds: bool,
    landings: usize,
    faults: usize,
    branches: Vec<BranchDocument<'a>>,
}

#[derive(Serialize)]
struct BranchDocument<'a> {
    branch: &'a str,
    tip: &'a str,
    entries: Vec<EntryDocument<'a>>,
}

#[derive(Serialize)]
struct EntryDocument<'a> {
    kind: &'static str,
    commit: &'a str,
    subject: &'a str,
    holds: bool,
    accepted: bool,
    derived_by: Option<&'static str>,
    library_differs: bool,
    settles: &'a [String],
    faults: Vec<FaultDocument<'a>>,
    vanished: Vec<VanishedDocument<'a>>,
}

#[derive(Serialize)]
struct FaultDocument<'a> {
    code: &'static str,
    sentence: &'a str,
}

#[derive(Serialize)]
struct VanishedDocument<'a> {
    path: &'a str,
    side: &'static str,
    count: usize,
    lines: &'a [String],
}

/// One JSON document.
pub fn json(audit: &Audit) -> Result<String, serde_json::Error> {
    let branches = audit
        .branches
        .iter()
        .map(|branch| BranchDocument {
            branch: &branch.branch,
            tip: branch.tip.as_str(),
            entries: branch.entries.iter().map(entry_document).collect(),
        })
        .collect();
    let document = Document {
        schema: SCHEMA,
        holds: audit.holds(),
        landings: audit.landings(),
        faults: audit.faults(),
        branches,
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

fn entry_document(entry: &Entry) -> EntryDocument<'_> {
    EntryDocument {
        kind: entry.kind.word(),
        commit: entry.commit.as_str(),
        subject: &entry.subject,
        holds: entry.holds(),
        accepted: entry.accepted,
        derived_by: entry.engine.map(|engine| engine.word()),
        library_differs: entry.library_differs,
        settles: &entry.settles,
        faults: entry
            .faults
            .iter()
            .map(|fault| FaultDocument {
                code: fault.code,
                sentence: &fault.sentence,
            })
            .collect(),
        vanished: entry
            .vanished
            .iter()
            .map(|vanished| VanishedDocument {
                path: &vanished.path,
                side: vanished.side.word(),
                count: vanished.count,
                lines: &vanished.lines,
            })
            .collect(),
    }
}

/// A line per commit, with what is wrong and what is gone.
pub fn text(audit: &Audit, style: Style) -> String {
    let mut text = String::new();
    for branch in &audit.branches {
        let tip = short(branch.tip.as_str());
        let heading = format!("{} at {tip}", neutralise(&branch.branch));
        text.push_str(&format!("{}\n", style.paint(Tone::Strong, &heading)));
        if branch.entries.is_empty() {
            text.push_str("  nothing has landed\n");
        }
        for entry in &branch.entries {
            text.push_str(&entry_text(entry, style));
        }
    }
    let (landings, faults) = (audit.landings(), audit.faults());
    let differing = audit.entries().filter(|entry| entry.library_differs).count();
    if differing > 0 {
        text.push_str(&format!(
            "libgit2 came to another tree {}; git's own merge decided\n",
            plural(differing, "time")
        ));
    }
    text.push_str(&match faults {
        0 => format!("audit: holds, {} derived again from git\n", plural(landings, "landing")),
        _ => format!(
            "audit: does not hold, {} in {}\n",
            plural(faults, "fault"),
            plural(landings, "landing")
        ),
    });
    text
}

fn entry_text(entry: &Entry, style: Style) -> String {
    let (mark, tone, word) = match (entry.faults.is_empty(), entry.accepted, entry.settles.is_empty()) {
        (true, _, true) => (Mark::Merged, Tone::Good, "ok"),
        (true, _, false) => (Mark::Warning, Tone::Warning, "settled"),
        (false, true, _) => (Mark::Warning, Tone::Warning, "accepted"),
        (false, false, _) => (Mark::Failed, Tone::Bad, "bad"),
    };
    let verdict = style.paint(tone, &format!("{} {word:<8}", style.glyph(mark)));
    let mut line = format!("  {verdict}  {}", short(entry.commit.as_str()));
    if entry.kind == EntryKind::WithinWork {
        line.push_str("  within the work:");
    }
    let subject = match entry.subject.is_empty() {
        true => "(no subject)".to_owned(),
        false => shown(&entry.subject, style),
    };
    let mut text = format!("{line}  {subject}\n");
    for fault in &entry.faults {
        text.push_str(&format!(
            "              {}: {}\n",
            fault.code,
            one_line(&fault.sentence)
        ));
    }
    if !entry.settles.is_empty() {
        text.push_str(&format!(
            "              settles a conflict in {}\n",
            one_line(&entry.settles.join(", "))
        ));
    }
    for vanished in &entry.vanished {
        text.push_str(&vanished_text(vanished, style));
    }
    text
}

fn vanished_text(vanished: &Vanished, style: Style) -> String {
    let path = one_line(&vanished.path);
    if vanished.count == 0 {
        return format!("              {path} is another one than the merge gives\n");
    }
    let mut text = format!(
        "              {path}: {} of {} gone\n",
        plural(vanished.count, "line"),
        vanished.side.word()
    );
    for line in vanished.lines.iter().take(LINES_MAX) {
        text.push_str(&format!("                - {}\n", shown(line, style)));
    }
    if vanished.count > LINES_MAX {
        text.push_str(&format!("                and {} more\n", vanished.count - LINES_MAX));
    }
    text
}

fn shown(line: &str, style: Style) -> String {
    clip(&one_line(line), COLUMNS_MAX, style.ellipsis())
}

fn short(oid: &str) -> &str {
    oid.get(..12).unwrap_or(oid)
}
