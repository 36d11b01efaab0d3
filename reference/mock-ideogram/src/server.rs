//! The mock as a server. Besides Ideogram's own paths it has `/__mock/`: `POST plan` (a list of plans), `POST clear`, `POST advance` (milliseconds),
//! `GET journal`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reference_core::http::{Headers, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::fault::Plan;
use crate::mock::{Mock, Outcome};

/// What a request may weigh.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A mock that a server and its owner share.
#[derive(Clone)]
pub struct Shared {
    mock: Arc<Mutex<Mock>>,
    ahead_ms: Arc<Mutex<u64>>,
}

impl Shared {
    /// Shares a mock.
    #[must_use]
    pub fn new(mock: Mock) -> Self {
        Self {
            mock: Arc::new(Mutex::new(mock)),
            ahead_ms: Arc::default(),
        }
    }

    /// The mock. While it is held, the server waits.
    pub fn lock(&self) -> MutexGuard<'_, Mock> {
        // A request that panicked leaves nothing half done that matters here.
        self.mock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mock's own time: the wall's, and what it was advanced by.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead_ms = *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(since_epoch.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(ahead_ms)
    }

    /// Moves the mock's clock.
    pub fn advance_ms(&self, duration_ms: u64) {
        *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) += duration_ms;
    }
}

/// Serves until the listener fails. Each connection writes its header names in a case of its own.
pub async fn serve(listener: TcpListener, shared: Shared) -> io::Result<()> {
    let mut is_title_case = false;
    loop {
        let (stream, _): (_, SocketAddr) = listener.accept().await?;
        is_title_case = !is_title_case;
        let shared = shared.clone();
        let service = service_fn(move |request| answer(shared.clone(), request));
        let connection = http1::Builder::new()
            .title_case_headers(is_title_case)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that goes away is no fault of the mock.
            drop(connection.await);
        });
    }
}

async fn answer(shared: Shared, request: hyper::Request<Incoming>) -> Result<hyper::Response<Part>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return Ok(written(
                Response {
                    status: 413,
                    ..Response::default()
                },
                None,
            ));
        }
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    if let Some(command) = target.strip_prefix("/__mock/") {
        return Ok(written(control(&shared, head.method.as_str(), command, &body), None));
    }
    let headers: Headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let reaction = shared
        .lock()
        .receive(shared.now_ms(), head.method.as_str(), target, &headers, &body);
    tokio::time::sleep(Duration::from_millis(reaction.delay_ms)).await;
    Ok(match reaction.outcome {
        Outcome::Answer(response) => written(response, None),
        Outcome::Broken(response, after) => written(response, Some(after)),
        Outcome::Nothing => std::future::pending().await,
    })
}

fn control(shared: &Shared, method: &str, command: &str, body: &[u8]) -> Response {
    let done = |status: u16| Response {
        status,
        ..Response::default()
    };
    match (method, command) {
        ("POST", "plan") => match serde_json::from_slice::<Vec<Plan>>(body) {
            Ok(plans) => {
                plans.into_iter().for_each(|plan| shared.lock().plan(plan));
                done(204)
            }
            Err(_) => done(400),
        },
        ("POST", "clear") => {
            let mut mock = shared.lock();
            mock.clear_plans();
            mock.clear_journal();
            done(204)
        }
        ("POST", "advance") => match std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok()) {
            Some(duration_ms) => {
                shared.advance_ms(duration_ms);
                done(204)
            }
            None => done(400),
        },
        ("GET", "journal") => {
            let journal: Vec<_> = shared.lock().journal().cloned().collect();
            Response {
                status: 200,
                headers: [("content-type", "application/json")].into_iter().collect(),
                body: json!(journal).to_string().into_bytes(),
            }
        }
        _ => done(404),
    }
}

fn written(response: Response, breaks_after: Option<usize>) -> hyper::Response<Part> {
    let mut written = hyper::Response::builder().status(response.status);
    for (name, value) in response.headers.iter() {
        written = written.header(name, value);
    }
    let size = response.body.len() as u64;
    let mut bytes = Bytes::from(response.body);
    let is_broken = breaks_after.is_some_and(|after| {
        bytes.truncate(after);
        true
    });
    let part = Part {
        bytes: Some(bytes),
        size,
        is_broken,
    };
    written.body(part).unwrap_or_else(|_| {
        hyper::Response::new(Part {
            bytes: None,
            size: 0,
            is_broken: false,
        })
    })
}

/// A body that may end before it is whole.
struct Part {
    bytes: Option<Bytes>,
    size: u64,
    is_broken: bool,
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.bytes.take() {
            Some(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            _ if self.is_broken => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            _ => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}
