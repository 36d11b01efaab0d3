//! The report as SARIF 2.1.0: a rule a requirement, placed where the requirement stands.

use serde_json::{Value, json};

use super::super::check::{Checked, Verdict};
use super::super::requirements::{self, Level};
use super::{Report, requirements_of};

/// The rule of findings about the system as a whole.
const STARTS: &str = "START";

/// The document.
pub fn sarif(report: &Report) -> String {
    let mut rules = vec![json!({
        "id": STARTS,
        "shortDescription": { "text": "The system builds, comes up and answers." },
        "defaultConfiguration": { "level": "error" },
    })];
    rules.extend(requirements::all().iter().map(|requirement| {
        json!({
            "id": requirement.id,
            "shortDescription": { "text": requirement.sentence },
            "help": { "text": format!("orchestrate verify --explain {}", requirement.id) },
            "defaultConfiguration": { "level": if requirement.level == Level::Must { "error" } else { "warning" } },
            "properties": { "level": requirement.level, "seed": requirement.seed_lines(), "contract": requirement.contract },
        })
    }));
    let mut results: Vec<Value> = report
        .subject
        .findings
        .iter()
        .map(|finding| {
            let text = format!("{}\n{}\n{}", finding.what, finding.detail.join("\n"), finding.hint);
            result(STARTS, "error", &text, 1, "start")
        })
        .collect();
    for checked in report.subject.remarkable() {
        results.extend(results_of(checked));
    }
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "orchestrate verify",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "invocations": [{
                "executionSuccessful": !matches!(report.result(), "error" | "interrupted"),
                "exitCode": report.exit_code() as u8,
            }],
            "originalUriBaseIds": { "SRCROOT": { "description": { "text": "The top of the project." } } },
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn results_of(checked: &Checked) -> Vec<Value> {
    let level = match &checked.verdict {
        Verdict::Failed { .. } | Verdict::Error { .. } => "error",
        Verdict::Unspecified { .. } => "warning",
        _ => "note",
    };
    let name = format!("{}/{}", checked.section.name(), checked.name);
    let text = format!("{name}: {}", checked.verdict.what().unwrap_or_default());
    requirements_of(checked)
        .into_iter()
        .map(|requirement| {
            let level = if requirement.level == Level::Must {
                level
            } else {
                "warning"
            };
            result(&requirement.id, level, &text, requirement.line, &name)
        })
        .collect()
}

fn result(rule: &str, level: &str, text: &str, line: usize, name: &str) -> Value {
    json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": text },
        "partialFingerprints": { "check/v1": format!("{rule}:{name}") },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": requirements::FILE, "uriBaseId": "SRCROOT" },
            "region": { "startLine": line },
        } }],
    })
}
