//! The one thread that writes: takes everything pending, applies it in order in one transaction,
//! flushes once, answers everyone.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use redb::{ReadableTable, StorageError, Table};
use tokio::sync::oneshot;

use super::file::{MetaFile, Opened, unpanicked};
use super::{ABOUT, COMMITS, ROWS, Shared, VERSION_LEN, decode};
use crate::{Batch, Check, CommitError, Version, Write};

/// Batches in one transaction: bounds its memory and the wait of the first one in it.
const TRANSACTION_BATCHES_MAX: usize = 512;
/// How much of the last transaction's time the next one may wait for company: the callers just
/// answered are about to ask again, and a flush for the first of them alone is a flush wasted.
const GATHER_FRACTION: u32 = 8;
/// Most time to wait for company.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// Pauses between attempts to use a failed file, doubling from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Commits save redb's allocator state, so that an open after a crash does not read the whole
/// file: 0003-embedded-meta.md has what that costs and what it saves.
const QUICK_REPAIR: bool = true;

type Answer = Result<Version, CommitError>;

/// Batches of one caller, and where the answers go.
pub(super) struct Group {
    pub(super) batches: Vec<Batch>,
    pub(super) answer: oneshot::Sender<Vec<Answer>>,
}

pub(super) struct Writer {
    file: MetaFile,
    /// `None` while the file cannot be opened.
    opened: Option<Opened>,
    shared: Arc<Shared>,
    /// What stops commits at the moment.
    trouble: Option<Trouble>,
    /// Batches in the last transaction, and how long it took.
    last: (usize, Duration),
}

/// A failure that is being waited out.
struct Trouble {
    refusal: CommitError,
    pause: Duration,
    until: Instant,
}

/// Why a transaction failed.
struct Failure {
    error: redb::Error,
    /// The batch number that the file holds if the transaction was written after all; `None`
    /// when it cannot have been, since it never got as far as the flush.
    commits: Option<u64>,
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), commits: None }
    }
}

impl Writer {
    pub(super) fn new(file: MetaFile, opened: Opened, shared: Arc<Shared>) -> Self {
        Self { file, opened: Some(opened), shared, trouble: None, last: (0, Duration::ZERO) }
    }

