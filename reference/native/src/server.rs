//! The reference as a server: each service on a port of its own, and a third for whoever tests it. All of it runs on one thread.
//!
//! The control port knows `POST /advance` (milliseconds), `POST /scheduled`, `POST /config-service` (`up`, `down`, `hangs` or a status), `POST /key` (a user's
//! id; answers with a key), `POST /plan` (a list of the mock's plans), `GET /journal` (what the mock received), `POST /rows` (SQL; answers with rows). Any
//! other path reaches the service that has it, so that a tool which takes one address can be given this one.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response as HttpResponse;
use reference_core::http::{BODY_BYTES_MAX, Headers, Request, Response};
use reference_core::{config, image};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::commit::Commits;
use crate::host::ConfigService;
use crate::store::StoreFailure;
use crate::system::{Options, Service, System, flush_if_due};

/// How often it is looked whether log entries have waited long enough.
const TICK: Duration = Duration::from_millis(500);
/// Requests that wait to be taken up; more are made to wait in the kernel.
const QUEUE_MAX: usize = 1024;

/// How the paths begin that only the image-generation Worker has.
const IMAGE_PATHS: [&str; 3] = ["/generate", "/jobs/", "/images/"];

/// Where a server listens, all on this machine alone, and what time it is there. Port 0: any that is free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serving {
    /// Of the Config Service.
    pub config_port: u16,
    /// Of the image-generation Worker.
    pub image_port: u16,
    /// Of whoever tests it.
    pub control_port: u16,
    /// What the clock shows at first, in milliseconds since 1970; the wall's time if nothing.
    pub start_ms: Option<u64>,
}

/// Where it listens in fact.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Of the Config Service.
    pub config: SocketAddr,
    /// Of the image-generation Worker.
    pub image: SocketAddr,
    /// Of whoever tests it.
    pub control: SocketAddr,
}

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServerFailure {
    /// Its data cannot be used.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// A port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The server cannot run, or no more.
    #[error("the server cannot run")]
    Run(#[from] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Service(Service),
    Control,
}

struct Arrival {
    door: Door,
    request: Request,
    answer: oneshot::Sender<Response>,
}

/// Serves until `end` is there, in the wall's time and with randomness of the operating system. `listening` hears where; it may still prepare the system.
pub fn serve(
    options: Options,
    serving: Serving,
    listening: impl FnOnce(&System, Addresses) -> Result<(), StoreFailure>,
    end: impl Future<Output = ()>,
) -> Result<(), ServerFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let clock = serving.start_ms.map_or_else(Clock::wall, Clock::running_from);
        let system = Rc::new(System::on(clock, Chance::System, Commits::together(), options)?);
        let (sender, arrivals) = mpsc::channel(QUEUE_MAX);
        let listen = async |port: u16| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
            listener.map_err(|source| ServerFailure::Listen { port, source })
        };
        let (config, image, control) = (
            listen(serving.config_port).await?,
            listen(serving.image_port).await?,
            listen(serving.control_port).await?,
        );
        let addresses = Addresses {
            config: config.local_addr()?,
            image: image.local_addr()?,
            control: control.local_addr()?,
        };
        listening(&system, addresses)?;
        let open = |listener: TcpListener, door: Door| {
            let app = Router::new().fallback(enter).with_state((door, sender.clone()));
            async move { axum::serve(listener, app).await }
        };
        let committing = Rc::clone(&system);
        tokio::task::spawn_local(async move { committing.host.commits.work(&committing.host.store).await });
        tokio::task::spawn_local(tick(Rc::clone(&system)));
        tokio::task::spawn_local(take_up(Rc::clone(&system), arrivals));
        let serving = async {
            tokio::try_join!(
                open(config, Door::Service(Service::Config)),
                open(image, Door::Service(Service::Image)),
                open(control, Door::Control)
            )
        };
        tokio::select! {
            served = serving => drop(served?),
            () = end => {}
        }
        // Nobody was promised what is still open, and nobody minds if it lasts.
        Ok(system.host.store.commit()?)
    })
}

