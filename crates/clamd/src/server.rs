//! Listens, on TCP and on Unix sockets.

use std::sync::Arc;

use listener::limits::DRAIN_TIMEOUT;
use listener::{Listener, LocalSocket, Open, ServeError};
use scan::Scanner;
use tokio::io::AsyncRead;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::fildes::Local;
use crate::reader::Wire;
use crate::session::{self, Door, Rights};

/// The gauge of connections that are open.
const GAUGE: &str = "holdfast_clamd_connections";

impl Wire for OwnedReadHalf where OwnedReadHalf: AsyncRead {}

/// Serves clients over TCP until `shutdown` is cancelled; then lets commands under way finish, for at most [`DRAIN_TIMEOUT`]. They may send streams:
/// nobody over TCP names files or passes descriptors. The protocol has neither passwords nor encryption, so that the address is all that keeps
/// others out.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve_tcp(
    listener: Listener,
    scanner: Scanner,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let socket = listener.into_socket();
    let door = Arc::new(Door { scanner, options });
    let of = |(stream, _)| tcp(stream, door.clone(), shutdown.clone());
    serve(|| socket.accept(), of, door.options.connections, &shutdown).await
}

/// Serves clients on a Unix socket, as [`serve_tcp`] does. They may pass descriptors; root and the user that this server runs as may also name
/// files.
///
/// # Errors
/// [`ServeError::Accept`] when the listener itself broke.
pub async fn serve_local(
    socket: LocalSocket,
    scanner: Scanner,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let door = Arc::new(Door { scanner, options });
    let of = |(stream, _)| local(stream, door.clone(), shutdown.clone());
    serve(|| socket.listener().accept(), of, door.options.connections, &shutdown).await
}

async fn serve<S, F: Future<Output = std::io::Result<S>>, C: Future<Output = ()> + Send + 'static>(
    accept: impl Fn() -> F,
    of: impl Fn(S) -> C,
    most: usize,
    shutdown: &CancellationToken,
) -> Result<(), ServeError> {
    let permits = Arc::new(Semaphore::new(most));
    let connections = TaskTracker::new();
    let served = loop {
        let next = tokio::select! {
            next = listener::next(&accept, &permits) => next,
            () = shutdown.cancelled() => break Ok(()),
        };
        match next {
            Ok((stream, permit)) => {
                let served = of(stream);
                connections.spawn(async move {
                    let open = Open::new(GAUGE);
                    served.await;
                    drop((open, permit));
                });
            }
            Err(error) => break Err(ServeError::Accept(error)),
        }
    };
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections of the clamd door were cut at shutdown");
    }
    served
}

async fn tcp(stream: TcpStream, door: Arc<Door>, shutdown: CancellationToken) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
    }
    let (reader, writer) = stream.into_split();
    session::serve(door, Rights::default(), reader, writer, shutdown).await;
}

async fn local(stream: UnixStream, door: Arc<Door>, shutdown: CancellationToken) {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    // What they name is opened with the rights of this process: they have them anyway.
    let paths = uid.is_ok_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw());
    let (reader, writer) = stream.into_split();
    session::serve(door, Rights { paths, descriptors: true }, Local::new(reader), writer, shutdown).await;
}

#[cfg(test)]
mod tests;
