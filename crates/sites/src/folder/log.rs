//! The write-ahead log of a site folder: many small puts, one flush.
//!
//! A small put is filed under its name without a flush, so that readers see it, and appended to
//! `log/0` or `log/1`, which is flushed: then it is durable. One thread per site does both for
//! all puts that wait (group commit). When one log file is full the other takes over, while a
//! checkpoint makes everything filed so far durable and then empties the full one. Opening the
//! folder replays what is in the logs.
//!
//! Deletes are logged too, but nobody waits for that: a delete shortly before a crash may be
//! undone by the replay of the put before it. The shard that comes back is one that nothing
//! refers to, and the sweep for orphans removes it.
//!
//! A record is only ever replayed over a file of the same name, and names other than the marker's
//! never change their bytes: replaying an old record is harmless. The marker is never logged.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::record::{
    BLOCK, LOG_SIZE, RECORD_MAX, Record, SMALL_MAX, decode, encode_delete, encode_put, epoch_of, header, put_len,
};
use super::root::{LOG_DIR, Root, read_exact, site_error, write_all};
use crate::name::is_name;
use crate::{MARKER, SiteError};

/// Puts that may wait for the thread. More means that the disk hangs.
const WAITING_MAX: usize = 4096;
/// Deletes that may wait for a put to be written with.
const FORGOTTEN_MAX: usize = 512;
/// Bytes written with one flush at most.
const BATCH_MAX: usize = 4 << 20;
/// Free space that a folder must have before logs are laid out in it: they are to help, not to
/// take the last bytes.
const SPACE_MIN: u64 = 4 * LOG_SIZE;
/// Without a log, how many puts go the long way between attempts to get one.
const RETRY_EVERY: u32 = 256;

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is durable.
    Durable,
    /// The log cannot take it: it must be written and flushed by itself.
    NotHere,
}

type Reply = oneshot::Sender<Result<Kept, SiteError>>;

enum Op {
    Put { name: String, body: Vec<Bytes>, reply: Reply },
    Delete(String),
}

#[derive(Default)]
struct Queue {
    ops: Vec<Op>,
    puts: usize,
    busy: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// The way to the writer thread.
pub(super) struct Log {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Replays the logs in the folder, if there are any, and starts the writer.
    ///
    /// # Errors
    /// `WOULDBLOCK`: another process, or an earlier handle that is still in use, has the logs.
    pub fn start(root: &Arc<Root>) -> Result<Self, Errno> {
        let journal = match Journal::open(root, false) {
            Ok(journal) => journal,
            Err(Errno::WOULDBLOCK) => return Err(Errno::WOULDBLOCK),
            // Reads can go on without. Puts will find the same and say so.
            Err(errno) => {
                tracing::warn!(%errno, "the log of a site folder cannot be opened; small writes will be slower");
                None
            }
        };
        let shared = Arc::new(Shared::default());
        let mut writer = Writer { root: root.clone(), shared: shared.clone(), journal, without: 0 };
        let thread = std::thread::Builder::new().name("site-log".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(|_| Errno::AGAIN)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes a small put durable.
    pub async fn put(&self, name: &str, body: &[Bytes]) -> Result<Kept, SiteError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.puts >= WAITING_MAX {
                return Err(SiteError::Slow);
            }
            queue.puts += 1;
            queue.ops.push(Op::Put { name: name.to_owned(), body: body.to_vec(), reply });
            self.shared.wake.notify_one();
        }
        answer.await.unwrap_or_else(|_| Err(SiteError::Down("the log's writer has stopped".to_owned())))
    }

