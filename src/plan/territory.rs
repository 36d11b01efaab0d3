//! Checks who may write where: branches that are somebody's alone, and paths that are somebody's alone.

use std::collections::{BTreeMap, BTreeSet};

use super::codes;
use super::diagnostic::Diagnostic;
use super::draft::{Draft, Placed};
use super::glob::{self, Effort, Exhausted, Glob};

/// Steps of all comparisons of globs together: about a second in an unoptimised build. The shipped plan takes a thousandth of it.
const EFFORT_MAX: u64 = 20_000_000;
/// Overlaps told; the rest is more of the same.
const OVERLAPS_MAX: usize = 50;

/// Everything about branches and paths.
pub(super) fn check(draft: &Draft<'_>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    branches(draft, &mut findings);
    let mut effort = Effort(EFFORT_MAX);
    if overlaps(draft, &mut effort, &mut findings)
        .and_then(|()| deliverables(draft, &mut effort, &mut findings))
        .is_err()
    {
        let place = draft
            .teams()
            .flat_map(|(_, team)| &team.agents)
            .flat_map(|agent| &agent.owns)
            .next();
        let diagnostic = Diagnostic::new(
            codes::TOO_MUCH,
            "the globs of this plan are too many or too intricate to compare",
        )
        .note("every agent's `owns` is compared with every other's, to prove that no two meet")
        .help("use fewer globs with a literal beginning, such as `src/auth/**`");
        findings.push(match place {
            Some(place) => diagnostic.at(place.span.clone(), "the first of them"),
            None => diagnostic,
        });
    }
    findings
}

struct Claim<'d> {
    branch: &'d Placed<String>,
    owner: String,
    /// The name was made, not written: the leader's, from the team's.
    derived: bool,
    /// The base or the release branch, which nobody works on.
    ours: bool,
}

fn branches(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    claims.push(Claim {
        branch: &draft.base,
        owner: "the base branch".to_owned(),
        derived: false,
        ours: true,
    });
    claims.extend(draft.release_branch.iter().map(|branch| Claim {
        branch,
        owner: "the release branch".to_owned(),
        derived: false,
        ours: true,
    }));
    for (_, team) in draft.teams() {
        claims.extend(team.branch.iter().map(|branch| Claim {
            branch,
            owner: team.named(),
            derived: false,
            ours: false,
        }));
        claims.extend(team.leader_branch.iter().map(|branch| Claim {
            branch,
            owner: format!("the leader of {}", team.named()),
            derived: team.leader.get("branch").is_none(),
            ours: false,
        }));
        for agent in &team.agents {
            claims.extend(agent.branch.iter().map(|branch| Claim {
                branch,
                owner: agent.named(),
                derived: false,
                ours: false,
            }));
        }
    }
    // Git keeps branches as files on most machines, and some file systems do not tell `A` from `a`.
    let mut by_name: BTreeMap<String, &Claim<'_>> = BTreeMap::new();
    for claim in &claims {
        let folded = claim.branch.value.to_lowercase();
        if let Some(first) = by_name.get(&folded) {
            findings.push(shared(first, claim));
        } else {
            by_name.insert(folded, claim);
        }
    }
    for (name, claim) in &by_name {
        let parents = name.match_indices('/').filter_map(|(index, _)| name.get(..index));
        for parent in parents {
            if let Some(outer) = by_name.get(parent) {
                findings.push(nested(outer, claim));
            }
        }
    }
}

fn shared(first: &Claim<'_>, second: &Claim<'_>) -> Diagnostic {
    let same = first.branch.value == second.branch.value;
    let title = if same {
        format!(
            "{} and {} share the branch `{}`",
            first.owner, second.owner, second.branch.value
        )
    } else {
        format!(
            "`{}` of {} and `{}` of {} differ only in case",
            first.branch.value, first.owner, second.branch.value, second.owner
        )
    };
    let first_label = if first.branch.span.is_empty() {
        None
    } else {
        Some(claimed(first, "first used here"))
    };
    let mut diagnostic = Diagnostic::new(codes::SHARED_BRANCH, title).at(
        second.branch.span.clone(),
        claimed(second, "git allows one worktree per branch"),
    );
    if let Some(label) = first_label
        && first.branch.span != second.branch.span
    {
        diagnostic = diagnostic.context(first.branch.span.clone(), label);
    }
    if first.branch.span.is_empty() {
        diagnostic = diagnostic.note(format!(
            "{} is `{}` when the plan does not say",
            first.owner, first.branch.value
        ));
    }
    if first.ours {
        diagnostic.help(format!("give {} its own branch", second.owner))
    } else {
        diagnostic.help(format!(
            "give {} its own branch, for example `{}-2`",
            second.owner, second.branch.value
        ))
    }
}

fn nested(outer: &Claim<'_>, inner: &Claim<'_>) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(
        codes::NESTED_BRANCH,
        format!(
            "branches `{}` and `{}` cannot exist beside each other",
            outer.branch.value, inner.branch.value
        ),
    )
    .at(
        inner.branch.span.clone(),
        claimed(inner, &format!("branch of {}", inner.owner)),
    )
    .note("git keeps branches like files: a name cannot be a file and a directory at once")
    .help(format!(
        "name it for example `{}`",
        inner.branch.value.replace('/', "-")
    ));
    if !outer.branch.span.is_empty() {
        diagnostic = diagnostic.context(
            outer.branch.span.clone(),
            claimed(outer, &format!("branch of {}", outer.owner)),
        );
    }
    diagnostic
}