    /// Works until every sender is gone and everything sent is answered.
    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Group>) {
        while let Some(groups) = self.next(inbox) {
            let began = Instant::now();
            let answers = self.commit(&groups);
            self.last = (answers.iter().map(Vec::len).sum(), began.elapsed());
            for (group, answers) in groups.into_iter().zip(answers) {
                // A caller that was cancelled no longer listens.
                let _ = group.answer.send(answers);
            }
        }
    }

    /// Everything pending, and what comes shortly, waiting for the first; `None` at the end. While the file is closed, it
    /// is tried again in the pauses, so that reads heal without a commit.
    fn next(&mut self, inbox: &mpsc::Receiver<Group>) -> Option<Vec<Group>> {
        let first = loop {
            let Some(trouble) = self.trouble.as_ref().filter(|_| self.opened.is_none()) else {
                break inbox.recv().ok()?;
            };
            match inbox.recv_timeout(trouble.until.saturating_duration_since(Instant::now())) {
                Ok(group) => break group,
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => self.reopen(),
            }
        };
        let mut count = first.batches.len();
        let mut groups = vec![first];
        let (expected, took) = self.last;
        let deadline = Instant::now() + (took / GATHER_FRACTION).min(GATHER_MAX);
        while count < TRANSACTION_BATCHES_MAX {
            let patience =
                if count < expected { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let Ok(group) = inbox.recv_timeout(patience) else {
                break;
            };
            count += group.batches.len();
            groups.push(group);
        }
        Some(groups)
    }

    fn commit(&mut self, groups: &[Group]) -> Vec<Vec<Answer>> {
        if let Some(trouble) = &self.trouble
            && Instant::now() < trouble.until
        {
            return refuse(groups, &trouble.refusal);
        }
        if self.opened.is_none() {
            self.reopen();
        }
        let Some(opened) = &mut self.opened else {
            let closed = CommitError::Unavailable("its file cannot be opened: see the log".into());
            return refuse(groups, self.trouble.as_ref().map_or(&closed, |trouble| &trouble.refusal));
        };
        let before = opened.commits;
        let done = unpanicked(|| transact(opened, groups)).unwrap_or_else(|| {
            // A panic says nothing about how far it got; any newer number means it got there.
            let what = "a page cannot be read".into();
            Err(Failure { error: redb::Error::Corrupted(what), commits: Some(before + 1) })
        });
        match done.and_then(|answers| Ok((self.publish()?, answers))) {
            Ok(((), answers)) => {
                self.trouble = None;
                answers
            }
            Err(failure) => {
                let refusal = self.recover(&failure);
                refuse(groups, &refusal)
            }
        }
    }

    /// Shows readers the newest commit.
    fn publish(&self) -> Result<(), Failure> {
        if let Some(opened) = &self.opened {
            let snapshot = opened.snapshot().map_err(|error| Failure {
                error: redb::Error::Corrupted(error.to_string()),
                commits: Some(opened.commits),
            })?;
            *self.shared.snapshot.write() = snapshot;
        }
        Ok(())
    }

    /// Opens the file again after a failed transaction, which redb demands, and learns from it
    /// what became of the transaction.
    fn recover(&mut self, failure: &Failure) -> CommitError {
        let path = self.file.path().display().to_string();
        let what = format!("{path}: {}", failure.error);
        tracing::error!(error = %what, "a metadata commit failed; opening the file again");
        let refusal = if is_full(&failure.error) { CommitError::Full } else { CommitError::Unavailable(what.clone()) };
        self.postpone(refusal.clone());
        self.opened = None;
        self.reopen();
        match (failure.commits, &self.opened) {
            (None, _) => refusal,
            (Some(written), Some(opened)) if opened.commits < written => refusal,
            // Found in the file, yet its flush failed; or the file cannot be asked.
            _ => CommitError::Unknown(what),
        }
    }

    /// Tries to open the file; after a failure the next try waits longer.
    fn reopen(&mut self) {
        match self.file.open_again() {
            Ok(opened) => {
                self.opened = Some(opened);
                if let Err(failure) = self.publish() {
                    self.opened = None;
                    self.postpone(CommitError::Unavailable(failure.error.to_string()));
                } else {
                    tracing::info!(path = %self.file.path().display(), "the metadata file is open again");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the metadata file cannot be opened");
                self.postpone(CommitError::Unavailable(error.to_string()));
            }
        }
    }

    fn postpone(&mut self, refusal: CommitError) {
        let pause = self.trouble.as_ref().map_or(PAUSE_MIN, |trouble| (trouble.pause * 2).min(PAUSE_MAX));
        self.trouble = Some(Trouble { refusal, pause, until: Instant::now() + pause });
    }
}

/// The same answer for every batch.
fn refuse(groups: &[Group], refusal: &CommitError) -> Vec<Vec<Answer>> {
    let refuse = |batch: &Batch| batch.check_limits().and(Err(refusal.clone()));
    groups.iter().map(|group| group.batches.iter().map(refuse).collect()).collect()
}

fn is_full(error: &redb::Error) -> bool {
    let redb::Error::Io(error) = error else {
        return false;
    };
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Applies all batches in one transaction, and flushes it when any of them wrote.
fn transact(opened: &mut Opened, groups: &[Group]) -> Result<Vec<Vec<Answer>>, Failure> {
    let mut txn = opened.database.begin_write()?;
    txn.set_quick_repair(QUICK_REPAIR);
    let mut commits = opened.commits;
    let mut answers = Vec::with_capacity(groups.len());
    {
        let mut rows = txn.open_table(ROWS)?;
        for group in groups {
            let mut group_answers = Vec::with_capacity(group.batches.len());
            for batch in &group.batches {
                let answer = apply(&mut rows, batch, commits + 1)?;
                commits += u64::from(answer.is_ok());
                group_answers.push(answer);
            }
            answers.push(group_answers);
        }
    }
    if commits == opened.commits {
        txn.abort()?;
        return Ok(answers);
    }
    txn.open_table(ABOUT)?.insert(COMMITS, commits)?;
    txn.commit().map_err(|error| Failure { error: error.into(), commits: Some(commits) })?;
    opened.commits = commits;
    Ok(answers)
}

/// Applies one batch as commit number `commit`, or leaves the table as it is.
fn apply(
    rows: &mut Table<'_, &'static [u8], &'static [u8]>,
    batch: &Batch,
    commit: u64,
) -> Result<Answer, StorageError> {
    if let Err(error) = batch.check_limits() {
        return Ok(Err(error));
    }
    for (index, check) in batch.checks.iter().enumerate() {
        if !holds(rows, check)? {
            return Ok(Err(CommitError::Failed { check: index }));
        }
    }
    for write in &batch.writes {
        match write {
            Write::Put(key, value) => {
                let mut stored = rows.insert_reserve(&key[..], VERSION_LEN + value.len())?;
                let (version, rest) = stored.as_mut().split_at_mut(VERSION_LEN);
                version.copy_from_slice(&commit.to_be_bytes());
                rest.copy_from_slice(value);
            }
            Write::Delete(key) => {
                rows.remove(&key[..])?;
            }
        }
    }
    Ok(Ok(Version(u128::from(commit))))
}

fn holds(rows: &Table<'_, &'static [u8], &'static [u8]>, check: &Check) -> Result<bool, StorageError> {
    Ok(match check {
        Check::Absent(key) => rows.get(&key[..])?.is_none(),
        Check::Present(key) => rows.get(&key[..])?.is_some(),
        Check::Is(key, version) => match rows.get(&key[..])? {
            Some(stored) => match decode(stored.value()) {
                Some((found, _)) => found == *version,
                None => {
                    return Err(StorageError::Corrupted("a row is shorter than its version".into()));
                }
            },
            None => false,
        },
        Check::Empty(from, to) if from >= to => true,
        Check::Empty(from, to) => rows.range(&from[..]..&to[..])?.next().transpose()?.is_none(),
    })
}
