//! Renders prompts: Tera templates with strict variables, fed from the plan alone.

mod defaults;
mod library;

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tera::{Context, ErrorKind, Tera};
use thiserror::Error;

use crate::ids::{Actor, Attempt};
use crate::plan::{Gate, Need, Plan, Team};
use crate::tags;

pub use library::Library;

/// Output of a failed check that a prompt quotes; of more, the end is what says why.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Files of the specifications that a prompt names.
const SPEC_FILES_MAX: usize = 1_000;
/// Levels of directories that are looked into.
const DEPTH_MAX: usize = 16;

/// What is wrong with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It does not parse.
    Syntax,
    /// It includes or extends a template that does not exist.
    UnknownTemplate,
    /// It uses a variable or a field that does not exist.
    UnknownVariable,
    /// It parses, but does not render.
    Fails,
}

/// A mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("template `{template}`: {message}")]
pub struct Fault {
    /// What kind of mistake.
    pub kind: FaultKind,
    /// The template's name: its path in the prompts' directory.
    pub template: String,
    /// Bytes of the template, when the place is known.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
}

/// Why there is no prompt.
#[derive(Debug, Error)]
pub enum PromptError {
    /// The directory is not there.
    #[error("there is no directory `{}` with prompts", .0.display())]
    MissingDirectory(PathBuf),
    /// A file cannot be read as a template.
    #[error("cannot read the template `{name}`: {reason}")]
    Unreadable {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A template is wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The plan does not have this actor.
    #[error("the plan has no {0}")]
    UnknownActor(Actor),
}

/// For whom a prompt is.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Who.
    pub actor: &'a Actor,
    /// Which attempt of theirs.
    pub attempt: Attempt,
    /// The session remembers nothing: later prompts repeat the first one.
    pub fresh: bool,
    /// What is to be settled, for whoever settles a conflict.
    pub conflict: Option<&'a ConflictText>,
}

/// A conflict, as a prompt tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConflictText {
    /// The branch that is merged.
    pub source: String,
    /// Its commit.
    pub source_commit: String,
    /// The branch that it goes into.
    pub target: String,
    /// Conflicting paths.
    pub paths: Vec<String>,
    /// What the target changed in them.
    pub target_changes: String,
    /// What the source changed in them.
    pub source_changes: String,
    /// Files with what the agents of both sides were asked to do.
    pub prompts: Vec<String>,
    /// What a human has said about it, or empty.
    pub guidance: String,
}

/// All templates of a plan, ready to render.
#[derive(Debug)]
pub struct Prompts {
    tera: Tera,
    spec_files: Vec<String>,
}

impl Prompts {
    /// Reads the templates of a plan, whose relative paths start from `plan_directory`, and the names of its specifications.
    pub fn load(plan_directory: &Path, plan: &Plan) -> Result<Self, PromptError> {
        let library = Library::read(&plan_directory.join(&plan.prompts))?;
        if let Some((name, reason)) = library.unreadable.first() {
            return Err(PromptError::Unreadable {
                name: name.clone(),
                reason: reason.clone(),
            });
        }
        let (prompts, faults) = Self::compile(&library, spec_files(plan_directory, plan));
        match faults.into_iter().next() {
            Some(fault) => Err(fault.into()),
            None => Ok(prompts),
        }
    }

    /// The prompts of a library, and every mistake in it. Templates with mistakes are empty.
    pub fn compile(library: &Library, spec_files: Vec<String>) -> (Self, Vec<Fault>) {
        let (tera, faults) = library.compile();
        (Self { tera, spec_files }, faults)
    }

    /// The first prompt of an attempt: the agent's work, or the leader's integration.
    pub fn render_first(&self, to: Recipient<'_>) -> Result<String, PromptError> {
        if let Some(conflict) = to.conflict {
            return self.render_conflict(to, conflict);
        }
        let template = first_template(to)?;
        self.render(template, &self.variables(to, first_task(to.actor))?)
    }

