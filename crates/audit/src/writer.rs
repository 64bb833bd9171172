//! The one thread that writes: takes everything pending, chains it, flushes once, answers everyone; signs when due.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::checkpoint::Checkpoint;
use crate::error::{AuditError, Fault, Wrong};
use crate::folder::{CHECKPOINT, Folder, Segment};
use crate::line;
use crate::log::{Options, Shared, State};
use crate::note::NOTE_MAX;
use crate::publish::Publisher;
use crate::scan::{Position, Scan};
use crate::tree::Hash;
use crate::{Event, Signer, VerifierKey};

/// Entries after which a group takes no more messages: bounds its memory and the wait of the first one in it.
const GROUP_MAX: usize = 1000;
/// Least pause after a checkpoint that failed: its tiles are written again, which a sick disk should not be asked
/// for all the time.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Free space at which the reserve is set aside again, in reserves: with less, the next entry would need it at once.
const REFILL: u64 = 2;

type Answer = Result<Range<u64>, AuditError>;

/// Events of one caller, and where the answer goes; a note has no one to answer to.
pub(crate) struct Message {
    pub(crate) events: Vec<Event>,
    pub(crate) answer: Option<oneshot::Sender<Answer>>,
}

pub(crate) struct Writer {
    folder: Folder,
    /// Held, not used.
    _lock: File,
    signer: Signer,
    options: Options,
    shared: Arc<Shared>,
    segment: Segment,
    /// Whether bytes of a failed append may be behind the segment's last line.
    dirty: bool,
    /// Whether the reserve is set aside.
    reserved: bool,
    /// The number of the next entry.
    next: u64,
    /// The hash of the last one.
    prev: Hash,
    publisher: Publisher,
    /// No checkpoint before; `None`: not before the end.
    due: Option<Instant>,
}

/// What became of the lines of a group.
enum Stored {
    Done,
    /// They are not there, and not going to be.
    Undone(io::Error),
    /// They may be there.
    Unknown(io::Error),
}

impl Writer {
    /// Opens the log: checks everything, cuts off a torn line, signs what no checkpoint covers yet.
    pub(crate) fn open(
        folder: Folder,
        signer: Signer,
        options: Options,
        shared: Arc<Shared>,
    ) -> Result<Self, AuditError> {
        let lock = folder.lock()?;
        let mut publisher = Publisher::new();
        let (at, torn) = recover(&folder, signer.verifier(), &mut publisher)?;
        if publisher.size() == 0 && folder.read(CHECKPOINT, 0)?.is_none() {
            // Before the first entry, so that a log without a checkpoint is always one that lost it.
            publisher.publish(&folder, &signer, 0)?;
        }
        let segment = folder.segment(at.first, at.offset)?;
        if torn > 0 {
            tracing::warn!(
                segment = segment.name,
                bytes = torn,
                "cutting off an audit entry that a crash left half written"
            );
            folder.cut(&segment).map_err(|error| folder.error(&segment.name, error))?;
        }
        let mut writer = Self {
            folder,
            _lock: lock,
            signer,
            options,
            shared,
            segment,
            dirty: false,
            reserved: false,
            next: at.next,
            prev: at.prev,
            publisher,
            due: None,
        };
        writer.refill();
        if !writer.reserved {
            tracing::warn!(bytes = writer.options.reserve_bytes, "the disk has no room for the audit log's reserve");
        }
        writer.tell(if writer.reserved { State::Ok } else { State::Reserve });
        writer.wait_at_least(Duration::ZERO);
        writer.publish()?;
        Ok(writer)
    }

