//! The file under the engine: made, opened, recognised, and given its disk space up front.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableError};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use super::{ABOUT, COMMITS, EmbeddedOptions, FORMAT, FORMAT_NOW, ROWS, Rows};
use crate::MetaError;

/// Knows how to open the engine's file, as often as needed.
pub(super) struct MetaFile {
    options: EmbeddedOptions,
    #[cfg(test)]
    pub(super) faults: Arc<super::tests::Faults>,
}

/// The file, open.
pub(super) struct Opened {
    pub(super) database: Database,
    /// The number of the last batch that the file holds.
    pub(super) commits: u64,
}

impl MetaFile {
    pub(super) fn new(options: EmbeddedOptions) -> Self {
        Self {
            options,
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.options.path
    }

    /// Opens the file, makes it when missing, and leaves it untouched when it is not ours.
    pub(super) fn open(&self) -> Result<Opened, MetaError> {
        let file = self.open_raw().map_err(|error| io_error(self.path(), &error))?;
        unpanicked(|| self.open_database(file)).unwrap_or_else(|| Err(damaged(self.path(), "it cannot be read")))
    }

    fn open_raw(&self) -> io::Result<File> {
        let folder = match self.path().parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let made = !self.path().try_exists()?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path())?;
        if made {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    /// Opens the file after it failed. A failed flush can leave pages in the kernel's cache that
    /// the disk does not have: what is trusted from here on must come from the disk.
    pub(super) fn open_again(&self) -> Result<Opened, MetaError> {
        File::open(self.path())
            .and_then(|file| Ok(fadvise(&file, 0, None, Advice::DontNeed)?))
            .map_err(|error| io_error(self.path(), &error))?;
        self.open()
    }

    fn open_database(&self, file: File) -> Result<Opened, MetaError> {
        let empty = file.metadata().map_err(|error| io_error(self.path(), &error))?.len() == 0;
        let storage = Storage {
            file: file.try_clone().map_err(|error| io_error(self.path(), &error))?,
            inner: FileBackend::new(file).map_err(|error| self.open_error(error))?,
            #[cfg(test)]
            faults: Arc::clone(&self.faults),
        };
        let database = Database::builder()
            .set_cache_size(self.options.cache_bytes)
            .set_repair_callback(|session| {
                tracing::info!(percent = session.progress() * 100.0, "checking the metadata file after a crash");
            })
            .create_with_backend(storage)
            .map_err(|error| self.open_error(error))?;
        let commits = self.recognise(&database, empty)?;
        Ok(Opened { database, commits })
    }

    /// Reads the last commit's number, after making the tables in a file that has none.
    fn recognise(&self, database: &Database, empty: bool) -> Result<u64, MetaError> {
        let fault = |error: redb::Error| redb_error(self.path(), error);
        let read = database.begin_read().map_err(|error| fault(error.into()))?;
        let about = match read.open_table(ABOUT) {
            Ok(about) => about,
            Err(TableError::TableDoesNotExist(_)) => {
                // A crash while the file was made leaves a database without tables.
                let untouched = read.list_tables().map_err(|error| fault(error.into()))?.next().is_none();
                if !empty && !untouched {
                    return Err(foreign(self.path(), "it is another program's redb database"));
                }
                self.make_tables(database).map_err(fault)?;
                return Ok(0);
            }
            Err(TableError::Storage(error)) => return Err(storage_error(self.path(), &error)),
            Err(_) => {
                return Err(foreign(self.path(), "it is another program's redb database"));
            }
        };
        let fact = |name| match about.get(name) {
            Ok(Some(value)) => Ok(value.value()),
            Ok(None) => Err(damaged(self.path(), &format!("its {name} is missing"))),
            Err(error) => Err(storage_error(self.path(), &error)),
        };
        let format = fact(FORMAT)?;
        if format != FORMAT_NOW {
            let path = self.path().display();
            return Err(MetaError::Unavailable(format!(
                "{path} has format {format}; this program knows {FORMAT_NOW}: use the holdfast that wrote it"
            )));
        }
        fact(COMMITS)
    }

    fn make_tables(&self, database: &Database) -> Result<(), redb::Error> {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        txn.open_table(ROWS)?;
        {
            let mut about = txn.open_table(ABOUT)?;
            about.insert(FORMAT, FORMAT_NOW)?;
            about.insert(COMMITS, 0)?;
        }
        Ok(txn.commit()?)
    }

    fn open_error(&self, error: DatabaseError) -> MetaError {
        let path = self.path().display();
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => MetaError::Unavailable(
                format!("{path} is in use by another process: stop that one, or choose another data folder"),
            ),
            DatabaseError::UpgradeRequired(_) => foreign(self.path(), "it has a redb format that holdfast never wrote"),
            DatabaseError::Storage(error) => storage_error(self.path(), &error),
            other => MetaError::Unavailable(format!("{path}: {other}")),
        }
    }
}

impl Opened {
    /// The rows as the last commit left them, to be shared by readers.
    pub(super) fn snapshot(&self) -> Result<Arc<Rows>, MetaError> {
        self.read().map_err(|error| MetaError::Unavailable(format!("cannot begin reading: {error}")))
    }

