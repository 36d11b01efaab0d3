//! The requirements of the target system and the decisions that shaped them, as the shipped specifications name them.

use std::path::Path;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::check::Section;

/// Where the requirements stand, from the top of the project.
pub const FILE: &str = "specs/requirements.toml";

const REQUIREMENTS: &str = include_str!("../../specs/requirements.toml");
const DECISIONS: &str = include_str!("../../specs/decisions.md");

/// How binding a requirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// It must hold.
    Must,
    /// It should hold; what differs is reported apart.
    Should,
    /// It may hold; what differs is reported apart.
    May,
}

impl Level {
    /// As the specifications write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        }
    }
}

/// Lines of the seed: `94` or `"96-100"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Lines {
    One(u32),
    Range(String),
}

/// One observable behaviour of the target system.
#[derive(Clone, Debug, Deserialize)]
pub struct Requirement {
    /// Group and number, such as `API-03`.
    pub id: String,
    /// How binding it is.
    pub level: Level,
    /// The behaviour.
    pub sentence: String,
    #[serde(default)]
    seed: Vec<Lines>,
    /// Sections of the contract or of the architecture that lay it down in full.
    #[serde(default)]
    pub contract: Vec<String>,
    /// Readings that shaped it.
    #[serde(default)]
    pub decisions: Vec<String>,
    /// Decisions that name another behaviour which is accepted as well.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// The sections that look at it.
    pub checks: Vec<Section>,
    /// The line of [`FILE`] that it begins on.
    #[serde(default)]
    pub line: usize,
}

impl Requirement {
    /// The group that it belongs to: `API` of `API-03`.
    pub fn group(&self) -> &str {
        group_of(&self.id)
    }

    /// The lines of the seed that ask for it, such as `140, 356-357`; empty if none does.
    pub fn seed_lines(&self) -> String {
        let lines: Vec<String> = self
            .seed
            .iter()
            .map(|lines| match lines {
                Lines::One(line) => line.to_string(),
                Lines::Range(range) => range.clone(),
            })
            .collect();
        lines.join(", ")
    }
}

fn group_of(id: &str) -> &str {
    id.split_once('-').map_or(id, |(group, _)| group)
}

/// A reading of the seed.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Such as `D2`.
    pub id: &'static str,
    /// What was open.
    pub question: &'static str,
    /// How it is read.
    pub reading: &'static str,
}

/// Groups of requirements, in the order of the specification, and what each is about.
pub const GROUPS: [(&str, &str); 33] = [
    ("API", "every answer"),
    ("AUTH", "who is calling"),
    ("ROLE", "who may do what"),
    ("LIST", "lists"),
    ("ORG", "organisations"),
    ("INST", "instances"),
    ("ACCESS", "access to instances"),
    ("USER", "users"),
    ("PROJ", "projects"),
    ("KEY", "platform keys"),
    ("DB", "database"),
    ("SEC", "secrets"),
    ("LOOK", "which instance is meant"),
    ("CACHE", "cache of instances"),
    ("GEN", "generating an image"),
    ("PROV", "provider adapters"),
    ("LIMIT", "rate limits"),
    ("RETRY", "trying again"),
    ("BREAK", "circuit breaker"),
    ("STORE", "storing images"),
    ("IMG", "serving images"),
    ("JOB", "jobs"),
    ("USAGE", "usage"),
    ("LOG", "logs"),
    ("METRIC", "metrics"),
    ("DEPLOY", "deployment"),
    ("CI", "workflows"),
    ("GUI", "testing GUI"),
    ("ADMIN", "admin panel"),
    ("MON", "monitoring"),
    ("DOC", "documentation"),
    ("TEST", "its own tests"),
    ("FILE", "files that must be there"),
];

#[derive(Deserialize)]
struct File {
    requirement: Vec<Requirement>,
}

