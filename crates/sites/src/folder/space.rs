//! Segment files for the writer: used again, filled with zeros ahead, or laid out now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::record::header;
use super::root::{Root, SEGMENTS_DIR};
use super::segment::{Segment, file_name};
use super::segments::{Lock, Rest, Segments};

/// Files kept for later use. More than that is given back to the disk.
const FREE_MAX: usize = 2;
/// Bytes of zeros written at once.
const ZEROS: usize = 1 << 20;
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Who asks for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// New shards.
    Puts,
    /// Shards moved together, which gives space back in the end.
    Cleaning,
}

/// The files that hold nothing, and the numbers not yet given out.
pub(super) struct Space {
    segments: Arc<Segments>,
    next_id: u32,
    next_epoch: u64,
    free: Vec<u32>,
    /// Emptied, but somebody may still be reading.
    retired: Vec<Arc<Segment>>,
    spare: Option<JoinHandle<Result<u32, Errno>>>,
    stop: Arc<AtomicBool>,
    // Last, so that it is dropped when no thread of ours writes any more.
    _lock: Lock,
}

impl Space {
    /// Goes on where [`Segments::open`] ended.
    pub fn new(segments: &Arc<Segments>, lock: Lock, rest: Rest) -> Self {
        let mut space = Self {
            segments: segments.clone(),
            next_id: rest.next_id,
            next_epoch: rest.next_epoch,
            free: Vec::new(),
            retired: Vec::new(),
            spare: None,
            stop: Arc::default(),
            _lock: lock,
        };
        for id in rest.free {
            space.give_back(id);
        }
        space
    }

    fn root(&self) -> &Root {
        &self.segments.root
    }

    fn epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch - 1
    }

    /// A segment's file, for writing.
    pub fn open(&self, id: u32) -> Result<OwnedFd, Errno> {
        let dir = self.root().dir(SEGMENTS_DIR)?;
        rustix::fs::openat(&dir.fd, file_name(id), FLAGS, Mode::empty())
    }

    /// A file to write a segment to, and the segment's number and epoch. `None`: there is too
    /// little space.
    pub fn take(&mut self, whom: For) -> Result<Option<(OwnedFd, u32, u64)>, Errno> {
        self.tidy();
        let (space, sizes) = (self.root().space()?, self.segments.sizes);
        let scarce = space < sizes.space_min;
        // When space is scarce, the last free file is for cleaning, which makes more of them.
        let reserve = usize::from(scarce && whom == For::Puts && !self.segments.index.read().is_empty());
        while self.free.len() > reserve {
            let Some(id) = self.free.pop() else { break };
            match self.reuse(id) {
                Ok(fd) => return Ok(Some((fd, id, self.epoch()))),
                // Whatever stands in its place: not ours any more.
                Err(Errno::NOENT | Errno::LOOP) => self.segments.close(id),
                Err(errno) => return Err(errno),
            }
        }
        let enough = if whom == For::Puts { !scarce } else { space >= 2 * u64::from(sizes.segment) };
        if !enough {
            return Ok(None);
        }
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or(Errno::OVERFLOW)?;
        let fd = create(self.root(), id, |fd| lay_out(fd, sizes.segment))?;
        Ok(Some((fd, id, self.epoch())))
    }

    fn reuse(&self, id: u32) -> Result<OwnedFd, Errno> {
        let fd = self.open(id)?;
        let stat = rustix::fs::fstat(&fd)?;
        // A spare whose filling was cut short.
        if u64::try_from(stat.st_size) != Ok(u64::from(self.segments.sizes.segment)) {
            lay_out(&fd, self.segments.sizes.segment)?;
            rustix::fs::fsync(&fd)?;
        }
        Ok(fd)
    }

    /// Has a file filled with zeros, if there is none in reserve: overwriting it later changes
    /// nothing but its contents, which makes a flush cheaper.
    pub fn prepare(&mut self) {
        let sizes = self.segments.sizes;
        let enough = |space: u64| space >= sizes.space_min.saturating_add(u64::from(sizes.segment));
        if !self.free.is_empty() || self.spare.is_some() || !self.root().space().is_ok_and(enough) {
            return;
        }
        let (id, root, stop) = (self.next_id, self.segments.root.clone(), self.stop.clone());
        let Some(next) = id.checked_add(1) else { return };
        self.next_id = next;
        let thread = std::thread::Builder::new().name("site-spare".to_owned());
        self.spare = thread.spawn(move || fill(&root, id, sizes.segment, &stop)).ok();
    }

    /// Takes back a segment in which nothing is live. Readers may still hold it.
    pub fn recycle(&mut self, segment: Arc<Segment>) {
        self.retired.push(segment);
        self.tidy();
    }

    fn tidy(&mut self) {
        for segment in std::mem::take(&mut self.retired) {
            // Nobody can come to hold it any more: the index does not lead to it.
            match Arc::try_unwrap(segment) {
                Ok(segment) => self.give_back(segment.id),
                Err(held) => self.retired.push(held),
            }
        }
        if let Some(spare) = self.spare.take_if(|spare| spare.is_finished()) {
            match spare.join().unwrap_or(Err(Errno::IO)) {
                Ok(id) if self.free.len() < FREE_MAX => self.free.push(id),
                Ok(id) => self.unlink(id),
                Err(errno) => tracing::debug!(%errno, "no spare segment in a site folder"),
            }
        }
    }

    fn give_back(&mut self, id: u32) {
        if self.free.len() >= FREE_MAX {
            return self.unlink(id);
        }
        // Its old records must not count at the next open. Nobody waits for this to be durable:
        // they are dead, or have newer copies.
        let epoch = self.epoch();
        let emptied = self.open(id).and_then(|fd| self.root().write_around(&fd, &[Bytes::from(header(epoch))], 0));
        match emptied {
            Ok(()) => self.free.push(id),
            Err(errno) => {
                tracing::debug!(%errno, "a segment cannot be used again");
                self.unlink(id);
            }
        }
    }

    fn unlink(&self, id: u32) {
        self.segments.close(id);
        let gone = self.root().dir(SEGMENTS_DIR);
        if let Err(errno) = gone.and_then(|dir| rustix::fs::unlinkat(&dir.fd, file_name(id), AtFlags::empty())) {
            tracing::debug!(%errno, "a segment cannot be removed");
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
        }
    }
}

