//! A directory as a site: a disk, a mount, a folder for trying things out.
//!
//! Bodies up to 64 KiB are appended to segment files that all puts of the site share (see
//! `folder/writer.rs`); a larger one is a file of its own, made durable by flushing file and
//! directory. So is a small one for which no segment has room.
//! Everything goes through a descriptor of the root, and the root is never created: a folder that
//! was deleted, moved or unmounted says `Down`, and is used again when it is back.

mod append;
mod buffers;
mod clean;
mod footer;
mod index;
mod record;
mod root;
mod segment;
mod segments;
mod space;
mod walk;
mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use self::append::Kept;
use self::record::SMALL_MAX;
use self::root::{Root, SEGMENTS_DIR};
use self::segment::Sizes;
use self::segments::{Now, Segments, Unread};
use self::writer::Writer;
use crate::name::{check_name, check_prefix};
use crate::{Entry, MARKER, Site, SiteError};

/// Threads that may write to one site at a time. A hung file server holds that many and no more.
const WRITERS: usize = 8;
/// The same for reads that miss the page cache, and everything else.
const READERS: usize = 16;

/// One directory, one site.
pub struct Folder {
    handle: Arc<Handle>,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// The folder while its path leads to it.
struct Live {
    // First, so that it is closed first.
    writer: Writer,
    segments: Arc<Segments>,
    root: Arc<Root>,
}

struct Handle {
    path: PathBuf,
    sizes: Sizes,
    live: RwLock<Option<Arc<Live>>>,
    opening: Mutex<()>,
}

enum Unopened {
    InUse,
    Site(SiteError),
}

impl From<Unopened> for SiteError {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::InUse => Self::Down("the folder is in use by another process; stop that one first".to_owned()),
            Unopened::Site(error) => error,
        }
    }
}

impl Live {
    fn open(path: &Path, sizes: Sizes, again: bool) -> Result<Self, Unopened> {
        let root = Arc::new(Root::open(path, again).map_err(Unopened::Site)?);
        let segments = Segments::open(&root, sizes).and_then(|(segments, rest)| {
            let segments = Arc::new(segments);
            Ok((Writer::start(&segments, rest)?, segments))
        });
        let (writer, segments) = segments.map_err(|errno| match errno {
            Errno::WOULDBLOCK => Unopened::InUse,
            errno => Unopened::Site(root.explain(errno, "opening the segments")),
        })?;
        Ok(Self { writer, segments, root })
    }

    fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        self.root.put(name, body)?;
        // Not before the file is durable. What a segment holds under the name would hide it.
        self.writer.delete(name);
        Ok(())
    }

    /// `None`: the folder must be opened anew.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, SiteError> {
        match self.segments.read(name, &range) {
            None => self.root.read(name, range).map(Some),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(Unread::Site(error))) => Err(error),
            Some(Err(Unread::Lost)) => {
                self.root.give_up();
                Ok(None)
            }
        }
    }

    fn delete(&self, name: &str) -> Result<(), SiteError> {
        // The file first: a folder that is read-only says so.
        match self.root.remove(name) {
            Ok(true) => {}
            Ok(false) => self.root.check()?,
            Err(errno) => return Err(self.root.explain(errno, &format!("deleting {name}"))),
        }
        self.writer.delete(name);
        Ok(())
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        // Segments first: a name that moves from there to a file meanwhile is then found twice,
        // not never.
        let small = self.segments.list(prefix, after.unwrap_or_default(), limit);
        let large = walk::list(&self.root, prefix, after, limit);
        let large = large.map_err(|errno| self.root.explain(errno, "listing"))?;
        // An emptied listing must not be taken for an empty site.
        self.root.check()?;
        Ok(merge(small, large, limit))
    }
}

/// Two listings as one. Where both have a name, the first tells its size.
fn merge(first: Vec<Entry>, second: Vec<Entry>, limit: usize) -> Vec<Entry> {
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    let next = || match (first.peek(), second.peek()) {
        (Some(a), Some(b)) if a.name > b.name => second.next(),
        (Some(a), Some(b)) => {
            if a.name == b.name {
                second.next();
            }
            first.next()
        }
        (Some(_), None) => first.next(),
        (None, _) => second.next(),
    };
    std::iter::from_fn(next).take(limit).collect()
}

impl Handle {
    /// The folder as it was last seen. Does not touch the disk.
    fn current(&self) -> Option<Arc<Live>> {
        self.live.read().clone().filter(|live| !live.root.is_gone())
    }

    /// The folder, opened anew if it was gone. Waits for the disk.
    fn live(&self) -> Result<Arc<Live>, SiteError> {
        let present = || self.current().filter(|live| live.root.check().is_ok());
        if let Some(live) = present() {
            return Ok(live);
        }
        let _one_at_a_time = self.opening.lock();
        if let Some(live) = present() {
            return Ok(live);
        }
        // Out of the lock first: closing may wait for the writer's thread. It must have let go of
        // the segments even if others still hold on to what they began with.
        let old = self.live.write().take();
        if let Some(old) = old {
            old.writer.close();
        }
        let live = Arc::new(Live::open(&self.path, self.sizes, true)?);
        tracing::info!(folder = %self.path.display(), "site folder opened again");
        *self.live.write() = Some(live.clone());
        Ok(live)
    }
}

