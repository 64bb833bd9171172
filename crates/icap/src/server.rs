//! Connections by TCP: a task each, and a shutdown that waits.

use std::sync::Arc;

use listener::{Listener, Open, ServeError};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::DRAIN_TIMEOUT;
use crate::session::{self, Icap};

/// Serves until `stop` is cancelled; then lets requests under way finish, for at most [`DRAIN_TIMEOUT`].
///
/// ICAP's port is 1344 (RFC 3507, section 4.2). There is neither encryption nor any proof of who asks in this protocol: it belongs on
/// loopback, or on a network of those who may ask. How many connections there are at once is [`crate::Options::connections`].
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve(listener: Listener, icap: Icap, stop: CancellationToken) -> Result<(), ServeError> {
    let socket = listener.into_socket();
    let permits = Arc::new(Semaphore::new(icap.options().connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = listener::next(|| socket.accept(), &permits) => next,
            () = stop.cancelled() => break Ok(()),
        };
        match next {
            Ok(((stream, _), permit)) => {
                let (icap, stop) = (icap.clone(), stop.clone());
                connections.spawn(async move {
                    let open = Open::new("holdfast_icap_connections");
                    connection(stream, &icap, &stop).await;
                    drop((open, permit));
                });
            }
            Err(error) => break Err(ServeError::Accept(error)),
        }
    };
    drop(socket);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections of ICAP clients were cut at shutdown");
    }
    served
}

async fn connection(stream: TcpStream, icap: &Icap, stop: &CancellationToken) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
    }
    session::serve(stream, icap, stop).await;
}
