//! The commit-message grammar: a tag at the head of the subject, trailers at the end of the body. Pure and total.

use thiserror::Error;

use crate::ids::{Actor, AgentId, TeamId};

/// What a subject's tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `[AGENT-1-2] text`
    Agent {
        /// Whose work it says it is.
        agent_id: AgentId,
        /// What stands behind the tag.
        text: String,
    },
    /// `[TEAM-1] text`
    Team {
        /// Whose work it says it is.
        team_id: TeamId,
        /// What stands behind the tag.
        text: String,
    },
    /// `[MERGE] text`; only the orchestrator writes these.
    Merge {
        /// What stands behind the tag.
        text: String,
    },
    /// `[CONFLICT-RESOLVED] text`
    ConflictResolved {
        /// What stands behind the tag.
        text: String,
    },
    /// `[ESCALATION-NEEDED] question`; the rest of the body is the question's detail.
    EscalationNeeded {
        /// What stands behind the tag.
        question: String,
    },
}

/// Why a subject that starts with a bracket is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// `[AGENT-1-2 text`
    #[error("the tag's bracket is not closed")]
    Unclosed,
    /// `[AGNT-1-2] text`
    #[error(
        "`[{found}]` is not a tag; tags are [AGENT-X-Y], [TEAM-X], [MERGE], [CONFLICT-RESOLVED] and [ESCALATION-NEEDED]"
    )]
    Unknown {
        /// What stands between the brackets.
        found: String,
    },
    /// `[AGENT-] text`
    #[error("`[{found}]` names nobody; write [AGENT-X-Y] or [TEAM-X]")]
    NoId {
        /// What stands between the brackets.
        found: String,
    },
    /// `[AGENT-1-2]` with nothing behind it.
    #[error("nothing stands behind `[{found}]`")]
    NoText {
        /// What stands between the brackets.
        found: String,
    },
}

/// A commit message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line, trimmed.
    pub subject: String,
    /// What stands between the subject and the trailers, trimmed.
    pub body: String,
    /// The subject's tag; `None` when it does not start with a bracket.
    pub tag: Option<Result<Tag, TagError>>,
    /// `Key: value` lines of the last paragraph, in order.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The first trailer with this key, compared without case.
    pub fn trailer(&self, key: &str) -> Option<&str> {
        self.trailers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }
}

/// The tag that an actor's commits carry: `[AGENT-1-2]` or `[TEAM-1]`. A dot in an id is written as a hyphen; ids have no hyphens themselves.
pub fn actor_tag(actor: &Actor) -> String {
    match actor {
        Actor::Agent(agent_id) => format!("[AGENT-{}]", agent_id.as_str().replace('.', "-")),
        Actor::Leader(team_id) | Actor::Resolver(team_id) => format!("[TEAM-{}]", team_id.as_str().replace('.', "-")),
    }
}

/// Reads a whole commit message.
pub fn parse(message: &str) -> Message {
    let mut lines = message.trim_start_matches(['\n', '\r', ' ', '\t']).lines();
    let subject = lines.next().unwrap_or_default().trim().to_owned();
    let rest: Vec<&str> = lines.collect();
    let (body_lines, trailers) = split_trailers(&rest);
    Message {
        tag: parse_subject(&subject),
        subject,
        body: body_lines.join("\n").trim().to_owned(),
        trailers,
    }
}

/// Reads a subject's tag; `None` when the subject does not start with a bracket.
pub fn parse_subject(subject: &str) -> Option<Result<Tag, TagError>> {
    let inner = subject.trim_start().strip_prefix('[')?;
    let Some((label, text)) = inner.split_once(']') else {
        return Some(Err(TagError::Unclosed));
    };
    Some(parse_label(label, text.trim()))
}

fn parse_label(label: &str, text: &str) -> Result<Tag, TagError> {
    let found = || label.to_owned();
    let id_of = |suffix: &str| {
        let id = suffix.replace('-', ".");
        let well_formed = !id.is_empty()
            && id
                .split('.')
                .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()));
        well_formed
            .then_some(id)
            .ok_or_else(|| TagError::NoId { found: found() })
    };
    let tag = if let Some(suffix) = label.strip_prefix("AGENT-") {
        Tag::Agent {
            agent_id: AgentId::new(id_of(suffix)?),
            text: text.to_owned(),
        }
    } else if let Some(suffix) = label.strip_prefix("TEAM-") {
        Tag::Team {
            team_id: TeamId::new(id_of(suffix)?),
            text: text.to_owned(),
        }
    } else {
        match label {
            "MERGE" => Tag::Merge { text: text.to_owned() },
            "CONFLICT-RESOLVED" => Tag::ConflictResolved { text: text.to_owned() },
            "ESCALATION-NEEDED" => Tag::EscalationNeeded {
                question: text.to_owned(),
            },
            "AGENT" | "TEAM" => return Err(TagError::NoId { found: found() }),
            _ => return Err(TagError::Unknown { found: found() }),
        }
    };
    if text.is_empty() {
        Err(TagError::NoText { found: found() })
    } else {
        Ok(tag)
    }
}