    /// Works until the log is closed and everything sent is answered.
    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Message>) -> Result<(), AuditError> {
        loop {
            match self.receive(inbox) {
                Ok(first) => self.commit(gather(first, inbox)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.publish(),
            }
            if self.is_unsigned() && self.due.is_some_and(|due| due <= Instant::now()) && self.publish().is_err() {
                self.wait_at_least(RETRY_MIN);
            }
        }
    }

    /// Waits for a message, or for the time of the next checkpoint where one is wanted.
    fn receive(&self, inbox: &mpsc::Receiver<Message>) -> Result<Message, mpsc::RecvTimeoutError> {
        match self.due {
            Some(due) if self.is_unsigned() => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            _ => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        }
    }

    /// Puts off the next checkpoint.
    fn wait_at_least(&mut self, least: Duration) {
        self.due = Instant::now().checked_add(self.options.checkpoint_every.max(least));
    }

    fn is_unsigned(&self) -> bool {
        self.publisher.signed() < self.next
    }

    /// Appends the events of all messages with one flush, and answers.
    fn commit(&mut self, messages: Vec<Message>) {
        let (mut lines, mut next, mut prev) = (Vec::new(), self.next, self.prev);
        let mut ranges = Vec::with_capacity(messages.len());
        for message in &messages {
            let from = next;
            for event in &message.events {
                // Its length was checked when it came in, for any number.
                let Ok(canonical) = event.encode(next) else { continue };
                prev = line::write(&mut lines, &prev, &canonical);
                next += 1;
            }
            ranges.push(from..next);
        }
        let stored = if lines.is_empty() { Stored::Done } else { self.store(&lines) };
        if matches!(stored, Stored::Done) {
            (self.next, self.prev) = (next, prev);
            self.shared.entries.store(next, Ordering::Release);
        }
        for (message, range) in messages.into_iter().zip(ranges) {
            let answer = match &stored {
                Stored::Done => Ok(range),
                // Who appends nothing only waits.
                _ if message.events.is_empty() => Ok(self.next..self.next),
                Stored::Undone(error) => Err(self.folder.error(&self.segment.name, again(error))),
                Stored::Unknown(error) => Err(AuditError::Unknown {
                    path: self.folder.join(&self.segment.name),
                    source: Arc::new(again(error)),
                }),
            };
            self.answer(message, answer);
        }
    }

    fn answer(&self, message: Message, answer: Answer) {
        match message.answer {
            // A caller that was cancelled no longer listens.
            Some(to) => drop(to.send(answer)),
            None => {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                if answer.is_err() {
                    self.shared.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Makes lines durable, if need be in the space of the reserve.
    fn store(&mut self, lines: &[u8]) -> Stored {
        let mut stored = self.try_store(lines);
        if let Stored::Undone(error) = &stored
            && is_full(error)
            && self.release()
        {
            stored = self.try_store(lines);
        }
        match &stored {
            Stored::Done => {
                self.refill();
                self.tell(if self.reserved { State::Ok } else { State::Reserve });
            }
            Stored::Undone(error) | Stored::Unknown(error) => {
                tracing::error!(segment = self.segment.name, %error, "the audit log cannot be written");
                self.tell(State::Stopped);
            }
        }
        stored
    }

    fn try_store(&mut self, lines: &[u8]) -> Stored {
        if self.dirty {
            if let Err(error) = self.folder.cut(&self.segment) {
                return Stored::Undone(error);
            }
            self.dirty = false;
        }
        if self.segment.len >= self.options.segment_bytes {
            match self.folder.segment(self.next, 0) {
                Ok(segment) => self.segment = segment,
                Err(error) => return Stored::Undone(cause(error)),
            }
        }
        let Err(error) = self.folder.append(&mut self.segment, lines) else { return Stored::Done };
        self.dirty = self.folder.cut(&self.segment).is_err();
        if self.dirty { Stored::Unknown(error) } else { Stored::Undone(error) }
    }

    /// Gives up the reserve. `false` when there is none.
    fn release(&mut self) -> bool {
        if !self.reserved || self.options.reserve_bytes == 0 {
            return false;
        }
        match self.folder.release() {
            Ok(()) => {
                tracing::warn!(
                    bytes = self.options.reserve_bytes,
                    "the disk is full: the audit log lives on its reserve; free some space"
                );
                self.reserved = false;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the audit log's reserve cannot be given up");
                false
            }
        }
    }

    /// Sets the reserve aside, where there is room for it and for what comes next.
    fn refill(&mut self) {
        let bytes = self.options.reserve_bytes;
        if self.reserved || bytes == 0 {
            self.reserved = true;
            return;
        }
        match self.folder.reserve(bytes, bytes.saturating_mul(REFILL)) {
            Ok(()) => self.reserved = true,
            // Asked for at every append until it works: what there is to say is the state.
            Err(error) => tracing::debug!(%error, bytes, "the audit log has no reserve"),
        }
    }

    /// Signs a checkpoint over all entries, if need be in the space of the reserve.
    fn publish(&mut self) -> Result<(), AuditError> {
        if !self.is_unsigned() {
            return Ok(());
        }
        let mut published = self.publisher.publish(&self.folder, &self.signer, self.next);
        if matches!(published, Err(AuditError::Full { .. })) && self.release() {
            self.tell(State::Reserve);
            published = self.publisher.publish(&self.folder, &self.signer, self.next);
        }
        match &published {
            Ok(()) => {
                self.wait_at_least(Duration::ZERO);
                self.shared.signed.store(self.publisher.signed(), Ordering::Release);
            }
            Err(error) => tracing::error!(%error, "no checkpoint of the audit log can be made"),
        }
        published
    }

    fn tell(&self, state: State) {
        *self.shared.state.write() = state;
        self.shared.entries.store(self.next, Ordering::Release);
        self.shared.signed.store(self.publisher.signed(), Ordering::Release);
    }
}

/// Reads the whole log into the publisher. Returns where it ends, and the bytes of a torn line behind that.
fn recover(folder: &Folder, key: &VerifierKey, publisher: &mut Publisher) -> Result<(Position, u64), AuditError> {
    let fault = |sequence, wrong| Fault { sequence, file: CHECKPOINT.to_owned(), wrong };
    let note = folder.read(CHECKPOINT, NOTE_MAX)?;
    let checkpoint = match note {
        None => None,
        Some(note) => {
            let opened = std::str::from_utf8(&note).ok().and_then(|note| Checkpoint::open(note, key).ok());
            Some(opened.ok_or_else(|| fault(0, Wrong::Checkpoint))?)
        }
    };
    let signed = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let mut scan = Scan::new(folder, Position::START);
    while publisher.size() < signed {
        match scan.next()? {
            Some(canonical) => publisher.take_known(canonical),
            None => return Err(scan.missing()),
        }
    }
    match checkpoint {
        Some(checkpoint) if checkpoint.root != publisher.root() => return Err(fault(signed, Wrong::Root).into()),
        None if !folder.segments()?.is_empty() => return Err(fault(0, Wrong::CheckpointMissing).into()),
        _ => publisher.stand_at(scan.position()),
    }
    while scan.next()?.is_some() {}
    Ok((scan.position(), scan.torn()))
}

/// The first message and what is pending behind it.
fn gather(first: Message, inbox: &mpsc::Receiver<Message>) -> Vec<Message> {
    let mut count = first.events.len();
    let mut messages = vec![first];
    while count < GROUP_MAX && messages.len() < GROUP_MAX {
        let Ok(message) = inbox.try_recv() else { break };
        count += message.events.len();
        messages.push(message);
    }
    messages
}

/// An error once more, for the next one who waits.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// The system's words in an error of ours.
fn cause(error: AuditError) -> io::Error {
    match error {
        AuditError::Io { source, .. } => again(&source),
        _ => io::ErrorKind::StorageFull.into(),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
