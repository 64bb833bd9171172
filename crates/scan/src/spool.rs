//! A content on its way to the engine: hashed as it comes, in memory while it is small, then in a file without a name.
//!
//! Buffers are used again and again: a content that is known already costs no page of memory and no file.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use meta::record::{ContentId, VerdictRecord};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{IntakeError, ScanError};
use crate::limits::{BUFFER, FILES, IN_MEMORY_MAX, KEPT_MAX, MEMORY};

/// Only for a content's first buffer: however many clients stop in mid-stream with all that they may have, the next one is served.
const FIRST_BUFFERS: usize = MEMORY / BUFFER / 2;

/// Memory and disk that all contents share.
#[derive(Debug)]
pub(crate) struct Room {
    folder: PathBuf,
    buffers: Arc<Semaphore>,
    /// In MiB.
    files: Arc<Semaphore>,
    free: Mutex<Vec<BytesMut>>,
}

impl Room {
    /// Files go to this folder.
    pub(crate) fn new(folder: &Path) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            buffers: Arc::new(Semaphore::new(MEMORY / BUFFER)),
            files: Arc::new(Semaphore::new((FILES >> 20) as usize)),
            free: Mutex::default(),
        })
    }

    async fn buffer(self: &Arc<Self>) -> Buffer {
        // The semaphore is never closed.
        let permit = self.buffers.clone().acquire_owned().await.ok();
        let bytes = self.free.lock().pop().unwrap_or_else(|| BytesMut::with_capacity(BUFFER));
        Buffer { bytes, room: self.clone(), _permit: permit }
    }
}

