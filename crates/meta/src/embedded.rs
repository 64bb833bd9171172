//! The engine for one machine: a redb file, one writer thread, one flush for everything pending.
//!
//! Readers never wait for the writer: after each commit it publishes an open snapshot that they
//! share. The reasons and the measurements are in `docs/design/0003-embedded-meta.md`.

mod file;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use redb::{AccessGuard, ReadOnlyTable, StorageError, TableDefinition};
use tokio::sync::oneshot;

use crate::{Batch, CommitError, Engine, Key, MetaError, Page, Range, Row, Version};
use file::MetaFile;
use writer::{Group, Writer};

/// All rows: key to [`encode`]d version and value.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Facts about the file itself.
const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("holdfast");
/// In [`ABOUT`]: the version of this layout.
const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 1;
/// In [`ABOUT`]: batches committed since the file was made, which is also the newest row version.
const COMMITS: &str = "commits";

/// Bytes before the value in a stored row.
const VERSION_LEN: usize = 8;

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Where the rows are kept, and with how much memory.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The file. Made when missing, with mode 0600, and its folder with mode 0700.
    pub path: PathBuf,
    /// Most bytes of pages kept in memory.
    pub cache_bytes: usize,
}

/// An [`Engine`] in one file, for one process.
///
/// Commits from all tasks share flushes. A commit is answered after `fdatasync`, so it survives
/// `kill -9` and, on a disk that honours flushes, power loss. After an input or output error the
/// file is opened again by itself, with growing pauses; until that works commits are refused and
/// reads are answered from memory where they can be.
///
/// Reads run on the caller's thread: rows are small and nearly always in memory, so handing them
/// to another thread would cost more than they do. A read that misses both caches holds its
/// thread for one disk read.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while dropping: closing the channel is what ends the writer.
    groups: Option<mpsc::Sender<Group>>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer share.
struct Shared {
    path: PathBuf,
    /// The newest acknowledged state.
    snapshot: RwLock<Arc<Rows>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the file, or makes it. Blocks for some milliseconds, also after a crash.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] when the file is held by another process, may not be opened, or
    /// the disk fails; [`MetaError::Corrupt`] when it is damaged, or not a file of ours.
    pub fn open(options: EmbeddedOptions) -> Result<Self, MetaError> {
        Self::open_file(MetaFile::new(options))
    }

    fn open_file(file: MetaFile) -> Result<Self, MetaError> {
        let opened = file.open()?;
        let shared = Arc::new(Shared { path: file.path().to_owned(), snapshot: RwLock::new(opened.snapshot()?) });
        let (groups, inbox) = mpsc::channel();
        let writer = Writer::new(file, opened, Arc::clone(&shared));
        let writer = std::thread::Builder::new()
            .name("meta-writer".into())
            .spawn(move || writer.run(&inbox))
            .map_err(|error| MetaError::Unavailable(format!("cannot start the writer thread: {error}")))?;
        Ok(Self { shared, groups: Some(groups), writer: Some(writer) })
    }

    fn snapshot(&self) -> Arc<Rows> {
        Arc::clone(&self.shared.snapshot.read())
    }
}

impl Drop for Embedded {
    /// Waits for the commits already handed over.
    fn drop(&mut self) {
        drop(self.groups.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.shared.path.display(), "the metadata writer had panicked");
        }
    }
}

#[async_trait]
impl Engine for Embedded {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        let rows = self.snapshot();
        self.shared.guarded(|| {
            let one = |key: &Key| match rows.get(&key[..]).map_err(|e| self.shared.read_error(&e))? {
                Some(stored) => self.shared.decode(&stored).map(Some),
                None => Ok(None),
            };
            keys.iter().map(one).collect()
        })
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        if range.from >= range.to {
            return Ok(Page::default());
        }
        let rows = self.snapshot();
        self.shared.guarded(|| {
            let mut page = Page::default();
            for entry in rows.range(&range.from[..]..&range.to[..]).map_err(|e| self.shared.read_error(&e))? {
                if page.rows.len() == range.limit {
                    page.more = true;
                    break;
                }
                let (key, stored) = entry.map_err(|e| self.shared.read_error(&e))?;
                page.rows.push((Bytes::copy_from_slice(key.value()), self.shared.decode(&stored)?));
            }
            Ok(page)
        })
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let count = batches.len();
        let (answer, answers) = oneshot::channel();
        let sent = self.groups.as_ref().is_some_and(|groups| groups.send(Group { batches, answer }).is_ok());
        let lost = if sent {
            match answers.await {
                Ok(answers) => return answers,
                Err(_) => CommitError::Unknown("the metadata writer stopped: restart the server".into()),
            }
        } else {
            CommitError::Unavailable("the metadata writer has stopped: restart the server".into())
        };
        vec![Err(lost); count]
    }
}

impl Shared {
    /// Turns a panic inside redb, which meets a damaged page that way, into an error.
    fn guarded<T>(&self, read: impl FnOnce() -> Result<T, MetaError>) -> Result<T, MetaError> {
        file::unpanicked(read).unwrap_or_else(|| Err(self.corrupt("a page cannot be read")))
    }

    fn decode(&self, stored: &AccessGuard<'_, &'static [u8]>) -> Result<Row, MetaError> {
        let (version, value) =
            decode(stored.value()).ok_or_else(|| self.corrupt("a row is shorter than its version"))?;
        Ok(Row { value: Bytes::copy_from_slice(value), version })
    }

    fn corrupt(&self, what: &str) -> MetaError {
        MetaError::Corrupt(format!("{}: {what}: stop the server and restore the file", self.path.display()))
    }

    fn read_error(&self, error: &StorageError) -> MetaError {
        file::storage_error(&self.path, error)
    }
}

/// Splits a stored row, `u64` big endian commit number || value. `None` when it is too short.
fn decode(stored: &[u8]) -> Option<(Version, &[u8])> {
    let (version, value) = stored.split_first_chunk::<VERSION_LEN>()?;
    Some((Version(u128::from(u64::from_be_bytes(*version))), value))
}

#[cfg(test)]
mod tests;
