//! Where a command works: the repository's top directory and the plan file in it.

use std::path::{Path, PathBuf};

use super::{CliError, Global};
use crate::exit_code::ExitCode;

/// The repository and the plan that a command works on.
#[derive(Clone, Debug)]
pub struct Place {
    /// Top directory of the repository's checkout.
    pub repository: PathBuf,
    /// The plan file.
    pub plan_file: PathBuf,
    /// How the plan file is called in messages.
    pub plan_name: String,
}

impl Place {
    /// Finds the place from the global options, without opening the repository.
    pub fn find(global: &Global) -> Result<Self, CliError> {
        let start = match &global.repo {
            Some(directory) => directory.clone(),
            None => std::env::current_dir().map_err(|error| CliError::new(ExitCode::Environment, error))?,
        };
        // The ancestors of a relative path end at its own first part.
        let start = std::path::absolute(&start).map_err(|error| CliError::new(ExitCode::Environment, error))?;
        let repository = start
            .ancestors()
            .find(|directory| directory.join(".git").exists())
            .map_or_else(|| start.clone(), Path::to_path_buf);
        let (plan_file, plan_name) = match &global.plan {
            Some(file) => (file.clone(), file.display().to_string()),
            None => (repository.join("phases.yaml"), "phases.yaml".to_owned()),
        };
        Ok(Self {
            repository,
            plan_file,
            plan_name,
        })
    }

    /// The directory that the plan's relative paths start from.
    pub fn plan_directory(&self) -> &Path {
        self.plan_file.parent().unwrap_or(Path::new("."))
    }
}