    /// After an attempt ended badly, or its work was turned down: what was wrong, with the failing output (its end, when it is long).
    pub fn render_retry(&self, to: Recipient<'_>, reason: &str, output: &str) -> Result<String, PromptError> {
        let mut variables = self.later_variables(to, first_task(to.actor))?;
        variables.insert(
            "failure".to_owned(),
            json!({ "reason": reason, "output": tail(output) }),
        );
        self.render(defaults::RETRY, &variables)
    }

    /// After a human has answered.
    pub fn render_answer(&self, to: Recipient<'_>, question: &str, answer: &str) -> Result<String, PromptError> {
        let mut variables = self.later_variables(to, "answer")?;
        variables.insert("question".to_owned(), json!(question));
        variables.insert("answer".to_owned(), json!(answer));
        self.render(defaults::ANSWER, &variables)
    }

    /// After an interruption that was nobody's fault.
    pub fn render_continue(&self, to: Recipient<'_>) -> Result<String, PromptError> {
        self.render(defaults::RESUME, &self.later_variables(to, first_task(to.actor))?)
    }

    /// For a leader: a merge that has conflicts.
    pub fn render_conflict(&self, to: Recipient<'_>, conflict: &ConflictText) -> Result<String, PromptError> {
        let aside = Recipient { conflict: None, ..to };
        let mut variables = self.later_variables(aside, "resolve")?;
        variables.insert(
            "conflict".to_owned(),
            json!({
                "source": conflict.source,
                "source_commit": conflict.source_commit,
                "target": conflict.target,
                "paths": conflict.paths,
                "target_changes": conflict.target_changes,
                "source_changes": conflict.source_changes,
                "prompts": conflict.prompts,
                "guidance": conflict.guidance,
            }),
        );
        self.render(defaults::CONFLICT, &variables)
    }

    /// Names of the variables that a template and what it includes use, whether or not a rendering reaches them.
    pub fn variables_used(&self, template: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .tera
            .get_template_variables(template)
            .map(|names| names.into_iter().map(str::to_owned).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    fn render(&self, template: &str, variables: &Map<String, Value>) -> Result<String, PromptError> {
        let mut context = Context::new();
        for (name, value) in variables {
            context.insert(name.clone(), value);
        }
        let text = self
            .tera
            .render(template, &context)
            .map_err(|error| fault(template, &error))?;
        Ok(tidy(&text))
    }

    fn later_variables(&self, to: Recipient<'_>, task: &str) -> Result<Map<String, Value>, PromptError> {
        let mut variables = self.variables(to, task)?;
        let original = if to.fresh {
            self.render_first(to)?
        } else {
            String::new()
        };
        variables.insert("original_prompt".to_owned(), json!(original));
        Ok(variables)
    }

    /// What every template can use. The names are a contract with the templates of every plan.
    fn variables(&self, to: Recipient<'_>, task: &str) -> Result<Map<String, Value>, PromptError> {
        let unknown = || PromptError::UnknownActor(to.actor.clone());
        let plan = to.plan;
        let team = plan.team_of(to.actor).ok_or_else(unknown)?;
        let phase = plan.phase_of(&team.id).ok_or_else(unknown)?;
        let settings = plan.settings_of(to.actor).ok_or_else(unknown)?;
        let gate = |gate: &Gate| match gate {
            Gate::None => "none".to_owned(),
            Gate::Command(command) => command.clone(),
        };
        let mut variables = Map::new();
        let mut set = |name: &str, value: Value| variables.insert(name.to_owned(), value);
        set("project", json!(plan.project));
        set("specs", json!(plan.specs));
        set("spec_files", json!(self.spec_files));
        set("base_branch", json!(plan.repository.base));
        set(
            "gates",
            json!({ "agent": gate(&plan.gates.agent), "team": gate(&plan.gates.team), "main": gate(&plan.gates.main) }),
        );
        set("phase", json!({ "id": phase.id, "name": phase.name }));
        set(
            "team",
            json!({ "id": team.id, "name": team.name, "branch": team.branch, "deliverables": team.deliverables }),
        );
        set("teammates", json!(teammates(team)));
        set(
            "leader",
            json!({
                "id": team.id,
                "branch": team.leader.branch,
                "owns": plan.writable_by(&Actor::Leader(team.id.clone())),
            }),
        );
        if let Actor::Agent(agent_id) = to.actor {
            let (_, agent) = plan.agent(agent_id).ok_or_else(unknown)?;
            set(
                "agent",
                json!({
                    "id": agent.id,
                    "name": agent.name,
                    "branch": agent.branch,
                    "completion": agent.completion,
                    "owns": agent.owns,
                    "deliverables": agent.deliverables,
                    "needs": agent.needs.iter().filter_map(|need| needed(plan, need)).collect::<Vec<_>>(),
                }),
            );
        }
        set("tag", json!(tags::actor_tag(to.actor)));
        set("completion_line", json!(plan.completion_line(to.actor)));
        set("attempt", json!(to.attempt.0));
        set("max_attempts", json!(settings.max_attempts));
        set("task", json!(task));
        Ok(variables)
    }
}

fn first_template<'a>(to: Recipient<'a>) -> Result<&'a str, PromptError> {
    match to.actor {
        Actor::Agent(agent_id) => to.plan.agent(agent_id).map(|(_, agent)| agent.prompt.as_str()),
        Actor::Leader(team_id) | Actor::Resolver(team_id) => {
            to.plan.team(team_id).map(|team| team.leader.prompt.as_str())
        }
    }
    .ok_or_else(|| PromptError::UnknownActor(to.actor.clone()))
}

