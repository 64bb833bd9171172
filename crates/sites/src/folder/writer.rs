//! The thread that writes a site folder's segments: many small puts, one flush.
//!
//! A small put is appended to the active segment, which is flushed; then it is durable, readers
//! see it, and it is answered. One thread per site does that for all puts that wait (group
//! commit). Between batches it moves together what is left of segments that are mostly dead.
//!
//! Deletes are noted in the segments too, but nobody waits for that: a delete shortly before a
//! crash may be undone. So may, by any restart, one whose own segment was used again before that
//! of the put. The shard that comes back is one that nothing refers to, and the sweep for orphans
//! removes it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::append::{Appender, Kept, Reply};
use super::clean::Cleaner;
use super::segments::{Lock, Rest, Segments};
use super::space::Space;
use crate::SiteError;

/// Puts that may wait for the thread. More means that the disk hangs.
const WAITING_MAX: usize = 4096;
/// Deletes that may wait for a put to be written with.
const FORGOTTEN_MAX: usize = 512;
/// Names in one record that deletes: of at most 512 bytes each, within the largest body.
const DELETES_MAX: usize = 64;
/// Without a segment, how many batches go the long way between attempts to get one.
const RETRY_EVERY: u32 = 256;
/// How long closing waits for a thread that is at work.
const PATIENCE: Duration = Duration::from_secs(2);

enum Op {
    Put { name: String, body: Vec<Bytes>, reply: Reply },
    Delete(String),
}

#[derive(Default)]
struct Queue {
    ops: Vec<Op>,
    puts: usize,
    stop: bool,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    end: Condvar,
}

/// The way to the writer thread.
pub(super) struct Writer {
    segments: Arc<Segments>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    locked: bool,
}

impl Writer {
    /// Starts the thread. `rest` is what [`Segments::open`] left.
    pub fn start(segments: &Arc<Segments>, rest: Rest) -> Result<Self, Errno> {
        let shared = Arc::new(Shared::default());
        let locked = rest.lock.is_some();
        let mut work = Work {
            segments: segments.clone(),
            shared: shared.clone(),
            rest: Some(rest),
            appender: None,
            cleaner: Cleaner::default(),
            without: 0,
        };
        let thread = std::thread::Builder::new().name("site-writer".to_owned());
        let thread = thread.spawn(move || work.run()).map_err(|_| Errno::AGAIN)?;
        Ok(Self { segments: segments.clone(), shared, thread: Some(thread), locked })
    }

    /// Whether it began with the folder's lock.
    pub fn has_lock(&self) -> bool {
        self.locked
    }

    /// Makes a small put durable.
    pub async fn put(&self, name: &str, body: &[Bytes]) -> Result<Kept, SiteError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.stop {
                return Err(stopped());
            }
            if queue.puts >= WAITING_MAX {
                return Err(SiteError::Slow);
            }
            queue.puts += 1;
            queue.ops.push(Op::Put { name: name.to_owned(), body: body.to_vec(), reply });
            self.shared.wake.notify_one();
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Forgets a name that is in a segment, at once for readers.
    pub fn delete(&self, name: &str) {
        // One lock for both, so that a later put of the name also comes later in the queue.
        let mut queue = self.shared.queue.lock();
        if self.segments.index.write().remove(name) {
            queue.ops.push(Op::Delete(name.to_owned()));
            if queue.ops.len() >= FORGOTTEN_MAX {
                self.shared.wake.notify_one();
            }
        }
    }
}

impl Writer {
    /// Ends the thread, unless it hangs in a dead file server: nobody should hang with it.
    pub fn close(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        queue.stop = true;
        self.shared.wake.notify_one();
        self.shared.end.wait_while_for(&mut queue, |queue| !queue.ended, PATIENCE);
        queue.ended
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let ended = self.close();
        if let Some(thread) = self.thread.take().filter(|_| ended) {
            let _ = thread.join();
        }
    }
}

fn stopped() -> SiteError {
    SiteError::Down("the site's writer has stopped".to_owned())
}

/// What the thread has.
struct Work {
    segments: Arc<Segments>,
    shared: Arc<Shared>,
    /// Until there is an appender.
    rest: Option<Rest>,
    appender: Option<Appender>,
    cleaner: Cleaner,
    without: u32,
}

