//! Section static: files that must be there, and what they must say.

use std::path::Path;

use serde_json::Value;

use crate::verify::check::{Check, Section};
use crate::verify::lab::{Failed, Lab, Outcome};

/// A file or a folder, and words of which each must stand somewhere in it, whatever their case; alternatives are separated by `|`.
type Demand = (&'static str, &'static [&'static str]);

/// What must be there for a requirement.
const DEMANDS: [(&str, &[&str], &[Demand]); 27] = [
    (
        "team-1",
        &["FILE-01"],
        &[
            ("infrastructure/database/schema.sql", &["create table"]),
            ("infrastructure/database/migrations/001-initial.sql", &["create table"]),
            ("infrastructure/database/seed.sql", &["insert"]),
            ("infrastructure/database/queries.ts", &["export"]),
            ("infrastructure/config-service/index.ts", &["export default"]),
            (
                "infrastructure/config-service/handlers/instance-handlers.ts",
                &["export"],
            ),
            ("infrastructure/config-service/handlers/user-handlers.ts", &["export"]),
            (
                "infrastructure/config-service/handlers/project-handlers.ts",
                &["export"],
            ),
            ("infrastructure/config-service/wrangler.toml", &["main"]),
            ("infrastructure/auth/middleware.ts", &["export"]),
            ("infrastructure/auth/key-manager.ts", &["export"]),
            ("infrastructure/auth/types.ts", &["export"]),
            ("infrastructure/lookup/instance-resolver.ts", &["export"]),
            ("infrastructure/lookup/cache.ts", &["export"]),
            ("infrastructure/lookup/types.ts", &["export"]),
            ("README.md", &["npm"]),
            ("tests/database/schema.test.ts", &["("]),
            ("tests/config-service", &[".test.ts"]),
            ("tests/auth", &[".test.ts"]),
            ("tests/lookup", &[".test.ts"]),
        ],
    ),
    (
        "team-2",
        &["FILE-02"],
        &[
            ("workers/shared/provider-adapters/base-adapter.ts", &["export"]),
            ("workers/shared/provider-adapters/ideogram-adapter.ts", &["export"]),
            ("workers/shared/provider-adapters/registry.ts", &["export"]),
            ("workers/shared/provider-adapters/types.ts", &["export"]),
            ("workers/shared/rate-limiter/limiter.ts", &["export"]),
            ("workers/shared/rate-limiter/client.ts", &["export"]),
            ("workers/shared/rate-limiter/wrangler.toml", &["durable_objects"]),
            ("workers/shared/r2-manager/storage.ts", &["export"]),
            ("workers/shared/r2-manager/metadata.ts", &["export"]),
            ("workers/shared/r2-manager/types.ts", &["export"]),
            ("workers/image-gen/index.ts", &["export default"]),
            ("workers/image-gen/wrangler.toml", &["main"]),
            ("workers/image-gen/README.md", &["generate"]),
            ("tests/provider-adapters", &[".test.ts"]),
            ("tests/rate-limiter", &[".test.ts"]),
            ("tests/r2-manager", &[".test.ts"]),
            ("tests/image-gen", &[".test.ts"]),
        ],
    ),
    (
        "team-3",
        &["FILE-03"],
        &[
            ("workers/shared/error-handling/retry.ts", &["export"]),
            ("workers/shared/error-handling/errors.ts", &["export"]),
            ("workers/shared/error-handling/middleware.ts", &["export"]),
            ("workers/shared/logging/logger.ts", &["export"]),
            ("workers/shared/logging/storage.ts", &["export"]),
            ("workers/shared/logging/types.ts", &["export"]),
            ("infrastructure/database/migrations/002-logs.sql", &["create table"]),
            ("scripts/deploy-instance.ts", &["import"]),
            ("scripts/update-instance.ts", &["import"]),
            ("scripts/delete-instance.ts", &["import"]),
            ("scripts/deploy-all-instances.ts", &["import"]),
            ("scripts/README.md", &["npm run"]),
            (".github/workflows/test.yml", &["jobs"]),
            (".github/workflows/deploy.yml", &["jobs"]),
            (".github/workflows/deploy-instance.yml", &["jobs"]),
            ("tests/error-handling", &[".test.ts"]),
            ("tests/logging", &[".test.ts"]),
            ("tests/scripts", &[".test.ts"]),
            ("tests/workflows", &[".test.ts"]),
        ],
    ),
    (
        "team-4",
        &["FILE-04"],
        &[
            ("interfaces/testing-gui/index.html", &["<html"]),
            ("interfaces/admin-panel/index.html", &["<html"]),
            ("interfaces/monitoring/index.html", &["<html"]),
            ("docs/README.md", &["#"]),
            ("docs/api", &["#"]),
            ("docs/deployment", &["#"]),
            ("docs/development", &["#"]),
            ("docs/admin", &["#"]),
            ("tests/testing-gui", &[".test.ts"]),
            ("tests/admin-panel", &[".test.ts"]),
            ("tests/docs", &[".test.ts"]),
            ("tests/monitoring", &[".test.ts"]),
        ],
    ),
    (
        "middleware",
        &["AUTH-13"],
        &[
            ("infrastructure/auth/middleware.ts", &["export"]),
            ("workers/image-gen", &["infrastructure/auth/"]),
        ],
    ),
    (
        "operators-command",
        &["AUTH-14"],
        &[("infrastructure/auth", &["insert into api_keys"])],
    ),
    (
        "comments-of-the-schema",
        &["DB-16"],
        &[("infrastructure/database/schema.sql", &["encrypted", "sha-256|hash"])],
    ),
    (
        "queries",
        &["DB-17"],
        &[("infrastructure/database/queries.ts", &["export"])],
    ),
    (
        "migrations-and-seed",
        &["DB-15", "DB-18"],
        &[
            (
                "infrastructure/database/migrations/002-logs.sql",
                &["create table logs|create table if not exists logs"],
            ),
            (
                "infrastructure/database/seed.sql",
                &["example-org", "content-forge", "playground"],
            ),
        ],
    ),
    (
        "adapters",
        &["PROV-01", "PROV-02", "PROV-08"],
        &[
            (
                "workers/shared/provider-adapters",
                &[
                    "formatrequest",
                    "submitjob",
                    "checkstatus",
                    "fetchresult",
                    "parseresponse",
                    "supportsstreaming",
                    "image_url",
                    "dimensions",
                    "generation_time_ms",
                    "format",
                ],
            ),
            ("workers/shared/provider-adapters/registry.ts", &["ideogram"]),
        ],
    ),
    (
        "limiter",
        &["LIMIT-11", "LIMIT-12", "LIMIT-13"],
        &[
            (
                "workers/shared/rate-limiter",
                &["tpm|tokens", "provider:", "instance:", "settle|recordrequest"],
            ),
            (
                "workers/shared/rate-limiter/client.ts",
                &["instance:", "idfromname|getbyname"],
            ),
        ],
    ),
    (
        "lookup",
        &["LOOK-06"],
        &[("workers/image-gen", &["infrastructure/lookup/"])],
    ),
    (
        "uploads",
        &["STORE-06"],
        &[(
            "workers/shared/r2-manager",
            &["readablestream", "arraybuffer|uint8array", "size", "bucket", "url"],
        )],
    ),
    (
        "scripts",
        &["DEPLOY-01", "DEPLOY-02", "DEPLOY-03", "DEPLOY-04", "DEPLOY-05"],
        &[
            (
                "scripts",
                &["--config", "account", "worker_urls", "instances", "r2|bucket"],
            ),
            ("instances/production.json", &["\"instance_id\""]),
            ("instances/development.json", &["\"instance_id\""]),
        ],
    ),
    (
        "names-of-workers",
        &["DEPLOY-07"],
        &[(
            "workers/image-gen/wrangler.toml",
            &["image-gen-production", "image-gen-development"],
        )],
    ),
    (
        "guide-to-scripts",
        &["DEPLOY-08"],
        &[(
            "scripts/README.md",
            &[
                "deploy-instance",
                "update-instance",
                "delete-instance",
                "deploy-all-instances",
            ],
        )],
    ),
    (
        "guide-to-workflows",
        &["CI-04"],
        &[(
            "docs/ci-cd.md",
            &["test.yml", "deploy.yml", "deploy-instance.yml", "secret", "hand|manual"],
        )],
    ),
    (
        "testing-gui",
        &["GUI-01", "GUI-02", "GUI-03", "GUI-04"],
        &[(
            "interfaces/testing-gui",
            &[
                "api key",
                "instance",
                "prompt",
                "model",
                "<button",
                "bearer",
                "image_url",
                "r2_path",
                "metadata",
                "request_id",
                "clipboard",
                "status",
                "pages_build_output_dir",
            ],
        )],
    ),
    (
        "admin-panel",
        &["ADMIN-01", "ADMIN-02", "ADMIN-03", "ADMIN-04", "ADMIN-05"],
        &[(
            "interfaces/admin-panel",
            &[
                "instances",
                "users",
                "logs",
                "/me",
                "/metrics",
                "patch",
                "delete",
                "/access",
                "/key",
                "search",
                "level",
                "react-router",
                "tailwind",
                "pages_build_output_dir",
            ],
        )],
    ),
    (
        "monitoring",
        &["MON-01", "MON-02", "MON-03"],
        &[(
            "interfaces/monitoring",
            &[
                "/metrics",
                "requests",
                "errors",
                "error rate|error_rate",
                "response_ms",
                "rate_limited",
                "cost",
                "providers",
                "pie|doughnut",
                "30_000|30000|30 * 1000|30 seconds",
                "range",
                "chart.js",
                "tailwind",
                "pages_build_output_dir",
            ],
        )],
    ),
    ("overview", &["DOC-01"], &[("docs/README.md", &["```mermaid", "npm "])]),
    (
        "api-documentation",
        &["DOC-02"],
        &[(
            "docs/api",
            &[
                "/health",
                "/me",
                "/organization",
                "/organization/{org_id}",
                "/instance",
                "/instance/{instance_id}",
                "/access/{user_id}",
                "/user",
                "/user/{user_id}",
                "/project",
                "/project/{project_id}",
                "/key/{key_id}",
                "/logs",
                "/metrics",
                "/generate",
                "/jobs/{job_id}",
                "/images/",
                "validation_failed",
                "auth_failed",
                "forbidden",
                "not_found",
                "method_not_allowed",
                "conflict",
                "payload_too_large",
                "provider_rejected",
                "rate_limited",
                "internal_error",
                "provider_error",
                "config_unavailable",
                "provider_timeout",
                "curl ",
            ],
        )],
    ),
    (
        "guides",
        &["DOC-03"],
        &[
            ("docs/deployment", &["deploy", "update", "troubleshoot"]),
            ("docs/development", &["provider", "test", "local"]),
            ("docs/admin", &["user", "monitor", "scal"]),
        ],
    ),
    (
        "tests",
        &["TEST-01", "TEST-04"],
        &[
            ("tests/infrastructure", &[".test.ts"]),
            ("tests/workers", &[".test.ts"]),
            ("tests/operations", &[".test.ts"]),
            ("tests/interfaces", &[".test.ts"]),
            ("package.json", &["\"test\""]),
        ],
    ),
    (
        "coverage",
        &["TEST-02"],
        &[
            (
                "vitest.config.ts",
                &[
                    "thresholds",
                    "lines: 90|lines: 9|lines: 100",
                    "branches: 8|branches: 9|branches: 100",
                ],
            ),
            ("package.json", &["--coverage|coverage"]),
        ],
    ),
    (
        "fallback",
        &["GEN-13"],
        &[("workers/shared/provider-adapters/registry.ts", &["export"])],
    ),
    (
        "guards",
        &["CI-01"],
        &[("package.json", &["\"lint\"", "\"typecheck\"", "\"test\""])],
    ),
];

pub(super) fn checks() -> Vec<Check> {
    let section = Section::Static;
    let mut checks: Vec<Check> = DEMANDS
        .into_iter()
        .map(|(name, requirements, demands)| {
            Check::new(
                section,
                format!("files-of-{name}"),
                requirements,
                async move |lab: &mut Lab| demanded(lab, demands),
            )
        })
        .collect();
    checks.push(Check::new(
        section,
        "workflows",
        &["CI-01", "CI-02", "CI-03"],
        async |lab: &mut Lab| workflows(lab),
    ));
    checks.push(Check::new(
        section,
        "commands",
        &["DEPLOY-01", "DEPLOY-03", "DEPLOY-04", "DEPLOY-05"],
        async |lab: &mut Lab| commands(lab),
    ));
    checks.push(Check::new(
        section,
        "bindings",
        &["DEPLOY-06"],
        async |lab: &mut Lab| bindings(lab),
    ));
    checks.push(Check::new(
        section,
        "curl-commands",
        &["DOC-04"],
        async |lab: &mut Lab| curl_commands(lab),
    ));
    checks.push(Check::new(
        section,
        "names-of-tests",
        &["TEST-03"],
        async |lab: &mut Lab| names_of_tests(lab),
    ));
    checks.push(Check::new(
        section,
        "secrets-in-files",
        &["SEC-09"],
        async |lab: &mut Lab| secrets(lab),
    ));
    checks.push(Check::new(
        section,
        "one-way-in",
        &["AUTH-13", "LOOK-06", "LIMIT-12"],
        async |lab: &mut Lab| one_way(lab),
    ));
    checks
}

fn root(lab: &Lab) -> Outcome<&Path> {
    lab.root.as_deref().ok_or(Failed::NotApplicable)
}

fn failed(what: impl Into<String>) -> Failed {
    Failed::Difference(what.into())
}

/// Directories that are made by tools.
const MADE_BY_TOOLS: [&str; 6] = ["node_modules", "dist", "coverage", ".wrangler", ".cache", ".git"];

/// Every file below, as path from the root and text; what is no text is left out.
fn files(root: &Path, below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root.join(below)];
    while let Some(place) = waiting.pop() {
        if place.is_dir() {
            let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
            waiting.extend(
                entries
                    .filter(|entry| !MADE_BY_TOOLS.contains(&entry.file_name().to_string_lossy().as_ref()))
                    .map(|entry| entry.path()),
            );
        } else if let Ok(text) = std::fs::read_to_string(&place) {
            let name = place
                .strip_prefix(root)
                .unwrap_or(&place)
                .to_string_lossy()
                .into_owned();
            found.push((name, text));
        }
    }
    found.sort();
    found
}

fn demanded(lab: &Lab, demands: &[Demand]) -> Outcome {
    let root = root(lab)?;
    for (place, words) in demands {
        let found = files(root, place);
        lab.require(
            found.iter().any(|(_, text)| !text.trim().is_empty()),
            format!("there is no {place}, or nothing in it"),
        )?;
        let all: String = found
            .iter()
            .map(|(name, text)| format!("{name}\n{text}\n").to_lowercase())
            .collect();
        for word in *words {
            let is_there = word.split('|').any(|word| all.contains(word));
            lab.require(is_there, format!("{place} says nothing of {word}"))?;
        }
    }
    Ok(())
}

fn read(root: &Path, place: &str) -> Outcome<String> {
    std::fs::read_to_string(root.join(place)).map_err(|error| failed(format!("cannot read {place}: {error}")))
}

/// Every use of an action in a workflow.
fn uses(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("uses", Value::String(action)) => found.push(action.clone()),
                    (_, value) => uses(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| uses(value, found)),
        _ => {}
    }
}