/// One of the shared buffers; it goes back when it is dropped.
#[derive(Debug)]
struct Buffer {
    bytes: BytesMut,
    room: Arc<Room>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Buffer {
    fn left(&self) -> usize {
        BUFFER - self.bytes.len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        if bytes.capacity() >= BUFFER {
            self.room.free.lock().push(bytes);
        }
    }
}

/// A file without a name, and its share of the disk.
#[derive(Debug)]
struct Spilled {
    file: File,
    len: u64,
    room: Vec<OwnedSemaphorePermit>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Kept {
    Memory(Vec<Buffer>),
    /// The file has all but what is in the buffer.
    File(Spilled, Buffer),
    /// It is larger than any engine takes.
    No(Buffer),
}

/// A content that comes in.
#[derive(Debug)]
pub(crate) struct Spool {
    room: Arc<Room>,
    kept: Kept,
    hasher: blake3::Hasher,
    len: u64,
}

impl Spool {
    pub(crate) fn new(room: Arc<Room>) -> Self {
        Self { room, kept: Kept::Memory(Vec::new()), hasher: blake3::Hasher::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn id(&self) -> ContentId {
        ContentId { blake3: *self.hasher.finalize().as_bytes(), len: self.len }
    }

    pub(crate) fn give_up(self) -> blake3::Hasher {
        self.hasher
    }

    /// Takes bytes that are here already.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ScanError> {
        while !bytes.is_empty() {
            let buffer = self.space().await?;
            let (now, later) = bytes.split_at(bytes.len().min(buffer.left()));
            buffer.bytes.extend_from_slice(now);
            self.came(now.len());
            bytes = later;
        }
        Ok(())
    }

    /// Takes at most `most` bytes from a reader, until it ends; tells how many.
    pub(crate) async fn read_from(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        most: u64,
    ) -> Result<u64, IntakeError> {
        let mut read = 0;
        while read < most {
            let buffer = self.space().await?;
            let room = buffer.left().min(usize::try_from(most - read).unwrap_or(usize::MAX));
            let now = from.read_buf(&mut (&mut buffer.bytes).limit(room)).await.map_err(IntakeError::Client)?;
            if now == 0 {
                break;
            }
            self.came(now);
            read += now as u64;
        }
        Ok(read)
    }

    /// So many bytes were added to the last buffer.
    fn came(&mut self, count: usize) {
        let last = match &self.kept {
            Kept::Memory(buffers) => buffers.last(),
            Kept::File(_, buffer) | Kept::No(buffer) => Some(buffer),
        };
        if let Some(buffer) = last {
            self.hasher.update(&buffer.bytes[buffer.bytes.len() - count..]);
        }
        self.len += count as u64;
    }

    /// A buffer with room in it.
    async fn space(&mut self) -> Result<&mut Buffer, ScanError> {
        let is_full = match &self.kept {
            Kept::Memory(buffers) => buffers.last().is_none_or(|buffer| buffer.left() == 0),
            Kept::File(_, buffer) | Kept::No(buffer) => buffer.left() == 0,
        };
        if is_full {
            self.make_space().await?;
        }
        Ok(match &mut self.kept {
            Kept::Memory(buffers) => buffers.last_mut().expect("one was added"),
            Kept::File(_, buffer) | Kept::No(buffer) => buffer,
        })
    }

    async fn make_space(&mut self) -> Result<(), ScanError> {
        match &mut self.kept {
            // Who has something in memory goes to a file rather than wait for more: all would wait for each other.
            Kept::Memory(buffers)
                if buffers.is_empty()
                    || self.len < IN_MEMORY_MAX as u64 && self.room.buffers.available_permits() > FIRST_BUFFERS =>
            {
                buffers.push(self.room.buffer().await);
            }
            Kept::Memory(buffers) => {
                let mut buffers = std::mem::take(buffers);
                let mut spilled = Spilled { file: nameless(&self.room.folder)?, len: 0, room: vec![] };
                for buffer in &buffers {
                    spilled.add(&buffer.bytes, &self.room)?;
                }
                let mut buffer = buffers.swap_remove(0);
                buffer.bytes.clear();
                self.kept = Kept::File(spilled, buffer);
            }
            Kept::File(spilled, buffer) if spilled.len + BUFFER as u64 <= KEPT_MAX => {
                spilled.add(&buffer.bytes, &self.room)?;
                buffer.bytes.clear();
            }
            Kept::File(..) => {
                if let Kept::File(_, mut buffer) = std::mem::replace(&mut self.kept, Kept::Memory(vec![])) {
                    buffer.bytes.clear();
                    self.kept = Kept::No(buffer);
                }
            }
            Kept::No(buffer) => buffer.bytes.clear(),
        }
        Ok(())
    }

    /// All came.
    pub(crate) fn finish(self) -> Result<Content, ScanError> {
        let id = self.id();
        let held = match self.kept {
            Kept::Memory(buffers) => Held::Memory(buffers),
            Kept::File(..) if self.len > KEPT_MAX => Held::None,
            Kept::File(mut spilled, buffer) => {
                spilled.add(&buffer.bytes, &self.room)?;
                Held::File(spilled)
            }
            Kept::No(_) => Held::None,
        };
        Ok(Content { id, held })
    }
}

impl Spilled {
    fn add(&mut self, bytes: &[u8], room: &Room) -> Result<(), ScanError> {
        let needed = (self.len + bytes.len() as u64).div_ceil(1 << 20) as usize;
        while self.room.len() < needed {
            let permit = room.files.clone().try_acquire_owned();
            let busy = |_| ScanError::Busy { retry_after: std::time::Duration::from_secs(10) };
            self.room.push(permit.map_err(busy)?);
        }
        self.file.write_all(bytes).map_err(ScanError::spool)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn nameless(folder: &Path) -> Result<File, ScanError> {
    tempfile::tempfile_in(folder).map_err(ScanError::spool)
}

/// Where a whole content's bytes are.
#[derive(Debug)]
enum Held {
    Memory(Vec<Buffer>),
    File(Spilled),
    None,
}

/// A content that is here as a whole.
#[derive(Debug)]
pub struct Content {
    id: ContentId,
    held: Held,
}

/// The names that others know contents by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// SHA-1.
    pub sha1: [u8; 20],
    /// MD5.
    pub md5: [u8; 16],
}

impl Digests {
    /// Those that are known of a content.
    pub(crate) fn of(known: &VerdictRecord) -> Self {
        Self { sha256: known.sha256, sha1: known.sha1, md5: known.md5 }
    }
}

impl Content {
    /// What it is known by.
    pub fn id(&self) -> ContentId {
        self.id
    }

