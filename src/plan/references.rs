//! Checks what names what: ids, needs, cycles, drivers.

use std::collections::BTreeMap;

use super::codes;
use super::diagnostic::{Diagnostic, nearest};
use super::draft::{Draft, Placed, Reader, Resolved, TeamDraft};

/// Everything about names.
pub(super) fn check(draft: &Draft<'_>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    duplicate_ids(draft, &mut findings);
    phase_needs(draft, &mut findings);
    agent_needs(draft, &mut findings);
    drivers(draft, &mut findings);
    workspace(draft, &mut findings);
    findings
}

fn duplicate_ids(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let phases = draft.phases.iter().filter_map(|phase| phase.id.as_ref());
    let teams = draft.teams().filter_map(|(_, team)| team.id.as_ref());
    let agents = draft
        .teams()
        .flat_map(|(_, team)| &team.agents)
        .filter_map(|agent| agent.id.as_ref());
    for (what, ids) in [
        ("phases", phases.collect::<Vec<_>>()),
        ("teams", teams.collect()),
        ("agents", agents.collect()),
    ] {
        let mut first: BTreeMap<&str, &Placed<String>> = BTreeMap::new();
        for id in ids {
            if let Some(first) = first.get(id.value.as_str()) {
                findings.push(
                    Diagnostic::new(codes::DUPLICATE_ID, format!("two {what} have the id `{}`", id.value))
                        .at(id.span.clone(), "used again here")
                        .context(first.span.clone(), "first used here")
                        .help("give each its own id: branches, tags and journals are found by it"),
                );
            } else {
                first.insert(&id.value, id);
            }
        }
    }
}

fn phase_needs(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let ids: Vec<&Placed<String>> = draft.phases.iter().filter_map(|phase| phase.id.as_ref()).collect();
    let mut edges: Vec<Vec<(usize, &Placed<String>)>> = Vec::new();
    for phase in &draft.phases {
        repeated(&phase.needs, findings);
        let mut own = Vec::new();
        for need in &phase.needs {
            if let Some(target) = draft.names.phases.get(&need.value) {
                own.push((*target, need));
                continue;
            }
            let near = nearest(&need.value, ids.iter().map(|id| id.value.as_str()));
            let title = format!(
                "phase `{}` needs unknown phase `{}`",
                phase.id.as_ref().map_or("?", |id| &id.value),
                need.value
            );
            let mut diagnostic =
                Diagnostic::new(codes::UNKNOWN_PHASE, title).at(need.span.clone(), "no phase has this id");
            if let Some(near) = &near
                && let Some(id) = ids.iter().find(|id| &id.value == near)
            {
                diagnostic = diagnostic.context(id.span.clone(), "a phase with a similar id is declared here");
            } else if !ids.is_empty() {
                diagnostic = diagnostic.help(format!("the phases are {}", listed(&ids)));
            }
            findings.push(diagnostic.did_you_mean(need.span.clone(), near));
        }
        edges.push(own);
    }
    let cycles = cycles(&edges);
    // In a cycle of phases every need between their teams would be reported as well.
    if cycles.is_empty() {
        team_cycles(draft, findings);
    }
    for cycle in cycles {
        let name = |index: usize| {
            draft
                .phases
                .get(index)
                .and_then(|phase| phase.id.as_ref())
                .map_or("?", |id| id.value.as_str())
        };
        findings.push(
            cycle_finding(codes::PHASE_CYCLE, "phases", &cycle, name).note("no phase in the cycle can ever start"),
        );
    }
}

