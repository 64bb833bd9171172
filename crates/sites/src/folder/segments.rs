//! The small shards of a folder, as readers see them; and finding them when the folder is opened.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::footer::entry_len;
use super::index::{Index, Location};
use super::record::{EPOCH_MAX, body_offset};
use super::root::{Root, SEGMENTS_DIR, linked_size, open_max, read_exact, site_error};
use super::segment::{self, Segment, Sizes, file_name, id_of};
use crate::{Entry, SiteError};

const LOCK: &str = "lock";
/// Epochs passed over by every open: as many may have been given out without reaching the disk.
const EPOCH_GAP: u64 = 64;
const READ_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const LOCK_FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What a read without waiting found.
pub(super) enum Now {
    Bytes(Bytes),
    /// It is in a segment, but reading it takes waiting.
    Wait,
    /// It is in no segment.
    Absent,
}

/// The small shards of an open folder.
pub(super) struct Segments {
    pub root: Arc<Root>,
    pub sizes: Sizes,
    pub index: RwLock<Index>,
    files: Cache<u32, Arc<OwnedFd>>,
}

/// Keeps other processes out of the segments until it is dropped.
pub(super) struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do while a child that is being started has a copy.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// `WOULDBLOCK`: another process has it.
    pub fn take(root: &Root) -> Result<Self, Errno> {
        let dir = root.dir(SEGMENTS_DIR)?;
        let fd = match rustix::fs::openat(&dir.fd, LOCK, LOCK_FLAGS | OFlags::CREATE, Mode::RUSR | Mode::WUSR) {
            Err(Errno::ROFS | Errno::ACCESS) => rustix::fs::openat(&dir.fd, LOCK, READ_FLAGS, Mode::empty())?,
            other => other?,
        };
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(fd))
    }
}

/// What an open leaves for the writer to go on from.
#[derive(Default)]
pub(super) struct Rest {
    /// `None`: there are no segments yet, or the folder cannot be written to.
    pub lock: Option<Lock>,
    /// The next number of a file.
    pub next_id: u32,
    /// The next epoch.
    pub next_epoch: u64,
    /// Files in which nothing counts.
    pub free: Vec<u32>,
    /// Segments whose records had to be read, and what a footer would say.
    pub unsealed: Vec<(u32, segment::Found)>,
}

pub(super) fn modified_ms(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(stat.st_mtime_nsec / 1_000_000)
}

impl Segments {
    /// Finds everything that the folder's segments hold.
    ///
    /// # Errors
    /// `WOULDBLOCK`: another process, or an earlier handle that is still in use, has the folder.
    pub fn open(root: &Arc<Root>, sizes: Sizes) -> Result<(Self, Rest), Errno> {
        let segments = Self { root: root.clone(), sizes, index: RwLock::default(), files: Cache::new(open_max()) };
        let mut rest = Rest { next_id: 1, next_epoch: 1, ..Rest::default() };
        match rustix::fs::statat(root.fd(), SEGMENTS_DIR, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Err(Errno::NOENT) => return Ok((segments, rest)),
            Ok(_) => {
                tracing::warn!(
                    "what is called {SEGMENTS_DIR} in a site folder is no directory; small writes will be slower"
                );
                return Ok((segments, rest));
            }
            Err(errno) => return Err(errno),
        }
        rest.lock = match Lock::take(root) {
            Ok(lock) => Some(lock),
            Err(errno @ (Errno::NOENT | Errno::NOSPC | Errno::ROFS | Errno::ACCESS | Errno::LOOP | Errno::ISDIR)) => {
                tracing::warn!(%errno, "the segments of a site folder cannot be locked");
                None
            }
            Err(errno) => return Err(errno),
        };
        segments.find_all(&mut rest)?;
        Ok((segments, rest))
    }