fn first_task(actor: &Actor) -> &'static str {
    match actor {
        Actor::Agent(_) => "build",
        Actor::Leader(_) => "integrate",
        Actor::Resolver(_) => "resolve",
    }
}

fn teammates(team: &Team) -> Vec<Value> {
    team.agents
        .iter()
        .map(|mate| {
            json!({ "id": mate.id, "name": mate.name, "branch": mate.branch, "owns": mate.owns, "completion": mate.completion })
        })
        .collect()
}

fn needed(plan: &Plan, need: &Need) -> Option<Value> {
    match need {
        Need::Agent(agent_id) => plan
            .agent(agent_id)
            .map(|(_, agent)| json!({ "id": agent.id, "name": agent.name, "branch": agent.branch })),
        Need::Team(team_id) => plan
            .team(team_id)
            .map(|team| json!({ "id": team.id, "name": team.name, "branch": team.branch })),
    }
}

/// Names that every template, or only some, can use: what `variables` and the renderers set.
pub fn known_variables(template: &str, for_agent: bool) -> Vec<&'static str> {
    let mut names = vec![
        "project",
        "specs",
        "spec_files",
        "base_branch",
        "gates",
        "phase",
        "team",
        "teammates",
        "leader",
        "tag",
        "completion_line",
        "attempt",
        "max_attempts",
        "task",
    ];
    match template {
        defaults::RETRY => names.extend(["failure", "original_prompt"]),
        defaults::ANSWER => names.extend(["question", "answer", "original_prompt"]),
        defaults::RESUME => names.push("original_prompt"),
        defaults::CONFLICT => names.extend(["conflict", "original_prompt"]),
        _ if for_agent => names.push("agent"),
        _ => {}
    }
    names
}

/// The fields of the variables that have fields.
pub const FIELDS: &[(&str, &[&str])] = &[
    ("gates", &["agent", "team", "main"]),
    ("phase", &["id", "name"]),
    ("team", &["id", "name", "branch", "deliverables"]),
    ("leader", &["id", "branch", "owns"]),
    (
        "agent",
        &["id", "name", "branch", "completion", "owns", "deliverables", "needs"],
    ),
    ("failure", &["reason", "output"]),
    (
        "conflict",
        &[
            "source",
            "source_commit",
            "target",
            "paths",
            "target_changes",
            "source_changes",
            "prompts",
            "guidance",
        ],
    ),
];

/// The templates that serve every actor.
pub const SHARED_TEMPLATES: [&str; 4] = [defaults::RETRY, defaults::ANSWER, defaults::RESUME, defaults::CONFLICT];