    fn read(&self) -> Result<Arc<Rows>, redb::Error> {
        Ok(Arc::new(self.database.begin_read()?.open_table(ROWS)?))
    }
}

/// Runs what may meet damaged pages; `None` when it panicked.
pub(super) fn unpanicked<T>(run: impl FnOnce() -> T) -> Option<T> {
    // Nothing that `run` leaves half done is used again: the caller drops or reopens it.
    catch_unwind(AssertUnwindSafe(run)).ok()
}

fn redb_error(path: &Path, error: redb::Error) -> MetaError {
    match error {
        redb::Error::Io(error) => io_error(path, &error),
        redb::Error::Corrupted(what) => damaged(path, &what),
        other => MetaError::Unavailable(format!("{}: {other}", path.display())),
    }
}

pub(super) fn storage_error(path: &Path, error: &StorageError) -> MetaError {
    match error {
        StorageError::Io(error) => io_error(path, error),
        StorageError::Corrupted(what) => damaged(path, what),
        StorageError::PreviousIo | StorageError::DatabaseClosed => MetaError::Unavailable(format!(
            "{} failed and is being opened again: see the log, and check the disk",
            path.display()
        )),
        other => MetaError::Unavailable(format!("{}: {other}", path.display())),
    }
}

fn io_error(path: &Path, error: &io::Error) -> MetaError {
    let hint = match error.kind() {
        // redb's words for a file that does not begin as one of its own.
        io::ErrorKind::InvalidData => return foreign(path, "it is not a database"),
        io::ErrorKind::UnexpectedEof => return damaged(path, "it is cut short"),
        io::ErrorKind::PermissionDenied => "run as its owner, or give this user read and write access",
        io::ErrorKind::ReadOnlyFilesystem => "mount its file system writable, or choose another data folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space on its disk",
        io::ErrorKind::IsADirectory => "move that folder away, or choose another data folder",
        _ => "check the disk",
    };
    MetaError::Unavailable(format!("{}: {error}: {hint}", path.display()))
}

fn foreign(path: &Path, why: &str) -> MetaError {
    MetaError::Corrupt(format!(
        "{} is not holdfast's metadata file ({why}): move it away, or restore the right one",
        path.display()
    ))
}

fn damaged(path: &Path, what: &str) -> MetaError {
    MetaError::Corrupt(format!("{}: {what}: restore the file from a copy", path.display()))
}

/// redb's own file backend, except that the file never has holes: space is claimed when the file
/// grows, so that a full disk is met there, before any page is written, and never in mid-commit.
#[derive(Debug)]
struct Storage {
    file: File,
    inner: FileBackend,
    #[cfg(test)]
    faults: Arc<super::tests::Faults>,
}

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.meet(super::tests::Step::Grow)?;
        let now = self.inner.len()?;
        if len > now {
            match fallocate(&self.file, FallocateFlags::empty(), now, len - now) {
                // A file system without fallocate can still be used, with holes.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.meet(super::tests::Step::Flush)?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.meet(super::tests::Step::Write)?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
