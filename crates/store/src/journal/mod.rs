//! The journal: what is committed to the metadata lies at the sites as well, before it is answered.
//!
//! An entry goes to the sites while the engine commits what is in it, so that it costs no time of its own where a site is no further than
//! the engine. What became of it is told by the next entry.

pub(crate) mod checkpoint;
pub(crate) mod entry;
pub mod rebuild;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::limits::COLUMNS;
use base::{Doors, GatewayId};
use bytes::Bytes;
use envelope::Dek;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meta::record::key;
use meta::{Batch, CommitError, Engine, Key, MetaError, Nearby, Page, Range, Row, Version, Write};
use parking_lot::Mutex;
use sites::Pool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use entry::{Entry, Intent, Outcome, entry_name, of_era, seal};

/// Sites that must have an entry before what is in it is answered: any three that are left have it.
pub(crate) const COPIES: usize = 3;
/// Names listed at a time.
const PAGE: usize = 1000;
/// Bytes of entries that are kept to be put again.
const SHORT_MAX: usize = 32 << 20;
/// And after so long they are.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Outcomes that no entry has told yet are told by one of their own after this.
const TELL_AFTER: Duration = Duration::from_millis(50);

/// An engine whose commits are told at the sites.
pub(crate) struct Journaled {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) journal: Arc<Journal>,
}

/// One process's part of the journal.
pub(crate) struct Journal {
    writer: GatewayId,
    era: u64,
    dek: Dek,
    doors: Doors,
    pool: Arc<Pool>,
    tasks: TaskTracker,
    state: Mutex<State>,
    /// There are outcomes to tell.
    untold: Notify,
    /// Bytes put since the last checkpoint was begun.
    pub(crate) bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    sequence: u64,
    number: u64,
    outcomes: Vec<Outcome>,
    /// Entries that fewer sites have than should: their names and bytes.
    short: VecDeque<(String, Bytes)>,
    short_bytes: usize,
}

impl Journal {
    pub(crate) fn new(era: u64, dek: Dek, doors: Doors, pool: Arc<Pool>, tasks: TaskTracker) -> Self {
        let writer = GatewayId::random(doors.rng.as_ref());
        Self {
            writer,
            era,
            dek,
            doors,
            pool,
            tasks,
            state: Mutex::default(),
            untold: Notify::new(),
            bytes: AtomicU64::new(0),
        }
    }

    /// An entry of these batches, with what is to be told of those before, and their numbers.
    fn begin(&self, batches: &[Batch]) -> (u64, Entry) {
        let now_ms = self.doors.clock.now_ms();
        let mut state = self.state.lock();
        state.sequence += 1;
        let first = state.number + 1;
        state.number += batches.len() as u64;
        let intents =
            (first..).zip(batches).map(|(number, batch)| Intent::of(number, now_ms, batch, self.era)).collect();
        (state.sequence, Entry { era: self.era, outcomes: std::mem::take(&mut state.outcomes), intents })
    }

    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    /// Puts an entry to all sites; returns when so many have it, or none is left to have it. The others get it meanwhile. One that too
    /// few have is put again later.
    async fn put(self: &Arc<Self>, sequence: u64, entry: &Entry) {
        let name = entry_name(self.writer, sequence);
        let Ok(sealed) = seal(&self.dek, &name, entry, self.doors.rng.as_ref()) else { return };
        self.bytes.fetch_add(sealed.len() as u64, Ordering::Relaxed);
        let copies = put_everywhere(&self.pool, &self.tasks, &name, std::slice::from_ref(&sealed)).await;
        if copies >= COPIES {
            return;
        }
        metrics::counter!("holdfast_journal_short_total").increment(1);
        tracing::warn!(
            copies,
            "what was committed is told at fewer than three sites so far: with the metadata lost it could be lost, too"
        );
        let mut state = self.state.lock();
        state.short_bytes += sealed.len();
        state.short.push_back((name, sealed));
        while state.short_bytes > SHORT_MAX
            && let Some((_, dropped)) = state.short.pop_front()
        {
            state.short_bytes -= dropped.len();
            // What it said is in the next checkpoint, which is due now.
            self.bytes.store(u64::MAX / 2, Ordering::Relaxed);
        }
        drop(state);
        self.untold.notify_one();
    }

