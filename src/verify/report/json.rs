//! The report as one JSON document for programs. Fields are only added.

use reference_core::http::{Headers, Response};
use reference_native::Service;
use serde_json::{Map, Value, json};

use super::super::check::{Checked, Verdict};
use super::super::examine::Examined;
use super::super::lab::Exchange;
use super::super::requirements::{self, Requirement};
use super::{Counts, Report, body_text, curl};

/// The version of the document.
const SCHEMA: u32 = 1;

/// The document, with a line feed at its end.
pub fn json(report: &Report) -> String {
    let mut document = examined(&report.subject);
    document.insert("schema".to_owned(), json!(SCHEMA));
    document.insert("result".to_owned(), json!(report.result()));
    document.insert("exit_code".to_owned(), json!(report.exit_code() as u8));
    document.insert("seed".to_owned(), json!(report.seed));
    document.insert("missing".to_owned(), json!(report.missing));
    document.insert("total_duration_ms".to_owned(), json!(report.duration_ms));
    let compared: Vec<Value> = report
        .others
        .iter()
        .map(|other| Value::Object(examined(other)))
        .collect();
    document.insert("compared".to_owned(), Value::Array(compared));
    format!("{:#}\n", Value::Object(document))
}

fn examined(examined: &Examined) -> Map<String, Value> {
    let counts = examined.counts();
    let counts: Map<String, Value> = Counts::ORDER
        .iter()
        .map(|status| (status.word().replace(' ', "_"), json!(counts.of(*status))))
        .collect();
    let requirement = |requirement: &Requirement| {
        let checks: Vec<String> = examined
            .checks_of(requirement)
            .map(|checked| format!("{}/{}", checked.section.name(), checked.name))
            .collect();
        json!({
            "id": requirement.id,
            "level": requirement.level,
            "status": examined.status(requirement).word().replace(' ', "_"),
            "checks": checks,
        })
    };
    let requirements: Vec<Value> = requirements::all().iter().map(requirement).collect();
    let mut document = Map::new();
    document.insert("subject".to_owned(), json!(examined.name));
    document.insert("duration_ms".to_owned(), json!(examined.duration_ms));
    document.insert("counts".to_owned(), Value::Object(counts));
    document.insert("findings".to_owned(), json!(examined.findings));
    document.insert("requirements".to_owned(), Value::Array(requirements));
    document.insert(
        "checks".to_owned(),
        Value::Array(examined.checked.iter().map(check).collect()),
    );
    document
}

fn check(checked: &Checked) -> Value {
    let mut document = json!({
        "section": checked.section,
        "name": checked.name,
        "requirements": checked.requirements,
        "verdict": checked.verdict.name(),
        "duration_ms": checked.duration_ms,
    });
    if let Some(what) = checked.verdict.what() {
        document["what"] = json!(what);
        document["exchanges"] = checked.exchanges.iter().map(exchange).collect();
        document["lanes"] = json!(checked.lanes);
    }
    if let Verdict::Alternative { decision, .. } = &checked.verdict {
        document["decision"] = json!(decision);
    }
    document
}

fn exchange(exchange: &Exchange) -> Value {
    json!({
        "service": match exchange.service {
            Service::Config => "config",
            Service::Image => "image",
        },
        "at_ms": exchange.at_ms,
        "request": {
            "method": exchange.request.method,
            "path": exchange.request.path,
            "query": exchange.request.query,
            "headers": headers(&exchange.request.headers),
            "body": body_text(&exchange.request.body),
        },
        "curl": curl(exchange.service, &exchange.request),
        "reference": response(&exchange.reference),
        "subject": exchange.subject.as_ref().map(response),
    })
}

fn response(response: &Response) -> Value {
    json!({ "status": response.status, "headers": headers(&response.headers), "body": body_text(&response.body) })
}

fn headers(headers: &Headers) -> Vec<[&str; 2]> {
    headers.iter().map(|(name, value)| [name, value]).collect()
}