impl Folder {
    /// A site in the directory `root`, an absolute path. A directory that is not there is no
    /// error: it is a site that is down.
    ///
    /// # Errors
    /// `Denied` for a relative path, `Down` if another process uses the folder.
    pub fn open(root: PathBuf) -> Result<Self, SiteError> {
        Self::open_sized(root, Sizes::REAL)
    }

    /// The same, but there must be a directory that can be written to, and from now on no other process can open it: for
    /// who serves the folder to others. [`Folder::open`] keeps others out of a folder only once there are small shards in it.
    ///
    /// # Errors
    /// `Denied` for a relative path or a directory that cannot be written to, `Full`, and `Down` if it is not there or
    /// another process uses it.
    pub fn open_alone(root: PathBuf) -> Result<Self, SiteError> {
        if !root.is_absolute() {
            return Err(SiteError::Denied(format!("{} is not an absolute path", root.display())));
        }
        // What is locked is among the segments.
        let top = Root::open(&root, false)?;
        top.dir(SEGMENTS_DIR)
            .map_err(|errno| top.explain(errno, &format!("making {}/{SEGMENTS_DIR}", root.display())))?;
        let live = Live::open(&root, Sizes::REAL, false)?;
        if !live.writer.has_lock() {
            return Err(SiteError::Denied(format!("{} cannot be locked", root.display())));
        }
        Ok(Self::of(root, Sizes::REAL, Some(Arc::new(live))))
    }

    fn open_sized(root: PathBuf, sizes: Sizes) -> Result<Self, SiteError> {
        if !root.is_absolute() {
            return Err(SiteError::Denied(format!("{} is not an absolute path", root.display())));
        }
        let live = match Live::open(&root, sizes, false) {
            Ok(live) => Some(Arc::new(live)),
            Err(Unopened::InUse) => return Err(Unopened::InUse.into()),
            Err(Unopened::Site(error)) => {
                tracing::warn!(folder = %root.display(), %error, "site folder cannot be opened");
                None
            }
        };
        Ok(Self::of(root, sizes, live))
    }

    fn of(root: PathBuf, sizes: Sizes, live: Option<Arc<Live>>) -> Self {
        Self {
            handle: Arc::new(Handle { path: root, sizes, live: RwLock::new(live), opening: Mutex::new(()) }),
            writers: Arc::new(Semaphore::new(WRITERS)),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    async fn blocking<T, F>(&self, gate: &Arc<Semaphore>, work: F) -> Result<T, SiteError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Live>) -> Result<T, SiteError> + Send + 'static,
    {
        let closed = |error: &dyn std::fmt::Display| SiteError::Down(format!("stopped: {error}"));
        let permit = gate.clone().acquire_owned().await.map_err(|error| closed(&error))?;
        let handle = self.handle.clone();
        let task = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the caller, who may have given up waiting.
            let _permit = permit;
            work(handle.live()?)
        });
        task.await.unwrap_or_else(|error| Err(closed(&error)))
    }
}

/// Refuses names that would be among the folder's own files.
fn check(name: &str) -> Result<(), SiteError> {
    check_name(name)?;
    if name.split('/').next() == Some(SEGMENTS_DIR) {
        return Err(SiteError::Denied(format!("{name} is reserved for the folder's segments")));
    }
    Ok(())
}

#[async_trait]
impl Site for Folder {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        check(name)?;
        // The marker may change its bytes, and is for people to read.
        if name != MARKER && body.iter().map(Bytes::len).sum::<usize>() <= SMALL_MAX {
            let live = match self.handle.current() {
                Some(live) => live,
                None => self.blocking(&self.readers, Ok).await?,
            };
            if live.writer.put(name, body).await? == Kept::Durable {
                return Ok(());
            }
        }
        let (name, body) = (name.to_owned(), body.to_vec());
        self.blocking(&self.writers, move |live| live.put(&name, &body)).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        if let Some(live) = self.handle.current() {
            match live.segments.read_now(name, &range) {
                Now::Bytes(bytes) => return Ok(bytes),
                Now::Wait => {}
                Now::Absent => {
                    if let Some(bytes) = live.root.read_now(name, &range) {
                        return Ok(bytes);
                    }
                }
            }
        }
        check(name)?;
        // Once more where a segment was lost: the folder opened anew tells what is left.
        for _ in 0..2 {
            let (name, range) = (name.to_owned(), range.clone());
            if let Some(bytes) = self.blocking(&self.readers, move |live| live.read(&name, range)).await? {
                return Ok(bytes);
            }
        }
        Err(SiteError::Down(format!("the segment of {name} is gone")))
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        check(name)?;
        let name = name.to_owned();
        let size = move |live: Arc<Live>| live.segments.size(&name).map_or_else(|| live.root.size(&name), Ok);
        self.blocking(&self.readers, size).await
    }

    fn size_now(&self, name: &str) -> Option<u64> {
        let live = self.handle.current()?;
        live.segments.size(name).or_else(|| live.root.size_now(name))
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        check(name)?;
        let name = name.to_owned();
        self.blocking(&self.readers, move |live| live.delete(&name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        check_prefix(prefix)?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(&self.readers, move |live| live.list(&prefix, after.as_deref(), limit)).await
    }
}

#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod small_tests;
#[cfg(test)]
mod tests;