/// Whether `text` carries `phrase` as whole words.
///
/// "carries", not "equals": an agent may add a summary behind the phrase. Whole words, so that "complete" does not match "incomplete".
pub fn carries_phrase(text: &str, phrase: &str) -> bool {
    let phrase = phrase.trim();
    if phrase.is_empty() {
        return false;
    }
    text.match_indices(phrase).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Splits off the trailers, read bottom-up so that a colon in the body is never mistaken for one: the last paragraph counts only if each of its lines is a trailer.
fn split_trailers<'a>(lines: &[&'a str]) -> (Vec<&'a str>, Vec<(String, String)>) {
    let end = lines
        .iter()
        .rposition(|line| !line.trim().is_empty())
        .map_or(0, |last| last + 1);
    let start = lines[..end]
        .iter()
        .rposition(|line| line.trim().is_empty())
        .map_or(0, |blank| blank + 1);
    let trailers: Option<Vec<(String, String)>> = lines[start..end].iter().map(|line| parse_trailer(line)).collect();
    match trailers {
        Some(trailers) if !trailers.is_empty() => (lines[..start].to_vec(), trailers),
        _ => (lines[..end].to_vec(), Vec::new()),
    }
}

fn parse_trailer(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(": ")?;
    let well_formed = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    well_formed.then(|| (key.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_its_agent_with_dots() {
        assert_eq!(
            parse_subject("[AGENT-1-2] Config Service complete"),
            Some(Ok(Tag::Agent {
                agent_id: AgentId::new("1.2"),
                text: "Config Service complete".to_owned()
            }))
        );
        assert_eq!(actor_tag(&Actor::Agent(AgentId::new("1.2"))), "[AGENT-1-2]");
        assert_eq!(actor_tag(&Actor::Leader(TeamId::new("1"))), "[TEAM-1]");
    }

    #[test]
    fn malformed_tags_say_what_is_wrong() {
        assert_eq!(parse_subject("[AGENT-1-2 done"), Some(Err(TagError::Unclosed)));
        assert_eq!(
            parse_subject("[AGNT-1-2] done"),
            Some(Err(TagError::Unknown {
                found: "AGNT-1-2".to_owned()
            }))
        );
        assert_eq!(
            parse_subject("[AGENT-] done"),
            Some(Err(TagError::NoId {
                found: "AGENT-".to_owned()
            }))
        );
        assert_eq!(
            parse_subject("[AGENT-1--2] done"),
            Some(Err(TagError::NoId {
                found: "AGENT-1--2".to_owned()
            }))
        );
        assert_eq!(
            parse_subject("[TEAM-1]"),
            Some(Err(TagError::NoText {
                found: "TEAM-1".to_owned()
            }))
        );
        assert_eq!(parse_subject("plain work"), None);
    }

    #[test]
    fn only_a_last_paragraph_of_trailers_is_trailers() {
        let message = parse(
            "[MERGE] Merged agent-1-1 into team-1\n\nNote: not a trailer\nreally not\n\nOrchestrate-Run: r1\nOrchestrate-Tree: abc\n",
        );
        assert_eq!(message.trailer("orchestrate-run"), Some("r1"));
        assert_eq!(message.body, "Note: not a trailer\nreally not");
        assert_eq!(parse("subject\n\nwhy: because\nof this").trailers, vec![]);
    }

    #[test]
    fn a_phrase_counts_as_whole_words_only() {
        assert!(carries_phrase("Auth middleware complete", "Auth middleware complete"));
        assert!(carries_phrase(
            "Auth middleware complete: 14 tests",
            "Auth middleware complete"
        ));
        assert!(!carries_phrase("Phase incomplete", "complete"));
        assert!(!carries_phrase("Auth middleware completed", "Auth middleware complete"));
    }
}