fn listed(ids: &[&Placed<String>]) -> String {
    ids.iter()
        .take(20)
        .map(|id| id.value.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn repeated(needs: &[Placed<String>], findings: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, &Placed<String>> = BTreeMap::new();
    for need in needs {
        if let Some(first) = first.get(need.value.as_str()) {
            findings.push(
                Diagnostic::new(codes::REPEATED_NEED, format!("`{}` is needed twice", need.value))
                    .at(need.span.clone(), "this one changes nothing")
                    .context(first.span.clone(), "needed here already"),
            );
        } else {
            first.insert(&need.value, need);
        }
    }
}

/// The edges of a cycle, in order: who, through which text, whom.
type Cycle<'d> = Vec<(usize, &'d Placed<String>, usize)>;

/// One cycle per knot, without recursion: a hostile plan may have a chain of thousands.
fn cycles<'d>(edges: &[Vec<(usize, &'d Placed<String>)>]) -> Vec<Cycle<'d>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut found: Vec<Cycle<'d>> = Vec::new();
    for root in 0..edges.len() {
        if marks.get(root) != Some(&Mark::New) {
            continue;
        }
        // The path from the root: who, which of its edges is next, through which text it was reached.
        let mut path: Vec<(usize, usize, Option<&'d Placed<String>>)> = vec![(root, 0, None)];
        marks[root] = Mark::Open;
        while let Some((node, edge, _)) = path.last_mut() {
            let Some((target, through)) = edges.get(*node).and_then(|own| own.get(*edge)).copied() else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            *edge += 1;
            let node = *node;
            match marks.get(target) {
                Some(Mark::New) => {
                    marks[target] = Mark::Open;
                    path.push((target, 0, Some(through)));
                }
                Some(Mark::Open) => {
                    let start = path.iter().position(|(other, _, _)| *other == target).unwrap_or(0);
                    let mut cycle: Cycle<'d> = path
                        .windows(2)
                        .skip(start)
                        .filter_map(|pair| match pair {
                            [(from, ..), (to, _, Some(through))] => Some((*from, *through, *to)),
                            _ => None,
                        })
                        .collect();
                    cycle.push((node, through, target));
                    found.push(cycle);
                }
                Some(Mark::Done) | None => {}
            }
        }
    }
    found
}

fn cycle_finding<'n>(code: codes::Code, what: &str, cycle: &Cycle<'_>, name: impl Fn(usize) -> &'n str) -> Diagnostic {
    let title = match cycle.as_slice() {
        [(own, _, _)] => format!("`{}` needs itself", name(*own)),
        _ => {
            let mut names: Vec<&str> = cycle.iter().map(|(from, _, _)| name(*from)).collect();
            names.extend(cycle.first().map(|(from, _, _)| name(*from)));
            if names.len() > 12 {
                names.splice(6..names.len() - 5, ["..."]);
            }
            format!("{what} need each other in a cycle: {}", names.join(" -> "))
        }
    };
    let mut diagnostic = Diagnostic::new(code, title);
    for (index, (from, through, to)) in cycle.iter().take(12).enumerate() {
        let closing = if index > 0 && index + 1 == cycle.len() {
            ", closing the cycle"
        } else {
            ""
        };
        let text = format!("`{}` needs `{}`{closing}", name(*from), name(*to));
        diagnostic = diagnostic.label(super::diagnostic::PLAN, through.span.clone(), text, index == 0);
    }
    diagnostic
}

fn agent_needs(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    for (team_index, (_, team)) in draft.teams().enumerate() {
        let mut edges: Vec<Vec<(usize, &Placed<String>)>> = Vec::new();
        for agent in &team.agents {
            repeated(&agent.needs, findings);
            let mut own = Vec::new();
            for need in &agent.needs {
                match draft.resolve(team_index, &need.value) {
                    Resolved::Agent(target) => own.push((target, need)),
                    Resolved::Team(_) => {}
                    Resolved::OwnTeam => findings.push(
                        Diagnostic::new(codes::UNREACHABLE_NEED, format!("{} needs its own team", agent.named()))
                            .at(need.span.clone(), "the team lands only after this agent is merged")
                            .help("name the agents of the team that it builds on"),
                    ),
                    Resolved::Nobody => findings.push(unknown_agent(draft, team, &agent.named(), need)),
                }
            }
            edges.push(own);
        }
        for cycle in cycles(&edges) {
            let name = |index: usize| {
                team.agents
                    .get(index)
                    .and_then(|agent| agent.id.as_ref())
                    .map_or("?", |id| id.value.as_str())
            };
            findings.push(
                cycle_finding(codes::AGENT_CYCLE, "agents", &cycle, name).note("no agent in the cycle can ever start"),
            );
        }
    }
}

