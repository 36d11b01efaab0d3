//! The documentation, and what the interfaces must be able to do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Sources, check, require};
use crate::verify::check::Check;
use crate::verify::lab::{Failed, Outcome};

const GUI: &str = "interfaces/testing-gui/";
const ADMIN: &str = "interfaces/admin-panel/";
const MONITORING: &str = "interfaces/monitoring/";

/// The codes of errors, as api-contracts.md, section 0.1, lists them.
const CODES: [&str; 13] = [
    "VALIDATION_FAILED",
    "AUTH_FAILED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "PROVIDER_REJECTED",
    "RATE_LIMITED",
    "INTERNAL_ERROR",
    "PROVIDER_ERROR",
    "CONFIG_UNAVAILABLE",
    "PROVIDER_TIMEOUT",
];

pub(super) fn checks() -> Vec<Check> {
    vec![
        check("testing-gui-form", &["GUI-01"], |sources| {
            let page = sources.file(&format!("{GUI}index.html"))?.to_lowercase();
            for part in [
                "<form",
                "<button",
                "api-key|api_key|apikey",
                "instance",
                "prompt",
                "model",
            ] {
                require(
                    part.split('|').any(|one| page.contains(one)),
                    format!("the page of the testing GUI has no {part}"),
                )?;
            }
            Ok(())
        }),
        check("testing-gui-shows-the-image", &["GUI-02"], |sources| {
            sources.mention(
                GUI,
                &[
                    "/generate",
                    "bearer ",
                    "image_url",
                    "r2_path",
                    "request_id",
                    "clipboard",
                    "metadata",
                ],
            )
        }),
        check("testing-gui-shows-errors", &["GUI-03"], |sources| {
            sources.mention(GUI, &["status", "error"])
        }),
        check("testing-gui-is-plain", &["GUI-04"], |sources| {
            for (path, text) in sources.below_path(GUI) {
                require(!text.contains("from 'react"), format!("{path} uses React"))?;
            }
            pages(sources, GUI)
        }),
        check("admin-panel-pages", &["ADMIN-01"], |sources| {
            sources.mention(ADMIN, &["instances", "users", "logs", "/me", "superadmin|admin"])
        }),
        check("admin-panel-instances", &["ADMIN-02"], |sources| {
            sources.mention(
                ADMIN,
                &[
                    "/instance",
                    "'post'|\"post\"",
                    "'patch'|\"patch\"",
                    "'delete'|\"delete\"",
                    "/metrics",
                ],
            )
        }),
        check("admin-panel-users", &["ADMIN-03"], |sources| {
            sources.mention(ADMIN, &["/user", "/access/", "/key"])
        }),
        check("admin-panel-logs", &["ADMIN-04"], |sources| {
            sources.mention(ADMIN, &["/logs", "search", "level", "metadata"])
        }),
        check("admin-panel-is-made-of", &["ADMIN-05"], |sources| {
            sources.mention(ADMIN, &["from 'react'|from \"react\"", "react-router", "tailwindcss"])?;
            pages(sources, ADMIN)
        }),
        check("monitoring-figures", &["MON-01"], |sources| {
            sources.mention(
                MONITORING,
                &[
                    "requests",
                    "error_rate",
                    "response_ms",
                    "rate_limited",
                    "providers",
                    "cost",
                ],
            )
        }),
        check("monitoring-charts", &["MON-02"], |sources| {
            sources.mention(
                MONITORING,
                &[
                    "'line'",
                    "'pie'|'doughnut'",
                    "range",
                    "instance",
                    "30_000|30000|30 * 1000",
                ],
            )
        }),
        check("monitoring-is-made-of", &["MON-03"], |sources| {
            sources.mention(MONITORING, &["from 'react'|from \"react\"", "chart.js", "tailwindcss"])?;
            pages(sources, MONITORING)
        }),
        check("overview", &["DOC-01"], |sources| {
            sources.mention("docs/README.md", &["```mermaid", "npm ci|npm install", "npm run dev"])
        }),
        check("api-reference", &["DOC-02"], |sources| {
            for (method, path) in operations()? {
                let words = format!("{method} {path}");
                let plain = words.split("/images/").next().unwrap_or(&words);
                sources.mention("docs/api/", &[plain])?;
            }
            sources.mention("docs/api/", &CODES)
        }),
        check("guides", &["DOC-03"], |sources| {
            sources.mention("docs/deployment/", &["update", "troubleshoot"])?;
            sources.mention("docs/development/", &["npm run dev", "adapter", "npm test"])?;
            sources.mention("docs/admin/", &["/user", "/metrics", "limit"])
        }),
        check("documented-commands-name-routes", &["DOC-04"], commands),
    ]
}

/// An application of Pages says where its files are.
fn pages(sources: &Sources, room: &str) -> Outcome {
    sources.mention(&format!("{room}wrangler.toml"), &["pages_build_output_dir"])
}

/// Every operation of the contract: method and path.
fn operations() -> Outcome<BTreeSet<(String, String)>> {
    let broken = |what: &str| Failed::Check(format!("specs/openapi.yaml, as it is built in, {what}"));
    let (_, bytes) = crate::embedded::project()
        .iter()
        .find(|(path, _)| *path == "specs/openapi.yaml")
        .ok_or_else(|| broken("is missing"))?;
    let text = std::str::from_utf8(bytes).map_err(|_| broken("is no text"))?;
    let document: Value = serde_yaml::from_str(text).map_err(|error| broken(&format!("is no YAML: {error}")))?;
    let paths = document["paths"].as_object().ok_or_else(|| broken("has no paths"))?;
    Ok(paths
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .into_iter()
                .flat_map(|methods| methods.keys())
                .filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str()))
                .map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect())
}

/// Every `curl` of the documentation asks for something that the contract knows.
fn commands(sources: &Sources) -> Outcome {
    let operations = operations()?;
    let mut count = 0;
    for (path, text) in sources.below_path("docs/") {
        let joined = text.replace("\\\n", " ");
        let mut is_code = false;
        for line in joined.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let Some(start) = line.find("curl ").filter(|_| is_code) else {
                continue;
            };
            let command = &line[start..];
            let Some(target) = target_of(command) else { continue };
            count += 1;
            let method = method_of(command);
            let is_known = operations
                .iter()
                .any(|(known, template)| *known == method && fits(template, &target));
            require(is_known, format!("{path} asks {method} {target}, which is no route"))?;
        }
    }
    require(count > 0, "the documentation has no curl command")
}

/// The path of `"$CONFIG_URL/instance/production?limit=1"`.
fn target_of(command: &str) -> Option<String> {
    let start = command.find("_URL/").map(|at| at + "_URL".len())?;
    let rest = &command[start..];
    let end = rest.find(['"', '\'', ' ', '?', ')', '#']).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn method_of(command: &str) -> String {
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        if word == "-X" || word == "--request" {
            return words.next().unwrap_or_default().to_owned();
        }
    }
    let sends = [" -d ", " --data", " --json "]
        .iter()
        .any(|option| command.contains(option));
    if sends { "POST" } else { "GET" }.to_owned()
}

/// Whether a path is one of a template's; a shell's variable stands for anything.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let is_image = template.get(1) == Some(&"images") && path.get(1) == Some(&"images");
    is_image
        || (template.len() == path.len()
            && template
                .iter()
                .zip(&path)
                .all(|(wanted, given)| wanted == given || (wanted.starts_with('{') && !given.is_empty())))
}
