//! Which files there are, and who may name what in them.

use super::{Sources, check, require};
use crate::verify::check::Check;
use crate::verify::lab::{Failed, Outcome};

pub(super) fn checks() -> Vec<Check> {
    vec![
        check("files-of-team-1", &["FILE-01"], |sources| {
            all_there(
                sources,
                &[
                    "infrastructure/database/schema.sql",
                    "infrastructure/database/migrations/001-initial.sql",
                    "infrastructure/database/seed.sql",
                    "infrastructure/database/queries.ts",
                    "infrastructure/config-service/index.ts",
                    "infrastructure/config-service/handlers/",
                    "infrastructure/config-service/wrangler.toml",
                    "infrastructure/auth/middleware.ts",
                    "infrastructure/auth/key-manager.ts",
                    "infrastructure/lookup/instance-resolver.ts",
                    "infrastructure/lookup/cache.ts",
                    "tests/database/",
                    "tests/config-service/",
                    "tests/auth/",
                    "tests/lookup/",
                    "README.md",
                ],
            )
        }),
        check("files-of-team-2", &["FILE-02"], |sources| {
            all_there(
                sources,
                &[
                    "workers/shared/provider-adapters/base-adapter.ts",
                    "workers/shared/provider-adapters/ideogram-adapter.ts",
                    "workers/shared/provider-adapters/registry.ts",
                    "workers/shared/rate-limiter/limiter.ts",
                    "workers/shared/r2-manager/storage.ts",
                    "workers/image-gen/index.ts",
                    "workers/image-gen/wrangler.toml",
                    "tests/provider-adapters/",
                    "tests/rate-limiter/",
                    "tests/r2-manager/",
                    "tests/image-gen/",
                ],
            )
        }),
        check("files-of-team-3", &["FILE-03"], |sources| {
            all_there(
                sources,
                &[
                    "workers/shared/error-handling/errors.ts",
                    "workers/shared/error-handling/retry.ts",
                    "workers/shared/error-handling/middleware.ts",
                    "workers/shared/logging/logger.ts",
                    "infrastructure/database/migrations/002-logs.sql",
                    "scripts/deploy-instance.ts",
                    "scripts/update-instance.ts",
                    "scripts/delete-instance.ts",
                    "scripts/deploy-all-instances.ts",
                    "instances/production.json",
                    "instances/development.json",
                    ".github/workflows/test.yml",
                    ".github/workflows/deploy.yml",
                    ".github/workflows/deploy-instance.yml",
                    "tests/error-handling/",
                    "tests/logging/",
                    "tests/scripts/",
                ],
            )
        }),
        check("files-of-team-4", &["FILE-04"], |sources| {
            all_there(
                sources,
                &[
                    "interfaces/testing-gui/index.html",
                    "interfaces/admin-panel/index.html",
                    "interfaces/monitoring/index.html",
                    "docs/README.md",
                    "docs/api/",
                    "docs/deployment/",
                    "docs/development/",
                    "docs/admin/",
                ],
            )
        }),
        check("one-way-to-check-keys", &["AUTH-13"], |sources| {
            once_there_is_a_worker(sources)?;
            only_in(sources, "workers/", "key_hash", "")?;
            sources.mention("workers/", &["infrastructure/auth/"])
        }),
        check("a-command-makes-the-first-key", &["AUTH-14"], |sources| {
            sources.mention("infrastructure/auth/", &["insert into api_keys", "argv"])
        }),
        check("the-schema-says-how-secrets-are-stored", &["DB-16"], |sources| {
            let schema = sources.file("infrastructure/database/schema.sql")?.to_lowercase();
            let comments: String = schema
                .lines()
                .filter(|line| line.trim_start().starts_with("--"))
                .collect();
            require(
                (comments.contains("sha-256") || comments.contains("hash")) && comments.contains("encrypt"),
                "no comment of schema.sql says that keys are hashed and provider keys encrypted",
            )
        }),
        check("queries-are-functions", &["DB-17"], |sources| {
            let queries = sources.file("infrastructure/database/queries.ts")?;
            require(queries.contains("export"), "queries.ts exports nothing")
        }),
        check("no-secret-in-a-file", &["SEC-09"], no_secret),
        check("configuration-through-the-lookup", &["LOOK-06"], |sources| {
            once_there_is_a_worker(sources)?;
            for word in ["select config", "instances.config", "from instances where"] {
                let found = sources
                    .below_path("workers/")
                    .filter(|(_, text)| text.to_lowercase().contains(word))
                    // Whether an instance still exists may be asked.
                    .find(|(_, text)| {
                        text.to_lowercase().contains("config from instances") || word != "from instances where"
                    });
                if let Some((path, _)) = found {
                    return require(false, format!("{path} reads configuration past the lookup"));
                }
            }
            sources.mention("workers/", &["infrastructure/lookup/"])
        }),
        check("adapters-have-the-interface", &["PROV-01", "PROV-08"], |sources| {
            let room = "workers/shared/provider-adapters/";
            sources.mention(
                room,
                &[
                    "formatRequest",
                    "submitJob",
                    "checkStatus",
                    "fetchResult",
                    "parseResponse",
                    "supportsStreaming",
                    "image_url",
                    "generation_time_ms",
                    "dimensions",
                ],
            )
        }),
        check("a-registry-of-providers", &["PROV-02", "GEN-13"], |sources| {
            let room = "workers/shared/provider-adapters/";
            let adapters = sources
                .below_path(room)
                .filter(|(path, _)| path.ends_with("-adapter.ts") && !path.ends_with("base-adapter.ts"))
                .count();
            require(
                adapters >= 2,
                format!("{adapters} providers have an adapter: that it is a framework shows with the second one"),
            )?;
            sources.file(&format!("{room}registry.ts")).map(|_| ())
        }),
        check("one-client-of-the-limiter", &["LIMIT-12"], |sources| {
            only_in(
                sources,
                "workers/",
                "RATE_LIMITER.idFromName",
                "workers/shared/rate-limiter/",
            )?;
            only_in(
                sources,
                "workers/",
                "RATE_LIMITER.getByName",
                "workers/shared/rate-limiter/",
            )
        }),
        check("uploads-say-where-they-went", &["STORE-06"], |sources| {
            sources.mention(
                "workers/shared/r2-manager/",
                &["ReadableStream", "r2_path", "cdn_url", "bucket", "size"],
            )
        }),
        check("tests-of-every-component", &["TEST-01", "TEST-03"], |sources| {
            for component in [
                "database",
                "config-service",
                "auth",
                "lookup",
                "provider-adapters",
                "rate-limiter",
                "r2-manager",
                "image-gen",
                "error-handling",
                "logging",
                "scripts",
            ] {
                let folder = format!("tests/{component}/");
                let count = sources
                    .below_path(&folder)
                    .filter(|(path, _)| path.contains(".test.ts"))
                    .count();
                require(count > 0, format!("there is no test below {folder}"))?;
            }
            Ok(())
        }),
        check("coverage-is-demanded", &["TEST-02", "TEST-04"], |sources| {
            sources.mention(
                "vitest.config",
                &[
                    "thresholds",
                    "lines: 90|lines: 9|lines: 100",
                    "branches: 8|branches: 9|branches: 100",
                ],
            )
        }),
    ]
}

