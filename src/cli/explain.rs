//! `orchestrate explain`: the page behind a finding's code.

use clap::Args;

use super::CliError;
use super::context::print;
use crate::exit_code::ExitCode;
use crate::plan::codes;

/// Explain the code of a finding, or list all codes
#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// For example E0201
    code: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &ExplainArguments) -> Result<ExitCode, CliError> {
    let Some(code) = &arguments.code else {
        let list: String = codes::PAGES
            .iter()
            .map(|page| format!("{}  {}\n", page.code.as_str(), page.title()))
            .collect();
        print(&list)?;
        return Ok(ExitCode::Done);
    };
    let page = codes::page(code).ok_or_else(|| {
        CliError::message(
            ExitCode::Usage,
            format!("`{}` is not a code of a finding", code.escape_debug()),
        )
        .hint("run `orchestrate explain` for the list")
    })?;
    print(page.text)?;
    Ok(ExitCode::Done)
}