    /// Whether there is any segment file.
    pub fn any(&self) -> Result<bool, Errno> {
        let dir = self.root.dir(SEGMENTS_DIR)?;
        for item in rustix::fs::Dir::read_from(&dir.fd)? {
            if item?.file_name().to_str().ok().and_then(id_of).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find_all(&self, rest: &mut Rest) -> Result<(), Errno> {
        let dir = self.root.dir(SEGMENTS_DIR)?;
        let mut all = Vec::new();
        for item in rustix::fs::Dir::read_from(&dir.fd)? {
            let item = item?;
            let Some(id) = item.file_name().to_str().ok().and_then(id_of) else { continue };
            rest.next_id = rest.next_id.max(id.saturating_add(1));
            let file = match self.file(id) {
                Err(errno @ (Errno::NOENT | Errno::LOOP | Errno::ACCESS)) => {
                    tracing::warn!(%errno, file = file_name(id), "a segment of a site folder cannot be opened");
                    continue;
                }
                other => other?,
            };
            let stat = rustix::fs::fstat(&*file)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                self.root.forget_pages(&file)?;
                all.push((segment::epoch(&file, self.sizes)?, id, modified_ms(&stat)));
            }
        }
        // What was written later counts more. One after the other, for there may be many.
        all.sort_unstable();
        let newest = all.last().map_or(0, |(epoch, ..)| *epoch).min(EPOCH_MAX - 2 * EPOCH_GAP);
        rest.next_epoch = newest + 1 + EPOCH_GAP;
        for (epoch, id, modified_ms) in &all {
            let found = segment::find(&*self.file(*id)?, self.sizes)?;
            let modified_ms = (*modified_ms).into();
            self.take_in(Arc::new(Segment { id: *id, epoch: *epoch, modified_ms }), found, rest);
        }
        // Not before everything is known: what an early segment holds may be dead by a late one.
        let mut index = self.index.write();
        for (_, id, _) in all {
            if index.take(id).is_some() {
                rest.free.push(id);
            }
        }
        let alive = |id: &u32| index.live(*id) > 0;
        rest.unsealed.retain(|(id, _)| alive(id));
        Ok(())
    }

    fn take_in(&self, segment: Arc<Segment>, found: segment::Found, rest: &mut Rest) {
        let id = segment.id;
        let mut index = self.index.write();
        index.add(segment);
        let mut names = 0;
        for entry in &found.entries {
            names += entry_len(&entry.name);
            if entry.offset == 0 {
                index.remove(&entry.name);
            } else {
                index.insert(&entry.name, Location { segment: id, offset: entry.offset, len: entry.len });
            }
        }
        index.seal(id, self.gain(found.end, names));
        if found.unread {
            tracing::warn!(file = file_name(id), "a segment of a site folder cannot be read in full");
            index.keep(id);
        } else if !found.sealed {
            tracing::info!(entries = found.entries.len(), "read the records of a segment that was not sealed");
            rest.unsealed.push((id, found));
        }
    }

    /// Bytes of records for which emptying a segment makes room, whose own end at `end`: one that
    /// was left half empty counts whole, unless it was sealed for the length of its names.
    pub fn gain(&self, end: u32, entries: usize) -> u64 {
        let most = self.sizes.data_end();
        let left = end < most / 2 && entries < self.sizes.entries_max() / 2;
        u64::from(if left { most } else { end })
    }

    /// A segment's file, for reading.
    pub fn file(&self, id: u32) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(file) = self.files.get(&id) {
            return Ok(file);
        }
        let dir = self.root.dir(SEGMENTS_DIR)?;
        let file = Arc::new(rustix::fs::openat(&dir.fd, file_name(id), READ_FLAGS, Mode::empty())?);
        // Shards are read one by one; what lies beside them need not come along.
        let _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::Random);
        self.files.insert(id, file.clone());
        Ok(file)
    }

    /// Closes a file that is not read any more.
    pub fn close(&self, id: u32) {
        self.files.remove(&id);
    }

    /// A stored body's length, bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.index.read().get(name).map(|location| u64::from(location.len))
    }

    /// Reads a range if that takes no waiting.
    pub fn read_now(&self, name: &str, range: &Range<u64>) -> Now {
        let Some((segment, location)) = self.index.read().find(name) else { return Now::Absent };
        let read = || {
            let file = self.files.get(&segment.id)?;
            let (at, len) = place(name, location, range)?;
            linked_size(&file)?;
            self.root.read_cached(&file, at, len)
        };
        // A folder that was given up may have been opened anew, and the segment used anew.
        match read().filter(|_| !self.root.is_gone()) {
            Some(bytes) => Now::Bytes(bytes),
            None => Now::Wait,
        }
    }

    /// Reads a range, waiting for the disk. `None`: the name is in no segment.
    pub fn read(&self, name: &str, range: &Range<u64>) -> Option<Result<Bytes, Unread>> {
        let (segment, location) = self.index.read().find(name)?;
        let short = || Unread::Site(SiteError::Short { name: name.to_owned() });
        let read = || {
            let (at, len) = place(name, location, range).ok_or_else(short)?;
            let failed = |errno| Unread::Site(self.root.explain(errno, &format!("reading {name}")));
            let file = match self.file(segment.id) {
                Ok(file) if linked_size(&file).is_some() => file,
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(Unread::Lost),
                Err(errno) => return Err(failed(errno)),
            };
            let bytes = read_exact(&file, at, len).map_err(failed)?;
            bytes.map(Bytes::from).ok_or_else(short)
        };
        let answer = read();
        Some(if self.root.is_gone() { Err(Unread::Lost) } else { answer })
    }

    /// At most `limit` names under `prefix` after `after`, ascending.
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<Entry> {
        let page = self.index.read().page(prefix, after, limit);
        let entry = |(name, location, segment): (String, Location, Arc<Segment>)| {
            let modified_ms = segment.modified_ms.load(Ordering::Relaxed);
            Entry { name, size: u64::from(location.len), modified_ms }
        };
        page.into_iter().map(entry).collect()
    }

    /// What a failed write says.
    pub fn explain(&self, errno: Errno) -> SiteError {
        self.root.check().err().unwrap_or_else(|| site_error(errno, "writing a segment"))
    }
}

/// Why a shard in a segment was not read.
pub(super) enum Unread {
    /// The segment is gone, or the folder was given up: open it anew.
    Lost,
    Site(SiteError),
}

/// Where a range of a body is in its segment. `None`: beyond the body.
fn place(name: &str, location: Location, range: &Range<u64>) -> Option<(u64, usize)> {
    let len = range.end.checked_sub(range.start).filter(|_| range.end <= u64::from(location.len))?;
    Some((u64::from(location.offset) + body_offset(name) + range.start, usize::try_from(len).ok()?))
}