fn workflows(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    for (file, trigger, words) in [
        (
            "test.yml",
            "pull_request",
            &["npm test|npm run test", "lint", "typecheck|tsc"][..],
        ),
        (
            "deploy.yml",
            "push",
            &["deploy-all-instances", "secrets.cloudflare_api_token", "smoke", "main"],
        ),
        (
            "deploy-instance.yml",
            "workflow_dispatch",
            &["deploy-instance", "secrets.cloudflare_api_token", "instance"],
        ),
    ] {
        let place = format!(".github/workflows/{file}");
        let text = read(root, &place)?;
        let workflow: Value =
            serde_yaml::from_str(&text).map_err(|error| failed(format!("{place} is no YAML: {error}")))?;
        let on = workflow
            .get("on")
            .or_else(|| workflow.get("true"))
            .cloned()
            .unwrap_or_default();
        let is_triggered = on.get(trigger).is_some()
            || on == trigger
            || on.as_array().is_some_and(|all| all.iter().any(|one| one == trigger));
        lab.require(is_triggered, format!("{place} does not start on {trigger}"))?;
        if file == "deploy.yml" {
            let branches = on.pointer("/push/branches").cloned().unwrap_or_default();
            lab.require(
                branches.to_string().contains("main"),
                format!("{place} does not start on a push to main"),
            )?;
        }
        if file == "test.yml" {
            lab.require(
                !text.contains("{ secrets.") && !text.contains("{secrets.") && on.get("pull_request_target").is_none(),
                format!("{place} shows secrets to pull requests"),
            )?;
        }
        let jobs = workflow
            .get("jobs")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        lab.require(!jobs.is_empty(), format!("{place} has no jobs"))?;
        let common = workflow.get("permissions").cloned();
        for (name, job) in &jobs {
            let permissions = job.get("permissions").or(common.as_ref());
            let is_least = permissions.is_some_and(|permissions| !permissions.is_string() || permissions == "read-all")
                && !permissions.is_some_and(|given| given.to_string().contains("contents\":\"write"));
            lab.require(
                is_least,
                format!("{place}: job {name} has more permissions than it needs, or does not say which"),
            )?;
        }
        let mut actions = Vec::new();
        uses(&workflow, &mut actions);
        for action in actions.iter().filter(|action| !action.starts_with("./")) {
            let is_pinned = action
                .split_once('@')
                .is_some_and(|(_, at)| at.len() == 40 && at.bytes().all(|byte| byte.is_ascii_hexdigit()));
            lab.require(is_pinned, format!("{place}: {action} is not pinned to a commit"))?;
        }
        let text = text.to_lowercase();
        for word in words {
            lab.require(
                word.split('|').any(|word| text.contains(word)),
                format!("{place} says nothing of {word}"),
            )?;
        }
    }
    Ok(())
}