fn unknown_agent(draft: &Draft<'_>, team: &TeamDraft<'_>, agent: &str, need: &Placed<String>) -> Diagnostic {
    let own: Vec<&Placed<String>> = team.agents.iter().filter_map(|agent| agent.id.as_ref()).collect();
    let near = nearest(
        &need.value,
        own.iter()
            .map(|id| id.value.as_str())
            .chain(draft.names.agents.keys().map(String::as_str))
            .take(1_000),
    );
    let mut diagnostic = Diagnostic::new(
        codes::UNKNOWN_AGENT,
        format!("{agent} needs unknown agent `{}`", need.value),
    )
    .at(need.span.clone(), "no agent or team has this id");
    if let Some(near) = &near
        && let Some(id) = own.iter().find(|id| &id.value == near)
    {
        diagnostic = diagnostic.context(id.span.clone(), "an agent with a similar id is declared here");
    } else if !own.is_empty() {
        diagnostic = diagnostic.help(format!("the agents of this team are {}", listed(&own)));
    }
    diagnostic.did_you_mean(need.span.clone(), near)
}

/// A team lands only after everything its agents and its phase need has landed. Where that comes back to itself, a need between teams can never be met.
fn team_cycles(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let teams: Vec<(usize, &TeamDraft<'_>)> = draft.teams().collect();
    let phase_count = draft.phases.len();
    // Nodes: that a phase may start, that a phase has landed, and each team. Edges: what must come first.
    let (landed, team_node) = (phase_count, 2 * phase_count);
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); team_node + teams.len()];
    for (index, phase) in draft.phases.iter().enumerate() {
        before[index].extend(
            phase
                .needs
                .iter()
                .filter_map(|need| draft.names.phases.get(&need.value))
                .map(|needed| landed + needed),
        );
    }
    let mut needs: Vec<(usize, usize, &Placed<String>)> = Vec::new();
    for (index, (phase, team)) in teams.iter().enumerate() {
        before[landed + phase].push(team_node + index);
        before[team_node + index].push(*phase);
        for need in team.agents.iter().flat_map(|agent| &agent.needs) {
            if let Resolved::Team(target) = draft.resolve(index, &need.value) {
                before[team_node + index].push(team_node + target);
                needs.push((index, target, need));
            }
        }
    }
    if needs.is_empty() {
        return;
    }
    let knots = knots(&before);
    for (index, target, need) in needs {
        if knots[team_node + index] != knots[team_node + target] {
            continue;
        }
        let (own, other) = (named(&teams, index), named(&teams, target));
        let mut diagnostic = Diagnostic::new(
            codes::UNREACHABLE_NEED,
            format!("{own} waits for {other}, which waits for {own}"),
        )
        .at(need.span.clone(), format!("met only when {other} has landed"))
        .note(format!(
            "{other} cannot land before {own}: its phase or one of its agents needs it, perhaps through others"
        ));
        if let Some(id) = teams.get(target).and_then(|(_, team)| team.id.as_ref()) {
            diagnostic = diagnostic.context(id.span.clone(), format!("{other} waits for {own}"));
        }
        findings.push(diagnostic.help("drop one of the needs, or move the agent into a later phase"));
    }
}