/// Before there is one, nobody can use what it must use.
fn once_there_is_a_worker(sources: &Sources) -> Outcome {
    match sources.below_path("workers/image-gen/").next() {
        Some(_) => Ok(()),
        None => Err(Failed::NotApplicable),
    }
}

fn all_there(sources: &Sources, wanted: &[&str]) -> Outcome {
    for path in wanted {
        let is_there = if path.ends_with('/') {
            sources.below_path(path).next().is_some()
        } else {
            sources.texts.contains_key(*path)
        };
        require(is_there, format!("there is no {path}"))?;
    }
    Ok(())
}

/// A word stands nowhere below a path but in one room of it.
fn only_in(sources: &Sources, start: &str, word: &str, room: &str) -> Outcome {
    let elsewhere = sources
        .below_path(start)
        .find(|(path, text)| (room.is_empty() || !path.starts_with(room)) && text.contains(word));
    match elsewhere {
        Some((path, _)) => require(false, format!("{path} names {word}")),
        None => Ok(()),
    }
}

fn no_secret(sources: &Sources) -> Outcome {
    for (path, text) in &sources.texts {
        // Tests plant secrets in order to look for them.
        if path.starts_with("tests/") {
            continue;
        }
        require(
            !text.contains("PRIVATE KEY-----"),
            format!("{path} holds a private key"),
        )?;
        for (start, _) in text.match_indices("mas_") {
            let candidate: String = text[start..]
                .chars()
                .take_while(|character| character.is_ascii_alphanumeric() || *character == '_')
                .collect();
            require(
                !reference_core::key::is_well_formed(&candidate),
                format!("{path} holds a platform key"),
            )?;
        }
        if path.ends_with("wrangler.toml") {
            for line in text.lines() {
                let Some((name, value)) = line.split_once('=') else {
                    continue;
                };
                let name = name.trim().to_ascii_uppercase();
                let is_secret = ["TOKEN", "SECRET", "ENCRYPTION_KEY", "API_KEY", "PASSWORD"]
                    .iter()
                    .any(|part| name.ends_with(part) || name.ends_with(&format!("{part}S")));
                let is_set = !matches!(value.trim(), "\"\"" | "''");
                require(!(is_secret && is_set), format!("{path} sets {name}"))?;
            }
        }
    }
    Ok(())
}
