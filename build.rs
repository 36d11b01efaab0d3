//! Builds the shipped project (plan, prompts, specifications, finished work) into the program, so that `demo`, `init` and the replay agent need no checkout.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Directories that are made by tools and belong to nobody's work.
const MADE_BY_TOOLS: [&str; 4] = ["node_modules", "dist", "coverage", "target"];

/// Hidden names that are part of the work; all other hidden names are caches and secrets.
const HIDDEN_BUT_OURS: [&str; 10] = [
    ".gitignore",
    ".gitattributes",
    ".editorconfig",
    ".github",
    ".npmrc",
    ".nvmrc",
    ".prettierrc",
    ".prettierrc.json",
    ".prettierignore",
    ".dev.vars.example",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut generated = Vec::new();
    collect(&root.join("generated"), &root.join("generated"), &mut generated)?;
    let mut project = Vec::new();
    for part in ["phases.yaml", "prompts", "specs"] {
        collect(&root, &root.join(part), &mut project)?;
    }
    let mut code = String::new();
    write_table(&mut code, "GENERATED", &mut generated)?;
    write_table(&mut code, "PROJECT", &mut project)?;
    let target = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("embedded.rs");
    fs::write(target, code)
}

/// Adds `path`, or everything below it, with its name relative to `base`. What does not exist adds nothing.
fn collect(base: &Path, path: &Path, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    // A missing path is named as well: it may come later.
    writeln!(io::stdout(), "cargo::rerun-if-changed={}", path.display())?;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name.as_str());
            if !hidden && !MADE_BY_TOOLS.contains(&name.as_str()) {
                collect(base, &entry.path(), found)?;
            }
        }
    } else if metadata.is_file() {
        let relative = path.strip_prefix(base).map_err(io::Error::other)?;
        found.push((relative.to_string_lossy().into_owned(), path.to_path_buf()));
    }
    Ok(())
}

fn write_table(code: &mut String, name: &str, files: &mut [(String, PathBuf)]) -> io::Result<()> {
    files.sort();
    let failed = |_| io::Error::other("formatting");
    writeln!(code, "static {name}: &[(&str, &[u8])] = &[").map_err(failed)?;
    for (relative, path) in &*files {
        writeln!(
            code,
            "    ({relative:?}, include_bytes!({:?})),",
            path.display().to_string()
        )
        .map_err(failed)?;
    }
    writeln!(code, "];\nstatic {name}_EXECUTABLE: &[&str] = &[").map_err(failed)?;
    for (relative, path) in &*files {
        if fs::metadata(path)?.permissions().mode() & 0o111 != 0 {
            writeln!(code, "    {relative:?},").map_err(failed)?;
        }
    }
    writeln!(code, "];").map_err(failed)
}