    /// Whether its bytes are here: those of one that no engine takes are not.
    pub fn is_kept(&self) -> bool {
        !matches!(self.held, Held::None)
    }

    /// A descriptor of all its bytes that an engine may be given, at its beginning: nobody can change what is behind one that came from memory
    /// (`F_SEAL_WRITE` and its like), and nobody else has the file of a large one. `None`: they are not kept. Blocks.
    ///
    /// # Errors
    /// The system's.
    pub fn descriptor(&self) -> io::Result<Option<File>> {
        match &self.held {
            Held::Memory(buffers) => {
                let fd = memfd_create("content", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
                let mut file = File::from(fd);
                for buffer in buffers {
                    file.write_all(&buffer.bytes)?;
                }
                file.rewind()?;
                fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
                Ok(Some(file))
            }
            Held::File(spilled) => {
                // Opened anew: whoever gets it cannot write, and has a place of his own in it.
                File::open(format!("/proc/self/fd/{}", spilled.file.as_raw_fd())).map(Some)
            }
            Held::None => Ok(None),
        }
    }

    /// Does what blocks for a moment: here with a content that is small and in memory, since a change of threads would take longer; otherwise
    /// where it may.
    pub(crate) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if matches!(&self.held, Held::Memory(buffers) if buffers.len() <= 1) {
            return work(self);
        }
        let content = self.clone();
        tokio::task::spawn_blocking(move || work(&content)).await.map_err(io::Error::from).flatten()
    }

    /// Its other names. Of one that is not kept all zeros. Blocks, a second for each GiB or two.
    ///
    /// # Errors
    /// The system's.
    pub fn digests(&self) -> io::Result<Digests> {
        use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
        use md5::Digest;
        let mut digests = Digests { sha256: [0; 32], sha1: [0; 20], md5: [0; 16] };
        if !self.is_kept() {
            return Ok(digests);
        }
        let (mut sha256, mut sha1, mut md5) =
            (Context::new(&SHA256), Context::new(&SHA1_FOR_LEGACY_USE_ONLY), md5::Md5::new());
        self.each(|bytes| {
            sha256.update(bytes);
            sha1.update(bytes);
            md5.update(bytes);
        })?;
        digests.sha256.copy_from_slice(sha256.finish().as_ref());
        digests.sha1.copy_from_slice(sha1.finish().as_ref());
        digests.md5.copy_from_slice(&md5.finalize());
        Ok(digests)
    }

    /// Shows all its bytes in order, piece by piece. Blocks.
    fn each(&self, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        match &self.held {
            Held::Memory(buffers) => buffers.iter().for_each(|buffer| see(&buffer.bytes)),
            Held::File(spilled) => {
                let (mut piece, mut at) = (vec![0; BUFFER], 0);
                loop {
                    let count = spilled.file.read_at(&mut piece, at)?;
                    if count == 0 {
                        break;
                    }
                    see(&piece[..count]);
                    at += count as u64;
                }
            }
            Held::None => {}
        }
        Ok(())
    }