fn claimed(claim: &Claim<'_>, text: &str) -> String {
    if claim.derived {
        format!(
            "{text}: {} gets `{}` unless `leader.branch` is set",
            claim.owner, claim.branch.value
        )
    } else {
        text.to_owned()
    }
}

/// A glob that gives somebody the right to write.
struct Right<'d> {
    text: &'d Placed<String>,
    glob: Glob,
    /// Position of the team among all teams.
    team: usize,
    /// Position of the agent in the team; `None` for the leader.
    agent: Option<usize>,
    owner: String,
}

fn rights<'d>(draft: &'d Draft<'_>) -> Vec<Right<'d>> {
    let mut rights = Vec::new();
    for (team_index, (_, team)) in draft.teams().enumerate() {
        let mut add = |text: &'d Placed<String>, agent: Option<usize>, owner: String| {
            if let Ok(glob) = Glob::parse(&text.value) {
                rights.push(Right {
                    text,
                    glob,
                    team: team_index,
                    agent,
                    owner,
                });
            }
        };
        for text in &team.deliverables {
            add(text, None, format!("the leader of {}", team.named()));
        }
        for (index, agent) in team.agents.iter().enumerate() {
            for text in &agent.owns {
                add(text, Some(index), agent.named());
            }
        }
    }
    rights
}

fn overlaps(draft: &Draft<'_>, effort: &mut Effort, findings: &mut Vec<Diagnostic>) -> Result<(), Exhausted> {
    let rights = rights(draft);
    let phases: Vec<usize> = draft.teams().map(|(phase, _)| phase).collect();
    let mut told = BTreeSet::new();
    for (index, second) in rights.iter().enumerate() {
        for first in rights.iter().take(index) {
            let same_actor = first.team == second.team && first.agent == second.agent;
            let own_leader = first.team == second.team && (first.agent.is_none() || second.agent.is_none());
            if same_actor || own_leader {
                continue;
            }
            let Some(path) = glob::meeting(&first.glob, &second.glob, effort)? else {
                continue;
            };
            // A leader may write what another team owns when the two never work at the same time; agents never may.
            if first.agent.is_none() || second.agent.is_none() {
                let (one, other) = (phases[first.team], phases[second.team]);
                if waits_for(draft, one, other, effort)? || waits_for(draft, other, one, effort)? {
                    continue;
                }
            }
            if !told.insert(((first.team, first.agent), (second.team, second.agent))) {
                continue;
            }
            if told.len() > OVERLAPS_MAX {
                return Ok(());
            }
            let mut diagnostic = Diagnostic::new(
                codes::OVERLAPPING_OWNERSHIP,
                format!("{} and {} may both write `{path}`", first.owner, second.owner),
            )
            .at(second.text.span.clone(), format!("{} may write this", second.owner));
            if first.text.span != second.text.span {
                diagnostic = diagnostic.context(first.text.span.clone(), format!("{} may write this", first.owner));
            }
            findings.push(
                diagnostic
                    .note("paths that belong to one agent alone are what keeps parallel work free of conflicts")
                    .help("name the files of one of them one by one, or move the common part to one agent"),
            );
        }
    }
    Ok(())
}

/// Whether a phase starts only after another has landed, directly or through others.
fn waits_for(draft: &Draft<'_>, phase: usize, other: usize, effort: &mut Effort) -> Result<bool, Exhausted> {
    let mut seen = BTreeSet::from([phase]);
    let mut open = vec![phase];
    while let Some(current) = open.pop() {
        let needs = draft.phases.get(current).map_or(&[][..], |phase| &phase.needs);
        effort.spend(1 + needs.len() as u64)?;
        for need in needs.iter().filter_map(|need| draft.names.phases.get(&need.value)) {
            if *need == other {
                return Ok(true);
            }
            if seen.insert(*need) {
                open.push(*need);
            }
        }
    }
    Ok(false)
}

fn deliverables(draft: &Draft<'_>, effort: &mut Effort, findings: &mut Vec<Diagnostic>) -> Result<(), Exhausted> {
    for agent in draft.teams().flat_map(|(_, team)| &team.agents) {
        let owns: Vec<Glob> = agent
            .owns
            .iter()
            .filter_map(|text| Glob::parse(&text.value).ok())
            .collect();
        if owns.is_empty() || owns.len() < agent.owns.len() {
            continue;
        }
        for deliverable in &agent.deliverables {
            let Ok(inner) = Glob::parse(&deliverable.value) else {
                continue;
            };
            let Some(path) = glob::outside(&inner, &owns, effort)? else {
                continue;
            };
            let mut diagnostic = Diagnostic::new(
                codes::FOREIGN_DELIVERABLE,
                format!(
                    "{} must deliver `{}`, but may not write it",
                    agent.named(),
                    deliverable.value
                ),
            )
            .at(deliverable.span.clone(), "this is not inside its `owns`");
            if path != deliverable.value {
                diagnostic = diagnostic.note(format!("for example `{path}` is not"));
            }
            if let Some(first) = agent.owns.first() {
                diagnostic = diagnostic.context(first.span.clone(), "its `owns` starts here");
            }
            findings.push(diagnostic.help("add it to `owns`, or let the agent that owns it deliver it"));
        }
    }
    Ok(())
}
