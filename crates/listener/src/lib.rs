//! Listens and serves HTTP/1.1, in clear or over TLS: permit, accept with back-off, a task a connection, a shutdown that
//! waits. What is served, and in which protocol, is the caller's.

pub mod degraded;
mod greet;
pub mod limits;
mod local;
mod tls;
mod whole;

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{BACKLOG, CONNECTIONS_MAX, DRAIN_TIMEOUT, HEAD_TIMEOUT, HEADERS_MAX};
pub use crate::local::{PATH_MAX, Socket as LocalSocket, SocketError};
pub use crate::tls::{Tls, TlsError, provider};
pub use crate::whole::Whole;

/// Why a listener stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is another server there?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The listener takes no more connections.
    #[error("the listener stopped accepting connections")]
    Accept(#[source] std::io::Error),
}

impl base::Classify for ServeError {
    fn kind(&self) -> base::ErrorKind {
        match self {
            Self::Bind { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                base::ErrorKind::Denied
            }
            Self::Bind { .. } => base::ErrorKind::Conflict,
            Self::Accept(_) => base::ErrorKind::Unavailable,
        }
    }
}

/// A listening socket, and how its connections begin.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Tls>,
    /// Connections at once.
    most: usize,
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket alone, for protocols that are not HTTP.
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// The same; its connections begin with TLS if there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The same, for so many connections at once instead of [`CONNECTIONS_MAX`].
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

/// A client at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether the connection is over TLS.
    pub secure: bool,
}

impl Peer {
    /// What addresses begin with that it would find this server at.
    pub fn scheme(self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// Opens a listening socket. Port 0 takes a free one.
///
/// # Errors
/// [`ServeError::Bind`].
pub fn bind(address: SocketAddr) -> Result<Listener, ServeError> {
    let socket = listen(address).map_err(|source| ServeError::Bind { address, source })?;
    Ok(Listener { socket, tls: None, most: CONNECTIONS_MAX })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last server's closed connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What a protocol needs of its connections.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All request headers and the target together, bytes.
    pub head_max: usize,
    /// Socket buffers, bytes: bodies arrive and leave in frames of up to this size.
    pub frame_max: usize,
    /// The gauge of connections that are open.
    pub gauge: &'static str,
}

/// Serves until `shutdown` is cancelled; then lets requests under way finish, for at most
/// [`DRAIN_TIMEOUT`]. `of` makes the service of a connection from its client.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve<S, B>(
    listener: Listener,
    bounds: Bounds,
    of: impl Fn(Peer) -> S,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Listener { socket, tls, most } = listener;
    let permits = Arc::new(Semaphore::new(most));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = next(|| socket.accept(), &permits) => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Ok(((stream, address), permit)) => {
                let service = of(Peer { address: address.ip(), secure: tls.is_some() });
                let served = connection(stream, tls.clone(), bounds, service, shutdown.clone());
                connections.spawn(async move {
                    let open = Open::new(bounds.gauge);
                    served.await;
                    drop((open, permit));
                });
            }
            Err(error) => break Err(ServeError::Accept(error)),
        }
    };
    drop(socket);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at shutdown");
    }
    served
}

/// The next connection of a listener of any kind, and its permit. The permit comes first: what cannot be served waits in the kernel's queue.
/// Running out of file descriptors passes, so it is waited out, in growing steps, for two minutes.
///
/// # Errors
/// The system's, when that did not help.
pub async fn next<S, F>(accept: impl Fn() -> F, permits: &Arc<Semaphore>) -> std::io::Result<(S, OwnedSemaphorePermit)>
where
    F: Future<Output = std::io::Result<S>>,
{
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let mut wait = Duration::from_millis(1);
    loop {
        match accept().await {
            Ok(accepted) => return Ok((accepted, permit)),
            Err(error) if wait > Duration::from_secs(64) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
    }
}

/// A connection that is counted while it is open, by the gauge of that name.
#[derive(Debug)]
pub struct Open(&'static str);

impl Open {
    /// Counts it.
    pub fn new(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}

async fn connection<S, B>(stream: TcpStream, tls: Option<Tls>, bounds: Bounds, service: S, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
    }
    let Some(tls) = tls else { return http(greet::wire(stream), bounds, service, shutdown).await };
    // Who shakes hands slowly has as long as who sends a request's head slowly.
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(HEAD_TIMEOUT, greet::greet(stream, &tls)) => greeted,
        () = shutdown.cancelled() => return,
    };
    match greeted {
        Ok(Ok(Some(stream))) => http(stream, bounds, service, shutdown).await,
        Ok(Ok(None)) => tracing::debug!("a client did not speak TLS"),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn http<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    bounds: Bounds,
    service: S,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_header_size(2 * bounds.head_max)
        .max_buf_size(bounds.frame_max)
        .writev(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
