//! The log, open for writing.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::folder::Folder;
use crate::writer::{Message, Writer};
use crate::{AuditError, Event, Signer};

/// Events in one append: what a request makes is a handful, and a group that everybody waits for must stay small.
pub const APPEND_MAX: usize = 100;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment, past which the next one is begun. The last group may lie across it.
    pub segment_bytes: u64,
    /// Bytes of the disk set aside, to be given up when it is full; 0 for none.
    pub reserve_bytes: u64,
    /// Least time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Notes that may wait for the disk. Each takes at most 16 KiB of memory, and some 500 bytes as a rule.
    pub backlog: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Read at once by no one; small enough to be handed to people.
            segment_bytes: 64 << 20,
            // Some 50,000 entries with their tiles: time in which to free space, told from the first entry on.
            reserve_bytes: 64 << 20,
            checkpoint_every: Duration::from_secs(1),
            // 64 MiB at worst.
            backlog: 4096,
        }
    }
}

/// How the log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// All is well.
    #[default]
    Ok,
    /// The disk was full and the reserve was given up: entries are still taken, but not for long.
    Reserve,
    /// The last append failed. The next one tries again.
    Stopped,
}

/// What there is to tell of an open log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// How it does.
    pub state: State,
    /// Durable entries.
    pub entries: u64,
    /// Entries under the last checkpoint.
    pub signed: u64,
    /// Notes that wait for the disk.
    pub waiting: usize,
    /// Notes that were refused or could not be written since the log was opened.
    pub lost: u64,
}

/// An append-only log in a folder, for one process.
///
/// Entries from all callers share flushes. An append is answered after `fdatasync`, so what was answered survives
/// `kill -9` and, on a disk that honours flushes, power loss.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    backlog: usize,
    /// `None` only while closing: that the channel ends is what ends the writer.
    messages: Option<mpsc::Sender<Message>>,
    writer: Option<JoinHandle<Result<(), AuditError>>>,
}

/// What callers and the writer share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) entries: AtomicU64,
    pub(crate) signed: AtomicU64,
    pub(crate) waiting: AtomicUsize,
    pub(crate) lost: AtomicU64,
}

impl Log {
    /// Opens the log in a folder, or makes it: mode 0700, files 0600. Blocks, and reads all of it: the chain of every
    /// entry is checked, and the last checkpoint, before anything is signed again. A line that a crash cut off is
    /// removed; it was acknowledged to nobody.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] with the place when an entry is missing or altered or the last checkpoint is not the
    /// signer's; nothing is changed then. [`AuditError::InUse`], [`AuditError::Io`], [`AuditError::Full`].
    pub fn open(dir: &Path, signer: Signer, options: Options) -> Result<Self, AuditError> {
        Self::open_folder(Folder::at(dir), signer, options)
    }

    pub(crate) fn open_folder(folder: Folder, signer: Signer, options: Options) -> Result<Self, AuditError> {
        let shared = Arc::new(Shared::default());
        let backlog = options.backlog;
        let writer = Writer::open(folder, signer, options, Arc::clone(&shared))?;
        let (messages, inbox) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("audit-writer".into())
            .spawn(move || writer.run(&inbox))
            .map_err(|error| AuditError::io(Path::new("the audit log's thread"), error))?;
        Ok(Self { shared, backlog, messages: Some(messages), writer: Some(writer) })
    }

    /// Appends events, in their order and with none of others between them; all of them or none. They are on their
    /// way when this returns; the future resolves, with their numbers, when they are durable. With no events it
    /// resolves when all that was handed over before is written or refused. How many appends are under way at once is
    /// for the callers to bound: each holds its events in memory.
    ///
    /// # Errors
    /// [`AuditError::TooMany`] past [`APPEND_MAX`] events, [`AuditError::TooLong`] past
    /// [`ENTRY_MAX`](crate::ENTRY_MAX) bytes; [`AuditError::Full`] and [`AuditError::Io`] when nothing was written,
    /// [`AuditError::Unknown`] when that cannot be told.
    pub fn append(&self, events: Vec<Event>) -> impl Future<Output = Result<Range<u64>, AuditError>> + Send + 'static {
        let answer = self.send(events);
        async move { answer?.await.unwrap_or(Err(AuditError::Closed)) }
    }

    fn send(&self, events: Vec<Event>) -> Result<oneshot::Receiver<Result<Range<u64>, AuditError>>, AuditError> {
        if events.len() > APPEND_MAX {
            return Err(AuditError::TooMany { count: events.len(), max: APPEND_MAX });
        }
        events.iter().try_for_each(Event::check)?;
        let (answer, answered) = oneshot::channel();
        self.hand_over(Message { events, answer: Some(answer) })?;
        Ok(answered)
    }

    /// Leaves an event to be appended, and does not wait.
    ///
    /// # Errors
    /// [`AuditError::TooLong`]; [`AuditError::Backlog`] when too many wait already. Refused notes are counted in
    /// [`Status::lost`], and so are those that cannot be written later.
    pub fn note(&self, event: Event) -> Result<(), AuditError> {
        let noted = event.check().and_then(|()| {
            let more = |waiting| (waiting < self.backlog).then_some(waiting + 1);
            if self.shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
                return Err(AuditError::Backlog { max: self.backlog });
            }
            self.hand_over(Message { events: vec![event], answer: None })
        });
        if noted.is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        noted
    }

    fn hand_over(&self, message: Message) -> Result<(), AuditError> {
        let sent = self.messages.as_ref().is_some_and(|messages| messages.send(message).is_ok());
        if sent { Ok(()) } else { Err(AuditError::Closed) }
    }

    /// How the log does. Takes no time.
    pub fn status(&self) -> Status {
        Status {
            state: *self.shared.state.read(),
            entries: self.shared.entries.load(Ordering::Acquire),
            signed: self.shared.signed.load(Ordering::Acquire),
            waiting: self.shared.waiting.load(Ordering::Acquire),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }

    /// Writes what was handed over, signs a last checkpoint, and ends. Blocks. Dropping the log does the same.
    ///
    /// # Errors
    /// As for the last checkpoint: [`AuditError::Full`], [`AuditError::Io`]. All entries that were acknowledged are
    /// durable nonetheless, and the next open signs them.
    pub fn close(mut self) -> Result<(), AuditError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), AuditError> {
        drop(self.messages.take());
        match self.writer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(AuditError::Closed),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the audit log ended without its last checkpoint");
        }
    }
}
