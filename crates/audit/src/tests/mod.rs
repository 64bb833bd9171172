//! The whole log in a folder, with a disk that can be taken away.

mod crash;
mod full;
mod run;
mod tamper;
mod vectors;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base::AccountId;

use crate::folder::Folder;
use crate::{AuditError, Event, Log, Options, Outcome, Signer};

/// What the disk under a [`Folder`] does to it.
#[derive(Default)]
pub(crate) struct Faults {
    disk: Mutex<Disk>,
    flushes: AtomicUsize,
    gate: Mutex<Gate>,
    moved: Condvar,
}

#[derive(Default)]
struct Disk {
    /// Bytes that it still takes.
    left: Option<u64>,
    /// Changes until the power goes.
    steps: Option<u64>,
    /// Changes so far.
    made: u64,
    /// Flushes that fail from now on.
    bad_flushes: usize,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    waiting: bool,
}

fn dead() -> io::Error {
    rustix::io::Errno::IO.into()
}

impl Faults {
    /// A disk with so many bytes free.
    pub(super) fn set_left(&self, left: u64) {
        self.disk.lock().unwrap().left = Some(left);
    }

    /// After so many changes every one fails, the last one halfway.
    pub(super) fn die_after(&self, steps: u64) {
        self.disk.lock().unwrap().steps = Some(steps);
    }

    pub(super) fn made(&self) -> u64 {
        self.disk.lock().unwrap().made
    }

    pub(super) fn fail_flushes(&self, count: usize) {
        self.disk.lock().unwrap().bad_flushes = count;
    }

    pub(super) fn flushes(&self) -> usize {
        self.flushes.load(Ordering::SeqCst)
    }

    /// The next flush waits until [`Self::open_gate`].
    pub(super) fn close_gate(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    /// Returns when a flush is waiting.
    pub(super) fn wait_for_flush(&self) {
        let gate = self.gate.lock().unwrap();
        drop(self.moved.wait_while(gate, |gate| !gate.waiting).unwrap());
    }

    pub(super) fn open_gate(&self) {
        self.gate.lock().unwrap().closed = false;
        self.moved.notify_all();
    }

    pub(crate) fn left(&self) -> Option<u64> {
        self.disk.lock().unwrap().left
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        let mut disk = self.disk.lock().unwrap();
        disk.left = disk.left.map(|left| left + bytes);
    }

    pub(crate) fn take_all(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        match disk.left {
            Some(left) if left < bytes => Err(io::ErrorKind::StorageFull.into()),
            left => {
                disk.left = left.map(|left| left - bytes);
                Ok(())
            }
        }
    }

    /// How many of the bytes are written.
    pub(crate) fn take(&self, bytes: usize) -> io::Result<usize> {
        let dying = self.disk.lock().unwrap().steps == Some(1);
        self.step().or_else(|error| if dying { Ok(()) } else { Err(error) })?;
        let mut disk = self.disk.lock().unwrap();
        let room = disk.left.map_or(bytes, |left| bytes.min(left as usize));
        disk.left = disk.left.map(|left| left - room as u64);
        Ok(if dying { room / 2 } else { room })
    }

    pub(crate) fn refusal(&self) -> io::Error {
        let dead_now = self.disk.lock().unwrap().steps == Some(0);
        if dead_now { dead() } else { io::ErrorKind::StorageFull.into() }
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.lock().unwrap();
        gate.waiting = gate.closed;
        self.moved.notify_all();
        gate = self.moved.wait_while(gate, |gate| gate.closed).unwrap();
        gate.waiting = false;
        drop(gate);
        let mut disk = self.disk.lock().unwrap();
        if disk.bad_flushes > 0 {
            disk.bad_flushes -= 1;
            return Err(dead());
        }
        drop(disk);
        self.step()
    }

    pub(crate) fn step(&self) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.made += 1;
        match &mut disk.steps {
            None => Ok(()),
            Some(0) => Err(dead()),
            Some(steps) => {
                *steps -= 1;
                if *steps == 0 { Err(dead()) } else { Ok(()) }
            }
        }
    }
}

pub(super) fn signer() -> Signer {
    Signer::from_seed("log.example/site-1", &[1; 32]).unwrap()
}

/// Event number `at` of a test.
pub(super) fn event(at: u64) -> Event {
    Event {
        time_ms: 1_767_225_600_000 + at,
        principal: format!("arn:aws:iam::000000000000:user/u{}", at % 7),
        account: AccountId::DEFAULT,
        action: "kms:Decrypt".to_owned(),
        resource: "portion/reports".to_owned(),
        outcome: if at.is_multiple_of(5) { Outcome::Denied } else { Outcome::Allowed },
        request_id: format!("request-{at}"),
        details: BTreeMap::from([("why".to_owned(), "policy".to_owned())]),
    }
}

/// No reserve, and a checkpoint only when opened and closed.
pub(super) fn quiet() -> Options {
    Options { segment_bytes: 20_000, reserve_bytes: 0, checkpoint_every: Duration::MAX / 4, backlog: 8 }
}

pub(super) fn open(dir: &Path, options: Options) -> Log {
    Log::open(dir, signer(), options).unwrap()
}

pub(super) fn open_faulty(dir: &Path, faults: &Arc<Faults>, options: Options) -> Result<Log, AuditError> {
    let mut folder = Folder::at(dir);
    folder.faults = Arc::clone(faults);
    Log::open_folder(folder, signer(), options)
}

/// Waits for a future, on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Appends the events of these numbers, one group after the other.
pub(super) fn append(log: &Log, numbers: std::ops::Range<u64>) -> Result<std::ops::Range<u64>, AuditError> {
    let mut range = numbers.start..numbers.start;
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(100) {
        range.end = block_on(log.append(some.iter().copied().map(event).collect()))?.end;
    }
    Ok(range)
}

/// Copies a folder.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for found in std::fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let to = to.join(found.file_name());
        if found.path().is_dir() {
            copy(&found.path(), &to);
        } else {
            std::fs::copy(found.path(), to).unwrap();
        }
    }
}

/// All files of a folder, as paths inside it.
pub(super) fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, base: &Path, out: &mut Vec<String>) {
        for found in std::fs::read_dir(dir).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() {
                walk(&path, base, out);
            } else {
                out.push(path.strip_prefix(base).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out.sort();
    out
}
