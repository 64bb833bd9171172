//! Plain files that somebody opened, read and hashed: what of them is in memory without a wait, all else by threads that may wait for a disk.
//!
//! A change of threads costs more than it takes to hash most files of an operating system. `preadv2(RWF_NOWAIT)` reads what is in the page cache, and
//! refuses all else, whatever a file system that is a program (FUSE) or another machine (NFS) does. That it reads nothing is no sign of the file's end
//! (readv(2), Linux 5.9 and 5.10): before the size that the file has it is asked again, with a wait.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use meta::record::ContentId;
use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, fcntl_getfl, statx};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::ScanError;
use crate::limits::{AT_ONCE_MAX, BUFFER, HASHED_AT_ONCE, KEPT_MAX};

thread_local! {
    static PIECE: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    Whole(ContentId),
    /// No engine takes so many bytes; to hash them could take for ever.
    TooLarge(u64),
}

/// Hashes files for all who ask.
#[derive(Debug)]
pub(crate) struct Files {
    /// Files may be on what does not answer: those who wait for one leave threads for all else.
    waiting: Semaphore,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { waiting: Semaphore::new(HASHED_AT_ONCE) }
    }

    /// What a file is, if it is small and all of it is in memory. Waits for nothing.
    pub(crate) fn glance(&self, file: &File) -> Option<ContentId> {
        let size = size_now(file).ok()??;
        if size > BUFFER as u64 {
            return None;
        }
        let mut hashing = Hashing::default();
        // It has one piece, and behind it nothing.
        for _ in 0..2 {
            if let Step::End = hashing.step(|piece, at| read_now(file, piece, at)).ok()? {
                return (hashing.len >= size).then(|| hashing.id());
            }
        }
        None
    }

    /// What a file is.
    ///
    /// # Errors
    /// [`ScanError::NotPlain`]; [`ScanError::Spool`] of one that cannot be read.
    pub(crate) async fn hash(&self, file: &Arc<Passed>) -> Result<Hashed, ScanError> {
        let mut hashing = Hashing::default();
        // Whoever cannot tell without a wait is asked again below.
        if let Ok(size) = size_now(file) {
            let size = size.ok_or(ScanError::NotPlain)?;
            while hashing.len < AT_ONCE_MAX
                && let Ok(step) = hashing.step(|piece, at| read_now(file, piece, at))
            {
                match step {
                    Step::End if hashing.len >= size => return Ok(Hashed::Whole(hashing.id())),
                    Step::End => break,
                    Step::More => tokio::task::yield_now().await,
                }
            }
        }
        // The semaphore is never closed.
        let _few = self.waiting.acquire().await.ok();
        let (file, unwanted) = (file.clone(), CancellationToken::new());
        let _stop = unwanted.clone().drop_guard();
        let hashed = blocking(move || {
            let about = file.metadata()?;
            if !about.is_file() {
                return Ok(None);
            }
            if about.len() > KEPT_MAX {
                return Ok(Some(Hashed::TooLarge(about.len())));
            }
            loop {
                match hashing.step(|piece, at| file.read_at(piece, at))? {
                    Step::End => return Ok(Some(Hashed::Whole(hashing.id()))),
                    Step::More if unwanted.is_cancelled() => {
                        return Err(io::Error::other("nobody waits for it any more"));
                    }
                    Step::More => {}
                }
            }
        });
        hashed.await?.ok_or(ScanError::NotPlain)
    }
}

/// Reads the bytes from the offset `at` on, as many as there are or have room in `piece`; `piece` comes back with them. 0: the file ends there. It was
/// `size` bytes long.
///
/// # Errors
/// [`ScanError::Spool`].
pub(crate) async fn read(
    file: &Arc<Passed>,
    mut piece: Vec<u8>,
    at: u64,
    size: u64,
) -> Result<(Vec<u8>, usize), ScanError> {
    if at < AT_ONCE_MAX
        && let Ok(count) = read_now(file, &mut piece, at)
        && (count > 0 || at >= size)
    {
        return Ok((piece, count));
    }
    let file = file.clone();
    blocking(move || file.read_at(&mut piece, at).map(|count| (piece, count))).await
}

/// Reads what may have to wait for a disk.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ScanError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(io::Error::from).flatten().map_err(ScanError::spool)
}

/// What a client passed. It is closed where that may take its time: a socket that lingers, and a file system that is a program, take as long as they like.
#[derive(Debug)]
pub(crate) struct Passed(Option<File>);

impl Passed {
    pub(crate) fn new(file: File) -> Self {
        Self(Some(file))
    }
}

impl std::ops::Deref for Passed {
    type Target = File;

