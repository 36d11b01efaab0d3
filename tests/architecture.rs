//! ARCHITECTURE.md names every file of `src/`, by the file's own first line. `UPDATE=1 cargo test --test architecture` writes the list anew.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- files -->\n";
const END: &str = "<!-- /files -->";

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn architecture_md_names_every_file_by_its_own_first_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join("src"), &mut files);
    files.sort();
    let mut list = String::new();
    for file in &files {
        let name = file.strip_prefix(root).unwrap().display();
        let text = fs::read_to_string(file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let sentence = first.strip_prefix("//! ");
        let sentence =
            sentence.unwrap_or_else(|| panic!("the first line of {name} does not say what lives in it: {first}"));
        list.push_str(&format!("- `{name}`: {sentence}\n"));
    }
    let page = root.join("ARCHITECTURE.md");
    let text = fs::read_to_string(&page).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (found, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, format!("{head}{BEGIN}{list}{END}{tail}")).unwrap();
        return;
    }
    let missing: Vec<&str> = list.lines().filter(|line| !found.contains(line)).collect();
    let stale: Vec<&str> = found.lines().filter(|line| !list.contains(line)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "ARCHITECTURE.md is out of date; run UPDATE=1 cargo test --test architecture\nmissing: {missing:#?}\nstale: {stale:#?}"
    );
}
