//! A directory as a site: a disk, a mount, a folder for trying things out.
//!
//! Every name is a file. Bodies up to 64 KiB are made durable by a write-ahead log that all
//! puts of the site share (see `folder/log.rs`), larger ones by flushing file and directory.
//! Everything goes through a descriptor of the root, and the root is never created: a folder that
//! was deleted, moved or unmounted says `Down`, and is used again when it is back.

mod buffers;
mod log;
mod record;
mod root;
mod walk;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use self::log::{Kept, Log};
use self::record::SMALL_MAX;
use self::root::{LOG_DIR, Root};
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
    // Before the root, so that the log is closed first.
    log: Log,
    root: Arc<Root>,
}

struct Handle {
    path: PathBuf,
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
    fn open(path: &std::path::Path, again: bool) -> Result<Self, Unopened> {
        let root = Arc::new(Root::open(path, again).map_err(Unopened::Site)?);
        let log = Log::start(&root).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Unopened::InUse,
            errno => Unopened::Site(root.explain(errno, "starting the log")),
        })?;
        Ok(Self { log, root })
    }
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
        // Out of the lock before it is dropped: that may wait for the log's thread.
        let old = self.live.write().take();
        drop(old);
        let live = Arc::new(Live::open(&self.path, true)?);
        tracing::info!(folder = %self.path.display(), "site folder opened again");
        *self.live.write() = Some(live.clone());
        Ok(live)
    }
}

impl Folder {
    /// A site in the directory `root`, an absolute path. A directory that is not there is no
    /// error: it is a site that is down. What an earlier process left in the log is replayed.
    ///
    /// # Errors
    /// `Denied` for a relative path, `Down` if another process uses the folder.
    pub fn open(root: PathBuf) -> Result<Self, SiteError> {
        if !root.is_absolute() {
            return Err(SiteError::Denied(format!("{} is not an absolute path", root.display())));
        }
        let live = match Live::open(&root, false) {
            Ok(live) => Some(Arc::new(live)),
            Err(Unopened::InUse) => return Err(Unopened::InUse.into()),
            Err(Unopened::Site(error)) => {
                tracing::warn!(folder = %root.display(), %error, "site folder cannot be opened");
                None
            }
        };
        Ok(Self {
            handle: Arc::new(Handle { path: root, live: RwLock::new(live), opening: Mutex::new(()) }),
            writers: Arc::new(Semaphore::new(WRITERS)),
            readers: Arc::new(Semaphore::new(READERS)),
        })
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
    if name.split('/').next() == Some(LOG_DIR) {
        return Err(SiteError::Denied(format!("{name} is reserved for the folder's log")));
    }
    Ok(())
}

#[async_trait]
impl Site for Folder {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        check(name)?;
        // The marker may change its bytes, and so must not be replayed.
        if name != MARKER && body.iter().map(Bytes::len).sum::<usize>() <= SMALL_MAX {
            let live = match self.handle.current() {
                Some(live) => live,
                None => self.blocking(&self.readers, Ok).await?,
            };
            if live.log.put(name, body).await? == Kept::Durable {
                return Ok(());
            }
        }
        let (name, body) = (name.to_owned(), body.to_vec());
        self.blocking(&self.writers, move |live| live.root.put(&name, &body)).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        if let Some(bytes) = self.handle.current().and_then(|live| live.root.read_now(name, &range)) {
            return Ok(bytes);
        }
        check(name)?;
        let name = name.to_owned();
        self.blocking(&self.readers, move |live| live.root.read(&name, range)).await
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        check(name)?;
        let name = name.to_owned();
        self.blocking(&self.readers, move |live| live.root.size(&name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        check(name)?;
        let name = name.to_owned();
        self.blocking(&self.readers, move |live| {
            match live.root.remove(&name) {
                Ok(true) => live.log.deleted(&name),
                Ok(false) => live.root.check()?,
                Err(errno) => return Err(live.root.explain(errno, &format!("deleting {name}"))),
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        check_prefix(prefix)?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(&self.readers, move |live| {
            let listed = walk::list(&live.root, &prefix, after.as_deref(), limit);
            let listed = listed.map_err(|errno| live.root.explain(errno, "listing"))?;
            // An emptied listing must not be taken for an empty site.
            live.root.check()?;
            Ok(listed)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
