//! What can go wrong on the way to a running Worker.

use std::path::PathBuf;

use thiserror::Error;

/// An error of the driver, never of the Worker that it runs.
#[derive(Debug, Error)]
pub enum DriverError {
    /// There are no builds of the tools for this machine.
    #[error("workerd is not available for {platform}; it runs on Linux and macOS, on x86-64 and arm64")]
    Platform {
        /// Operating system and architecture.
        platform: String,
    },
    /// A tool could not be fetched.
    #[error(
        "cannot fetch {package} with npm: {detail}; check the network, or run `npm pack {package}` by hand to see why"
    )]
    Fetch {
        /// Name and version.
        package: String,
        /// What npm said.
        detail: String,
    },
    /// What was fetched is not what was expected.
    #[error(
        "{package} is not the published one: its digest is {found}, not {wanted}; somebody between here and the registry changed it"
    )]
    Integrity {
        /// Name and version.
        package: String,
        /// The digest that it has.
        found: String,
        /// The digest that it must have.
        wanted: String,
    },
    /// A file could not be read or written.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// workerd ended, or never came up.
    #[error("workerd did not start: {detail}")]
    Start {
        /// What it printed.
        detail: String,
    },
    /// A worker, a database or a namespace that is not part of the system.
    #[error("there is no {kind} `{name}` in this system")]
    Unknown {
        /// What it would be.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The control worker did not do what it was asked for.
    #[error("workerd did not {what}: {detail}")]
    Control {
        /// What was asked for.
        what: &'static str,
        /// What came back.
        detail: String,
    },
    /// esbuild refused.
    #[error("{entry} does not build: {detail}")]
    Bundle {
        /// The file that was bundled.
        entry: PathBuf,
        /// What esbuild said.
        detail: String,
    },
}

impl DriverError {
    pub(crate) fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { what, path, source }
    }
}