fn commands(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    let package: Value =
        serde_json::from_str(&read(root, "package.json")?).map_err(|error| failed(format!("package.json: {error}")))?;
    for name in [
        "test",
        "lint",
        "typecheck",
        "deploy-instance",
        "update-instance",
        "delete-instance",
        "deploy-all-instances",
    ] {
        let command = package.pointer(&format!("/scripts/{name}")).and_then(Value::as_str);
        let command = command.ok_or_else(|| failed(format!("package.json has no script {name}")))?;
        if let Some(file) = command.split_whitespace().find(|word| word.starts_with("scripts/")) {
            lab.require(
                root.join(file).is_file(),
                format!("npm run {name} runs {file}, which is not there"),
            )?;
        }
    }
    for name in ["production", "development"] {
        let place = format!("instances/{name}.json");
        let instance: Value =
            serde_json::from_str(&read(root, &place)?).map_err(|error| failed(format!("{place}: {error}")))?;
        lab.require(
            instance["instance_id"] == name && instance["org_id"].is_string(),
            format!("{place} is not the instance {name} of an organisation"),
        )?;
    }
    Ok(())
}

fn bindings(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    for environment in [None, Some("production"), Some("development")] {
        let workers =
            crate::verify::wrangler::read_workers(root, environment).map_err(|error| failed(error.to_string()))?;
        let below = |folder: &str| {
            let folder = root.join(folder);
            let worker = workers.iter().find(|worker| worker.main.starts_with(&folder));
            worker.ok_or_else(|| failed(format!("{} has no Worker's wrangler.toml", folder.display())))
        };
        let of = environment.unwrap_or("the top level");
        for (folder, wanted) in [
            ("infrastructure/config-service", &["DB", "CONFIG_CACHE"][..]),
            (
                "workers/image-gen",
                &[
                    "DB",
                    "CONFIG_CACHE",
                    "CONFIG_SERVICE",
                    "RATE_LIMITER",
                    "CIRCUIT_BREAKER",
                    "LOG_BUFFER",
                    "JOBS",
                    "IMAGES",
                ],
            ),
        ] {
            let worker = below(folder)?;
            for name in wanted {
                lab.require(
                    worker.bindings.iter().any(|(bound, _)| bound == name),
                    format!("{folder}/wrangler.toml, {of}: nothing is bound as {name}"),
                )?;
            }
            for secret in ["SERVICE_TOKEN", "CACHE_ENCRYPTION_KEY", "PROVIDER_KEY_ENCRYPTION_KEYS"] {
                lab.require(
                    !worker.bindings.iter().any(|(bound, _)| bound == secret),
                    format!("{folder}/wrangler.toml, {of}: the secret {secret} is a variable"),
                )?;
            }
            for (database, place) in &worker.migrations {
                lab.require(
                    place.is_dir(),
                    format!(
                        "{folder}/wrangler.toml, {of}: the migrations of {database} are not at {}",
                        place.display()
                    ),
                )?;
            }
            lab.require(
                worker.main.is_file(),
                format!("{folder}/wrangler.toml: {} is not there", worker.main.display()),
            )?;
        }
        let image = below("workers/image-gen")?;
        lab.require(
            !image.crons.is_empty(),
            format!("workers/image-gen/wrangler.toml, {of}: no cron deletes old log entries"),
        )?;
        for (name, binding) in &image.bindings {
            if let workerd_driver::Binding::Objects { class, worker: None } = binding {
                lab.require(
                    image.objects.iter().any(|object| object.class == *class),
                    format!("workers/image-gen/wrangler.toml: no migration makes {class}, which {name} is bound to"),
                )?;
            }
        }
    }
    Ok(())
}