/// For each node the number of its strongly connected component, by two depth-first walks without recursion.
fn knots(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut finished = Vec::with_capacity(edges.len());
    let mut seen = vec![false; edges.len()];
    for root in 0..edges.len() {
        if std::mem::replace(&mut seen[root], true) {
            continue;
        }
        let mut path = vec![(root, 0)];
        while let Some((node, edge)) = path.last_mut() {
            if let Some(target) = edges[*node].get(*edge).copied() {
                *edge += 1;
                if !std::mem::replace(&mut seen[target], true) {
                    path.push((target, 0));
                }
            } else {
                finished.push(*node);
                path.pop();
            }
        }
    }
    let mut reversed = vec![Vec::new(); edges.len()];
    for (from, targets) in edges.iter().enumerate() {
        for to in targets {
            reversed[*to].push(from);
        }
    }
    let mut knot_of = vec![usize::MAX; edges.len()];
    for root in finished.into_iter().rev() {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            if knot_of[node] == usize::MAX {
                knot_of[node] = root;
                open.extend(&reversed[node]);
            }
        }
    }
    knot_of
}

fn named(teams: &[(usize, &TeamDraft<'_>)], index: usize) -> String {
    teams.get(index).map(|(_, team)| team.named()).unwrap_or_default()
}

/// Settings that belong to a driver.
fn drivers(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let defaults = draft.agent_defaults();
    let default_driver = defaults.text("driver");
    let default_word = default_driver.as_ref().map_or("claude", |driver| &driver.value);
    let mut actors: Vec<(String, Reader<'_>)> = Vec::new();
    for (_, team) in draft.teams() {
        actors.push((format!("the leader of {}", team.named()), team.leader));
        actors.extend(team.agents.iter().map(|agent| (agent.named(), agent.reader)));
    }
    let mut told_defaults = false;
    for (name, reader) in &actors {
        let own_driver = reader.text("driver");
        let word = own_driver.as_ref().map_or(default_word, |driver| &driver.value);
        let command = reader.text("command").or_else(|| defaults.text("command"));
        if word == "command" && command.is_none() {
            let Some(place) = own_driver.as_ref().or(default_driver.as_ref()) else {
                continue;
            };
            // The default's mistake is one mistake, not one for each agent.
            if own_driver.is_some() || !std::mem::replace(&mut told_defaults, true) {
                findings.push(
                    Diagnostic::new(
                        codes::DRIVER_NEEDS,
                        format!("{name} has the driver `command`, but no command"),
                    )
                    .at(place.span.clone(), "this driver runs a command")
                    .help("add for example `command: sh tools/agent.sh`"),
                );
            }
        }
        for (key, driver) in [("command", "command"), ("program", "claude")] {
            if let Some(set) = reader.text(key)
                && word != driver
            {
                findings.push(
                    Diagnostic::new(codes::UNUSED_SETTING, format!("`{key}` has no effect for {name}"))
                        .at(set.span.clone(), format!("only the driver `{driver}` reads this"))
                        .help(format!("remove it, or set `driver: {driver}`")),
                );
            }
        }
    }
}

/// Things in `workspace` that do nothing.
fn workspace(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) {
    let workspace = draft.workspace();
    let share = workspace.texts("share");
    let is_inside = |inner: &str, outer: &str| {
        inner
            .trim_end_matches('/')
            .strip_prefix(outer.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for copied in workspace.texts("copy") {
        if let Some(shared) = share.iter().find(|shared| is_inside(&copied.value, &shared.value)) {
            findings.push(
                Diagnostic::new(codes::UNUSED_WORKSPACE, format!("`{}` is never copied", copied.value))
                    .at(copied.span.clone(), "this lies in a shared directory")
                    .context(shared.span.clone(), "shared here, so it is linked instead")
                    .help("remove it from `copy`"),
            );
        }
    }
    if let (None, Some(first)) = (workspace.get("setup"), share.first()) {
        findings.push(
            Diagnostic::new(codes::UNUSED_WORKSPACE, "`share` has no effect without `setup`")
                .at(first.span.clone(), "nothing makes this directory in a fresh worktree")
                .help("add the command that makes it, for example `setup: npm ci`"),
        );
    }
}
