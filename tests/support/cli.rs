//! The real program, run in a directory with an environment of its own, and the plans that tests run it on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn plans(kind: &str) -> PathBuf {
    top().join("tests/plans").join(kind)
}

pub(crate) fn orchestrate(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_orchestrate"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("LANG", "C.UTF-8")
        .output()
        .expect("the program runs")
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}
