//! A site's folder, held by descriptor: whatever happens to the path, nothing is written beside it.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::buffers::Buffers;
use crate::SiteError;

/// Most descriptors kept open per site and kind.
const OPEN_MAX: u64 = 512;
/// Bytes written around the page cache at once, per thread.
const CHUNK: usize = 512 << 10;
/// What the addresses, offsets and lengths of such writes must be multiples of. Enough for any
/// disk; where it is not, the write goes through the page cache.
const ALIGN: usize = 4096;
/// Slices given to the kernel at once (Linux takes 1,024).
const SLICES_MAX: usize = 256;

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
// A fifo planted in the folder must not make an open wait for its other end: NONBLOCK.
const READ_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const CREATE_FLAGS: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// Where the segments and the file being replaced are. Not part of the site's names.
pub(super) const SEGMENTS_DIR: &str = "segments";
const REPLACEMENT: &str = "replacement";

/// What a system error says about the site.
pub(super) fn site_error(errno: Errno, doing: &str) -> SiteError {
    let what = format!("{doing}: {errno}");
    match errno {
        Errno::NOSPC | Errno::DQUOT => SiteError::Full(what),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => SiteError::Denied(what),
        _ => SiteError::Down(what),
    }
}

/// An open directory.
pub(super) struct Dir {
    pub fd: OwnedFd,
    /// The directory's own entry, and those of all above it, survive loss of power.
    durable: AtomicBool,
}

/// An open site folder.
pub(super) struct Root {
    path: PathBuf,
    top: Arc<Dir>,
    id: (u64, u64),
    dirs: Cache<String, Arc<Dir>>,
    files: Cache<String, Arc<OwnedFd>>,
    buffers: Arc<Buffers>,
    /// Memory for writes around the page cache, as much as there were threads at once.
    spare: Mutex<Vec<Vec<u8>>>,
    replacing: Mutex<()>,
    gone: AtomicBool,
    again: bool,
}

/// The folder of a name (empty for the root) and the last segment.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

/// A share of the descriptors that the process may open, such that five sites leave most of
/// them to connections.
pub(super) fn open_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    (limit / 32).clamp(8, OPEN_MAX) as usize
}

impl Root {
    /// Opens an existing folder; never creates it: a deleted folder must be noticed.
    ///
    /// `again`: this process had it open before and gave it up, perhaps for a failed flush.
    pub fn open(path: &Path, again: bool) -> Result<Self, SiteError> {
        let doing = || format!("opening {}", path.display());
        let fd = rustix::fs::open(path, DIR_FLAGS, Mode::empty()).map_err(|errno| site_error(errno, &doing()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| site_error(errno, &doing()))?;
        Ok(Self {
            path: path.to_owned(),
            top: Arc::new(Dir { fd, durable: AtomicBool::new(true) }),
            id: (stat.st_dev, stat.st_ino),
            dirs: Cache::new(open_max()),
            files: Cache::new(open_max()),
            buffers: Arc::default(),
            spare: Mutex::default(),
            replacing: Mutex::new(()),
            gone: AtomicBool::new(false),
            again,
        })
    }

    /// The root's own descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.top.fd
    }

    /// Whether this handle was found useless. The owner then opens the path anew.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Gives this handle up.
    pub fn give_up(&self) {
        self.gone.store(true, Ordering::Release);
        self.files.clear();
        self.dirs.clear();
    }

