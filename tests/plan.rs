//! The plan through the real binary: every finding with its place and code, the schema, the graph, the prompts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what it expects by failing"
)]

#[path = "support/cli.rs"]
mod cli;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use orchestrate::ids::{Actor, AgentId, Attempt, MicroDollars, TeamId};
use orchestrate::plan::{self, Approval, Driver, Gate, Need, Plan, codes, draw, format};
use orchestrate::prompt::{ConflictText, Prompts, Recipient};
use serde_json::Value;

use cli::{err, orchestrate, plans, top};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

/// Compares with a file beside the plan; `UPDATE=1` writes it instead.
fn matches_snapshot(file: &Path, found: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, found).expect("the snapshot is written");
        return;
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    assert!(
        found == wanted,
        "{} differs; UPDATE=1 cargo test --test plan writes it anew\n--- found\n{found}\n--- wanted\n{wanted}",
        file.display()
    );
}

fn yaml_files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("the directory is there")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

#[test]
fn every_bad_plan_gets_its_findings_with_code_place_and_remedy() {
    let directory = plans("bad");
    for name in yaml_files(&directory) {
        let output = orchestrate(&directory, &["check", "--plan", &name]);
        let code = &name[..5];
        let wanted_exit = if code.starts_with('W') { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(wanted_exit), "{name}: {}", err(&output));
        assert!(
            err(&output).contains(&format!("[{code}]")),
            "{name} does not show {code}:\n{}",
            err(&output)
        );
        matches_snapshot(&directory.join(name.replace(".yaml", ".stderr")), &err(&output));
    }
}

#[test]
fn every_code_has_a_page_and_a_bad_plan_that_shows_it() {
    let shown: BTreeSet<String> = yaml_files(&plans("bad"))
        .iter()
        .map(|name| name[..5].to_owned())
        .collect();
    let known: BTreeSet<String> = codes::PAGES.iter().map(|page| page.code.as_str().to_owned()).collect();
    assert_eq!(shown, known);
    for page in codes::PAGES {
        let code = page.code.as_str();
        assert!(
            page.text.starts_with(&format!("# {code}: {}\n\n", page.title())),
            "{code}"
        );
        assert!(page.text.len() > 150, "the page of {code} says nothing");
        let output = orchestrate(&top(), &["explain", &code.to_lowercase()]);
        assert_eq!((output.status.code(), out(&output)), (Some(0), page.text.to_owned()));
    }
    let files = fs::read_dir(top().join("src/plan/codes")).expect("pages").count();
    assert_eq!(files, codes::PAGES.len(), "a page without a code");
    let list = out(&orchestrate(&top(), &["explain"]));
    assert_eq!(list.lines().count(), codes::PAGES.len());
    assert_eq!(orchestrate(&top(), &["explain", "E9999"]).status.code(), Some(2));
}

#[test]
fn findings_come_in_the_order_of_the_text_and_count_in_the_last_lines() {
    let loaded = plan::load(&plans("bad").join("E0305-everything-at-once.yaml"), "phases.yaml");
    assert!(loaded.plan.is_none());
    let codes: Vec<&str> = loaded
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.code.as_str())
        .collect();
    assert_eq!(codes, ["E0103", "E0210", "E0305", "E0305", "E0305", "E0305"]);
    let (verdict, hint) = draw::verdict(&loaded).expect("a verdict");
    assert_eq!(verdict, "phases.yaml has 6 errors; nothing was started");
    assert_eq!(hint, "run `orchestrate explain E0103`");
}

#[test]
fn good_plans_are_accepted_in_silence() {
    let directory = plans("good");
    for name in yaml_files(&directory) {
        let output = orchestrate(&directory, &["check", "--plan", &name]);
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""), "{name}");
        assert!(out(&output).starts_with(&format!("{name} is valid: ")));
    }
    let shipped = orchestrate(&top(), &["check"]);
    assert_eq!((shipped.status.code(), err(&shipped).as_str()), (Some(0), ""));
    assert!(out(&shipped).contains("4 phases, 4 teams, 16 agents"));
}

