//! The format of `phases.yaml` as one table: the decoder checks against it, and the JSON Schema is printed from it, so that the two cannot drift.

use serde_json::{Map, Value, json};

use super::codes::{self, Code};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// The number of the format.
    Version,
    /// A text that says something.
    Text,
    /// Letters and digits, dots between.
    Id,
    /// A whole number of at least 1.
    Count,
    /// Dollars, more than 0.
    Money,
    /// `45m`.
    Duration,
    /// `3 in 30m`.
    Failures,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A shell command, or `none`.
    Gate,
    /// A branch's short name.
    Branch,
    /// A directory below the plan's.
    Directory,
    /// A file's path relative to some directory.
    File,
    /// Matches paths of the repository.
    Glob,
    /// The name of an environment variable.
    EnvironmentName,
    /// Any number of these, at least so many.
    List(&'static Self, usize),
    /// A mapping with these keys.
    Map(&'static Table),
}

/// The keys of a mapping.
#[derive(Debug)]
pub(super) struct Table {
    /// What the mapping describes.
    pub(super) name: &'static str,
    /// In groups, because an agent's settings are keys of three mappings.
    pub(super) keys: &'static [&'static [Key]],
}

impl Table {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten()
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) presence: Presence,
    /// For people, in the schema.
    pub(super) about: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It must, else this code.
    Required(Code),
    /// It need not, and `null` is the same as leaving it out.
    Optional,
    /// It need not; this is what holds then.
    Default(&'static str),
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        presence: Presence::Required(codes::MISSING_KEY),
        about,
    }
}

const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        presence: Presence::Optional,
        about,
    }
}

const fn defaulted(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        shape,
        presence: Presence::Default(default),
        about,
    }
}

const fn gate(name: &'static str, about: &'static str) -> Key {
    Key {
        name,
        shape: Shape::Gate,
        presence: Presence::Required(codes::GATE_LEFT_OUT),
        about,
    }
}

/// The drivers, as they are written.
pub(super) const DRIVERS: &[&str] = &["claude", "replay", "command"];

const SETTINGS: &[Key] = &[
    defaulted(
        "driver",
        Shape::Choice(DRIVERS),
        "claude",
        "How sessions are run: Claude Code, a replay of finished work, or any command.",
    ),
    defaulted(
        "program",
        Shape::Text,
        "claude",
        "Driver claude: the binary's name or path.",
    ),
    optional(
        "command",
        Shape::Text,
        "Driver command: the shell command line of a session.",
    ),
    defaulted(
        "env",
        Shape::List(&Shape::EnvironmentName, 0),
        "[]",
        "Names of environment variables passed through besides the driver's own list.",
    ),
    optional("model", Shape::Text, "The vendor's name of the model."),
    optional("max_turns", Shape::Count, "Turns of one session."),
    optional(
        "budget_usd",
        Shape::Money,
        "Dollars that one actor may spend over all its attempts.",
    ),
    defaulted(
        "stuck_after",
        Shape::Duration,
        "30m",
        "Neither a commit nor a sign of life for this long: stuck.",
    ),
    defaulted(
        "max_attempts",
        Shape::Count,
        "3",
        "Attempts that may end badly before the actor is given up.",
    ),
];

/// The whole file.
pub(super) const PLAN: Table = Table {
    name: "plan",
    keys: &[&[
        required("version", Shape::Version, "The version of the format: 1."),
        required("project", Shape::Text, "The project's name."),
        defaulted("repository", Shape::Map(&REPOSITORY), "{}", "Names in the repository."),
        defaulted(
            "specs",
            Shape::Directory,
            "specs/",
            "Directory of the specifications, relative to the plan.",
        ),
        defaulted(
            "prompts",
            Shape::Directory,
            "prompts/",
            "Directory of the prompt templates, relative to the plan.",
        ),
        defaulted(
            "agent",
            Shape::Map(&AGENT_DEFAULTS),
            "{}",
            "How sessions run; any agent or leader may set any of it again.",
        ),
        defaulted("limits", Shape::Map(&LIMITS), "{}", "Bounds of the whole fleet."),
        defaulted(
            "workspace",
            Shape::Map(&WORKSPACE),
            "{}",
            "What a fresh worktree needs before an agent or a gate can work in it.",
        ),
        Key {
            name: "gates",
            shape: Shape::Map(&GATES),
            presence: Presence::Required(codes::GATE_LEFT_OUT),
            about: "The command that a tree must pass at each level; `none` where there is to be none.",
        },
        defaulted(
            "approvals",
            Shape::Map(&APPROVALS),
            "{}",
            "What waits for a human's yes.",
        ),
        defaulted("notify", Shape::Map(&NOTIFY), "{}", "Where a human is told."),
        required("phases", Shape::List(&Shape::Map(&PHASE), 1), "Stages of the work."),
    ]],
};