async fn tick(system: Rc<System>) {
    loop {
        tokio::time::sleep(TICK).await;
        flush_if_due(&system.host).await;
        // What could not be committed is still open, and tried again.
        let _: Result<(), ()> = system.host.commits.durable(&system.host.store).await;
    }
}

/// Each request is a task of its own: one that waits for the provider holds nobody up, and one whose caller goes away is finished all the same.
async fn take_up(system: Rc<System>, mut arrivals: mpsc::Receiver<Arrival>) {
    while let Some(Arrival { door, request, answer }) = arrivals.recv().await {
        let system = Rc::clone(&system);
        tokio::task::spawn_local(async move {
            let response = match door {
                Door::Service(Service::Config) => config::handle(&system.host, &request).await,
                Door::Service(Service::Image) => image::handle(&system.host, &request).await,
                Door::Control => control(&system, &request).await,
            };
            // An answer leaves when what it promises, or has seen, is durable.
            let response = match system.host.commits.durable(&system.host.store).await {
                Ok(()) => response,
                Err(()) => Response {
                    status: 500,
                    ..Response::default()
                },
            };
            drop(answer.send(response));
        });
    }
}

async fn enter(
    State((door, arrivals)): State<(Door, mpsc::Sender<Arrival>)>,
    request: axum::extract::Request,
) -> Result<HttpResponse, Infallible> {
    let (head, body) = request.into_parts();
    let headers: Headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    // What is too large is not read; that it is, is all that needs to be known.
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_or_else(|_| vec![0; BODY_BYTES_MAX + 1], Vec::from);
    let origin = format!("http://{}", headers.get("host").unwrap_or("127.0.0.1"));
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers,
        body,
        origin,
    };
    let (answer, answered) = oneshot::channel();
    drop(arrivals.send(Arrival { door, request, answer }).await);
    let response = answered.await.unwrap_or_else(|_| Response {
        status: 500,
        ..Response::default()
    });
    let mut written = HttpResponse::builder().status(response.status);
    for (name, value) in response.headers.iter() {
        written = written.header(name, value);
    }
    Ok(written.body(Body::from(response.body)).unwrap_or_default())
}

async fn control(system: &System, request: &Request) -> Response {
    let text = String::from_utf8_lossy(&request.body).trim().to_owned();
    let done = |status: u16| Response {
        status,
        ..Response::default()
    };
    let json = |value: serde_json::Value| Response {
        status: 200,
        body: value.to_string().into_bytes(),
        ..Response::default()
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/advance") => match text.parse() {
            Ok(duration_ms) => {
                system.host.clock.advance(duration_ms);
                flush_if_due(&system.host).await;
                done(204)
            }
            Err(_) => done(400),
        },
        ("POST", "/scheduled") => done(if image::scheduled(&system.host).await.is_ok() {
            204
        } else {
            500
        }),
        ("POST", "/config-service") => {
            let state = match text.as_str() {
                "up" => ConfigService::Up,
                "down" => ConfigService::Down,
                "hangs" => ConfigService::Hangs,
                status => match status.parse() {
                    Ok(status) => ConfigService::Status(status),
                    Err(_) => return done(400),
                },
            };
            system.host.faults.borrow_mut().config_service = state;
            done(204)
        }
        ("POST", "/key") => match system.issue_key(&text) {
            Ok(key) => json(json!({ "key": key })),
            Err(_) => done(400),
        },
        ("POST", "/plan") => match serde_json::from_slice::<Vec<mock_ideogram::Plan>>(&request.body) {
            Ok(plans) => {
                plans.into_iter().for_each(|plan| system.mock().plan(plan));
                done(204)
            }
            Err(_) => done(400),
        },
        ("GET", "/journal") => json(json!(system.mock().journal().collect::<Vec<_>>())),
        ("POST", "/rows") => json(json!(system.rows(&text))),
        (_, path) if IMAGE_PATHS.iter().any(|start| path.starts_with(start)) => {
            image::handle(&system.host, request).await
        }
        (_, _) => config::handle(&system.host, request).await,
    }
}