    /// Makes sure that the path still leads to this folder: not deleted, moved, unmounted or
    /// mounted over.
    pub fn check(&self) -> Result<(), SiteError> {
        let there = rustix::fs::stat(&self.path);
        if there.as_ref().is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.id) {
            return Ok(());
        }
        self.give_up();
        let why = there.err().map_or_else(|| "another folder is in its place".to_owned(), |errno| errno.to_string());
        Err(SiteError::Down(format!("folder {} is gone: {why}", self.path.display())))
    }

    /// Tells a failure's meaning, which for a missing file depends on whether the root lives.
    pub fn explain(&self, errno: Errno, doing: &str) -> SiteError {
        match self.check() {
            Err(gone) => gone,
            Ok(()) => site_error(errno, doing),
        }
    }

    /// The same where the absence of `name` is an answer.
    fn explain_read(&self, errno: Errno, name: &str) -> SiteError {
        match self.explain(errno, &format!("reading {name}")) {
            SiteError::Down(_) if matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) && !self.is_gone() => {
                SiteError::NotFound { name: name.to_owned() }
            }
            other => other,
        }
    }

    /// An open directory under the root, created where missing.
    pub fn dir(&self, path: &str) -> Result<Arc<Dir>, Errno> {
        if path.is_empty() {
            return Ok(self.top.clone());
        }
        if let Some(dir) = self.dirs.get(path) {
            return Ok(dir);
        }
        let (above, leaf) = split(path);
        let above = self.dir(above)?;
        match rustix::fs::mkdirat(&above.fd, leaf, DIR_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A read-only file system says so even when the directory exists.
            Err(Errno::ROFS | Errno::ACCESS) if rustix::fs::statat(&above.fd, leaf, AtFlags::empty()).is_ok() => {}
            Err(errno) => return Err(errno),
        }
        let fd = rustix::fs::openat(&above.fd, leaf, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
        let dir = Arc::new(Dir { fd, durable: AtomicBool::new(false) });
        self.dirs.insert(path.to_owned(), dir.clone());
        Ok(dir)
    }

    /// Makes a directory's entries durable, and its own entry in the directories above.
    fn sync_dir(&self, path: &str, dir: &Dir) -> Result<(), Errno> {
        rustix::fs::fsync(&dir.fd)?;
        if !dir.durable.load(Ordering::Acquire) {
            let above = split(path).0;
            self.sync_dir(above, &*self.dir(above)?)?;
            dir.durable.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes the entries of a directory under the root durable.
    pub fn sync(&self, path: &str) -> Result<(), Errno> {
        self.sync_dir(path, &*self.dir(path)?)
    }

    /// Makes the kernel forget clean pages that, after a failed flush, it may never have written.
    /// Only where this process gave the folder up before.
    pub fn forget_pages(&self, fd: &OwnedFd) -> Result<(), Errno> {
        if self.again { rustix::fs::fadvise(fd, 0, None, Advice::DontNeed) } else { Ok(()) }
    }

    /// Bytes that may still be written here.
    pub fn space(&self) -> Result<u64, Errno> {
        let space = rustix::fs::fstatvfs(&self.top.fd)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Creates a file that must not exist yet.
    fn create(&self, name: &str) -> Result<(Arc<Dir>, OwnedFd), Errno> {
        let (path, leaf) = split(name);
        let attempt = || {
            let dir = self.dir(path)?;
            let fd = rustix::fs::openat(&dir.fd, leaf, CREATE_FLAGS | OFlags::EXCL, FILE_MODE)?;
            Ok((dir, fd))
        };
        match attempt() {
            // Somebody removed a directory that we hold open: make it again, once. Under a
            // deleted root this fails again.
            Err(Errno::NOENT) => {
                self.dirs.clear();
                attempt()
            }
            other => other,
        }
    }

    /// Stores `name` so that it survives loss of power.
    pub fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        let done = match self.create(name) {
            Ok((dir, fd)) => self.fill(name, &dir, &fd, body),
            Err(Errno::EXIST) => self.replace(name, body),
            Err(errno) => Err(errno),
        };
        done.map_err(|errno| self.explain(errno, &format!("writing {name}")))
    }

    fn fill(&self, name: &str, dir: &Dir, fd: &OwnedFd, body: &[Bytes]) -> Result<(), Errno> {
        let (path, leaf) = split(name);
        let done = self
            .write_around(fd, body, 0)
            .and_then(|()| rustix::fs::fdatasync(fd))
            .and_then(|()| self.sync_dir(path, dir));
        if done.is_err() {
            // A torn file would only hold space; that it may stay is part of the contract. One that another put of the name
            // has replaced meanwhile is not torn, and may be acknowledged.
            let _no_replacing = self.replacing.lock();
            if is_at(fd, dir, leaf) {
                let _ = rustix::fs::unlinkat(&dir.fd, leaf, AtFlags::empty());
            }
        }
        done
    }

    /// Puts new bytes in the place of a whole or torn file. The old file stays until the new one
    /// is durable: it may be whole, and repeating a put must never lose it.
    fn replace(&self, name: &str, body: &[Bytes]) -> Result<(), Errno> {
        let _one_at_a_time = self.replacing.lock();
        let aside = self.dir(SEGMENTS_DIR)?;
        let fd = rustix::fs::openat(&aside.fd, REPLACEMENT, CREATE_FLAGS | OFlags::TRUNC, FILE_MODE)?;
        let (path, leaf) = split(name);
        let dir = self.dir(path)?;
        let done = self
            .write_around(&fd, body, 0)
            .and_then(|()| rustix::fs::fdatasync(&fd))
            .and_then(|()| rustix::fs::renameat(&aside.fd, REPLACEMENT, &dir.fd, leaf));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&aside.fd, REPLACEMENT, AtFlags::empty());
        }
        done.and_then(|()| self.sync_dir(path, &dir))
    }

    /// Writes all slices from `offset` on, a multiple of 4096, around the page cache where that is
    /// possible. What is flushed at once gains nothing from the cache, and filling it was measured
    /// to cost ten times the processor time of the write itself.
    pub fn write_around(&self, fd: &OwnedFd, body: &[Bytes], offset: u64) -> Result<(), Errno> {
        let flags = rustix::fs::fcntl_getfl(fd)?;
        if rustix::fs::fcntl_setfl(fd, flags | OFlags::DIRECT).is_err() {
            return write_all(fd, body, offset);
        }
        let mut memory = self.spare.lock().pop().unwrap_or_else(|| vec![0; CHUNK + ALIGN]);
        let done = write_chunks(fd, flags, &mut memory, body, offset);
        self.spare.lock().push(memory);
        done
    }

    /// Removes a name. `false`: it was not there.
    pub fn remove(&self, name: &str) -> Result<bool, Errno> {
        self.files.remove(name);
        match rustix::fs::unlinkat(&self.top.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// A name's size, bytes.
    pub fn size(&self, name: &str) -> Result<u64, SiteError> {
        let stat = rustix::fs::statat(&self.top.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.explain_read(errno, name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SiteError::NotFound { name: name.to_owned() });
        }
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// The size of a name whose file is open, bytes.
    pub fn size_now(&self, name: &str) -> Option<u64> {
        linked_size(&*self.files.get(name)?)
    }

    /// Reads a range, waiting for the disk.
    pub fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        let short = || SiteError::Short { name: name.to_owned() };
        let file = self.open_file(name).map_err(|errno| self.explain_read(errno, name))?;
        let stat = rustix::fs::fstat(&*file).map_err(|errno| self.explain_read(errno, name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SiteError::NotFound { name: name.to_owned() });
        }
        // Before anything is allocated: the range may come from a corrupt record.
        if range.start > range.end || u64::try_from(stat.st_size).is_ok_and(|size| size < range.end) {
            return Err(short());
        }
        self.files.insert(name.to_owned(), file.clone());
        let len = usize::try_from(range.end - range.start).map_err(|_| short())?;
        let bytes = read_exact(&file, range.start, len).map_err(|errno| self.explain_read(errno, name))?;
        bytes.map(Bytes::from).ok_or_else(short)
    }

    fn open_file(&self, name: &str) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(file) = self.files.get(name)
            && rustix::fs::fstat(&*file)?.st_nlink > 0
        {
            return Ok(file);
        }
        Ok(Arc::new(rustix::fs::openat(&self.top.fd, name, READ_FLAGS, Mode::empty())?))
    }

    /// Reads a range if that takes no waiting: the file is open and its pages are in memory.
    pub fn read_now(&self, name: &str, range: &Range<u64>) -> Option<Bytes> {
        let file = self.files.get(name)?;
        let Some(size) = linked_size(&file) else {
            // Deleted, replaced, or gone with the whole folder: the slow path finds out which.
            self.files.remove(name);
            return None;
        };
        if range.end > size {
            return None;
        }
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        self.read_cached(&file, range.start, len)
    }

    /// Reads exactly `len` bytes if they are in memory.
    pub fn read_cached(&self, file: &OwnedFd, offset: u64, len: usize) -> Option<Bytes> {
        let mut buffer = self.buffers.take(len);
        let mut slices = [IoSliceMut::new(buffer.as_mut())];
        let read = rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT).ok()?;
        (read == len).then(|| Bytes::from_owner(buffer))
    }
}