const REPOSITORY: Table = Table {
    name: "repository",
    keys: &[&[
        defaulted("base", Shape::Branch, "main", "The branch that teams land on."),
        optional(
            "remote",
            Shape::Text,
            "The remote's name; nothing is pushed without a human.",
        ),
        optional("release_branch", Shape::Branch, "The branch that `release` moves."),
        optional("release_tag", Shape::Branch, "The tag that `release` sets."),
    ]],
};

const AGENT_DEFAULTS: Table = Table {
    name: "agent defaults",
    keys: &[SETTINGS],
};

const LIMITS: Table = Table {
    name: "limits",
    keys: &[&[
        defaulted("agents", Shape::Count, "8", "Live sessions at once, leaders included."),
        defaulted("gates", Shape::Count, "2", "Gate commands that run at once."),
        optional("budget_usd", Shape::Money, "Dollars that the whole run may spend."),
        optional(
            "failures",
            Shape::Failures,
            "More failures than this stop the fleet, for example `3 in 30m`.",
        ),
    ]],
};

const WORKSPACE: Table = Table {
    name: "workspace",
    keys: &[&[
        optional(
            "setup",
            Shape::Text,
            "A shell command run once for each content of the lockfiles.",
        ),
        defaulted(
            "share",
            Shape::List(&Shape::File, 0),
            "[]",
            "Directories that `setup` makes, kept once and linked into every worktree.",
        ),
        defaulted(
            "copy",
            Shape::List(&Shape::File, 0),
            "[]",
            "Untracked files copied from your checkout when they exist there.",
        ),
    ]],
};

const GATES: Table = Table {
    name: "gates",
    keys: &[&[
        gate("agent", "Guards agent -> team."),
        gate(
            "team",
            "Guards the leader's integration, and the base branch coming into a team.",
        ),
        gate("main", "Guards team -> base."),
        defaulted(
            "timeout",
            Shape::Duration,
            "30m",
            "A gate that has not answered after this is an error.",
        ),
    ]],
};

const APPROVAL: Shape = Shape::Choice(&["auto", "manual"]);

const APPROVALS: Table = Table {
    name: "approvals",
    keys: &[&[
        defaulted("team", APPROVAL, "auto", "Before a team lands on the base branch."),
        defaulted("release", APPROVAL, "manual", "Before the release branch moves."),
    ]],
};

const NOTIFY: Table = Table {
    name: "notify",
    keys: &[&[
        optional(
            "command",
            Shape::Text,
            "A shell command that gets the message, as JSON on standard input and in NOTICE_TEXT.",
        ),
        optional(
            "webhook",
            Shape::Text,
            "A URL that gets a JSON POST; `$NAME` names the environment variable that holds it.",
        ),
        defaulted(
            "format",
            Shape::Choice(&["auto", "slack", "discord", "generic"]),
            "auto",
            "What the webhook understands; `auto` judges by its address.",
        ),
    ]],
};

/// A phase.
pub(super) const PHASE: Table = Table {
    name: "phase",
    keys: &[&[
        required("id", Shape::Id, "Unique among phases."),
        required("name", Shape::Text, "For people."),
        defaulted(
            "needs",
            Shape::List(&Shape::Id, 0),
            "[]",
            "Phases whose teams must all have landed first.",
        ),
        optional("expected", Shape::Duration, "How long you expect it to take."),
        required(
            "teams",
            Shape::List(&Shape::Map(&TEAM), 1),
            "The teams that work in this phase, side by side.",
        ),
    ]],
};

/// A team.
pub(super) const TEAM: Table = Table {
    name: "team",
    keys: &[&[
        required("id", Shape::Id, "Unique among teams."),
        required("name", Shape::Text, "For people."),
        required(
            "branch",
            Shape::Branch,
            "The branch that the team's agents are merged into.",
        ),
        required(
            "leader",
            Shape::Map(&LEADER),
            "Integrates the team's work and settles conflicts.",
        ),
        defaulted(
            "deliverables",
            Shape::List(&Shape::Glob, 0),
            "[]",
            "Globs that must each match a file before the team lands; also what the leader may write.",
        ),
        required("agents", Shape::List(&Shape::Map(&AGENT), 1), "The team's agents."),
    ]],
};

