//! A git directory without settings: what is merged in it follows from the commits alone.
//!
//! All worktrees share `.git/config` and `.git/info/attributes`, and all processes of a user share its own configuration. An agent that sets a merge driver there
//! which keeps one side makes every conflict vanish, and the other side's work with it, without a word. Besides, whoever derives a landing again from a clone
//! has none of these files. So merges read attributes from the merged trees and from nowhere else.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::error::GitError;
use super::repository::ObjectFormat;

/// Makes the directory, or mends it, and gives the variables by which git uses it with these objects.
pub(super) fn environment(
    directory: &Path,
    objects: &Path,
    common_dir: &Path,
    format: ObjectFormat,
) -> Result<Vec<(&'static str, OsString)>, GitError> {
    let mut variables = vec![("GIT_OBJECT_DIRECTORY", objects.into())];
    // Objects that a partial clone lacks are fetched as its settings say; a merge that cannot read them would be worse.
    let settings = fs::read_to_string(common_dir.join("config")).unwrap_or_default();
    if settings.to_lowercase().contains("partialclone") {
        return Ok(variables);
    }
    let information = directory.join("info");
    if information.exists() {
        fs::remove_dir_all(&information).map_err(GitError::file("removing", &information))?;
    }
    let references = directory.join("refs");
    fs::create_dir_all(&references).map_err(GitError::file("creating", &references))?;
    let format = match format {
        ObjectFormat::Sha1 => "",
        ObjectFormat::Sha256 => "[extensions]\n\tobjectFormat = sha256\n",
    };
    let config =
        format!("[core]\n\trepositoryFormatVersion = 1\n\tbare = true\n\tattributesFile = /dev/null\n{format}");
    for (name, text) in [("HEAD", "ref: refs/heads/none\n"), ("config", config.as_str())] {
        let file = directory.join(name);
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        fs::write(&file, text).map_err(GitError::file("writing", &file))?;
    }
    variables.extend([
        ("GIT_DIR", directory.into()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_CONFIG_SYSTEM", "/dev/null".into()),
        ("GIT_ATTR_NOSYSTEM", "1".into()),
    ]);
    let shallow = common_dir.join("shallow");
    if shallow.exists() {
        variables.push(("GIT_SHALLOW_FILE", shallow.into()));
    }
    Ok(variables)
}