impl Work {
    fn run(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.lock.is_some()) {
            self.begin();
        }
        let mut more = true;
        while let Some(ops) = self.wait(more) {
            more = match self.take(ops) {
                Ok(more) => more,
                Err(errno) => {
                    // What is in the file now is unknown: it must not be appended to. The folder
                    // will be opened anew, which finds what was acknowledged.
                    tracing::warn!(%errno, "writing a segment of a site folder failed");
                    self.give_up();
                    false
                }
            };
        }
        if let Some(appender) = &mut self.appender
            && !self.segments.root.is_gone()
            && let Err(errno) = appender.commit().and_then(|()| appender.seal())
        {
            tracing::debug!(%errno, "a segment cannot be sealed");
        }
        self.appender = None;
        self.rest = None;
        self.shared.queue.lock().ended = true;
        self.shared.end.notify_all();
    }

    /// Lets go of everything, the lock above all, so that the folder can be opened anew.
    fn give_up(&mut self) {
        self.segments.root.give_up();
        self.appender = None;
        self.rest = None;
    }

    /// Waits for something to do; not at all if there is `more` anyway.
    fn wait(&self, more: bool) -> Option<Vec<Op>> {
        let mut queue = self.shared.queue.lock();
        while !more && queue.puts == 0 && queue.ops.len() < FORGOTTEN_MAX && !queue.stop {
            self.shared.wake.wait(&mut queue);
        }
        if queue.stop && queue.ops.is_empty() {
            return None;
        }
        queue.puts = 0;
        Some(std::mem::take(&mut queue.ops))
    }

    /// Does what was asked for, and a little cleaning. Whether there is more to clean.
    fn take(&mut self, ops: Vec<Op>) -> Result<bool, Errno> {
        let gone = self.segments.root.check().err();
        if gone.is_some() || self.segments.root.is_gone() {
            self.give_up();
            let gone = gone.unwrap_or_else(|| SiteError::Down("the folder was given up".to_owned()));
            answer(ops, &Err(gone));
            return Ok(false);
        }
        let first = self.appender.is_none() && !ops.is_empty() && self.without.is_multiple_of(RETRY_EVERY);
        if first && let Err(errno) = self.first() {
            let used = SiteError::Down("another process has used the folder meanwhile".to_owned());
            answer(ops, &Err(used));
            return Err(errno);
        }
        let Some(appender) = &mut self.appender else {
            self.without = self.without.wrapping_add(u32::from(!ops.is_empty()));
            answer(ops, &Ok(Kept::NotHere));
            return Ok(false);
        };
        append(appender, ops)?;
        self.cleaner.step(appender)
    }

    /// Makes the folder of the segments and locks it.
    fn first(&mut self) -> Result<(), Errno> {
        let root = &self.segments.root;
        if !root.space().is_ok_and(|space| space >= self.segments.sizes.space_min) {
            return Ok(());
        }
        match Lock::take(root) {
            // Not those that were found when the folder was opened, or they were not locked since.
            Ok(_) if self.segments.any()? => Err(Errno::STALE),
            Ok(lock) => {
                if let Some(rest) = &mut self.rest {
                    rest.lock = Some(lock);
                }
                self.begin();
                Ok(())
            }
            Err(Errno::WOULDBLOCK) => Err(Errno::WOULDBLOCK),
            Err(errno) => {
                tracing::warn!(%errno, "no segments in a site folder; small writes will be slower");
                Ok(())
            }
        }
    }

    fn begin(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let Some(lock) = rest.lock.take() else { return };
        let unsealed = std::mem::take(&mut rest.unsealed);
        let space = Space::new(&self.segments, lock, rest);
        self.appender = Some(Appender::new(&self.segments, space, unsealed));
    }
}

fn answer(ops: Vec<Op>, with: &Result<Kept, SiteError>) {
    for op in ops {
        if let Op::Put { reply, .. } = op {
            let _ = reply.send(with.clone());
        }
    }
}

/// Appends everything and makes it durable.
fn append(to: &mut Appender, ops: Vec<Op>) -> Result<(), Errno> {
    let mut done = Ok(());
    let mut deleted = Vec::new();
    for op in ops {
        match op {
            Op::Delete(name) => {
                deleted.push(name);
                if deleted.len() >= DELETES_MAX && done.is_ok() {
                    done = to.delete(std::mem::take(&mut deleted));
                }
            }
            // The caller has given up.
            Op::Put { reply, .. } if reply.is_closed() => {}
            Op::Put { name, body, reply } => {
                // Deletes that were asked for earlier come earlier.
                done = done.and_then(|()| to.delete(std::mem::take(&mut deleted)));
                if let Err(errno) = done {
                    let _ = reply.send(Err(to.fail(errno)));
                    continue;
                }
                match to.put(name, &body, reply) {
                    Ok(None) => {}
                    Ok(Some(reply)) => drop(reply.send(Ok(Kept::NotHere))),
                    Err(errno) => done = Err(errno),
                }
            }
        }
    }
    done.and_then(|()| to.delete(deleted)).and_then(|()| to.commit())
}
