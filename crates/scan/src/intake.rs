//! How a content comes in, and what is there once it was judged.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use meta::record::ContentId;
use tokio::io::{AsyncRead, ReadBuf};

use crate::error::{IntakeError, ScanError};
use crate::scanner::{Answer, Asker, Scanner};
use crate::spool::{Content, Spool};

/// A content on its way in.
pub struct Intake {
    scanner: Scanner,
    asker: Asker,
    spool: Spool,
}

impl Intake {
    pub(crate) fn new(scanner: Scanner, asker: Asker, spool: Spool) -> Self {
        Self { scanner, asker, spool }
    }

    /// Takes bytes. Waits while others have all the memory there is.
    ///
    /// # Errors
    /// [`ScanError::Spool`], or [`ScanError::Busy`] where the files' share of the disk is used up.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        self.spool.write(bytes).await
    }

    /// Takes at most `most` bytes of what a reader has, until it ends, and tells how many: straight from the reader to where they stay.
    ///
    /// # Errors
    /// The reader's, or those of [`Self::write`].
    pub async fn read_from(&mut self, from: &mut (impl AsyncRead + Unpin), most: u64) -> Result<u64, IntakeError> {
        self.spool.read_from(from, most).await
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.spool.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the bytes so far are known by.
    pub fn id(&self) -> ContentId {
        self.spool.id()
    }

    /// Nobody is asked about it: the hash of the bytes so far, for who goes on with it.
    pub fn give_up(self) -> blake3::Hasher {
        self.spool.give_up()
    }

    /// A verdict that comes later is of no use.
    pub fn answer_within(&mut self, deadline: std::time::Duration) {
        self.asker.deadline = deadline;
    }

    /// All came. What it is may be asked later.
    ///
    /// # Errors
    /// [`ScanError::Spool`], or [`ScanError::Busy`] where the files' share of the disk is used up.
    pub fn end(self) -> Result<Pending, ScanError> {
        let content = Arc::new(self.spool.finish()?);
        Ok(Pending { scanner: self.scanner, asker: self.asker, content })
    }

    /// All came: what is it?
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn finish(self) -> Result<Judged, ScanError> {
        self.end()?.judge().await
    }
}

/// A content that is here, and that nobody has asked about yet.
pub struct Pending {
    scanner: Scanner,
    asker: Asker,
    content: Arc<Content>,
}

impl Pending {
    /// What it is known by.
    pub fn id(&self) -> ContentId {
        self.content.id()
    }

    /// What is it?
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn judge(self) -> Result<Judged, ScanError> {
        let answer = self.scanner.judge(&self.content, &self.asker).await?;
        Ok(Judged { answer, content: self.content })
    }
}

/// A content and its verdict.
pub struct Judged {
    /// What is said of it.
    pub answer: Answer,
    content: Arc<Content>,
}

impl Judged {
    /// Whether it can be read once more: one that no engine takes is not kept.
    pub fn is_kept(&self) -> bool {
        self.content.is_kept()
    }

    /// All its bytes; none of one that is not kept.
    pub fn reader(&self) -> Reader {
        Reader { content: self.content.clone(), at: 0 }
    }
}

/// Reads a content from its beginning.
pub struct Reader {
    content: Arc<Content>,
    at: u64,
}

impl AsyncRead for Reader {
    /// What lies in a file was written a moment ago: its pages are in memory, and no thread waits for a disk.
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.content.read_at(out.initialize_unfilled(), self.at)?;
        out.advance(count);
        self.at += count as u64;
        Poll::Ready(Ok(()))
    }
}
