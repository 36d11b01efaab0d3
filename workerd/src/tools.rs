//! workerd, esbuild and the storage simulators: exactly one version of each, fetched from the npm registry once and checked against digests that stand here.
//!
//! The digests are those that the registry publishes as `dist.integrity`. workerd is Apache-2.0, miniflare and esbuild are MIT.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

use crate::DriverError;

/// A published package.
struct Package {
    name: &'static str,
    version: &'static str,
    /// SHA-512 of the tarball, in base64.
    sha512: &'static str,
}

/// esbuild takes a tenth of a second; a loaded machine may take a hundred times as long.
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(60);
const BUNDLE_LOOK_EVERY: Duration = Duration::from_millis(5);

const WORKERD_VERSION: &str = "1.20261023.1";
const ESBUILD_VERSION: &str = "0.28.2";

const SIMULATORS: Package = Package {
    name: "miniflare",
    version: "4.20260426.0",
    sha512: "KM+v76d04qT+NsPfVKVQEgnnuLNE3uzCCl2QKMTJ5OXor5JbBm1vpkQwQ+l7o5ELCrZ74RnyKhJKLiJyUA39Tw==",
};

/// workerd and esbuild of this machine.
fn platform_packages() -> Result<[Package; 2], DriverError> {
    let package = |name, version, sha512| Package { name, version, sha512 };
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok([
            package(
                "@cloudflare/workerd-linux-64",
                WORKERD_VERSION,
                "VHQ6jKFSihjR2+x1buby8XTdBLLJztVnYiB7OLOTYO8aDXB+c1Rd2410PdgFuFYc4AgFEk6PCJLyCLL5L1KBnw==",
            ),
            package(
                "@esbuild/linux-x64",
                ESBUILD_VERSION,
                "4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ==",
            ),
        ]),
        ("linux", "aarch64") => Ok([
            package(
                "@cloudflare/workerd-linux-arm64",
                WORKERD_VERSION,
                "ilpRHzfDN8YFRM5CLRKuFw40x/LJBS89yVdhdQmxehlVDuBqjKpJB++zPFbTgKRRFaNupgnXc8RHktXAIhgCmQ==",
            ),
            package(
                "@esbuild/linux-arm64",
                ESBUILD_VERSION,
                "pW4AC0P3it8c7do9MVM4p51FzHzdM/TZrerurgRcHJ2WTa1VQ1CIq18xncfpBJw4ojkiZZrKW2yIBWBP92j6Ug==",
            ),
        ]),
        ("macos", "x86_64") => Ok([
            package(
                "@cloudflare/workerd-darwin-64",
                WORKERD_VERSION,
                "lsEx0i7nR0PNG/erUFFHmQmiidEhLfDE5uQmAL9421/y4/ycuxDDOSaxu3VGGYFFPK5sduyUeMmjIlX4CwOBFg==",
            ),
            package(
                "@esbuild/darwin-x64",
                ESBUILD_VERSION,
                "uq6suIWYP37qzGddBKPw5QEQPi6HiLGsO7UmkpfyaYNQ3D+rN6w6WfwH+nuqcGXWvawGwxOEroO4YGnFh95azw==",
            ),
        ]),
        ("macos", "aarch64") => Ok([
            package(
                "@cloudflare/workerd-darwin-arm64",
                WORKERD_VERSION,
                "5e79fHgabdDD8EgmjOhJ1S+xMsf6DbC7fL7IgTBizMnzOp0P2isDn7pYmUxI9AJZE9FVQ4RUilH/I36YNg+GQQ==",
            ),
            package(
                "@esbuild/darwin-arm64",
                ESBUILD_VERSION,
                "n4KqkOQrraxHJcgjM1RvwbigfQKIKJVpM7xp+KsxiyUSrRdIXnt73VhrPAx0fV44hgfmIVKjxMN9J1t5jySVkw==",
            ),
        ]),
        (system, machine) => Err(DriverError::Platform {
            platform: format!("{system} on {machine}"),
        }),
    }
}

/// Files inside miniflare, and the names that workerd is told.
pub(crate) const SIMULATOR_FILES: [(&str, &str); 6] = [
    ("d1/database.worker.js", "database.js"),
    ("kv/namespace.worker.js", "namespace.js"),
    ("r2/bucket.worker.js", "bucket.js"),
    ("shared/object-entry.worker.js", "object-entry.js"),
    ("shared/index.worker.js", "shared.js"),
    ("shared/zod.worker.js", "zod.js"),
];