    /// Notes that a name was deleted.
    pub fn deleted(&self, name: &str) {
        let mut queue = self.shared.queue.lock();
        queue.ops.push(Op::Delete(name.to_owned()));
        if queue.ops.len() >= FORGOTTEN_MAX {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let busy = {
            let mut queue = self.shared.queue.lock();
            queue.stop = true;
            self.shared.wake.notify_one();
            queue.busy
        };
        // A busy thread may hang in a dead file server; nobody should hang with it.
        if let Some(thread) = self.thread.take().filter(|_| !busy) {
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Writer {
    root: Arc<Root>,
    shared: Arc<Shared>,
    journal: Option<Journal>,
    without: u32,
}

impl Writer {
    fn run(&mut self) {
        while let Some(ops) = self.wait() {
            self.take(ops);
        }
    }

    fn wait(&self) -> Option<Vec<Op>> {
        let mut queue = self.shared.queue.lock();
        queue.busy = false;
        while queue.puts == 0 && queue.ops.len() < FORGOTTEN_MAX {
            if queue.stop {
                break;
            }
            self.shared.wake.wait(&mut queue);
        }
        if queue.ops.is_empty() {
            return None;
        }
        queue.busy = true;
        queue.puts = 0;
        Some(std::mem::take(&mut queue.ops))
    }

    fn take(&mut self, ops: Vec<Op>) {
        if let Err(gone) = self.root.check() {
            return refuse(ops, &gone);
        }
        let puts = ops.iter().any(|op| matches!(op, Op::Put { .. }));
        if self.journal.is_none() && puts && self.without.is_multiple_of(RETRY_EVERY) {
            self.journal = Journal::open(&self.root, true).unwrap_or_else(|errno| {
                tracing::warn!(%errno, "no log in a site folder; small writes will be slower");
                None
            });
        }
        let Some(journal) = &mut self.journal else {
            self.without = self.without.wrapping_add(1);
            return send_on(ops);
        };
        if let Err(errno) = journal.write(&self.root, ops) {
            // What is in the file now is unknown: this log must not be appended to. The folder
            // will be opened anew, which replays what was acknowledged.
            tracing::warn!(%errno, "the log of a site folder failed");
            self.journal = None;
            self.root.give_up();
        }
    }
}

fn refuse(ops: Vec<Op>, error: &SiteError) {
    for op in ops {
        if let Op::Put { reply, .. } = op {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

fn send_on(ops: Vec<Op>) {
    for op in ops {
        if let Op::Put { reply, .. } = op {
            let _ = reply.send(Ok(Kept::NotHere));
        }
    }
}

/// The two log files.
struct Journal {
    files: [Arc<OwnedFd>; 2],
    epochs: [u64; 2],
    active: usize,
    /// Where the next batch goes in the active file, bytes.
    position: u64,
    sequence: u64,
    batch: Vec<u8>,
    waiting: Vec<Reply>,
    deleted: Vec<String>,
    emptying: Option<JoinHandle<Result<(), Errno>>>,
}

impl Journal {
    /// Opens the logs, replays them and empties the first. `None`: there are none, and they are
    /// not to be made.
    fn open(root: &Arc<Root>, create: bool) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = |file: &str| {
            let dir = root.dir(LOG_DIR)?;
            rustix::fs::openat(&dir.fd, file, flags | OFlags::CREATE, Mode::RUSR | Mode::WUSR).map(Arc::new)
        };
        if rustix::fs::statat(root.fd(), format!("{LOG_DIR}/0"), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err() {
            if !create {
                return Ok(None);
            }
            let space = rustix::fs::fstatvfs(root.fd())?;
            if space.f_bavail.saturating_mul(space.f_frsize) < SPACE_MIN {
                return Err(Errno::NOSPC);
            }
        }
        let files = [open("0")?, open("1")?];
        rustix::fs::flock(&*files[0], FlockOperation::NonBlockingLockExclusive)?;
        let found = [epoch(&files[0])?, epoch(&files[1])?];
        let mut order = [0, 1];
        order.sort_by_key(|i: &usize| found[*i]);
        for i in order {
            if let Some(epoch) = found[i] {
                replay(root, &files[i], epoch)?;
            }
        }
        let newest = found.into_iter().flatten().max().unwrap_or(0);
        let epochs = [newest + 1, newest + 2];
        // Not before everything replayed is durable, which emptying sees to.
        empty(root, &files[0], epochs[0])?;
        let mut journal = Self {
            files,
            epochs,
            active: 0,
            position: BLOCK as u64,
            sequence: 0,
            batch: Vec::new(),
            waiting: Vec::new(),
            deleted: Vec::new(),
            emptying: None,
        };
        journal.empty_behind(root, 1)?;
        Ok(Some(journal))
    }

    /// Files and logs everything asked for and answers everybody.
    fn write(&mut self, root: &Arc<Root>, ops: Vec<Op>) -> Result<(), Errno> {
        let mut done = Ok(());
        for op in ops {
            match op {
                Op::Delete(name) => {
                    self.deleted.push(name);
                    if self.deleted.len() >= FORGOTTEN_MAX / 8 && done.is_ok() {
                        done = self.put_down_deletes(root);
                    }
                }
                // The caller has given up.
                Op::Put { reply, .. } if reply.is_closed() => {}
                Op::Put { name, body, reply } => {
                    if let Err(errno) = done {
                        let _ = reply.send(Err(root.explain(errno, "writing the log")));
                        continue;
                    }
                    match root.file(&name, &body) {
                        Ok(true) => {
                            done = self.put_down(root, &name, &body);
                            // Only now: making room answers those who wait.
                            self.waiting.push(reply);
                        }
                        // Whole or torn, it must be replaced with care.
                        Ok(false) => drop(reply.send(Ok(Kept::NotHere))),
                        Err(errno) => drop(reply.send(Err(root.explain(errno, &format!("writing {name}"))))),
                    }
                }
            }
        }
        let done = done.and_then(|()| self.put_down_deletes(root)).and_then(|()| self.commit());
        for reply in self.waiting.drain(..) {
            let answer = match done {
                Ok(()) => Ok(Kept::Durable),
                Err(errno) => Err(root.check().err().unwrap_or_else(|| site_error(errno, "writing the log"))),
            };
            let _ = reply.send(answer);
        }
        done
    }

    fn put_down(&mut self, root: &Arc<Root>, name: &str, body: &[Bytes]) -> Result<(), Errno> {
        // Deletes that were asked for earlier come earlier.
        self.put_down_deletes(root)?;
        self.make_room(root, put_len(name, body))?;
        encode_put(self.epochs[self.active], self.sequence, name, body, &mut self.batch);
        self.sequence += 1;
        Ok(())
    }

    fn put_down_deletes(&mut self, root: &Arc<Root>) -> Result<(), Errno> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        // At most an eighth of FORGOTTEN_MAX names of at most 512 bytes: within SMALL_MAX.
        self.make_room(root, SMALL_MAX)?;
        encode_delete(self.epochs[self.active], self.sequence, &self.deleted, &mut self.batch);
        self.deleted.clear();
        self.sequence += 1;
        Ok(())
    }

    /// Makes sure that `len` more bytes fit the batch and the active file.
    fn make_room(&mut self, root: &Arc<Root>, len: usize) -> Result<(), Errno> {
        let end = self.position + (self.batch.len() + len) as u64;
        if self.batch.len() + len > BATCH_MAX || end > LOG_SIZE {
            self.commit()?;
        }
        if end > LOG_SIZE {
            self.switch(root)?;
        }
        Ok(())
    }

    /// Writes the batch and makes it durable.
    fn commit(&mut self) -> Result<(), Errno> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let file = &*self.files[self.active];
        let batch = Bytes::from(std::mem::take(&mut self.batch));
        write_all(file, std::slice::from_ref(&batch), self.position)?;
        rustix::fs::fdatasync(file)?;
        // A log that somebody deleted takes writes as before, but no replay will find them.
        if rustix::fs::fstat(file)?.st_nlink == 0 {
            return Err(Errno::STALE);
        }
        self.position += batch.len() as u64;
        self.batch = Vec::from(batch);
        self.batch.clear();
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Ok(Kept::Durable));
        }
        Ok(())
    }

    /// Goes on in the other file, and empties this one.
    fn switch(&mut self, root: &Arc<Root>) -> Result<(), Errno> {
        self.settle()?;
        let full = self.active;
        self.active = 1 - full;
        self.position = BLOCK as u64;
        self.sequence = 0;
        self.epochs[full] = self.epochs[self.active] + 1;
        self.empty_behind(root, full)
    }

    fn empty_behind(&mut self, root: &Arc<Root>, index: usize) -> Result<(), Errno> {
        let (root, file, epoch) = (root.clone(), self.files[index].clone(), self.epochs[index]);
        let thread = std::thread::Builder::new().name("site-checkpoint".to_owned());
        self.emptying = Some(thread.spawn(move || empty(&root, &file, epoch)).map_err(|_| Errno::AGAIN)?);
        Ok(())
    }

    /// Waits until the other file is empty.
    fn settle(&mut self) -> Result<(), Errno> {
        match self.emptying.take() {
            Some(thread) => thread.join().unwrap_or(Err(Errno::IO)),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The thread holds the files, and with them the lock that keeps others out.
        let _ = self.settle();
    }
}

/// Makes everything filed so far durable and gives a log file a new epoch: its records no longer
/// count. Lays the file out first if it is new.
fn empty(root: &Root, file: &OwnedFd, epoch: u64) -> Result<(), Errno> {
    let size = rustix::fs::fstat(file)?.st_size;
    if u64::try_from(size) != Ok(LOG_SIZE) {
        lay_out(file)?;
    }
    // Reports write errors of any file since the descriptor was opened (Linux 5.8).
    rustix::fs::syncfs(root.fd())?;
    write_all(file, &[Bytes::from(header(epoch))], 0)?;
    rustix::fs::fdatasync(file)
}

/// Writes every block once, so that overwriting one later changes nothing but its contents.
fn lay_out(file: &OwnedFd) -> Result<(), Errno> {
    let zeros = Bytes::from(vec![0; 1 << 20]);
    rustix::fs::ftruncate(file, 0)?;
    for at in (0..LOG_SIZE).step_by(zeros.len()) {
        write_all(file, std::slice::from_ref(&zeros), at)?;
    }
    rustix::fs::fsync(file)
}

fn epoch(file: &OwnedFd) -> Result<Option<u64>, Errno> {
    let found = read_exact(file, 0, BLOCK)?.and_then(|block| epoch_of(&block));
    // An epoch near the end of its range was never written by us.
    Ok(found.filter(|epoch| *epoch < u64::MAX / 2))
}

/// Does again what the log says, in order.
fn replay(root: &Root, file: &OwnedFd, epoch: u64) -> Result<(), Errno> {
    let (mut position, mut sequence, mut restored) = (BLOCK as u64, 0, 0_u64);
    let mut window = Vec::new();
    let mut used = 0;
    loop {
        if window.len() - used < RECORD_MAX {
            window.drain(..used);
            used = 0;
            fill(file, position + window.len() as u64, &mut window)?;
        }
        let Some((record, len)) = decode(window.get(used..).unwrap_or_default(), epoch, sequence) else { break };
        restored += u64::from(apply(root, record)?);
        used = (used + len).min(window.len());
        position += len as u64;
        sequence += 1;
    }
    if restored > 0 {
        tracing::info!(restored, records = sequence, "restored shards from the log of a site folder");
    }
    Ok(())
}

/// Appends up to a mebibyte of the file from `offset` on.
fn fill(file: &OwnedFd, offset: u64, window: &mut Vec<u8>) -> Result<(), Errno> {
    let end = window.len() + (1 << 20);
    window.reserve_exact(1 << 20);
    while window.len() < end {
        let at = offset + (window.len() + (1 << 20) - end) as u64;
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, rustix::buffer::spare_capacity(window), at))?;
        if read == 0 {
            break;
        }
    }
    Ok(())
}

/// Whether something had to be restored. Names are checked: the folder is not trusted.
fn apply(root: &Root, record: Record) -> Result<bool, Errno> {
    let ours = |name: &str| is_name(name) && name != MARKER && !name.starts_with("log/") && name != LOG_DIR;
    match record {
        Record::Put { name, body } if ours(&name) => root.restore(&name, body),
        Record::Put { .. } => Ok(false),
        Record::Delete { names } => {
            for name in names.iter().filter(|name| ours(name)) {
                root.remove(name)?;
            }
            Ok(false)
        }
    }
}
