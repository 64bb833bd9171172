//! Connections on the socket: HTTP/2 without TLS, as gRPC has it on Unix sockets.

use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keys::Portions;
use listener::LocalSocket;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{CONNECTIONS_MAX, DRAIN_TIMEOUT, HEADERS_MAX, KEEP_ALIVE, MESSAGE_MAX, STREAMS_MAX, WINDOWS};
use crate::plugin::Plugin;
use crate::rpc::Endpoint;

/// Serves until `shutdown` is cancelled; then lets requests under way finish, for five seconds. `key`: the id, the name
/// or an alias (`alias/NAME`) of a portion's key in the default tenant, which may be made later.
///
/// # Errors
/// When the socket takes no more connections.
pub async fn serve(
    socket: LocalSocket,
    portions: Portions,
    key: String,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let endpoint = Endpoint(Plugin::new(portions, key));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = listener::next(|| socket.listener().accept(), &permits) => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Ok(((stream, _), permit)) => {
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
