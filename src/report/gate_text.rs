//! `gate` for people and for scripts.

use serde::Serialize;

use super::style::{Mark, Style, Tone};
use super::text::neutralise;
use crate::core::verdict::Verdict;

/// The version of the document's shape.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    gate: &'a str,
    holds: bool,
    base: &'a str,
    tip: &'a str,
    teams: Vec<TeamDocument<'a>>,
}

#[derive(Serialize)]
struct TeamDocument<'a> {
    id: &'a str,
    phase: &'a str,
    name: &'a str,
    holds: bool,
    landing: Option<&'a str>,
    checks: Vec<CheckDocument<'a>>,
}

#[derive(Serialize)]
struct CheckDocument<'a> {
    what: &'a str,
    ok: bool,
    reason: Option<&'a str>,
    remedy: Option<&'a str>,
}

/// One JSON document. `gate` is what was asked for: a phase's id, or the base branch.
pub fn json(gate: &str, verdict: &Verdict) -> Result<String, serde_json::Error> {
    let teams = verdict
        .teams
        .iter()
        .map(|team| TeamDocument {
            id: &team.team,
            phase: &team.phase,
            name: &team.name,
            holds: team.checks.iter().all(|check| check.missing.is_none()),
            landing: team.landing.as_ref().map(|oid| oid.as_str()),
            checks: team
                .checks
                .iter()
                .map(|check| CheckDocument {
                    what: &check.what,
                    ok: check.missing.is_none(),
                    reason: check.missing.as_ref().map(|missing| missing.reason.as_str()),
                    remedy: check.missing.as_ref().map(|missing| missing.remedy.as_str()),
                })
                .collect(),
        })
        .collect();
    let document = Document {
        schema: SCHEMA,
        gate,
        holds: verdict.holds(),
        base: &verdict.base,
        tip: verdict.tip.as_str(),
        teams,
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

/// A line per check, with the reason and the remedy of what is missing.
pub fn text(gate: &str, verdict: &Verdict, style: Style) -> String {
    let mut text = String::new();
    for team in &verdict.teams {
        let heading = format!("Team {} {} (phase {})", team.team, neutralise(&team.name), team.phase);
        text.push_str(&format!("{}\n", style.paint(Tone::Strong, &heading)));
        // Where nothing of a team is there, everything else follows from the first line, and would bury it.
        let nothing_holds = team.checks.iter().all(|check| check.missing.is_some());
        let follows = if nothing_holds {
            team.checks.len().saturating_sub(1)
        } else {
            0
        };
        for check in team.checks.iter().take(team.checks.len() - follows) {
            let (mark, tone, word) = match check.missing {
                None => (Mark::Merged, Tone::Good, "ok"),
                Some(_) => (Mark::Failed, Tone::Bad, "missing"),
            };
            let verdict = style.paint(tone, &format!("{} {word:<7}", style.glyph(mark)));
            text.push_str(&format!("  {verdict}  {}\n", neutralise(&check.what)));
            if let Some(missing) = &check.missing {
                text.push_str(&format!("             {}\n", neutralise(&missing.reason)));
                text.push_str(&format!("             helps: {}\n", neutralise(&missing.remedy)));
            }
        }
        if follows > 0 {
            text.push_str(&format!(
                "             {follows} more checks wait for that; `--json` lists them\n"
            ));
        }
    }
    let missing = verdict.checks().filter(|check| check.missing.is_some()).count();
    let tip = verdict.tip.as_str().get(..12).unwrap_or_default();
    let place = format!("{} at {tip}", verdict.base);
    text.push_str(&match missing {
        0 => format!("gate {gate}: holds on {place}\n"),
        _ => format!("gate {gate}: not met on {place}, {missing} missing\n"),
    });
    text
}
