//! Decisions as files: a question and its answer in `docs/decisions/`, in a commit on top of the asking team's branch, and the hint to them in prompts.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use crate::core::Escalation;
use crate::ids::{BranchName, EscalationId, Oid, Time};
use crate::shell::git::{Git, GitError};

/// Where they stand.
const DIRECTORY: &str = "docs/decisions";
/// Words of the question that its file is called by.
const WORDS_MAX: usize = 6;
/// The file's name is not longer than this.
const NAME_CHARACTERS_MAX: usize = 60;
/// A prompt names so many; the directory has the rest.
const NAMED_MAX: usize = 20;

/// Writes a decision down on top of a commit, and keeps the commit; no branch moves. The same decision on the same commit is the same commit.
pub fn write(
    git: &Git,
    escalation_id: EscalationId,
    branch: &BranchName,
    onto: &Oid,
    escalation: &Escalation,
) -> Result<Oid, GitError> {
    let path = format!("{DIRECTORY}/{:04}-{}.md", escalation_id.0, slug(&escalation.question));
    let at = escalation.answered.unwrap_or(escalation.asked);
    let subject = format!("Record the answer to question {} for {branch}", escalation_id.0);
    let commit = git.commit_with_file(onto, &path, text(escalation_id, escalation).as_bytes(), at, &subject)?;
    git.keep(&commit, &format!("decision-{}", escalation_id.0))?;
    Ok(commit)
}

/// What an agent is told about the decisions in its workspace; empty when there are none.
pub fn hint(workspace: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(workspace.join(DIRECTORY))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md") && name.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    names.sort();
    let older = names.len().saturating_sub(NAMED_MAX);
    let listed: Vec<String> = names[older..]
        .iter()
        .map(|name| format!("- `{DIRECTORY}/{name}`"))
        .collect();
    format!(
        "\nQuestions that were asked before, with the answers, which hold for you too (`{DIRECTORY}/` in your workspace); read them before you ask:\n\n{}\n",
        listed.join("\n")
    )
}

fn text(escalation_id: EscalationId, escalation: &Escalation) -> String {
    let who = escalation
        .actor
        .as_ref()
        .map_or_else(|| "the run".to_owned(), ToString::to_string);
    let question = escalation.question.trim();
    let detail = escalation.detail.trim();
    let detail = if detail.is_empty() {
        String::new()
    } else {
        format!("\n{detail}\n")
    };
    let answer = escalation.answer.as_deref().unwrap_or_default().trim();
    format!(
        "# Decision {}\n\nAsked by {who} on {}, answered on {}.\n\n## Question\n\n{question}\n{detail}\n## Answer\n\n{answer}\n",
        escalation_id.0,
        day(escalation.asked),
        day(escalation.answered.unwrap_or(escalation.asked)),
    )
}

fn day(at: Time) -> String {
    let timestamp = i64::try_from(at.0)
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or_default();
    timestamp.strftime("%Y-%m-%d").to_string()
}

/// The first words of a question as a file may be called.
fn slug(question: &str) -> String {
    let words: Vec<String> = question
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .map(str::to_ascii_lowercase)
        .collect();
    let name: String = words.join("-").chars().take(NAME_CHARACTERS_MAX).collect();
    if name.is_empty() { "question".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_named_by_its_question_and_holds_both_sides() {
        assert_eq!(
            slug("Which port: 80 or 8080? Both are free, it seems."),
            "which-port-80-or-8080-both"
        );
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("¿¡!?"), "question");
        let escalation = Escalation {
            actor: None,
            merge: None,
            question: "Which port?".to_owned(),
            detail: "80 or 8080".to_owned(),
            asked: Time(1_800_000_000_000),
            answered: Some(Time(1_800_100_000_000)),
            answer: Some("8080".to_owned()),
        };
        assert_eq!(
            text(EscalationId(3), &escalation),
            "# Decision 3\n\nAsked by the run on 2027-01-15, answered on 2027-01-16.\n\n## Question\n\nWhich port?\n\n80 or 8080\n\n## Answer\n\n8080\n"
        );
    }
}
