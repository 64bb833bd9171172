//! The folder under the log: its files made, appended to, flushed and read. Every change goes through [`Folder`], so
//! that a test can take the disk away at any of them.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::AuditError;

/// The newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// A checkpoint about to be renamed over it.
const CHECKPOINT_NEW: &str = "checkpoint.new";
/// Space that is given up when the disk is full.
const RESERVE: &str = "reserve";
/// Who writes the log holds its lock.
const LOCK: &str = "lock";
/// The folder of segments.
const ENTRIES: &str = "entries";
/// Digits of a segment's name: those of the largest number, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;
/// What a segment's name ends with.
const SUFFIX: &str = ".jsonl";
/// Zeros written at once where a file system cannot reserve space otherwise.
const ZEROS: usize = 64 * 1024;

/// The path of the segment whose first entry is `first`, in the log's folder.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{ENTRIES}/{first:0NAME_DIGITS$}{SUFFIX}")
}

/// A log's folder.
pub(crate) struct Folder {
    path: PathBuf,
    #[cfg(test)]
    pub(crate) faults: Arc<crate::tests::Faults>,
}

/// A segment that is appended to.
pub(crate) struct Segment {
    pub(crate) name: String,
    file: File,
    /// Bytes of whole lines that were flushed.
    pub(crate) len: u64,
}

impl Folder {
    /// The folder as it is: for those who only read.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    /// Makes what is missing, and takes the lock, which holds as long as the file is open.
    pub(crate) fn lock(&self) -> Result<File, AuditError> {
        let make = || {
            let made = !self.path.try_exists()?;
            DirBuilder::new().recursive(true).mode(0o700).create(self.path.join(ENTRIES))?;
            if made && let Some(parent) = self.path.canonicalize()?.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        make().map_err(|error| self.error(ENTRIES, error))?;
        let lock = self.writable(LOCK).map_err(|error| self.error(LOCK, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => Err(self.error(LOCK, error)),
        }
    }

    pub(crate) fn error(&self, name: &str, error: io::Error) -> AuditError {
        AuditError::io(&self.path.join(name), error)
    }

    /// The path of a file, for messages.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn writable(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path.join(name))
    }

    /// The first entries of all segments, in order. Files of other names are none of ours.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, AuditError> {
        let failed = |error| self.error(ENTRIES, error);
        let mut firsts = Vec::new();
        let listing = match std::fs::read_dir(self.path.join(ENTRIES)) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(firsts),
            Err(error) => return Err(failed(error)),
        };
        for found in listing {
            let name = found.map_err(failed)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).unwrap_or_default();
            if digits.len() == NAME_DIGITS
                && let Ok(first) = digits.parse()
            {
                firsts.push(first);
            }
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// A file to read. `None` when it does not exist.
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>, AuditError> {
        match File::open(self.path.join(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(name, error)),
        }
    }