    /// Reads from the offset `at` on; 0 at the end, and of what is not kept. Blocks for as long as a file's page takes.
    ///
    /// # Errors
    /// The system's.
    pub fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.held {
            Held::Memory(buffers) => {
                let (index, within) = (at as usize / BUFFER, at as usize % BUFFER);
                // All but the last one are full.
                let bytes = buffers.get(index).and_then(|buffer| buffer.bytes.get(within..)).unwrap_or_default();
                let count = bytes.len().min(out.len());
                out[..count].copy_from_slice(&bytes[..count]);
                Ok(count)
            }
            Held::File(spilled) => spilled.file.read_at(out, at),
            Held::None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn spooled(pieces: &[&[u8]]) -> (Content, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::new(Room::new(folder.path()));
        for (i, mut piece) in pieces.iter().copied().enumerate() {
            if i % 2 == 0 {
                spool.write(piece).await.expect("it is taken");
            } else {
                let all = spool.read_from(&mut piece, u64::MAX).await.expect("it is read");
                assert_eq!(all, pieces[i].len() as u64);
            }
        }
        (spool.finish().expect("all came"), folder)
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_known_and_read_as_a_whole_in_memory_and_in_a_file() {
        let whole: Vec<u8> = (0..IN_MEMORY_MAX * 2).map(|i| (i * i / 977) as u8).collect();
        for len in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, IN_MEMORY_MAX, IN_MEMORY_MAX + 1, whole.len()] {
            let (bytes, cut) = (&whole[..len], len / 3);
            let (content, _folder) = spooled(&[&bytes[..cut], &bytes[cut..2 * cut], &bytes[2 * cut..]]).await;
            let id = ContentId { blake3: *blake3::hash(bytes).as_bytes(), len: len as u64 };
            assert_eq!(content.id(), id, "{len}");
            let mut all = Vec::new();
            let mut file = content.descriptor().expect("a descriptor").expect("it is kept");
            file.read_to_end(&mut all).expect("a read");
            assert!(all == bytes, "{len} by descriptor");
            let mut piece = vec![0; 100_000];
            all.clear();
            loop {
                let count = content.read_at(&mut piece, all.len() as u64).expect("a read");
                if count == 0 {
                    break;
                }
                all.extend_from_slice(&piece[..count]);
            }
            assert!(all == bytes, "{len} by offset");
        }
    }

    #[tokio::test]
    async fn what_an_engine_is_given_cannot_be_changed() {
        let (content, _folder) = spooled(&[b"small"]).await;
        let mut file = content.descriptor().expect("a descriptor").expect("it is kept");
        assert!(file.write_all(b"other").is_err());
        assert!(file.set_len(0).is_err());
    }

    #[tokio::test]
    async fn digests_are_those_that_others_name() {
        let (content, _folder) = spooled(&[b"a", b"bc"]).await;
        let digests = content.digests().expect("digests");
        // RFC 1321, RFC 3174, FIPS 180-2.
        assert_eq!(hex::encode(digests.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex::encode(digests.sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(digests.sha256), sha256);
    }

    #[tokio::test]
    async fn clients_that_stop_in_mid_stream_leave_memory_for_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room::new(folder.path());
        let mut stopped = Vec::new();
        for _ in 0..64 {
            let mut spool = Spool::new(room.clone());
            spool.write(&vec![7; IN_MEMORY_MAX]).await.expect("it is taken");
            stopped.push(spool);
        }
        let mut next = Spool::new(room.clone());
        let taken = next.write(b"and another one");
        assert!(futures::FutureExt::now_or_never(taken).is_some_and(|taken| taken.is_ok()), "without waiting");
        assert!(room.buffers.available_permits() >= FIRST_BUFFERS - stopped.len() - 1);
    }

    #[tokio::test]
    async fn buffers_are_given_back_and_who_finds_none_goes_to_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room::new(folder.path());
        let all = room.buffers.clone();
        let most = u32::try_from(MEMORY / BUFFER - 1).expect("a number");
        let others = all.clone().acquire_many_owned(most).await.expect("they are free");
        let mut spool = Spool::new(room.clone());
        spool.write(&[7; 3 * BUFFER]).await.expect("it is taken");
        let content = spool.finish().expect("all came");
        assert!(matches!(content.held, Held::File(_)));
        drop((content, others));
        assert_eq!(
            (all.available_permits(), room.files.available_permits()),
            (MEMORY / BUFFER, (FILES >> 20) as usize)
        );
    }
}