/// Whether a name leads to this very file.
fn is_at(file: &OwnedFd, dir: &Dir, leaf: &str) -> bool {
    let there = rustix::fs::statat(&dir.fd, leaf, AtFlags::SYMLINK_NOFOLLOW);
    let same = |there: &Stat, ours: &Stat| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino);
    matches!((there, rustix::fs::fstat(file)), (Ok(there), Ok(ours)) if same(&there, &ours))
}

/// The size in bytes of a file that still has a name, as far as the kernel knows without asking a
/// file server.
pub(super) fn linked_size(file: &OwnedFd) -> Option<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(file, c"", flags, StatxFlags::NLINK | StatxFlags::SIZE).ok()?;
    (stat.stx_nlink > 0).then_some(stat.stx_size)
}

/// Gathers the slices into aligned chunks and writes those; the last, broken block goes through
/// the page cache. `flags` are those without DIRECT, which the descriptor gets back.
fn write_chunks(fd: &OwnedFd, flags: OFlags, memory: &mut [u8], body: &[Bytes], mut offset: u64) -> Result<(), Errno> {
    let start = memory.as_ptr().align_offset(ALIGN);
    let chunk = memory.get_mut(start..).and_then(|aligned| aligned.get_mut(..CHUNK)).ok_or(Errno::INVAL)?;
    let mut filled = 0;
    for mut slice in body.iter().map(|slice| &slice[..]) {
        while !slice.is_empty() {
            let (now, later) = slice.split_at(slice.len().min(CHUNK - filled));
            chunk[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            slice = later;
            if filled == CHUNK {
                write_aligned(fd, flags, chunk, offset)?;
                offset += CHUNK as u64;
                filled = 0;
            }
        }
    }
    let (blocks, rest) = chunk[..filled].split_at(filled - filled % ALIGN);
    write_aligned(fd, flags, blocks, offset)?;
    rustix::fs::fcntl_setfl(fd, flags)?;
    write_aligned(fd, flags, rest, offset + blocks.len() as u64)
}

/// Writes bytes whose address, length and offset suit a descriptor with DIRECT, or any bytes to
/// one without. `flags` are those without DIRECT.
pub(super) fn write_aligned(fd: &OwnedFd, flags: OFlags, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    let mut refused = false;
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset)) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            // Not aligned enough for this file system, or after a short write: through the cache.
            Err(Errno::INVAL) if !refused => {
                refused = true;
                rustix::fs::fcntl_setfl(fd, flags)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes all slices, one after the other, from `offset` on.
pub(super) fn write_all(fd: &OwnedFd, body: &[Bytes], mut offset: u64) -> Result<(), Errno> {
    for some in body.chunks(SLICES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().filter(|s| !s.is_empty()).map(|s| IoSlice::new(s)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(fd, rest, offset))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
    }
    Ok(())
}

/// Reads exactly `len` bytes, or `None` where the file ends before.
pub(super) fn read_exact(fd: &OwnedFd, offset: u64, len: usize) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        if rustix::io::retry_on_intr(|| rustix::io::pread(fd, spare_capacity(&mut bytes), at))? == 0 {
            return Ok(None);
        }
    }
    // The allocator may have given more room than asked for.
    bytes.truncate(len);
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A put that hangs is given up and repeated; when it fails at last, what was acknowledged meanwhile must stay.
    #[test]
    fn a_put_that_fails_takes_nothing_that_replaced_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), false).unwrap();
        let body = [Bytes::from_static(b"whole")];
        for (name, replaced) in [("a/torn", false), ("a/replaced", true)] {
            let (dir, _) = root.create(name).unwrap();
            // Nothing can be written by it.
            let fd = rustix::fs::openat(root.fd(), name, READ_FLAGS, Mode::empty()).unwrap();
            if replaced {
                root.put(name, &body).unwrap();
            }
            assert!(root.fill(name, &dir, &fd, &body).is_err());
            assert_eq!(root.size(name).ok(), replaced.then_some(5), "{name}");
        }
    }
}
