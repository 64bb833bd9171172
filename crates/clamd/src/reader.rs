//! What a client sends: commands from bytes that are read ahead, streams as straight as can be.

use std::io;
use std::os::fd::OwnedFd;

use scan::{Intake, IntakeError, ScanError};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::chunks::{Chunks, Gathered, Then};
use crate::limits::{AHEAD, STRAIGHT};
use crate::pace::Paced;

/// Where a client's bytes come from, and its descriptors if it can send any.
pub(crate) trait Wire: AsyncRead + Unpin + Send {
    /// The next descriptor that came and was not taken.
    ///
    /// # Errors
    /// [`Misused`].
    fn descriptor(&mut self) -> Result<Option<OwnedFd>, Misused> {
        Ok(None)
    }
}

/// More descriptors came than commands for them: which belongs to which cannot be said any more.
#[derive(Debug)]
pub(crate) struct Misused;

/// Why a stream is not here as a whole.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// It is longer than the door takes.
    TooLong,
    /// It ended without its last chunk.
    Cut,
    /// The client's side, slowness included.
    Client(io::Error),
    /// Ours.
    Scan(ScanError),
}

impl From<IntakeError> for StreamError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Client(error) => Self::Client(error),
            IntakeError::Scan(error) => Self::Scan(error),
        }
    }
}

/// Reads ahead.
pub(crate) struct Reader<R> {
    from: Paced<R>,
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Wire> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from: Paced::new(from), ahead: vec![0; AHEAD].into_boxed_slice(), start: 0, end: 0 }
    }

    /// What was read and not taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.ahead[self.start..self.end]
    }

    /// So many of them are done with.
    pub(crate) fn took(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Reads once more; 0 at the end, and when there is no room, which commands do not need. Nothing is lost when it is dropped.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.ahead.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = self.from.read(&mut self.ahead[self.end..]).await?;
        self.end += count;
        Ok(count)
    }

    pub(crate) fn descriptor(&mut self) -> Result<Option<OwnedFd>, Misused> {
        self.from.get_mut().descriptor()
    }

    /// Takes chunks until the last one, into `intake`: at most `most` bytes.
    pub(crate) async fn stream(&mut self, intake: &mut Intake, most: u64) -> Result<(), StreamError> {
        self.from.hurry(true);
        let came = self.chunks(intake, most).await;
        self.from.hurry(false);
        came
    }

    async fn chunks(&mut self, intake: &mut Intake, most: u64) -> Result<(), StreamError> {
        let mut chunks = Chunks::new(most);
        loop {
            let Gathered { content, used, then } = chunks.gather(&mut self.ahead[self.start..self.end]);
            if !content.is_empty() {
                intake.write(&self.bytes()[content]).await.map_err(StreamError::Scan)?;
            }
            self.took(used);
            match then {
                Then::End => return Ok(()),
                Then::TooLong => return Err(StreamError::TooLong),
                // All that was read ahead is used up by then.
                Then::More(left) if left >= STRAIGHT => {
                    let read = intake.read_from(&mut self.from, left).await?;
                    if read < left {
                        return Err(StreamError::Cut);
                    }
                    chunks.came(read);
                }
                Then::More(_) => self.more().await?,
            }
        }
    }

    async fn more(&mut self) -> Result<(), StreamError> {
        match self.fill().await {
            Ok(0) => Err(StreamError::Cut),
            Ok(_) => Ok(()),
            Err(error) => Err(StreamError::Client(error)),
        }
    }
}
