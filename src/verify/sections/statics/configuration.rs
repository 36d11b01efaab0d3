//! Wrangler's configurations, the deployment's commands and files, and the workflows.

use serde_json::Value;
use workerd_driver::Binding;

use super::{Sources, check, require};
use crate::verify::check::Check;
use crate::verify::lab::{Failed, Outcome};
use crate::verify::wrangler::{WorkerPlan, read_workers};

pub(super) fn checks() -> Vec<Check> {
    vec![
        check("bindings-of-the-workers", &["DEPLOY-06"], |sources| {
            for environment in [None, Some("production"), Some("development")] {
                bindings(sources, environment)?;
            }
            Ok(())
        }),
        check("the-worker-of-an-instance-has-its-name", &["DEPLOY-07"], |sources| {
            for instance in ["production", "development"] {
                let name = format!("image-gen-{instance}");
                let workers = workers(sources, Some(instance))?;
                require(
                    workers.iter().any(|worker| worker.name == name),
                    format!("no Worker is called {name} in the environment {instance}"),
                )?;
            }
            Ok(())
        }),
        check("command-deploy-instance", &["DEPLOY-01", "DEPLOY-02"], |sources| {
            command(sources, "deploy-instance")?;
            sources.mention("scripts/", &["worker_urls", "account"])
        }),
        check("command-update-instance", &["DEPLOY-03"], |sources| {
            command(sources, "update-instance")
        }),
        check("command-delete-instance", &["DEPLOY-04"], |sources| {
            command(sources, "delete-instance")
        }),
        check("command-deploy-all-instances", &["DEPLOY-05"], |sources| {
            command(sources, "deploy-all-instances")?;
            for instance in ["production", "development"] {
                let path = format!("instances/{instance}.json");
                let text = sources.file(&path)?;
                let parsed: Value = serde_json::from_str(text)
                    .map_err(|error| Failed::Difference(format!("{path} is no JSON: {error}")))?;
                require(
                    parsed["instance_id"] == instance,
                    format!("{path} describes {}", parsed["instance_id"]),
                )?;
            }
            Ok(())
        }),
        check("scripts-are-explained", &["DEPLOY-08"], |sources| {
            sources.mention(
                "scripts/README.md",
                &[
                    "deploy-instance",
                    "update-instance",
                    "delete-instance",
                    "deploy-all-instances",
                ],
            )
        }),
        check("workflow-tests-pull-requests", &["CI-01"], |sources| {
            let found = workflows(sources)?
                .into_iter()
                .find(|workflow| workflow.has_trigger("pull_request"))
                .ok_or_else(|| Failed::Difference("no workflow runs for pull requests".to_owned()))?;
            for command in [
                "npm run lint|npm run check",
                "npm run typecheck|npm run check",
                "npm test",
            ] {
                found.runs(command)?;
            }
            Ok(())
        }),
        check("workflow-deploys-from-main", &["CI-02"], |sources| {
            let found = workflows(sources)?
                .into_iter()
                .find(|workflow| {
                    let push = &workflow.triggers()["push"];
                    push["branches"]
                        .as_array()
                        .is_some_and(|branches| branches.iter().any(|branch| branch == "main"))
                })
                .ok_or_else(|| Failed::Difference("no workflow runs for pushes to main".to_owned()))?;
            found.runs("deploy-all-instances")?;
            found.runs("smoke")?;
            require(
                found.text.contains("secrets.CLOUDFLARE_API_TOKEN"),
                format!("{} does not take its token from the secrets", found.path),
            )
        }),
        check("workflow-deploys-one-instance-by-hand", &["CI-03"], |sources| {
            let found = workflows(sources)?
                .into_iter()
                .find(|workflow| workflow.has_trigger("workflow_dispatch"))
                .ok_or_else(|| Failed::Difference("no workflow is started by hand".to_owned()))?;
            require(
                found.triggers()["workflow_dispatch"]["inputs"].is_object(),
                format!("{} asks for no instance", found.path),
            )?;
            found.runs("deploy-instance")
        }),
        check("workflows-are-careful", &["CI-01", "CI-02", "CI-03"], |sources| {
            for workflow in workflows(sources)? {
                workflow.is_careful()?;
            }
            Ok(())
        }),
        check("workflows-are-explained", &["CI-04"], |sources| {
            sources.mention(
                "docs/ci-cd.md",
                &["test.yml", "deploy.yml", "deploy-instance.yml", "npm run deploy"],
            )
        }),
    ]
}

fn workers(sources: &Sources, environment: Option<&str>) -> Outcome<Vec<WorkerPlan>> {
    read_workers(&sources.root, environment).map_err(|error| Failed::Difference(error.to_string()))
}