    /// Puts entries again that too few sites have.
    async fn put_short(self: &Arc<Self>) {
        loop {
            let Some((name, sealed)) = self.state.lock().short.front().cloned() else { return };
            if put_everywhere(&self.pool, &self.tasks, &name, std::slice::from_ref(&sealed)).await < COPIES {
                return;
            }
            let mut state = self.state.lock();
            // It may have been dropped meanwhile.
            if state.short.front().is_some_and(|(front, _)| *front == name) {
                state.short.pop_front();
                state.short_bytes -= sealed.len();
            }
        }
    }

    /// Tells what became of intents, unless entries that come anyhow do. Until shutdown.
    pub(crate) async fn tell(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let is_short = !self.state.lock().short.is_empty();
            tokio::select! {
                () = self.untold.notified() => {}
                () = tokio::time::sleep(AGAIN_AFTER), if is_short => {}
                () = stop.cancelled() => return,
            }
            tokio::time::sleep(TELL_AFTER).await;
            self.put_short().await;
            self.tell_now().await;
        }
    }

    /// Tells what became of intents now.
    pub(crate) async fn tell_now(self: &Arc<Self>) {
        if self.state.lock().outcomes.is_empty() {
            return;
        }
        let (sequence, entry) = self.begin(&[]);
        self.put(sequence, &entry).await;
    }

    /// What became of the intents from `first` on.
    fn ended(&self, first: u64, answers: &[Result<Version, CommitError>]) {
        let outcomes = (first..).zip(answers).filter_map(|(number, answer)| match answer {
            Ok(version) => Some(Outcome { number, version: Some(of_era(self.era, *version)) }),
            // Nobody knows: whoever makes the rows anew finds out by its checks.
            Err(CommitError::Unknown(_)) => None,
            Err(_) => Some(Outcome { number, version: None }),
        });
        self.state.lock().outcomes.extend(outcomes);
        self.untold.notify_one();
    }
}

/// Whether a row is of the moment: which processes live, and who leads them. No journal tells it, and nobody wants it back.
fn is_of_the_moment(row_key: &[u8]) -> bool {
    row_key.starts_with(b"f/") || row_key == key::leader_key() || row_key == key::floor_key()
}

/// Names that a site lists, a page at a time.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    /// The name to go on after.
    fn last(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }

    /// Takes what was listed, of at most [`PAGE`]; says whether there is more.
    fn take(&mut self, page: Vec<sites::Entry>) -> bool {
        let is_full = page.len() >= PAGE;
        self.0.extend(page.into_iter().map(|entry| entry.name));
        is_full
    }
}

/// Puts a name to all sites that take writes, and returns when [`COPIES`] have it, or all have answered: how many have it.
pub(crate) async fn put_everywhere(pool: &Arc<Pool>, tasks: &TaskTracker, name: &str, body: &[Bytes]) -> usize {
    let mut running: FuturesUnordered<_> = (0..COLUMNS as u8)
        .filter(|slot| pool.state(*slot).writable())
        .map(|slot| {
            let (pool, name, body) = (pool.clone(), name.to_owned(), body.to_vec());
            tasks.spawn(async move { pool.put(slot, &name, &body).await.is_ok() })
        })
        .collect();
    let mut copies = 0;
    while copies < COPIES
        && let Some(done) = running.next().await
    {
        copies += usize::from(done.unwrap_or(false));
    }
    copies
}

#[async_trait]
impl Engine for Journaled {
    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.engine.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.engine.range(range).await
    }

    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        self.engine.nearby(keys, range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let told = batches.iter().flat_map(|batch| &batch.writes).any(|write| {
            let (Write::Put(row_key, _) | Write::Delete(row_key)) = write;
            !is_of_the_moment(row_key)
        });
        if !told {
            return self.engine.commit_group(batches).await;
        }
        let (engine, journal) = (self.engine.clone(), self.journal.clone());
        let count = batches.len();
        // In a task of its own: who asked may go away, and what became of it must be told all the same.
        let committed = self.journal.tasks.spawn(async move {
            let (sequence, entry) = journal.begin(&batches);
            let first = entry.intents.first().map_or(0, |intent| intent.number);
            let commit = async {
                let answers = engine.commit_group(batches).await;
                journal.ended(first, &answers);
                answers
            };
            tokio::join!(commit, journal.put(sequence, &entry)).0
        });
        let lost = || Err(CommitError::Unknown("the task that commits ended".to_owned()));
        committed.await.unwrap_or_else(|_| (0..count).map(|_| lost()).collect())
    }
}