/// Paths of the contract, as patterns; `*` stands for one segment.
const ROUTES: [&str; 21] = [
    "health",
    "me",
    "organization",
    "organization/*",
    "instance",
    "instance/*",
    "instance/*/access",
    "instance/*/access/*",
    "user",
    "user/*",
    "user/*/key",
    "project",
    "project/*",
    "project/*/key",
    "key/*",
    "logs",
    "metrics",
    "generate",
    "jobs/*",
    "images/*/*/*",
    "",
];

fn curl_commands(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    let mut count = 0;
    for (file, text) in files(root, "docs")
        .into_iter()
        .filter(|(file, _)| file.ends_with(".md"))
    {
        for line in text
            .lines()
            .filter(|line| line.contains("curl ") && line.contains("_URL"))
        {
            let rest = line.split_once("curl ").and_then(|(_, rest)| rest.split_once("_URL"));
            let Some((_, rest)) = rest else {
                continue;
            };
            let path: String = rest.chars().take_while(|letter| !"\"' )?".contains(*letter)).collect();
            let path = path.trim_start_matches('}').trim_matches('/');
            count += 1;
            let segments: Vec<&str> = path.split('/').collect();
            let is_route = ROUTES.iter().any(|route| {
                let pattern: Vec<&str> = route.split('/').collect();
                pattern.len() == segments.len()
                    && pattern
                        .iter()
                        .zip(&segments)
                        .all(|(pattern, segment)| *pattern == "*" || pattern == segment)
            });
            lab.require(is_route, format!("{file} calls /{path}, which is no route"))?;
        }
    }
    lab.require(count > 0, "docs/ has no curl command")
}

