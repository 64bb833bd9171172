//! Appending records to the active segment: a batch, one write, one flush.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::footer;
use super::index::Location;
use super::record::{BLOCK, encode_delete, encode_put, header, record_len};
use super::root::write_aligned;
use super::segment::{Found, Segment};
use super::segments::{Segments, modified_ms};
use super::space::{For, Space};
use crate::SiteError;

/// Bytes written with one flush at most.
const BATCH_MAX: usize = 4 << 20;

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is durable.
    Durable,
    /// No segment can take it: it must be written and flushed by itself.
    NotHere,
}

pub(super) type Reply = oneshot::Sender<Result<Kept, SiteError>>;

/// What a record in the batch changes once it is durable.
enum Change {
    Put { name: String, location: Location, reply: Reply },
    Move { name: Box<str>, from: Location, to: Location },
    Delete(Vec<String>),
}

/// The segment that is written to.
struct Active {
    file: OwnedFd,
    /// Of the descriptor, without DIRECT.
    flags: OFlags,
    segment: Arc<Segment>,
    /// Where the batch goes, bytes.
    position: u32,
    sequence: u64,
    /// Entries of the footer to come.
    entries: Vec<u8>,
}

/// Records gathered for one write, at an address that suits writes around the page cache.
struct Batch {
    memory: Vec<u8>,
    start: usize,
}

impl Batch {
    fn new() -> Self {
        // The header may come on top, and a record more than half of which is padding.
        let mut memory: Vec<u8> = Vec::with_capacity(BATCH_MAX + 3 * BLOCK);
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        memory.resize(start, 0);
        Self { memory, start }
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.memory.truncate(self.start);
    }
}

/// Writes segments. After an error it must not be used any more: what is in the file is unknown.
pub(super) struct Appender {
    pub segments: Arc<Segments>,
    pub space: Space,
    active: Option<Active>,
    batch: Batch,
    changes: Vec<Change>,
}

impl Appender {
    /// Goes on with a new segment; those that an earlier process left open get their footers.
    pub fn new(segments: &Arc<Segments>, space: Space, unsealed: Vec<(u32, Found)>) -> Self {
        let mut appender =
            Self { segments: segments.clone(), space, active: None, batch: Batch::new(), changes: Vec::new() };
        for (id, found) in unsealed {
            // Without a footer its records are read again next time.
            if let Err(errno) = appender.seal_found(id, &found) {
                tracing::debug!(%errno, "a segment cannot be sealed");
            }
        }
        appender
    }

    fn seal_found(&mut self, id: u32, found: &Found) -> Result<(), Errno> {
        let mut entries = Vec::new();
        for entry in &found.entries {
            footer::push_entry(&mut entries, &entry.name, entry.offset, entry.len);
        }
        if entries.len() > self.segments.sizes.entries_max() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        footer::encode(found.epoch, found.end, &entries, &mut bytes);
        let file = self.space.open(id)?;
        self.segments.root.write_around(&file, &[Bytes::from(bytes)], u64::from(self.segments.sizes.data_end()))
    }

    /// Gives the folder up, before anybody is told: who asks again must find it opened anew.
    pub fn fail(&self, errno: Errno) -> SiteError {
        self.segments.root.give_up();
        self.segments.explain(errno)
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.batch.bytes().is_empty() || self.changes.is_empty()
    }

    /// Appends a put. Gives the reply back if no segment can take it.
    pub fn put(&mut self, name: String, body: &[Bytes], reply: Reply) -> Result<Option<Reply>, Errno> {
        let len = body.iter().map(Bytes::len).sum();
        let Some((epoch, sequence, location)) = self.place(&name, len, For::Puts)? else { return Ok(Some(reply)) };
        encode_put(epoch, sequence, &name, body, &mut self.batch.memory);
        self.changes.push(Change::Put { name, location, reply });
        Ok(None)
    }

    /// Appends a copy of a record that is elsewhere. `false`: no segment can take it.
    pub fn copy(&mut self, name: &str, body: Vec<u8>, from: Location) -> Result<bool, Errno> {
        let Some((epoch, sequence, to)) = self.place(name, body.len(), For::Cleaning)? else { return Ok(false) };
        encode_put(epoch, sequence, name, &[Bytes::from(body)], &mut self.batch.memory);
        self.changes.push(Change::Move { name: name.into(), from, to });
        Ok(true)
    }

    /// Appends a delete. The names, joined, are at most as long as the largest body.
    pub fn delete(&mut self, names: Vec<String>) -> Result<(), Errno> {
        let payload = names.iter().map(|name| name.len() + 1).sum::<usize>().saturating_sub(1);
        let entries = names.iter().map(|name| footer::entry_len(name)).sum();
        // Without a segment they are not noted: what comes back is an orphan for the sweep. Or a
        // record that went bad and hides its mended copy, hence the claim to the reserve.
        if !names.is_empty() && self.make_room(record_len(payload), entries, For::Cleaning)? {
            let Some(active) = &mut self.active else { return Ok(()) };
            encode_delete(active.segment.epoch, active.sequence, &names, &mut self.batch.memory);
            active.sequence += 1;
            for name in &names {
                footer::push_entry(&mut active.entries, name, 0, 0);
            }
            self.changes.push(Change::Delete(names));
        }
        Ok(())
    }