/// The programs and files that a system is run with.
#[derive(Clone, Debug)]
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Takes the tools from below `cache`, and fetches them when they are not there; `progress` is told before that, because it takes a while.
    ///
    /// Several processes may do this at once: each fetches into a directory of its own, and whoever is first puts it in place.
    pub fn ensure(cache: &Path, progress: impl FnOnce(&str)) -> Result<Self, DriverError> {
        let directory = cache.join(format!(
            "workerd-{WORKERD_VERSION}-miniflare-{}-esbuild-{ESBUILD_VERSION}",
            SIMULATORS.version
        ));
        if directory.is_dir() {
            return Ok(Self { directory });
        }
        progress(&format!(
            "fetching workerd {WORKERD_VERSION}, esbuild {ESBUILD_VERSION} and the simulators of miniflare {} (51 MB, once)",
            SIMULATORS.version
        ));
        let [workerd, esbuild] = platform_packages()?;
        std::fs::create_dir_all(cache).map_err(DriverError::file("cannot create", cache))?;
        let fresh = tempfile::tempdir_in(cache).map_err(DriverError::file("cannot create a directory in", cache))?;
        let tools = fresh.path().join("tools");
        std::fs::create_dir_all(tools.join("simulators")).map_err(DriverError::file("cannot create", &tools))?;
        for (package, file) in [(workerd, "workerd"), (esbuild, "esbuild")] {
            let unpacked = fetch(&package, fresh.path())?;
            move_file(&unpacked.join("bin").join(file), &tools.join(file))?;
        }
        let unpacked = fetch(&SIMULATORS, fresh.path())?.join("dist/src/workers");
        for (from, to) in SIMULATOR_FILES {
            move_file(&unpacked.join(from), &tools.join("simulators").join(to))?;
        }
        match std::fs::rename(&tools, &directory) {
            Ok(()) => Ok(Self { directory }),
            // Somebody else was first.
            Err(_) if directory.is_dir() => Ok(Self { directory }),
            Err(error) => Err(DriverError::file("cannot create", &directory)(error)),
        }
    }

    /// Where tools are kept for this user: `$XDG_CACHE_HOME/orchestrate`, or `~/.cache/orchestrate`.
    pub fn default_cache() -> PathBuf {
        let from = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        from("XDG_CACHE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("orchestrate")
    }

    pub(crate) fn workerd(&self) -> PathBuf {
        self.directory.join("workerd")
    }

    pub(crate) fn simulators(&self) -> PathBuf {
        self.directory.join("simulators")
    }

    /// Bundles a Worker's entry file with everything that it imports into one module, WebAssembly excepted, `alias` pairs (such as `@` and a directory) applied.
    pub fn bundle(&self, entry: &Path, output: &Path, alias: &[(&str, &Path)]) -> Result<(), DriverError> {
        let mut command = Command::new(self.directory.join("esbuild"));
        command
            .arg(entry)
            .args([
                "--bundle",
                "--format=esm",
                "--target=es2022",
                "--platform=neutral",
                "--log-level=error",
                "--log-limit=10",
            ])
            .args(["--main-fields=module,main", "--conditions=workerd,worker,browser"])
            .args(["--external:cloudflare:*", "--external:node:*", "--external:*.wasm"])
            .arg(format!("--outfile={}", output.display()));
        for (name, directory) in alias {
            command.arg(format!("--alias:{name}={}", directory.display()));
        }
        let failed = |detail: String| DriverError::Bundle {
            entry: entry.to_path_buf(),
            detail,
        };
        // Into a file: a pipe that nobody empties would stop it.
        let said = output.with_extension("esbuild.log");
        let log = std::fs::File::create(&said).map_err(DriverError::file("cannot write", &said))?;
        let mut run = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + BUNDLE_TIMEOUT;
        loop {
            match run.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(_)) => {
                    let said = std::fs::read(&said).map_err(DriverError::file("cannot read", &said))?;
                    return Err(failed(String::from_utf8_lossy(&said).trim().to_owned()));
                }
                Ok(None) if Instant::now() < deadline => std::thread::sleep(BUNDLE_LOOK_EVERY),
                // What is imported may be a pipe that nobody writes to.
                Ok(None) => {
                    let _ = run.kill();
                    let _ = run.wait();
                    return Err(failed(format!(
                        "esbuild did not end within {} s",
                        BUNDLE_TIMEOUT.as_secs()
                    )));
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }
}

/// Fetches, checks and unpacks a package; gives the directory of its content.
fn fetch(package: &Package, place: &Path) -> Result<PathBuf, DriverError> {
    let named = format!("{}@{}", package.name, package.version);
    let failed = |detail: String| DriverError::Fetch {
        package: named.clone(),
        detail,
    };
    let directory = place.join(package.name.replace(['@', '/'], "_"));
    std::fs::create_dir_all(&directory).map_err(DriverError::file("cannot create", &directory))?;
    let packed = Command::new("npm")
        .args(["pack", "--silent", "--pack-destination"])
        .arg(&directory)
        .arg(&named)
        .current_dir(&directory)
        .output()
        .map_err(|error| failed(format!("npm does not start ({error}); install Node.js 20 or newer")))?;
    let tarball = std::fs::read_dir(&directory)
        .map_err(DriverError::file("cannot read", &directory))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    let Some(tarball) = tarball else {
        return Err(failed(String::from_utf8_lossy(&packed.stderr).trim().to_owned()));
    };
    let bytes = std::fs::read(&tarball).map_err(DriverError::file("cannot read", &tarball))?;
    let found = STANDARD.encode(Sha512::digest(&bytes));
    if found != package.sha512 {
        return Err(DriverError::Integrity {
            package: named,
            found,
            wanted: package.sha512.to_owned(),
        });
    }
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&tarball)
        .current_dir(&directory)
        .output()
        .map_err(|error| failed(format!("tar does not start: {error}")))?;
    if !unpacked.status.success() {
        return Err(failed(String::from_utf8_lossy(&unpacked.stderr).trim().to_owned()));
    }
    Ok(directory.join("package"))
}

fn move_file(from: &Path, to: &Path) -> Result<(), DriverError> {
    std::fs::rename(from, to).map_err(DriverError::file("cannot find", from))
}