#[test]
fn a_plan_means_what_it_says_with_defaults_where_it_is_silent() {
    let loaded = plan::load(&plans("good").join("everything.yaml"), "everything.yaml");
    let plan = loaded.plan.expect("a plan");
    assert_eq!(plan.repository.base.as_str(), "trunk");
    assert_eq!(plan.gates.team, Gate::None);
    assert_eq!(plan.gates.main, Gate::Command("npm test && ./verify".to_owned()));
    assert_eq!(plan.gates.timeout, Duration::from_secs(600));
    assert_eq!(plan.limits.budget, Some(MicroDollars(20_000_000)));
    assert_eq!(plan.approvals.team, Approval::Manual);
    let settings = |id: &str| plan.settings_of(&Actor::Agent(AgentId::new(id))).expect("settings");
    assert_eq!(
        settings("core.1").driver,
        Driver::Command {
            command: "sh tools/agent.sh".to_owned()
        }
    );
    assert_eq!(settings("core.1").env, Vec::<String>::new());
    assert_eq!(settings("core.1").budget, None, "null takes the default away");
    assert_eq!(settings("core.2").driver, Driver::Replay);
    assert_eq!(settings("core.2").budget, Some(MicroDollars(5_500_000)));
    assert_eq!(settings("core.2").stuck_after, Duration::from_secs(5400));
    let leader = plan.team(&TeamId::new("core")).expect("the team").leader.clone();
    assert_eq!(
        (leader.branch.as_str(), leader.settings.model, leader.settings.max_turns),
        ("leader/core", None, Some(50))
    );
    assert_eq!(
        plan.team(&TeamId::new("side"))
            .expect("the team")
            .leader
            .branch
            .as_str(),
        "team/side-integration"
    );
    let needs = |id: &str| plan.agent(&AgentId::new(id)).expect("the agent").1.needs.clone();
    assert_eq!(needs("core.2"), [Need::Agent(AgentId::new("core.1"))]);
    assert_eq!(
        needs("side.1"),
        [Need::Team(TeamId::new("core"))],
        "an agent of another team stands for the team"
    );
    assert_eq!(needs("last.1"), [Need::Team(TeamId::new("core"))]);

    let plan = plan::load(&plans("good").join("smallest.yaml"), "smallest.yaml")
        .plan
        .expect("a plan");
    assert_eq!(
        (plan.limits.agents, plan.limits.gates, plan.limits.budget),
        (8, 2, None)
    );
    assert_eq!(plan.gates.timeout, Duration::from_secs(1800));
    assert_eq!(
        (plan.approvals.team, plan.approvals.release),
        (Approval::Auto, Approval::Manual)
    );
    let (_, agent) = plan.agent(&AgentId::new("1.1")).expect("the agent");
    assert_eq!(
        agent.settings.driver,
        Driver::Claude {
            program: "claude".to_owned()
        }
    );
    assert_eq!(
        (agent.settings.max_attempts, agent.settings.stuck_after),
        (3, Duration::from_secs(1800))
    );
}

#[test]
fn json_findings_point_into_the_file() {
    let directory = plans("bad");
    for name in yaml_files(&directory) {
        let output = orchestrate(&directory, &["check", "--format", "json", "--plan", &name]);
        let document: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
        assert_eq!(document["schema"], 1);
        assert_eq!(document["valid"], output.status.code() == Some(0));
        assert_eq!(err(&output), "");
        for finding in document["findings"].as_array().expect("findings") {
            for label in finding["labels"].as_array().expect("labels") {
                let text =
                    fs::read(directory.join(label["file"].as_str().expect("a file"))).expect("the file is there");
                let (start, end) = (
                    label["start"].as_u64().expect("a start"),
                    label["end"].as_u64().expect("an end"),
                );
                assert!(start <= end && end <= text.len() as u64, "{name}: {label}");
                let line = text.iter().take(start as usize).filter(|byte| **byte == b'\n').count() + 1;
                assert_eq!(label["line"], line, "{name}: {label}");
            }
        }
    }
}

