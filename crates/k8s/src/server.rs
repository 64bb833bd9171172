//! Connections on the socket: HTTP/2 without TLS, as gRPC has it on Unix sockets.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keys::Portions;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{CONNECTIONS_MAX, DRAIN_TIMEOUT, HEADERS_MAX, KEEP_ALIVE, MESSAGE_MAX, STREAMS_MAX, WINDOWS};
use crate::plugin::Plugin;
use crate::rpc::Endpoint;
use crate::socket::Socket;

/// Serves until `shutdown` is cancelled; then lets requests under way finish, for five seconds. `key`: the id, the name
/// or an alias (`alias/NAME`) of a portion's key in the default tenant, which may be made later.
///
/// # Errors
/// When the socket takes no more connections.
pub async fn serve(
    socket: Socket,
    portions: Portions,
    key: String,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let endpoint = Endpoint(Plugin::new(portions, key));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = next(&socket.listener, &permits) => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Ok((stream, permit)) => {
                let served = connection(stream, endpoint.clone(), shutdown.clone());
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => break Err(error),
        }
    };
    drop(socket);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections of Kubernetes were cut at shutdown");
    }
    served
}

/// A permit first. Running out of file descriptors passes, so it is waited out, in growing steps, for two minutes.
async fn next(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let mut wait = Duration::from_millis(1);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, permit)),
            Err(error) if wait > Duration::from_secs(64) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection of Kubernetes failed");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
    }
}

async fn connection(stream: UnixStream, endpoint: Endpoint, shutdown: CancellationToken) {
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(MESSAGE_MAX)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .serve_connection(TokioIo::new(stream), endpoint);
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection of Kubernetes ended early");
    }
}