fn bindings(sources: &Sources, environment: Option<&str>) -> Outcome {
    let within = environment.map_or_else(String::new, |environment| format!(" in the environment {environment}"));
    let all = workers(sources, environment)?;
    let of = |folder: &str| {
        all.iter()
            .find(|worker| worker.main.starts_with(sources.root.join(folder)))
            .ok_or_else(|| Failed::Difference(format!("no wrangler.toml describes {folder}{within}")))
    };
    let is_bound = |worker: &WorkerPlan, name: &str, kind: fn(&Binding) -> bool| {
        let is_there = worker
            .bindings
            .iter()
            .any(|(bound, binding)| bound == name && kind(binding));
        require(
            is_there,
            format!("{} does not bind {name} as it must{within}", worker.name),
        )
    };
    let (config, image) = (of("infrastructure/config-service")?, of("workers/image-gen")?);
    for worker in [config, image] {
        is_bound(worker, "DB", |binding| matches!(binding, Binding::Database(_)))?;
        is_bound(worker, "CONFIG_CACHE", |binding| {
            matches!(binding, Binding::KeyValue(_))
        })?;
        require(
            !worker.compatibility_date.is_empty(),
            format!("{} has no compatibility date{within}", worker.name),
        )?;
    }
    is_bound(image, "CONFIG_SERVICE", |binding| {
        matches!(binding, Binding::Service { .. })
    })?;
    is_bound(image, "IMAGES", |binding| matches!(binding, Binding::Bucket(_)))?;
    for name in ["RATE_LIMITER", "CIRCUIT_BREAKER", "LOG_BUFFER", "JOBS"] {
        is_bound(image, name, |binding| matches!(binding, Binding::Objects { .. }))?;
    }
    require(
        !image.crons.is_empty(),
        format!(
            "{} has no cron trigger, so that nothing deletes old log entries{within}",
            image.name
        ),
    )
}

/// A command of package.json, and the file that it runs.
fn command(sources: &Sources, name: &str) -> Outcome {
    let package: Value = serde_json::from_str(sources.file("package.json")?)
        .map_err(|error| Failed::Difference(format!("package.json is no JSON: {error}")))?;
    let Some(line) = package["scripts"][name].as_str() else {
        return Err(Failed::Difference(format!("there is no command `npm run {name}`")));
    };
    let file = line
        .split_whitespace()
        .find(|word| word.starts_with("scripts/"))
        .ok_or_else(|| Failed::Difference(format!("`npm run {name}` runs nothing below scripts/")))?;
    sources.file(file).map(|_| ())
}

struct Workflow<'sources> {
    path: &'sources str,
    text: &'sources str,
    parsed: Value,
}

fn workflows(sources: &Sources) -> Outcome<Vec<Workflow<'_>>> {
    let mut workflows = Vec::new();
    for (path, text) in sources.below_path(".github/workflows/") {
        if !path.ends_with(".yml") && !path.ends_with(".yaml") {
            continue;
        }
        let parsed =
            serde_yaml::from_str(text).map_err(|error| Failed::Difference(format!("{path} is no YAML: {error}")))?;
        workflows.push(Workflow { path, text, parsed });
    }
    require(!workflows.is_empty(), "there is no workflow")?;
    Ok(workflows)
}

impl Workflow<'_> {
    fn triggers(&self) -> &Value {
        // In YAML 1.1, `on` without quotes means true.
        match &self.parsed["on"] {
            Value::Null => &self.parsed["true"],
            triggers => triggers,
        }
    }

    fn has_trigger(&self, name: &str) -> bool {
        match self.triggers() {
            Value::String(one) => one == name,
            Value::Array(names) => names.iter().any(|one| one == name),
            Value::Object(triggers) => triggers.contains_key(name),
            _ => false,
        }
    }

    fn steps(&self) -> impl Iterator<Item = &Value> {
        self.parsed["jobs"]
            .as_object()
            .into_iter()
            .flat_map(|jobs| jobs.values())
            .filter_map(|job| job["steps"].as_array())
            .flatten()
    }

    /// Some step runs it; of commands with `|` between them, one.
    fn runs(&self, commands: &str) -> Outcome {
        let is_run = commands.split('|').any(|command| {
            self.steps()
                .filter_map(|step| step["run"].as_str())
                .any(|run| run.contains(command))
        });
        require(is_run, format!("{} does not run {commands}", self.path))
    }

    /// Actions of others are pinned to a commit, and the token may only read, unless a job says what it writes.
    fn is_careful(&self) -> Outcome {
        for step in self.steps() {
            let Some(action) = step["uses"].as_str() else { continue };
            let is_pinned = action.starts_with("./")
                || action.rsplit_once('@').is_some_and(|(_, commit)| {
                    commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
                });
            require(
                is_pinned,
                format!("{} uses {action}, which may change under it", self.path),
            )?;
        }
        let permissions = &self.parsed["permissions"];
        let only_reads = permissions
            .as_object()
            .is_some_and(|permissions| permissions.values().all(|may| may == "read" || may == "none"));
        require(
            only_reads,
            format!(
                "{} does not narrow what its token may do: permissions are {permissions}",
                self.path
            ),
        )
    }
}