    fn deref(&self) -> &File {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let file = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

/// Reads what can be read without a wait, and fails otherwise.
fn read_now(file: &File, piece: &mut [u8], at: u64) -> io::Result<usize> {
    Ok(preadv2(file, &mut [IoSliceMut::new(piece)], at, ReadWriteFlags::NOWAIT)?)
}

/// The size of a plain file; `None`: it is none. Asked for nothing, no file system looks anywhere (statx(2), `AT_STATX_DONT_SYNC`), and those that read
/// without a wait tell what they have at hand. Fails where it would wait.
fn size_now(file: &File) -> io::Result<Option<u64>> {
    let about = statx(file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
    if FileType::from_raw_mode(about.stx_mode.into()) != FileType::RegularFile {
        return Ok(None);
    }
    // Such reads pass the page cache by, and wait for the disk.
    if fcntl_getfl(file)?.contains(OFlags::DIRECT) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(Some(about.stx_size))
}

/// A file that is being hashed, from its beginning on.
#[derive(Debug, Default)]
struct Hashing {
    hasher: blake3::Hasher,
    len: u64,
}

enum Step {
    More,
    End,
}

impl Hashing {
    /// Reads the next piece, and hashes it.
    fn step(&mut self, read: impl FnOnce(&mut [u8], u64) -> io::Result<usize>) -> io::Result<Step> {
        PIECE.with_borrow_mut(|piece| {
            let count = read(piece, self.len)?;
            self.hasher.update(&piece[..count]);
            self.len += count as u64;
            Ok(if count == 0 { Step::End } else { Step::More })
        })
    }

    fn id(&self) -> ContentId {
        ContentId { blake3: *self.hasher.finalize().as_bytes(), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("a write");
        file
    }

    #[tokio::test]
    async fn files_are_what_their_bytes_are_however_they_are_read() {
        let whole: Vec<u8> = (0..AT_ONCE_MAX as usize + BUFFER + 1).map(|i| (i * i / 977) as u8).collect();
        let files = Files::new();
        for len in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, AT_ONCE_MAX as usize, whole.len()] {
            let (bytes, file) = (&whole[..len], Arc::new(Passed::new(file(&whole[..len]))));
            let id = ContentId { blake3: *blake3::hash(bytes).as_bytes(), len: len as u64 };
            assert_eq!(files.hash(&file).await.expect("it is hashed"), Hashed::Whole(id), "{len}");
            assert_eq!(files.glance(&file), (len <= BUFFER).then_some(id), "{len}");
            let (mut read_back, mut piece) = (Vec::new(), vec![0; BUFFER]);
            loop {
                let count;
                (piece, count) = read(&file, piece, read_back.len() as u64, len as u64).await.expect("it is read");
                if count == 0 {
                    break;
                }
                read_back.extend_from_slice(&piece[..count]);
            }
            assert!(read_back == bytes, "{len}");
        }
    }

    #[tokio::test]
    async fn what_is_no_plain_file_and_what_cannot_be_read_is_told() {
        let files = Files::new();
        let folder = Arc::new(Passed::new(File::open("/").expect("a folder")));
        assert_eq!(files.glance(&folder), None);
        assert!(matches!(files.hash(&folder).await, Err(ScanError::NotPlain)));
        let to_write = tempfile::NamedTempFile::new().expect("a file");
        let to_write = OpenOptions::new().write(true).open(to_write.path()).expect("it is opened");
        let to_write = Arc::new(Passed::new(to_write));
        assert_eq!(files.glance(&to_write), None);
        assert!(matches!(files.hash(&to_write).await, Err(ScanError::Spool(_))));
    }

    #[tokio::test]
    async fn what_does_not_read_without_a_wait_is_read_with_one() {
        // Files of /proc are made as they are read.
        let file = Arc::new(Passed::new(File::open("/proc/version").expect("Linux")));
        assert_eq!(Files::new().glance(&file), None, "otherwise this test shows nothing");
        let bytes = std::fs::read("/proc/version").expect("a read");
        let id = ContentId { blake3: *blake3::hash(&bytes).as_bytes(), len: bytes.len() as u64 };
        assert_eq!(Files::new().hash(&file).await.expect("it is hashed"), Hashed::Whole(id));
    }

    #[tokio::test]
    async fn what_no_engine_takes_is_told_at_once() {
        let file = file(b"");
        file.set_len(KEPT_MAX + 1).expect("a hole");
        let hashed = Files::new().hash(&Arc::new(Passed::new(file))).await.expect("it is looked at");
        assert_eq!(hashed, Hashed::TooLarge(KEPT_MAX + 1));
    }
}