/// Validates by the keywords that the schema uses. An unknown keyword fails, so that none is ever skipped in silence; patterns are left to editors.
fn fits_schema(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        let number = || value.as_f64().unwrap_or(f64::NAN);
        let length = value.as_array().map(Vec::len).unwrap_or_default() as f64;
        let bound = || wanted.as_f64().expect("a number");
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" | "examples" | "pattern" => true,
            "$ref" => {
                let pointer = wanted.as_str().expect("a reference").trim_start_matches('#');
                return fits_schema(value, root.pointer(pointer).expect("a definition"), root);
            }
            "type" => match wanted.as_str().expect("a type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                other => panic!("unknown type {other}"),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("a list").contains(value),
            "minLength" => !value.is_string() || value.as_str().is_some_and(|text| text.len() as f64 >= bound()),
            "minimum" => !value.is_number() || number() >= bound(),
            "maximum" => !value.is_number() || number() <= bound(),
            "exclusiveMinimum" => !value.is_number() || number() > bound(),
            "minItems" => !value.is_array() || length >= bound(),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits_schema(item, wanted, root)?;
                }
                true
            }
            "anyOf" => wanted
                .as_array()
                .expect("a list")
                .iter()
                .any(|one| fits_schema(value, one, root).is_ok()),
            "required" => wanted
                .as_array()
                .expect("a list")
                .iter()
                .all(|name| value.get(name.as_str().expect("a name")).is_some()),
            "additionalProperties" => value
                .as_object()
                .is_none_or(|entries| entries.keys().all(|name| schema["properties"].get(name).is_some())),
            "properties" => {
                for (name, entry) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(name) {
                        fits_schema(entry, schema, root).map_err(|error| format!("{name}: {error}"))?;
                    }
                }
                true
            }
            other => panic!("the schema uses a keyword that is not known here: {other}"),
        };
        if !holds {
            return Err(format!("{keyword} {wanted} does not hold for {value}"));
        }
    }
    Ok(())
}

