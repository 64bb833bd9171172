//! The first bytes of a connection on a listener with TLS.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Tls;
use crate::limits::BODY_TIMEOUT;

/// What a connection reads and writes. A client that stops reading gives its place, and what it holds, back.
pub(crate) type Wire = Pin<Box<TimeoutStream<TcpStream>>>;

/// The first byte of a TLS handshake (RFC 8446, section 5.1). No method of HTTP begins so.
const HANDSHAKE: u8 = 22;
/// What who speaks HTTP without TLS is told, in HTTP.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\r\n\
    This port speaks HTTPS: use https:// addresses.\n";
/// Most bytes read of such a client's request, and for how long, so that the answer is not lost to a reset.
const PLAIN_MAX: usize = 64 * 1024;
const PLAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A socket that writes in time.
pub(crate) fn wire(stream: TcpStream) -> Wire {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(BODY_TIMEOUT));
    Box::pin(stream)
}

/// Shakes hands; `None` for a client that does not speak TLS, which was told so.
///
/// # Errors
/// What the handshake failed for.
pub(crate) async fn greet(stream: TcpStream, tls: &Tls) -> io::Result<Option<TlsStream<Wire>>> {
    let mut first = [0];
    // None: it hung up.
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] == HANDSHAKE {
        return TlsAcceptor::from(tls.config()).accept(wire(stream)).await.map(Some);
    }
    let mut stream = wire(stream);
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    let mut rest = vec![0; PLAIN_MAX];
    let drain = async {
        let mut left = PLAIN_MAX;
        while left > 0 {
            match stream.read(&mut rest[..left]).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left -= read,
            }
        }
    };
    let _ = tokio::time::timeout(PLAIN_TIMEOUT, drain).await;
    Ok(None)
}
