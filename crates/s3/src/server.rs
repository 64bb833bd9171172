//! The listener: permit, accept with back-off, a task per connection, a shutdown that waits.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{
    BACKLOG, BODY_TIMEOUT, CONNECTIONS_MAX, DRAIN_TIMEOUT, FRAME_MAX, HEAD_MAX, HEAD_TIMEOUT, HEADERS_MAX,
};
use crate::{Endpoint, S3Options, metrics};

/// Why the endpoint stopped serving.
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

/// Opens a listening socket. Port 0 takes a free one.
///
/// # Errors
/// [`ServeError::Bind`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    listen(address).map_err(|source| ServeError::Bind { address, source })
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

/// Serves until `shutdown` is cancelled; then lets requests under way finish, for at most
/// [`DRAIN_TIMEOUT`].
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    options: S3Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let endpoint = Endpoint::new(store, options);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = next(&listener, &permits) => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Ok((stream, peer, permit)) => {
                connections.spawn(connection(stream, endpoint.of(peer), shutdown.clone(), permit));
            }
            Err(error) => break Err(ServeError::Accept(error)),
        }
    };
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at shutdown");
    }
    served
}

/// A permit first: what cannot be served waits in the kernel's queue. Running out of file
/// descriptors passes, so it is waited out, in growing
/// steps, for two minutes.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let mut wait = Duration::from_millis(1);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer.ip(), permit)),
            Err(error) if wait > Duration::from_secs(64) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
    }
}

async fn connection(stream: TcpStream, endpoint: Endpoint, shutdown: CancellationToken, _permit: OwnedSemaphorePermit) {
    metrics::connections(1.0);
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
    }
    // A client that stops reading gives its place, and what it holds, back.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(BODY_TIMEOUT));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_header_size(2 * HEAD_MAX)
        .max_buf_size(FRAME_MAX)
        .writev(true)
        .serve_connection(TokioIo::new(Box::pin(stream)), endpoint);
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
    metrics::connections(-1.0);
}
