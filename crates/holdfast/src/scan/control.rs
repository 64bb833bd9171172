//! How the command line reaches a scan service: HTTP/1.1 on a Unix socket in its folder, which only root and its own user can open.
//!
//! `GET /status`; `POST /update` with a folder's path as its body; `POST /check` with a file's.

use std::convert::Infallible;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::ErrorKind;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use listener::{LocalSocket, ServeError};
use rustix::fs::{Mode, OFlags};
use scan::{Asker, Clamav, Lane, Scanner, Status, Updated, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::{Failure, chain};

/// Bytes of a request: a path.
const REQUEST_MAX: usize = 8 << 10;
/// Who checks a file at a terminal waits so long.
const CHECK: Duration = Duration::from_secs(600);

/// What a check says of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// `clean`, `infected` or `incomplete`.
    pub(crate) verdict: String,
    /// Names of what was found, or why not all was looked at.
    pub(crate) details: Vec<String>,
    /// BLAKE3 and length of the bytes.
    pub(crate) content: String,
    /// Whether it was known.
    pub(crate) known: bool,
}

/// Why something was not done.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    error: String,
}

/// The socket of a service.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("control")
}

/// Serves until `stop`.
pub(crate) async fn serve(
    socket: LocalSocket,
    scanner: Scanner,
    clamav: Arc<Clamav>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener().accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, _) = accepted.map_err(ServeError::Accept)?;
        let (scanner, clamav, stop) = (scanner.clone(), clamav.clone(), stop.clone());
        tasks.spawn(async move {
            let answer = service_fn(move |request| {
                let (scanner, clamav) = (scanner.clone(), clamav.clone());
                async move { Ok::<_, Infallible>(answer(request, &scanner, &clamav).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                _ = serving => {}
                () = stop.cancelled() => {}
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn answer(request: Request<Incoming>, scanner: &Scanner, clamav: &Clamav) -> Response<Full<Bytes>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Ok(body) = Limited::new(request.into_body(), REQUEST_MAX).collect().await else {
        return refused(StatusCode::BAD_REQUEST, "the request is too long, or was cut off");
    };
    let body = body.to_bytes();
    let named = || Some(PathBuf::from(std::str::from_utf8(&body).ok()?)).filter(|path| path.is_absolute());
    match (method, path.as_str()) {
        (Method::GET, "/status") => told(&scanner.status()),
        (Method::POST, "/update") => match named() {
            None => refused(StatusCode::BAD_REQUEST, "the body is no absolute path"),
            Some(from) => match clamav.update(&from).await {
                Ok(updated) => told(&updated),
                Err(error) => refused(StatusCode::CONFLICT, &error),
            },
        },
        (Method::POST, "/check") => match named() {
            None => refused(StatusCode::BAD_REQUEST, "the body is no absolute path"),
            Some(path) => check(scanner, &path).await,
        },
        _ => refused(StatusCode::NOT_FOUND, "there are GET /status, POST /update and POST /check"),
    }
}

async fn check(scanner: &Scanner, path: &Path) -> Response<Full<Bytes>> {
    // Neither another file behind a link, nor a pipe that nobody writes to.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(error) => return refused(StatusCode::CONFLICT, &std::io::Error::from(error).to_string()),
    };
    let asker = Asker { lane: Lane::Image, deadline: CHECK, ..Asker::inline(super::TENANT) };
    match scanner.file(asker, file).await {
        Ok(answer) => {
            let details = match &answer.verdict {
                Verdict::Clean => vec![],
                Verdict::Infected(names) => names.clone(),
                Verdict::Incomplete(reasons) => reasons.iter().map(ToString::to_string).collect(),
            };
            let known = answer.source != scan::Source::Scanned;
            let (verdict, content) = (answer.verdict.word().to_owned(), answer.content.to_string());
            told(&Checked { verdict, details, content, known })
        }
        Err(error) => {
            let is_later = base::Classify::kind(&error) == ErrorKind::Unavailable;
            let status = if is_later { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
            refused(status, &chain(&error))
        }
    }
}

fn told(data: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(data) {
        Ok(json) => Response::new(Full::from(json)),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refused(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    let json = serde_json::to_vec(&Refusal { error: error.to_owned() }).unwrap_or_default();
    let mut response = Response::new(Full::from(json));
    *response.status_mut() = status;
    response
}

/// The service that is asked.
pub(crate) struct Client {
    folder: PathBuf,
}

impl Client {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        self.ask(Method::GET, "/status", Bytes::new()).await
    }

    pub(crate) async fn update(&self, from: &Path) -> Result<Updated, Failure> {
        self.ask(Method::POST, "/update", bytes_of(from)?).await
    }

    pub(crate) async fn check(&self, path: &Path) -> Result<Checked, Failure> {
        self.ask(Method::POST, "/check", bytes_of(path)?).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, what: &str, body: Bytes) -> Result<T, Failure> {
        let socket = path(&self.folder);
        let stream = UnixStream::connect(&socket).await.map_err(|error| {
            Failure::new(format!("no scan service answers at {}: {error}", socket.display()))
                .hint("start it with `holdfast scan serve`, or name its --data-dir; only root and its own user may ask")
        })?;
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the scan service gave no answer: {error}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(what).header(http::header::HOST, "scan");
        let request = request.body(Full::<Bytes>::from(body)).map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| failed(&error));
        }
        let refusal: Refusal = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        Err(Failure::new(refusal.error))
    }
}

fn bytes_of(path: &Path) -> Result<Bytes, Failure> {
    let path = std::path::absolute(path).map_err(Failure::io(path.display()))?;
    let text = path.to_str().ok_or_else(|| Failure::usage(format!("{}: its name is not UTF-8", path.display())));
    text.map(|text| Bytes::from(text.to_owned()))
}
