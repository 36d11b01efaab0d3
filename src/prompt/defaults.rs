//! Templates that come with the program: what a prompts' directory does not have of these is taken from here.

/// After an attempt that ended badly.
pub(super) const RETRY: &str = "retry.md.tera";
/// After a human has answered.
pub(super) const ANSWER: &str = "answer.md.tera";
/// After an interruption.
pub(super) const RESUME: &str = "resume.md.tera";
/// For a merge with conflicts.
pub(super) const CONFLICT: &str = "conflict.md.tera";

macro_rules! embedded {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../prompts/", $name)))),*]
    };
}

/// Name and text of each.
pub(super) const TEMPLATES: &[(&str, &str)] = embedded![
    "answer.md.tera",
    "conflict.md.tera",
    "integration.md.tera",
    "resume.md.tera",
    "retry.md.tera",
    "partials/commit-convention.md.tera",
    "partials/definition-of-done.md.tera",
    "partials/deployment.md.tera",
    "partials/environment.md.tera",
    "partials/escalation.md.tera",
    "partials/ownership.md.tera",
    "partials/role.md.tera",
];