#[expect(
    clippy::expect_used,
    reason = "the text is part of the program, and the tests of this file read it"
)]
static ALL: LazyLock<Vec<Requirement>> = LazyLock::new(|| {
    let file: File = toml::from_str(REQUIREMENTS).expect("the requirements are TOML of this form");
    let mut requirements = file.requirement;
    for (index, line) in REQUIREMENTS.lines().enumerate() {
        let id = line.strip_prefix("id = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(found) = id.and_then(|id| requirements.iter_mut().find(|requirement| requirement.id == id)) {
            found.line = index + 1;
        }
    }
    requirements
});

/// All requirements, in the order of the specification.
pub fn all() -> &'static [Requirement] {
    &ALL
}

/// The requirement of this id, in any case.
pub fn find(id: &str) -> Option<&'static Requirement> {
    all().iter().find(|requirement| requirement.id.eq_ignore_ascii_case(id))
}

/// Where the work for a requirement begins, for those that concern one part of the system: a group or an id, and a path below the system's directory.
const PARTS: [(&str, &str); 16] = [
    ("GUI", "interfaces/testing-gui"),
    ("ADMIN", "interfaces/admin-panel"),
    ("MON", "interfaces/monitoring"),
    ("DOC", "docs/README.md"),
    ("CI", ".github/workflows"),
    ("DEPLOY", "scripts"),
    // The Workers are bound to each other, and each instance has one that generates.
    ("DEPLOY-06", IMAGE_GENERATION),
    ("DEPLOY-07", IMAGE_GENERATION),
    ("STORE-06", "workers/shared/r2-manager"),
    ("PROV", IMAGE_GENERATION),
    ("LOG", "workers/shared/logging"),
    ("FILE-01", CONFIG_SERVICE),
    ("FILE-02", IMAGE_GENERATION),
    ("FILE-03", "scripts"),
    ("FILE-04", "interfaces"),
    // All of it is tested once all of it is there.
    ("TEST", "interfaces"),
];

/// The folder of the Worker of part A of the contract.
pub const CONFIG_SERVICE: &str = "infrastructure/config-service";

/// The folder of the Worker of part B of the contract.
pub const IMAGE_GENERATION: &str = "workers/image-gen";

/// Whether anything of the part that a requirement concerns is there below `root`.
pub fn is_begun(id: &str, root: &Path) -> bool {
    PARTS
        .iter()
        .filter(|(part, _)| *part == id || *part == group_of(id))
        .all(|(_, path)| root.join(path).exists())
}

/// The decision of this id.
pub fn decision(id: &str) -> Option<Decision> {
    DECISIONS.lines().find_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let found = cells.next()?.trim();
        if !found.eq_ignore_ascii_case(id) {
            return None;
        }
        Some(Decision {
            id: found,
            question: cells.next()?.trim(),
            reading: cells.last()?.trim_end_matches('|').trim(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_its_line_and_group_and_its_decisions_are_there() {
        assert!(all().len() > 200, "only {}", all().len());
        let lines: Vec<&str> = REQUIREMENTS.lines().collect();
        for requirement in all() {
            let line = lines.get(requirement.line - 1).copied().unwrap_or_default();
            assert_eq!(line, format!("id = \"{}\"", requirement.id));
            assert!(
                GROUPS.iter().any(|(group, _)| *group == requirement.group()),
                "{} is of no known group",
                requirement.id
            );
            for id in requirement.decisions.iter().chain(&requirement.alternatives) {
                assert!(decision(id).is_some(), "{}: there is no decision {id}", requirement.id);
            }
        }
        for (group, _) in GROUPS {
            assert!(
                all().iter().any(|requirement| requirement.group() == group),
                "{group} is empty"
            );
        }
    }

    #[test]
    fn an_id_is_found_in_any_case_and_tells_its_lines() {
        let requirement = find("api-03").unwrap_or_else(|| panic!("API-03"));
        assert_eq!(requirement.seed_lines(), "368, 369, 915-917, 923, 868");
        let decision = decision("D8").unwrap_or_else(|| panic!("D8"));
        assert!(decision.reading.starts_with("Computed from"), "{decision:?}");
    }
}
