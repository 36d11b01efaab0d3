//! `orchestrate reference`: the reference implementation as a server, for whoever builds the system and wants to see how it should answer.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reference_native::server::{Addresses, Serving, serve};
use reference_native::{Options, System, mock};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use super::context::print;
use crate::exit_code::ExitCode;

/// The file in the data directory.
const DATA_FILE: &str = "reference.db";

/// Try the system that the plan builds: the reference implementation
#[derive(Debug, Args)]
pub(super) struct ReferenceArguments {
    #[command(subcommand)]
    command: ReferenceCommand,
}

#[derive(Debug, Subcommand)]
enum ReferenceCommand {
    Serve(ServeArguments),
}

/// Serve it on this machine until Ctrl-C, with example secrets and a mock of the provider
#[derive(Debug, Args)]
struct ServeArguments {
    /// Where the image-generation Worker listens (0: any free port)
    #[arg(long, default_value_t = 8787, value_name = "PORT")]
    port: u16,
    /// Where the Config Service listens (0: any free port)
    #[arg(long, default_value_t = 8788, value_name = "PORT")]
    config_port: u16,
    /// Where tests move the clock, break things and read what is stored (0: any free port)
    #[arg(long, default_value_t = 8789, value_name = "PORT")]
    control_port: u16,
    /// Keep the data in this directory (default: in memory, gone at the end)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What the clock shows at first, as in 2026-01-31T09:30:00Z (default: now)
    #[arg(long, value_name = "TIME")]
    clock: Option<jiff::Timestamp>,
    /// How many images the mock of the provider makes at the same time; more are told to wait
    #[arg(long, default_value_t = 10, value_name = "IMAGES")]
    in_flight: u32,
    /// Say where it listens as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &ReferenceArguments) -> Result<ExitCode, CliError> {
    let ReferenceCommand::Serve(arguments) = &arguments.command;
    let data = arguments.data.as_ref().map(|directory| {
        std::fs::create_dir_all(directory)
            .map(|()| directory.join(DATA_FILE))
            .map_err(|error| {
                let error = anyhow::Error::new(error).context(format!("cannot make `{}`", directory.display()));
                CliError::new(ExitCode::Environment, error)
                    .hint("name a directory that you may write with `--data DIR`")
            })
    });
    let options = Options {
        data: data.transpose()?,
        mock: mock::Options {
            images_in_flight_max: arguments.in_flight,
            ..mock::Options::default()
        },
        ..Options::default()
    };
    let start_ms = arguments.clock.map(|clock| u64::try_from(clock.as_millisecond()));
    let start_ms = start_ms.transpose().map_err(|_| {
        CliError::message(ExitCode::Usage, "the clock cannot show a time before 1970")
            .hint("name a later one with `--clock TIME`")
    })?;
    let serving = Serving {
        config_port: arguments.config_port,
        image_port: arguments.port,
        control_port: arguments.control_port,
        start_ms,
    };
    let announce = |system: &System, addresses| {
        let key = system.prepare()?;
        let told = if arguments.json {
            line(addresses, &key)
        } else {
            text(addresses, &key)
        };
        // Whoever does not listen does not want to know.
        drop(print(&told));
        Ok(())
    };
    serve(options, serving, announce, interrupted()).map_err(|error| {
        CliError::new(ExitCode::Environment, error)
            .hint("`--port 0 --config-port 0 --control-port 0` takes ports that are free, `--data DIR` another place")
    })?;
    Ok(ExitCode::Done)
}

/// Until somebody wants an end.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without these, a signal ends the process as it ends any other.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn text(addresses: Addresses, key: &str) -> String {
    let Addresses { config, image, control } = addresses;
    format!(
        "the reference implementation, on this machine alone; Ctrl-C ends it\n\
         \n\
         images   http://{image}\n\
         config   http://{config}\n\
         control  http://{control}\n\
         key      {key}  (the superadmin's)\n\
         \n\
         try it:  curl http://{image}/generate -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
         -d '{{\"prompt\":\"a lighthouse\",\"instance_id\":\"production\"}}'\n"
    )
}

fn line(addresses: Addresses, key: &str) -> String {
    let Addresses { config, image, control } = addresses;
    let url = |address: std::net::SocketAddr| format!("http://{address}");
    let told = json!({ "image": url(image), "config": url(config), "control": url(control), "key": key });
    format!("{told}\n")
}
