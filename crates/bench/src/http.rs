//! The few blocking HTTP/1.1 requests that set a run up: create a bucket, put the objects to read,
//! look at one. The load itself is `wrk`'s. Speaks to loopback only.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Error;

/// Longest wait for bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest line of an answer's head, and most lines: a server under test is not trusted to stop.
const LINE_MAX: u64 = 16 * 1024;
const LINES_MAX: usize = 200;
/// Largest body of an answer: the largest object of a workload, and room for an error document.
const BODY_MAX: usize = 64 << 20;

/// An answer, read whole.
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// One connection, kept open.
pub struct Connection {
    address: SocketAddr,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects within one second.
    pub fn open(address: SocketAddr) -> Result<Self, Error> {
        let what = || Error::io(format!("cannot talk to {address}"));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(what())?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(what())?;
        stream.set_nodelay(true).map_err(what())?;
        Ok(Self { address, reader: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Sends a request for `path` (with its query) and reads the answer.
    pub fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Response, Error> {
        let request = || format!("{method} http://{}{}", self.address, path.split('?').next().unwrap_or(path));
        let request = request();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.address, body.len());
        self.exchange(&request, &head, body)
    }

    /// Sends a request whose head is made, and reads the answer.
    pub fn send_as(&mut self, head: &str, body: &[u8]) -> Result<Response, Error> {
        let request = format!("{} of {}", head.lines().next().unwrap_or_default(), self.address);
        self.exchange(&request, head, body)
    }

    fn exchange(&mut self, request: &str, head: &str, body: &[u8]) -> Result<Response, Error> {
        let stream = self.reader.get_mut();
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        sent.map_err(Error::io(format!("cannot send {request}")))?;
        read_response(&mut self.reader)
            .map_err(Error::io(format!("no answer to {request}")))?
            .ok_or(Error::Unreadable(format!("the answer to {request}")))
    }

    /// The same, where anything but 2xx is an error.
    pub fn expect(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        let response = self.send(method, path, body)?;
        if (200..300).contains(&response.status) {
            return Ok(response.body);
        }
        let start = response.body.get(..response.body.len().min(400)).unwrap_or_default();
        Err(Error::Refused {
            request: format!("{method} {}", path.split('?').next().unwrap_or(path)),
            status: response.status,
            body: String::from_utf8_lossy(start).into_owned(),
        })
    }
}

/// Reads one answer; `None` when it is not HTTP as the bench knows it.
fn read_response(reader: &mut impl BufRead) -> std::io::Result<Option<Response>> {
    let status_line = read_line(reader)?;
    let Some(status) = status_line.split(' ').nth(1).and_then(|code| code.parse().ok()) else { return Ok(None) };
    let mut length = None;
    let mut chunked = false;
    for _ in 0..LINES_MAX {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            // The empty line that ends the head.
            let body = if chunked { read_chunked(reader)? } else { read_exact(reader, length.unwrap_or(0))? };
            return Ok(body.map(|body| Response { status, body }));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    Ok(None)
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.by_ref().take(LINE_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_exact(reader: &mut impl Read, length: usize) -> std::io::Result<Option<Vec<u8>>> {
    if length > BODY_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

fn read_chunked(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default();
        let Ok(length) = usize::from_str_radix(digits, 16) else { return Ok(None) };
        if body.len().saturating_add(length) > BODY_MAX {
            return Ok(None);
        }
        let Some(chunk) = read_exact(reader, length)? else { return Ok(None) };
        body.extend_from_slice(&chunk);
        read_line(reader)?;
        if length == 0 {
            return Ok(Some(body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &str) -> Option<(u16, String)> {
        let response = read_response(&mut bytes.as_bytes()).ok()??;
        Some((response.status, String::from_utf8(response.body).unwrap()))
    }

    #[test]
    fn answers() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Some((200, "hello"))),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            (
                "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                Some((403, "abcde")),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", None),
            ("nonsense\r\n\r\n", None),
            ("", None),
        ];
        for (bytes, expect) in table {
            assert_eq!(parse(bytes), expect.map(|(status, body)| (status, body.to_owned())), "{bytes:?}");
        }
    }
}