    /// Where the next record goes, and what it must say.
    fn place(&mut self, name: &str, len: usize, whom: For) -> Result<Option<(u64, u64, Location)>, Errno> {
        if !self.make_room(record_len(name.len() + len), footer::entry_len(name), whom)? {
            return Ok(None);
        }
        let Some(active) = &mut self.active else { return Ok(None) };
        let offset = active.position + self.batch.bytes().len() as u32;
        let location = Location { segment: active.segment.id, offset, len: len as u32 };
        footer::push_entry(&mut active.entries, name, offset, location.len);
        active.sequence += 1;
        Ok(Some((active.segment.epoch, active.sequence - 1, location)))
    }

    /// Makes sure that a record of `len` bytes fits the batch and the active segment, and what
    /// its footer says of it. `false`: there is no segment.
    fn make_room(&mut self, len: usize, entries: usize, whom: For) -> Result<bool, Errno> {
        if self.batch.bytes().len() + len > BATCH_MAX {
            self.commit()?;
        }
        let sizes = self.segments.sizes;
        let fits = |active: &Active| {
            active.position as usize + self.batch.bytes().len() + len <= sizes.data_end() as usize
                && active.entries.len() + entries <= sizes.entries_max()
        };
        if self.active.as_ref().is_some_and(fits) {
            return Ok(true);
        }
        self.commit()?;
        // Also where no other is to be had: sealed, it can be emptied.
        self.seal()?;
        self.activate(whom)
    }

    fn activate(&mut self, whom: For) -> Result<bool, Errno> {
        let taken = self.space.take(whom).unwrap_or_else(|errno| {
            tracing::warn!(%errno, "no new segment in a site folder; small writes will be slower");
            None
        });
        let Some((file, id, epoch)) = taken else { return Ok(false) };
        let flags = rustix::fs::fcntl_getfl(&file)?;
        // Where that is refused, writes go through the page cache.
        let _ = rustix::fs::fcntl_setfl(&file, flags | OFlags::DIRECT);
        let segment = Arc::new(Segment { id, epoch, modified_ms: 0.into() });
        self.segments.index.write().add(segment.clone());
        self.batch.memory.extend(header(epoch));
        self.active = Some(Active { file, flags, segment, position: 0, sequence: 0, entries: Vec::new() });
        self.space.prepare();
        Ok(true)
    }

    /// Ends the active segment with its footer. Nothing of the batch may be left. Not flushed:
    /// without a footer the records are read.
    pub fn seal(&mut self) -> Result<(), Errno> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let sizes = self.segments.sizes;
        if active.position > 0 {
            self.batch.clear();
            footer::encode(active.segment.epoch, active.position, &active.entries, &mut self.batch.memory);
            let done = write_aligned(&active.file, active.flags, self.batch.bytes(), u64::from(sizes.data_end()));
            self.batch.clear();
            done?;
        }
        let gain = self.segments.gain(active.position, active.entries.len());
        self.segments.index.write().seal(active.segment.id, gain);
        Ok(())
    }

    /// Writes the batch, makes it durable, shows it to readers and answers those who wait.
    pub fn commit(&mut self) -> Result<(), Errno> {
        if self.is_empty() {
            return Ok(());
        }
        if let Err(errno) = self.write() {
            let error = self.fail(errno);
            for change in self.changes.drain(..) {
                if let Change::Put { reply, .. } = change {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            return Err(errno);
        }
        let mut answers = Vec::with_capacity(self.changes.len());
        let mut index = self.segments.index.write();
        for change in self.changes.drain(..) {
            match change {
                Change::Put { name, location, reply } => {
                    index.insert(&name, location);
                    answers.push(reply);
                }
                // Unless it was deleted or put anew since.
                Change::Move { name, from, to } if index.get(&name) == Some(from) => index.insert(&name, to),
                Change::Move { .. } => {}
                // Again: a put that was on its way when it was deleted came before.
                Change::Delete(names) => {
                    for name in &names {
                        index.remove(name);
                    }
                }
            }
        }
        drop(index);
        for reply in answers {
            let _ = reply.send(Ok(Kept::Durable));
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Errno> {
        let Some(active) = &mut self.active else { return Err(Errno::BADF) };
        write_aligned(&active.file, active.flags, self.batch.bytes(), u64::from(active.position))?;
        rustix::fs::fdatasync(&active.file)?;
        let stat = rustix::fs::fstat(&active.file)?;
        // A file that somebody deleted takes writes as before, but nobody will find them.
        if stat.st_nlink == 0 {
            return Err(Errno::STALE);
        }
        active.segment.modified_ms.store(modified_ms(&stat), Ordering::Relaxed);
        active.position += self.batch.bytes().len() as u32;
        self.batch.clear();
        Ok(())
    }
}