/// Paths of the specifications' files, relative to the plan, in order. Hidden files are not specifications.
pub fn spec_files(plan_directory: &Path, plan: &Plan) -> Vec<String> {
    let mut files = Vec::new();
    let prefix = if plan.specs == "." {
        String::new()
    } else {
        format!("{}/", plan.specs)
    };
    library::walk(
        &plan_directory.join(&plan.specs),
        &prefix,
        DEPTH_MAX,
        SPEC_FILES_MAX,
        &mut |name, _| files.push(name),
    );
    files.sort();
    files
}

/// The end of a long text, from the start of a line.
fn tail(output: &str) -> String {
    if output.len() <= OUTPUT_BYTES_MAX {
        return output.trim_end().to_owned();
    }
    let mut start = output.len() - OUTPUT_BYTES_MAX;
    while !output.is_char_boundary(start) {
        start += 1;
    }
    let kept = &output[start..];
    let kept = kept.find('\n').map_or(kept, |newline| &kept[newline + 1..]);
    format!(
        "... {} bytes left out ...\n{}",
        output.len() - kept.len(),
        kept.trim_end()
    )
}

/// One newline at the end, none at the start, and no runs of blank lines where a condition was false.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut fence: Option<&str> = None;
    let mut blank = true;
    for line in text.lines() {
        let trimmed = line.trim_start();
        // What is quoted between fences stays as it is.
        match fence {
            Some(open) if trimmed.starts_with(open) => fence = None,
            Some(_) => {}
            None => {
                fence = ["~~~~~~~~~~", "```", "~~~"]
                    .into_iter()
                    .find(|mark| trimmed.starts_with(mark))
            }
        }
        let line_is_blank = line.trim().is_empty();
        if line_is_blank && blank && fence.is_none() {
            continue;
        }
        blank = line_is_blank;
        tidied.push_str(line.trim_end());
        tidied.push('\n');
    }
    while tidied.ends_with("\n\n") {
        tidied.pop();
    }
    tidied
}

/// An error of the template engine as a fault with a place.
fn fault(template: &str, error: &tera::Error) -> Fault {
    match error.kind() {
        ErrorKind::SyntaxError(report) => Fault {
            kind: FaultKind::Syntax,
            template: named(report.filename(), template),
            span: Some(report.span().range.clone()),
            message: lowered(report.message()),
        },
        ErrorKind::RenderingError(report) => {
            let said = report.message();
            let unknown = said.contains("is not defined") || said.contains("undefined");
            Fault {
                kind: if unknown {
                    FaultKind::UnknownVariable
                } else {
                    FaultKind::Fails
                },
                template: named(report.filename(), template),
                span: Some(report.span().range.clone()),
                message: lowered(said),
            }
        }
        ErrorKind::MissingParent { current, parent } => Fault {
            kind: FaultKind::UnknownTemplate,
            template: current.clone(),
            span: None,
            message: format!("it extends `{parent}`, which does not exist"),
        },
        ErrorKind::TemplateNotFound(name) => Fault {
            kind: FaultKind::UnknownTemplate,
            template: template.to_owned(),
            span: None,
            message: format!("there is no template `{name}`"),
        },
        ErrorKind::CircularExtend { tpl, inheritance_chain } => Fault {
            kind: FaultKind::Fails,
            template: tpl.clone(),
            span: None,
            message: format!(
                "templates extend each other in a circle: {}",
                inheritance_chain.join(" -> ")
            ),
        },
        ErrorKind::CircularInclude { tpl, include_chain } => Fault {
            kind: FaultKind::Fails,
            template: tpl.clone(),
            span: None,
            message: format!(
                "templates include each other in a circle: {}",
                include_chain.join(" -> ")
            ),
        },
        _ => Fault {
            kind: FaultKind::Fails,
            template: template.to_owned(),
            span: None,
            message: lowered(&error.to_string()),
        },
    }
}

fn named(filename: &str, template: &str) -> String {
    if filename.is_empty() { template } else { filename }.to_owned()
}

/// Our messages start in lower case and have no period at the end.
fn lowered(message: &str) -> String {
    let mut characters = message.trim_end_matches('.').chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
