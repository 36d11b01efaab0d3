//! The templates of a directory, read and compiled with every mistake found, not only the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use tera::{ErrorKind, Tera};

use super::{DEPTH_MAX, Fault, FaultKind, PromptError, defaults, fault};

/// A template of this size is no prompt.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;
/// Templates of one directory.
const TEMPLATES_MAX: usize = 2_000;

/// Templates by name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// Name and text: the directory's own, and the program's where the directory has none.
    pub texts: BTreeMap<String, String>,
    /// Files that cannot be templates, and why.
    pub unreadable: Vec<(String, String)>,
    /// Names that the directory itself has.
    pub own: BTreeSet<String>,
}

impl Library {
    /// Reads every `*.tera` file of a directory and of those in it. Names are relative to the directory.
    pub fn read(directory: &Path) -> Result<Self, PromptError> {
        if !directory.is_dir() {
            return Err(PromptError::MissingDirectory(directory.to_owned()));
        }
        let mut library = Self::default();
        walk(directory, "", DEPTH_MAX, TEMPLATES_MAX, &mut |name, path| {
            if name.ends_with(".tera") {
                library.own.insert(name.clone());
                match read_template(path) {
                    Ok(text) => {
                        library.texts.insert(name, text);
                    }
                    Err(reason) => library.unreadable.push((name, reason)),
                }
            }
        });
        for (name, text) in defaults::TEMPLATES {
            if !library.own.contains(*name) {
                library.texts.insert((*name).to_owned(), (*text).to_owned());
            }
        }
        Ok(library)
    }

    /// Compiles all of them. What has a mistake is replaced by an empty template, so that the others can be looked at as well.
    pub(super) fn compile(&self) -> (Tera, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut texts: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, text) in &self.texts {
            // Alone, a template that extends another is incomplete; only its syntax counts here.
            let alone = Tera::new().add_raw_template(name, text);
            let broken = match &alone {
                Err(error) if matches!(error.kind(), ErrorKind::SyntaxError(_)) => Some(fault(name, error)),
                Ok(()) | Err(_) => None,
            };
            texts.insert(name, if broken.is_some() { "" } else { text });
            faults.extend(broken);
        }
        for (name, _) in &self.unreadable {
            texts.insert(name, "");
        }
        let mut stubs: BTreeSet<String> = BTreeSet::new();
        loop {
            let mut tera = Tera::new();
            // Prompts are not HTML: nothing is escaped, whatever the name ends with.
            tera.autoescape_on(Vec::<&str>::new());
            let all = texts
                .iter()
                .map(|(name, text)| (*name, *text))
                .chain(stubs.iter().map(|name| (name.as_str(), "")));
            let Err(error) = tera.add_raw_templates(all) else {
                return (tera, faults);
            };
            let before = stubs.len() + texts.values().filter(|text| text.is_empty()).count();
            match error.kind() {
                ErrorKind::MissingParent { current, parent } => {
                    faults.push(self.missing(current, parent, "extends"));
                    stubs.insert(parent.clone());
                }
                ErrorKind::Msg(reports) => {
                    for found in self.reported(reports) {
                        if found.kind == FaultKind::UnknownTemplate {
                            stubs.extend(quoted(&found.message).map(str::to_owned));
                        } else if let Some(text) = texts.get_mut(found.template.as_str()) {
                            *text = "";
                        }
                        faults.push(found);
                    }
                }
                kind => {
                    let mut found = fault("", &error);
                    if let ErrorKind::CircularExtend {
                        inheritance_chain: chain,
                        ..
                    }
                    | ErrorKind::CircularInclude {
                        include_chain: chain, ..
                    } = kind
                    {
                        found.span = chain.get(1).and_then(|next| self.place_of_name(&found.template, next));
                    }
                    if let Some(text) = texts.get_mut(found.template.as_str()) {
                        *text = "";
                    }
                    faults.push(found);
                }
            }
            if stubs.len() + texts.values().filter(|text| text.is_empty()).count() == before {
                // Nothing was learnt: an error of a kind that is not known here. It has been told.
                return (Tera::new(), faults);
            }
        }
    }

    fn missing(&self, current: &str, name: &str, verb: &str) -> Fault {
        Fault {
            kind: FaultKind::UnknownTemplate,
            template: current.to_owned(),
            span: self.place_of_name(current, name),
            message: format!("it {verb} `{name}`, which does not exist"),
        }
    }

    /// Where a template names another.
    fn place_of_name(&self, template: &str, name: &str) -> Option<std::ops::Range<usize>> {
        let text = self.texts.get(template)?;
        let quoted = [format!("\"{name}\""), format!("'{name}'"), format!("`{name}`")];
        quoted
            .iter()
            .find_map(|quoted| text.find(quoted.as_str()).map(|start| start..start + quoted.len()))
    }

    /// The engine hands over several mistakes as one text: `error: what` and `--> name:line:column`, repeated.
    fn reported(&self, reports: &str) -> Vec<Fault> {
        let mut found = Vec::new();
        let mut what = None;
        for line in reports.lines() {
            if let Some(text) = line.strip_prefix("error: ") {
                what = Some(text);
            } else if let (Some(place), Some(text)) = (line.trim_start().strip_prefix("--> "), what.take()) {
                found.push(self.fault_at(text, place));
            }
        }
        if found.is_empty() {
            found.push(Fault {
                kind: FaultKind::Fails,
                template: String::new(),
                span: None,
                message: super::lowered(reports),
            });
        }
        found
    }

    fn fault_at(&self, text: &str, place: &str) -> Fault {
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(1);
        let line = parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(1);
        let template = parts.next().unwrap_or_default().to_owned();
        if let Some(name) = text
            .strip_prefix("Unknown template `")
            .and_then(|rest| rest.strip_suffix('`'))
        {
            return self.missing(&template, name, "includes");
        }
        let span = self.texts.get(&template).map(|source| {
            let line_start: usize = source
                .split_inclusive('\n')
                .take(line.saturating_sub(1))
                .map(str::len)
                .sum();
            let rest = source
                .get(line_start..)
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default();
            let start = line_start
                + rest
                    .char_indices()
                    .nth(column.saturating_sub(1))
                    .map_or(rest.len(), |(index, _)| index);
            let word = source.get(start..).unwrap_or_default();
            let length = word
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(word.len());
            start..start + length
        });
        Fault {
            kind: FaultKind::Syntax,
            template,
            span,
            message: super::lowered(text),
        }
    }
}

/// What stands between the first pair of backticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

fn read_template(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(TEMPLATE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > TEMPLATE_BYTES_MAX {
        return Err(format!("it has more than {TEMPLATE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1))
}

/// Visits the files of a directory in the order of their names, hidden ones and linked directories left out; gives how many files may still be visited.
pub(super) fn walk(
    directory: &Path,
    prefix: &str,
    depth: usize,
    files_max: usize,
    visit: &mut impl FnMut(String, &Path),
) -> usize {
    let mut left = files_max;
    let mut entries: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(file_name) = entry.file_name().into_string() else {
            continue;
        };
        let Ok(file_type) = entry.file_type() else { continue };
        if file_name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{file_name}");
        if file_type.is_dir() {
            if depth > 0 {
                left = walk(&entry.path(), &format!("{name}/"), depth - 1, left, visit);
            }
        } else if left > 0 && !entry.path().is_dir() {
            left -= 1;
            visit(name, &entry.path());
        }
    }
    left
}
