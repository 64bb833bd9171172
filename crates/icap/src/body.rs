//! Bodies on their way into the spool, and back.

use std::time::Duration;

use scan::{Intake, Judged, ScanError};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::chunk::{Decoder, Step};
use crate::limits::{BUFFER, DROPPED_MAX, ROOM_AGAIN};
use crate::reply::LAST_CHUNK;
use crate::request::Refusal;
use crate::session::Fault;

/// Why a body is read and not scanned.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// It is longer than what is scanned.
    TooLong,
    /// The scan service did not take it.
    Scan(ScanError),
}

/// Where a body goes.
pub(crate) struct Sink {
    /// Into the spool, until something speaks against it.
    to: Result<Intake, Dropped>,
    /// Bytes so far.
    len: u64,
    /// Bytes that are scanned.
    most: u64,
    /// How long the spool may take for some of them.
    patience: Duration,
}

impl Sink {
    /// Into the spool, as far as `most` bytes, and as long as it never takes longer than `patience` to find room: others may have all of it
    /// for as long as they like.
    pub(crate) fn new(intake: Intake, most: u64, patience: Duration) -> Self {
        Self { to: Ok(intake), len: 0, most, patience }
    }

    /// To nowhere.
    pub(crate) fn nowhere() -> Self {
        Self { to: Err(Dropped::TooLong), len: 0, most: 0, patience: Duration::ZERO }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is not scanned.
    pub(crate) fn is_dropped(&self) -> bool {
        self.to.is_err()
    }

    /// All of it, or why it was dropped.
    pub(crate) fn end(self) -> Result<Intake, Dropped> {
        self.to
    }

    async fn take(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len() as u64);
        let Ok(intake) = &mut self.to else { return };
        if self.len > self.most {
            self.to = Err(Dropped::TooLong);
            return;
        }
        let written = timeout(self.patience, intake.write(bytes)).await;
        if let Err(error) = written.unwrap_or(Err(ScanError::Busy { retry_after: ROOM_AGAIN })) {
            self.to = Err(Dropped::Scan(error));
        }
    }
}

/// Reads a body, or a preview, to its end; whether that says `ieof`. `most`: bytes in all, and what is said of more.
pub(crate) async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    sink: &mut Sink,
    most: (u64, Refusal),
) -> Result<bool, Fault> {
    let mut decoder = Decoder::default();
    loop {
        let here = from.fill_buf().await?;
        if here.is_empty() {
            return Err(Refusal::Cut.into());
        }
        let (used, step) = decoder.feed(here).map_err(Refusal::from)?;
        let used = match step {
            Step::More => used,
            Step::End { ieof } => {
                from.consume(used);
                return Ok(ieof);
            }
            Step::Data(left) => {
                let rest = here.get(used..).unwrap_or_default();
                let data = rest.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(rest);
                sink.take(data).await;
                decoder.took(data.len() as u64);
                used + data.len()
            }
        };
        from.consume(used);
        if sink.len() > most.0 {
            return Err(most.1.into());
        }
    }
}

/// The most that is read of a body, whether or not it is scanned.
pub(crate) fn read_at_most(scanned: u64) -> (u64, Refusal) {
    (scanned.saturating_add(DROPPED_MAX), Refusal::LongBody)
}

/// Writes a content as chunks, from the spool.
///
/// A content that the spool does not give back whole ends without its last chunk, and the connection with it: so the client knows.
pub(crate) async fn send(judged: &Judged, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Fault> {
    let (mut content, mut left) = (judged.reader(), judged.answer.content.len);
    // A size of at most five digits before the bytes, and a line end behind them.
    const ROOM: usize = 7;
    let mut chunk = vec![0; ROOM + BUFFER + 2];
    while left > 0 {
        let space = chunk.get_mut(ROOM..ROOM + BUFFER).unwrap_or_default();
        let read = read_some(&mut content, space).await?;
        left = left.saturating_sub(read as u64);
        let size = format!("{read:x}\r\n");
        let begin = ROOM.saturating_sub(size.len());
        let end = ROOM + read;
        let pieces = [(begin..ROOM, size.as_bytes()), (end..end + 2, b"\r\n".as_slice())];
        for (range, bytes) in pieces {
            if let Some(place) = chunk.get_mut(range) {
                place.copy_from_slice(bytes);
            }
        }
        to.write_all(chunk.get(begin..end + 2).unwrap_or_default()).await?;
    }
    to.write_all(LAST_CHUNK).await?;
    Ok(())
}

async fn read_some(content: &mut (impl AsyncRead + Unpin), space: &mut [u8]) -> Result<usize, Fault> {
    match content.read(space).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        read => Ok(read),
    }
}