/// Makes a file that survives loss of power, or none.
fn create(root: &Root, id: u32, fill: impl FnOnce(&OwnedFd) -> Result<(), Errno>) -> Result<OwnedFd, Errno> {
    let dir = root.dir(SEGMENTS_DIR)?;
    let flags = FLAGS | OFlags::CREATE | OFlags::EXCL;
    let fd = rustix::fs::openat(&dir.fd, file_name(id), flags, Mode::RUSR | Mode::WUSR)?;
    let done = fill(&fd).and_then(|()| rustix::fs::fsync(&fd)).and_then(|()| root.sync(SEGMENTS_DIR));
    if done.is_err() {
        let _ = rustix::fs::unlinkat(&dir.fd, file_name(id), AtFlags::empty());
    }
    done.map(|()| fd)
}

/// Gives a file its size, and blocks where the file system can do that ahead.
fn lay_out(fd: &OwnedFd, size: u32) -> Result<(), Errno> {
    match rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, u64::from(size)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        other => other?,
    }
    rustix::fs::ftruncate(fd, u64::from(size))
}

/// Makes a file of which every block was written once.
fn fill(root: &Root, id: u32, size: u32, stop: &AtomicBool) -> Result<u32, Errno> {
    let zeros = Bytes::from(vec![0; ZEROS.min(size as usize)]);
    let write = |fd: &OwnedFd| {
        lay_out(fd, size)?;
        for at in (0..u64::from(size)).step_by(zeros.len().max(1)) {
            if stop.load(Ordering::Relaxed) {
                return Err(Errno::CANCELED);
            }
            root.write_around(fd, std::slice::from_ref(&zeros), at)?;
        }
        Ok(())
    };
    create(root, id, write).map(|_| id)
}
