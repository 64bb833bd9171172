//! The words of the NATS protocol that a publisher meets, read with bounds.

use store::TargetError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes of a line: INFO names the servers of a cluster.
const LINE_MAX: u64 = 64 * 1024;
/// Bytes of a message: acknowledgements are short.
const MESSAGE_MAX: usize = 64 * 1024;

/// A word of the server.
pub(super) enum Word {
    /// What it says of itself, JSON.
    Info(Vec<u8>),
    Pong,
    /// `-ERR`, its own words.
    Error(String),
    /// A message to a subject that was subscribed; `status` from its headers.
    Message {
        subject: String,
        status: Option<String>,
        payload: Vec<u8>,
    },
    /// Nothing that matters.
    Other,
}

/// The connection, line by line.
pub(super) struct Wire(BufReader<TcpStream>);

fn lost(error: impl std::fmt::Display) -> TargetError {
    TargetError::Unreachable(error.to_string())
}

fn nonsense() -> TargetError {
    TargetError::Refused("what it says is not NATS".to_owned())
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Without it a small message waits for the acknowledgement of the last; slow is not wrong.
        let _ = stream.set_nodelay(true);
        Self(BufReader::new(stream))
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        self.0.write_all(bytes).await.map_err(lost)
    }

    /// Writes what is before a message, the message, and what is behind it.
    pub(super) async fn write_message(&mut self, head: &[u8], body: &[u8], tail: &[u8]) -> Result<(), TargetError> {
        self.write(&[head, body, tail].concat()).await
    }

    /// Reads on to the PONG that answers a PING.
    pub(super) async fn pong(&mut self) -> Result<(), TargetError> {
        loop {
            match self.word().await? {
                Word::Pong => return Ok(()),
                Word::Error(error) => return Err(TargetError::Refused(error)),
                Word::Info(_) | Word::Message { .. } | Word::Other => {}
            }
        }
    }

    /// The next word; a PING is answered on the way.
    pub(super) async fn word(&mut self) -> Result<Word, TargetError> {
        let line = self.line().await?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word.to_ascii_uppercase().as_str() {
            "INFO" => Ok(Word::Info(rest.as_bytes().to_vec())),
            "PONG" => Ok(Word::Pong),
            "+OK" => Ok(Word::Other),
            "-ERR" => Ok(Word::Error(rest.trim_matches(['\'', ' ']).chars().take(200).collect())),
            "MSG" => self.message(rest, false).await,
            "HMSG" => self.message(rest, true).await,
            "PING" => {
                self.write(b"PONG\r\n").await?;
                Ok(Word::Other)
            }
            _ => Err(nonsense()),
        }
    }

    async fn line(&mut self) -> Result<String, TargetError> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_MAX).read_until(b'\n', &mut line).await.map_err(lost)?;
        if read == 0 {
            return Err(lost("the connection was closed"));
        }
        if line.pop() != Some(b'\n') {
            // Cut off by the bound, or by the end of the connection.
            return Err(if read as u64 == LINE_MAX { nonsense() } else { lost("the connection was closed") });
        }
        let line = String::from_utf8(line).map_err(|_| nonsense())?;
        Ok(line.trim_end_matches('\r').to_owned())
    }

    /// `<subject> <sid> [reply] [headers] <bytes>`, then the bytes.
    async fn message(&mut self, rest: &str, has_headers: bool) -> Result<Word, TargetError> {
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let subject = words.first().ok_or_else(nonsense)?.to_string();
        let mut numbers = words.iter().rev().map(|word| word.parse::<usize>().map_err(|_| nonsense()));
        let total = numbers.next().ok_or_else(nonsense)??;
        let headers = if has_headers { numbers.next().ok_or_else(nonsense)?? } else { 0 };
        if total > MESSAGE_MAX || headers > total {
            return Err(nonsense());
        }
        let mut payload = vec![0; total + 2];
        self.0.read_exact(&mut payload).await.map_err(lost)?;
        payload.truncate(total);
        let body = payload.split_off(headers);
        Ok(Word::Message { subject, status: status(&payload), payload: body })
    }
}

/// The status in the first line of headers: `NATS/1.0 503`.
fn status(headers: &[u8]) -> Option<String> {
    let line = headers.split(|byte| *byte == b'\r').next()?;
    let status = std::str::from_utf8(line).ok()?.strip_prefix("NATS/1.0 ")?;
    Some(status.split(' ').next().unwrap_or_default().to_owned())
}