    /// A file's bytes, at most `max` and one more. `None` when it does not exist.
    pub(crate) fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, AuditError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.error(name, error))?;
        Ok(Some(bytes))
    }

    /// Opens a segment to append to, or makes it; makes its name durable.
    pub(crate) fn segment(&self, first: u64, len: u64) -> Result<Segment, AuditError> {
        let name = segment_name(first);
        let open = || {
            self.step()?;
            let file = self.writable(&name)?;
            self.sync_dir(ENTRIES)?;
            Ok(file)
        };
        let file = open().map_err(|error| self.error(&name, error))?;
        Ok(Segment { name, file, len })
    }

    /// Appends whole lines and flushes them. After an error the segment must be [cut](Self::cut).
    pub(crate) fn append(&self, segment: &mut Segment, lines: &[u8]) -> io::Result<()> {
        self.put(&segment.file, lines, segment.len)?;
        self.flush(&segment.file)?;
        segment.len += lines.len() as u64;
        Ok(())
    }

    /// Takes away what follows the last whole line that was flushed.
    pub(crate) fn cut(&self, segment: &Segment) -> io::Result<()> {
        self.step()?;
        #[cfg(test)]
        self.faults.give_back(segment.file.metadata()?.len().saturating_sub(segment.len));
        segment.file.set_len(segment.len)?;
        self.flush(&segment.file)
    }

    /// Writes a file whole and flushes it; notes in `dirs` the folders that must be flushed too.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], dirs: &mut BTreeSet<PathBuf>) -> Result<(), AuditError> {
        let path = Path::new(name);
        let write = || {
            self.step()?;
            let folder = path.parent().unwrap_or(Path::new(""));
            DirBuilder::new().recursive(true).mode(0o700).create(self.path.join(folder))?;
            let file = self.writable(name)?;
            file.set_len(0)?;
            self.put(&file, bytes, 0)?;
            self.flush(&file)
        };
        write().map_err(|error| self.error(name, error))?;
        dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        Ok(())
    }

    /// Makes the names in folders durable.
    pub(crate) fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<(), AuditError> {
        for dir in dirs {
            self.sync_dir(dir).map_err(|error| AuditError::io(&self.path.join(dir), error))?;
        }
        Ok(())
    }

    /// Puts a checkpoint in the place of the last one.
    pub(crate) fn put_checkpoint(&self, note: &str) -> Result<(), AuditError> {
        self.write(CHECKPOINT_NEW, note.as_bytes(), &mut BTreeSet::new())?;
        let rename = || {
            self.step()?;
            std::fs::rename(self.path.join(CHECKPOINT_NEW), self.path.join(CHECKPOINT))?;
            self.sync_dir("")
        };
        rename().map_err(|error| self.error(CHECKPOINT, error))
    }

    /// Removes a folder of partial tiles, which a full one has replaced.
    pub(crate) fn remove_partials(&self, name: &str) -> io::Result<()> {
        self.step()?;
        match std::fs::remove_dir_all(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets `bytes` of the disk aside, unless they are already, or fewer than `free_min` are free.
    pub(crate) fn reserve(&self, bytes: u64, free_min: u64) -> io::Result<()> {
        self.step()?;
        let now = self.reserved();
        if now >= bytes {
            return Ok(());
        }
        if self.free()? < free_min {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.writable(RESERVE)?;
        #[cfg(test)]
        self.faults.take_all(bytes - now)?;
        match fallocate(&file, FallocateFlags::empty(), now, bytes - now) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = [0; ZEROS];
                let mut at = now;
                while at < bytes {
                    let some = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
                    file.write_all_at(&zeros[..some], at)?;
                    at += some as u64;
                }
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }

    /// Bytes that are set aside.
    pub(crate) fn reserved(&self) -> u64 {
        self.path.join(RESERVE).metadata().map_or(0, |metadata| metadata.len())
    }

    /// Gives up what was set aside.
    pub(crate) fn release(&self) -> io::Result<()> {
        self.step()?;
        let path = self.path.join(RESERVE);
        #[cfg(test)]
        self.faults.give_back(path.metadata().map_or(0, |metadata| metadata.len()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync_dir(""),
        }
    }

    /// Bytes of the disk that are free for this user.
    pub(crate) fn free(&self) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(left) = self.faults.left() {
            return Ok(left);
        }
        let disk = statvfs(&self.path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn put(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        let bytes = {
            let room = self.faults.take(bytes.len())?;
            if room < bytes.len() {
                file.write_all_at(&bytes[..room], at)?;
                return Err(self.faults.refusal());
            }
            bytes
        };
        file.write_all_at(bytes, at)
    }

    fn flush(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.flush()?;
        file.sync_data()
    }

    fn sync_dir(&self, name: impl AsRef<Path>) -> io::Result<()> {
        self.step()?;
        File::open(self.path.join(name))?.sync_all()
    }

    /// A change that takes no space worth counting.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        Ok(())
    }
}