#[test]
fn the_schema_accepts_good_plans_and_refuses_plans_with_mistakes_of_structure() {
    let output = orchestrate(&top(), &["check", "--schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    assert_eq!(schema, format::json_schema());
    let read = |file: &Path| -> Value {
        serde_yaml::from_str(&fs::read_to_string(file).expect("the plan is there")).expect("YAML")
    };
    let good = yaml_files(&plans("good"))
        .into_iter()
        .map(|name| plans("good").join(name));
    for file in good.chain([top().join("phases.yaml")]) {
        assert_eq!(
            fits_schema(&read(&file), &schema, &schema),
            Ok(()),
            "{}",
            file.display()
        );
    }
    let mut refused = 0;
    for name in yaml_files(&plans("bad")) {
        let wanted = match &name[..5] {
            "E0103" | "E0104" | "E0106" | "E0109" | "E0110" | "E0112" | "E0113" => true,
            "E0201" | "E0202" | "E0203" | "E0204" | "E0205" | "E0206" | "E0207" | "E0209" | "E0210" | "E0211" => false,
            _ => continue,
        };
        let found = fits_schema(&read(&plans("bad").join(&name)), &schema, &schema);
        assert_eq!(found.is_err(), wanted, "{name}: {found:?}");
        refused += usize::from(wanted);
    }
    assert!(refused >= 8);
}

#[test]
fn the_graph_shows_waves_and_the_critical_path() {
    let directory = plans("good");
    for format in ["tree", "mermaid", "dot", "json"] {
        let output = orchestrate(&directory, &["graph", "--format", format, "--plan", "everything.yaml"]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        matches_snapshot(&directory.join(format!("everything.graph.{format}")), &out(&output));
    }
    let output = orchestrate(&top(), &["graph", "--format", "json"]);
    let graph: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    let waves: Vec<Vec<&str>> = graph["waves"]
        .as_array()
        .expect("waves")
        .iter()
        .map(|wave| {
            wave.as_array()
                .expect("a wave")
                .iter()
                .filter_map(Value::as_str)
                .collect()
        })
        .collect();
    assert_eq!(waves.concat().len(), 20);
    assert_eq!(waves[0], ["1.1"]);
    assert_eq!(
        waves[5],
        ["2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "3.4"],
        "phases 2 and 3 start together"
    );
    assert_eq!(
        graph["expected_ms"],
        (45 + 90 + 60 + 75) * 60_000,
        "phases 1, 3 and 4 in a row, and between the last two what agent 2.4 and leader 2 take of phase 2, which wait for team 3"
    );
    let ascii = Command::new(env!("CARGO_BIN_EXE_orchestrate"))
        .args(["graph", "--plan", "smallest.yaml"])
        .current_dir(&directory)
        .env_clear()
        .output()
        .expect("the program runs");
    assert!(ascii.stdout.is_ascii());
}

#[test]
fn render_prints_every_prompt_of_the_shipped_plan() {
    let plan = plan::load(&top().join("phases.yaml"), "phases.yaml")
        .plan
        .expect("a plan");
    let agents = plan
        .agents()
        .map(|(_, agent)| (vec![agent.id.to_string()], Actor::Agent(agent.id.clone())));
    let leaders = plan.teams().map(|team| {
        (
            vec!["leader".to_owned(), team.id.to_string()],
            Actor::Leader(team.id.clone()),
        )
    });
    for (who, actor) in agents.chain(leaders) {
        let mut arguments = vec!["render"];
        arguments.extend(who.iter().map(String::as_str));
        let output = orchestrate(&top(), &arguments);
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""), "{who:?}");
        let text = out(&output);
        assert!(
            text.contains(&plan.completion_line(&actor)),
            "{who:?} is not told how to complete"
        );
        // `${{ ... }}` is the syntax of the workflows that agent 3.4 writes.
        assert!(
            !text.replace("${{", "").contains("{{") && !text.contains("{%"),
            "{who:?} gets a piece of template"
        );
        assert!(
            !text.contains("&quot;") && !text.contains("&amp;"),
            "{who:?} gets escaped text"
        );
    }
    let leader = out(&orchestrate(&top(), &["render", "leader", "1"]));
    assert_eq!(out(&orchestrate(&top(), &["render", "team-1"])), leader);
    assert_eq!(out(&orchestrate(&top(), &["render", "leader-1"])), leader);
    assert_ne!(
        out(&orchestrate(&top(), &["render", "1.2", "--attempt", "2"])),
        out(&orchestrate(&top(), &["render", "1.2"]))
    );
    let nobody = orchestrate(&top(), &["render", "9.9"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(err(&nobody).contains("leader 1"), "{}", err(&nobody));
    assert_eq!(
        orchestrate(&plans("bad"), &["render", "1.1", "--plan", "E0103-unknown-keys.yaml"])
            .status
            .code(),
        Some(3)
    );
}

fn small_plan() -> Plan {
    plan::load(&plans("good").join("smallest.yaml"), "smallest.yaml")
        .plan
        .expect("a plan")
}

#[test]
fn later_prompts_carry_what_happened_and_repeat_the_task_for_a_fresh_session() {
    let plan = small_plan();
    // This directory has none of the shared templates: the program's own serve.
    let prompts = Prompts::load(&plans("good"), &plan).expect("prompts");
    let actor = Actor::Agent(AgentId::new("1.2"));
    let to = Recipient {
        plan: &plan,
        actor: &actor,
        attempt: Attempt(2),
        fresh: false,
        conflict: None,
    };
    let first = prompts.render_first(to).expect("a prompt");
    assert_eq!(
        first,
        "Work on agent-1-2, then commit:\n\n    [AGENT-1-2] Service complete\n"
    );
    let retry = prompts
        .render_retry(to, "the gate failed", "line one\n<b> & \"two\"")
        .expect("a prompt");
    assert!(retry.contains("the gate failed") && retry.contains("<b> & \"two\"") && retry.contains("attempt 2 of 3"));
    assert!(!retry.contains("Work on agent-1-2"));
    let fresh = Recipient { fresh: true, ..to };
    assert!(
        prompts
            .render_retry(fresh, "x", "y")
            .expect("a prompt")
            .contains("Work on agent-1-2")
    );
    let answer = prompts.render_answer(to, "Which port?", "8787").expect("a prompt");
    assert!(answer.contains("Which port?") && answer.contains("8787"));
    assert!(
        prompts
            .render_continue(fresh)
            .expect("a prompt")
            .contains("Work on agent-1-2")
    );
    let leader = Actor::Leader(TeamId::new("1"));
    let to_leader = Recipient { actor: &leader, ..to };
    let conflict = prompts
        .render_conflict(
            to_leader,
            &ConflictText {
                source: "agent-1-2".to_owned(),
                target: "team-1".to_owned(),
                paths: vec!["service/index.ts".to_owned()],
                source_changes: "+a line of the agent".to_owned(),
                prompts: vec!["prompts/agent-1-2.md.tera".to_owned()],
                ..ConflictText::default()
            },
        )
        .expect("a prompt");
    assert!(conflict.contains("`service/index.ts`") && conflict.contains("agent-1-2") && conflict.contains("team-1"));
    assert!(conflict.contains("+a line of the agent") && conflict.contains("prompts/agent-1-2.md.tera"));
    let stranger = Actor::Agent(AgentId::new("7.7"));
    assert!(prompts.render_first(Recipient { actor: &stranger, ..to }).is_err());
}

#[test]
fn a_long_output_is_quoted_by_its_end() {
    let plan = small_plan();
    let prompts = Prompts::load(&plans("good"), &plan).expect("prompts");
    let actor = Actor::Agent(AgentId::new("1.1"));
    let to = Recipient {
        plan: &plan,
        actor: &actor,
        attempt: Attempt(2),
        fresh: false,
        conflict: None,
    };
    let output: String = (0..20_000).map(|number| format!("line {number} äöü\n")).collect();
    let retry = prompts.render_retry(to, "too long", &output).expect("a prompt");
    assert!(retry.len() < 24_000, "{}", retry.len());
    assert!(retry.contains("line 19999") && !retry.contains("line 100 ") && retry.contains("bytes left out"));
}

#[test]
fn own_templates_go_before_the_programs() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("specs/a.md", "# A\n"),
        ("prompts/leader.md.tera", "{{ completion_line }}"),
        (
            "prompts/agent.md.tera",
            "{% include \"partials/role.md.tera\" %} {{ completion_line }}",
        ),
        (
            "prompts/partials/role.md.tera",
            "Own role of {{ agent.id }}, reading {{ spec_files | join(sep=\", \") }}.",
        ),
        ("prompts/retry.md.tera", "Own retry: {{ failure.reason }}"),
    ] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }
    fs::copy(
        plans("good").join("smallest.yaml"),
        directory.path().join("phases.yaml"),
    )
    .expect("the plan");
    let plan = plan::load(&directory.path().join("phases.yaml"), "phases.yaml")
        .plan
        .expect("a plan");
    let prompts = Prompts::load(directory.path(), &plan).expect("prompts");
    let actor = Actor::Agent(AgentId::new("1.1"));
    let to = Recipient {
        plan: &plan,
        actor: &actor,
        attempt: Attempt(1),
        fresh: false,
        conflict: None,
    };
    assert_eq!(
        prompts.render_first(to).expect("a prompt"),
        "Own role of 1.1, reading specs/a.md. [AGENT-1-1] Schema complete\n"
    );
    assert_eq!(
        prompts.render_retry(to, "why", "").expect("a prompt"),
        "Own retry: why\n"
    );
    // A mistake in a shared template is found before anything runs, though only a retry would meet it.
    fs::write(directory.path().join("prompts/retry.md.tera"), "{{ failure.raeson }}").expect("a file");
    let output = orchestrate(directory.path(), &["check", "--plan", "phases.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("did you mean `reason`?"), "{}", err(&output));
}

#[test]
fn a_plan_that_is_not_there_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = orchestrate(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        err(&output).contains("`phases.yaml` cannot be read") && err(&output).contains("orchestrate init"),
        "{}",
        err(&output)
    );
    fs::create_dir(directory.path().join("phases.yaml")).expect("a directory");
    assert!(err(&orchestrate(directory.path(), &["check"])).contains("not a regular file"));
}
