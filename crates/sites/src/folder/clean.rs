//! Emptying segments that are mostly dead, a little at a time.

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::append::Appender;
use super::footer::Entry;
use super::index::Location;
use super::segment::{self, Segment};

/// Bytes of bodies copied between two flushes at most: those who put meanwhile wait for it.
const STEP: usize = 1 << 20;
/// Batches between attempts, when an attempt found no room.
const RETRY_EVERY: u32 = 256;

/// A segment being emptied.
struct Victim {
    segment: Arc<Segment>,
    file: Arc<OwnedFd>,
    rest: std::vec::IntoIter<Entry>,
}

/// What is being emptied, if anything.
#[derive(Default)]
pub(super) struct Cleaner {
    victim: Option<Victim>,
    pause: u32,
}

impl Cleaner {
    /// Takes back what is empty and copies a little of what is not. Nothing may wait to be
    /// written. Whether there is more to do.
    pub fn step(&mut self, to: &mut Appender) -> Result<bool, Errno> {
        while let Some((id, true)) = self.next(to) {
            let taken = to.segments.index.write().take(id);
            match taken {
                Some(segment) => to.space.recycle(segment),
                None => break,
            }
        }
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(false);
        }
        let Some(mut victim) = self.victim.take().or_else(|| self.choose(to)) else { return Ok(false) };
        let mut copied = 0;
        while copied < STEP {
            let Some(entry) = victim.rest.next() else {
                return Self::finish(victim, to);
            };
            let from = Location { segment: victim.segment.id, offset: entry.offset, len: entry.len };
            if entry.offset == 0 || to.segments.index.read().get(&entry.name) != Some(from) {
                continue;
            }
            // A record that is damaged stays where it is, and so does the segment.
            let Ok(Some(body)) = segment::read_record(&victim.file, victim.segment.epoch, &entry) else { continue };
            copied += body.len().max(1);
            if !to.copy(&entry.name, body, from)? {
                // No room. What was copied already counts.
                self.pause = RETRY_EVERY;
                return Ok(!to.is_empty());
            }
        }
        self.victim = Some(victim);
        Ok(true)
    }

    /// Nothing is taken back before all copies are durable.
    fn finish(victim: Victim, to: &mut Appender) -> Result<bool, Errno> {
        to.commit()?;
        let id = victim.segment.id;
        drop(victim);
        let mut index = to.segments.index.write();
        if index.live(id) > 0 {
            tracing::warn!(file = segment::file_name(id), "a segment holds shards that cannot be read; it is kept");
            index.keep(id);
        }
        Ok(true)
    }

    fn next(&self, to: &Appender) -> Option<(u32, bool)> {
        to.segments.index.read().sparse()
    }

    fn choose(&mut self, to: &Appender) -> Option<Victim> {
        let scarce = || to.segments.root.space().is_ok_and(|space| space < to.segments.sizes.space_min);
        let id = self.next(to).map(|(id, _)| id);
        let id = id.or_else(|| if scarce() { to.segments.index.read().loosest() } else { None })?;
        let segment = to.segments.index.read().segment(id)?;
        let found = to.segments.file(id).and_then(|file| Ok((segment::find(&file, to.segments.sizes)?, file)));
        match found {
            Ok((found, file)) if found.epoch == segment.epoch => {
                Some(Victim { segment, file, rest: found.entries.into_iter() })
            }
            // Somebody meddled with it, or it cannot be read. Reads will tell.
            _ => {
                to.segments.index.write().keep(id);
                None
            }
        }
    }
}
