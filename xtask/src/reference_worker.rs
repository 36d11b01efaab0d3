//! `cargo xtask reference-worker`: builds the reference implementation as a Worker: `target/reference-worker/index.js` and `index_bg.wasm`.
//!
//! Cargo makes the WebAssembly, `wasm-bindgen` the JavaScript around it, esbuild one module of that and of our own. All of it comes from registries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use wasm_bindgen_cli_support::Bindgen;
use workerd_driver::Tools;

use crate::project;

const TARGET: &str = "wasm32-unknown-unknown";

/// Small, and quick to build.
const PROFILE: &str = "worker";

pub(crate) fn run(_: &[String]) -> Result<(), String> {
    let began = Instant::now();
    let root = project::directory()?;
    ensure_target()?;
    let wasm = compile(&root)?;
    let compiled_seconds = began.elapsed().as_secs_f32();
    let output = root.join("target/reference-worker");
    let parts = output.join("parts");
    remove(&output)?;
    Bindgen::new()
        .input_path(&wasm)
        .out_name("bindings")
        .module(true)
        .and_then(|bindgen| {
            bindgen
                .typescript(false)
                .remove_name_section(true)
                .remove_producers_section(true)
                .reset_state_function(true)
                .force_enable_abort_handler(true)
                .generate(&parts)
        })
        .map_err(|error| format!("wasm-bindgen cannot read {}: {error:#}", wasm.display()))?;
    bundle(&root, &parts, &output)?;
    let bytes = fs::metadata(output.join("index_bg.wasm"))
        .map_err(|error| error.to_string())?
        .len();
    println!(
        "{}: {} KB of WebAssembly, {:.1} s ({compiled_seconds:.1} s of them cargo)",
        output.display(),
        bytes / 1024,
        began.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The standard library for the target comes with rustup; whoever has another toolchain brings it along.
fn ensure_target() -> Result<(), String> {
    let installed = project::output_of(Command::new("rustup").args(["target", "list", "--installed"]));
    match installed {
        Ok(targets) if !targets.lines().any(|target| target == TARGET) => {
            project::output_of(Command::new("rustup").args(["target", "add", TARGET])).map(drop)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Compiles the crate; gives the place of the WebAssembly.
fn compile(root: &Path) -> Result<PathBuf, String> {
    let status = project::cargo()
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--package", "reference-worker"])
        .args(["--target", TARGET, "--profile", PROFILE])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!(
            "the Worker does not compile; is its target there? `rustup target add {TARGET}`"
        ));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    Ok(target.join(TARGET).join(PROFILE).join("reference_worker.wasm"))
}

fn bundle(root: &Path, parts: &Path, output: &Path) -> Result<(), String> {
    let place = |from: &Path, to: &Path| {
        fs::copy(from, to)
            .map(drop)
            .map_err(|error| format!("{}: {error}", from.display()))
    };
    let bindings = parts.join("bindings.js");
    let written = fs::read_to_string(&bindings).map_err(|error| format!("{}: {error}", bindings.display()))?;
    // The runtime gives a module of WebAssembly to whoever imports it as it would any other.
    let imported = written
        .replace("import source ", "import ")
        .replace("./bindings_bg.wasm", "./index_bg.wasm");
    fs::write(&bindings, imported).map_err(|error| format!("{}: {error}", bindings.display()))?;
    place(&parts.join("bindings_bg.wasm"), &output.join("index_bg.wasm"))?;
    place(&root.join("reference/worker/src/entry.js"), &parts.join("entry.js"))?;
    Tools::ensure(&root.join("target/tools"), |words| eprintln!("{words}"))
        .and_then(|tools| tools.bundle(&parts.join("entry.js"), &output.join("index.js"), &[]))
        .map_err(|error| error.to_string())?;
    remove(parts)
}

fn remove(directory: &Path) -> Result<(), String> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", directory.display())),
        Ok(()) | Err(_) => Ok(()),
    }
}