const LEADER: Table = Table {
    name: "leader",
    keys: &[
        &[
            required("prompt", Shape::File, "Template, relative to the prompts' directory."),
            optional(
                "branch",
                Shape::Branch,
                "The branch of its sessions; the team's with `-integration` behind it unless set.",
            ),
        ],
        SETTINGS,
    ],
};

/// An agent.
pub(super) const AGENT: Table = Table {
    name: "agent",
    keys: &[
        &[
            required(
                "id",
                Shape::Id,
                "Unique among agents. Quote it: unquoted, 1.10 would be the number 1.1.",
            ),
            required("name", Shape::Text, "For people."),
            required("branch", Shape::Branch, "The agent's own branch."),
            defaulted(
                "needs",
                Shape::List(&Shape::Id, 0),
                "[]",
                "Agents of the team, or other teams, that must be merged first.",
            ),
            required("prompt", Shape::File, "Template, relative to the prompts' directory."),
            required(
                "completion",
                Shape::Text,
                "The phrase that, behind the agent's tag, completes its work.",
            ),
            required(
                "owns",
                Shape::List(&Shape::Glob, 1),
                "Globs of the only paths that the agent may change; nobody else's may meet them.",
            ),
            defaulted(
                "deliverables",
                Shape::List(&Shape::Glob, 0),
                "[]",
                "Globs that must each match a file when the agent says that it is complete.",
            ),
        ],
        SETTINGS,
    ],
};

/// The JSON Schema (draft 2020-12) of a plan, for editors.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let root = table_schema(&PLAN, &mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "phases.yaml",
        "description": "A plan of orchestrate: phases, teams and agents, with their branches, prompts, paths and gates.",
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

fn table_schema(table: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required_names = Vec::new();
    for key in table.keys() {
        let mut schema = shape_schema(key.shape, definitions);
        match key.presence {
            Presence::Required(_) => required_names.push(key.name),
            Presence::Optional => schema = json!({ "anyOf": [schema, { "type": "null" }] }),
            Presence::Default(default) => {
                schema = with(schema, "default", default_value(key.shape, default));
            }
        }
        properties.insert(key.name.to_owned(), with(schema, "description", json!(key.about)));
    }
    json!({ "type": "object", "additionalProperties": false, "required": required_names, "properties": properties })
}

fn shape_schema(shape: Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Version => json!({ "const": 1 }),
        Shape::Text | Shape::Directory | Shape::File | Shape::Glob => json!({ "type": "string", "minLength": 1 }),
        Shape::Id => json!({
            "anyOf": [
                { "type": "string", "pattern": "^[A-Za-z0-9]+(\\.[A-Za-z0-9]+)*$" },
                { "type": "integer", "minimum": 0 },
            ],
        }),
        Shape::Count => json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }),
        Shape::Money => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Shape::Duration => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        Shape::Failures => {
            json!({ "type": "string", "pattern": "^[0-9]+ in ([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" })
        }
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Gate => json!({ "type": "string", "minLength": 1, "examples": ["none"] }),
        Shape::Branch => json!({ "type": "string", "minLength": 1, "pattern": "^[^ ~^:?*\\[\\\\]+$" }),
        Shape::EnvironmentName => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
        Shape::List(of, minimum) => {
            json!({ "type": "array", "minItems": minimum, "items": shape_schema(*of, definitions) })
        }
        Shape::Map(table) => {
            let name = table.name.replace(' ', "_");
            if !definitions.contains_key(&name) {
                let schema = table_schema(table, definitions);
                definitions.insert(name.clone(), schema);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
    }
}

const DURATION_PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

fn with(mut schema: Value, name: &str, value: Value) -> Value {
    if let Value::Object(entries) = &mut schema {
        entries.insert(name.to_owned(), value);
    }
    schema
}

fn default_value(shape: Shape, default: &str) -> Value {
    match shape {
        Shape::Count => json!(default.parse::<u32>().unwrap_or_default()),
        Shape::List(..) => json!([]),
        Shape::Map(_) => json!({}),
        _ => json!(default),
    }
}