fn names_of_tests(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    for below in ["tests", "infrastructure", "workers", "interfaces", "scripts"] {
        for (file, text) in files(root, below) {
            let is_test = [".test.ts", ".test.tsx"].iter().any(|end| file.ends_with(end));
            lab.require(
                !(is_test && below != "tests"),
                format!("{file} is a test outside of tests/"),
            )?;
            let name = file.rsplit('/').next().unwrap_or_default();
            lab.require(
                !name.contains(".spec."),
                format!("{file} is not named <subject>.test.ts"),
            )?;
            lab.require(
                !(is_test
                    && [
                        "test.skip(",
                        "it.skip(",
                        "describe.skip(",
                        "test.only(",
                        "it.only(",
                        "describe.only(",
                    ]
                    .iter()
                    .any(|word| text.contains(word))),
                format!("{file} leaves tests out"),
            )?;
            lab.require(
                !is_test || file.matches('/').count() >= 2,
                format!("{file} is in no folder of a component"),
            )?;
        }
    }
    Ok(())
}

/// What real secrets look like: private keys, tokens of well-known services, and platform keys whose checksum is right.
fn secrets(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    for (file, text) in files(root, ".") {
        let is_example = file.starts_with("./tests/") || file.starts_with("tests/");
        for word in [
            "-----BEGIN PRIVATE KEY",
            "-----BEGIN RSA PRIVATE KEY",
            "-----BEGIN EC PRIVATE KEY",
            "AKIA",
            "ghp_",
            "github_pat_",
            "xoxb-",
            "sk_live_",
        ] {
            lab.require(
                is_example || !text.contains(word),
                format!("{file} holds what looks like a secret: {word}..."),
            )?;
        }
        let mut rest = text.as_str();
        while let Some(at) = rest.find("mas_") {
            let word: String = rest[at..]
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            let is_key = reference_core::key::is_well_formed(&word) && word[4..47].chars().any(|letter| letter != '0');
            lab.require(is_example || !is_key, format!("{file} holds a platform key"))?;
            rest = &rest[at + 4..];
        }
        let name = file.rsplit('/').next().unwrap_or_default();
        let is_ignored = name.starts_with(".dev.vars") || (name.starts_with(".env") && !name.ends_with(".example"));
        lab.require(
            !is_ignored || file.ends_with(".example"),
            format!("{file} holds secrets and is there"),
        )
        .or_else(|failed| {
            let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
            if ignored.contains(".dev.vars") {
                Ok(())
            } else {
                Err(failed)
            }
        })?;
    }
    Ok(())
}

/// What parts of the code alone may do.
fn one_way(lab: &Lab) -> Outcome {
    let root = root(lab)?;
    for (file, text) in files(root, "workers") {
        if !file.ends_with(".ts") {
            continue;
        }
        let text = text.to_lowercase();
        lab.require(
            !text.contains("from api_keys"),
            format!("{file} reads keys past the middleware"),
        )?;
        lab.require(
            !text.contains("select config from instances"),
            format!("{file} reads configurations past the lookup"),
        )?;
        let is_client = file.contains("rate-limiter/");
        lab.require(
            is_client || !(text.contains("rate_limiter.idfromname") || text.contains("rate_limiter.getbyname")),
            format!("{file} names the limiter's object past its client"),
        )?;
    }
    Ok(())
}
