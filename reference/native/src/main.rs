//! `reference`: serves the reference implementation on this machine, with example secrets: `reference [--data FILE] [--in-flight IMAGES]`.
//! The first line that it prints says where, as JSON.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use reference_native::server::{Addresses, Serving, serve};
use reference_native::{Options, StoreFailure, System, mock};
use serde_json::json;

fn main() -> ExitCode {
    let mut options = Options {
        mock: mock::Options {
            is_prompt: true,
            ..mock::Options::default()
        },
        ..Options::default()
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        match (argument.as_str(), value) {
            ("--data", Some(path)) => options.data = Some(PathBuf::from(path)),
            ("--in-flight", Some(images)) if images.parse::<u32>().is_ok() => {
                options.mock.images_in_flight_max = images.parse().unwrap_or(10);
            }
            (unknown, _) => {
                complain(&format!(
                    "`{unknown}` is not understood; usage: reference [--data FILE] [--in-flight IMAGES]"
                ));
                return ExitCode::from(2);
            }
        }
    }
    match serve(options, Serving::default(), announce, std::future::pending()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(1)
        }
    }
}

fn announce(_: &System, addresses: Addresses) -> Result<(), StoreFailure> {
    let line = json!({
        "config": addresses.config.to_string(),
        "image": addresses.image.to_string(),
        "control": addresses.control.to_string(),
    });
    let mut out = std::io::stdout().lock();
    // Whoever does not listen does not want to know.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    Ok(())
}

fn complain(message: &str) {
    drop(writeln!(std::io::stderr(), "error: {message}"));
}
