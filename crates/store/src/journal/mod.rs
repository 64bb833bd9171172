//! The journal: what is committed to the metadata lies at the sites as well, before it is answered.
//!
//! An entry goes to the sites while the engine commits what is in it, so that it costs no time of its own where a site is no further than
//! the engine. What became of it is told by the next entry.

pub(crate) mod checkpoint;
pub(crate) mod entry;
pub mod rebuild;

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
use meta::{Batch, CommitError, Engine, Key, MetaError, Page, Range, Row, Version};
use parking_lot::Mutex;
use sites::Pool;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use entry::{Entry, Intent, Outcome, entry_name, of_era, seal};

/// Sites that must have an entry before what is in it is answered: any three that are left have it.
pub(crate) const COPIES: usize = 3;
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

    /// Puts an entry to all sites; returns when so many have it, or none is left to have it. The others get it meanwhile.
    async fn put(self: &Arc<Self>, sequence: u64, entry: &Entry) {
        let name = entry_name(self.writer, sequence);
        let Ok(sealed) = seal(&self.dek, &name, entry, self.doors.rng.as_ref()) else { return };
        self.bytes.fetch_add(sealed.len() as u64, Ordering::Relaxed);
        let copies = put_everywhere(&self.pool, &self.tasks, &name, &[sealed]).await;
        if copies < COPIES {
            metrics::counter!("holdfast_journal_short_total").increment(1);
            tracing::warn!(
                copies,
                "what was committed is told at fewer than three sites: with the metadata lost it could be lost, too"
            );
        }
    }

    /// Tells what became of intents, unless entries that come anyhow do. Until shutdown.
    pub(crate) async fn tell(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        loop {
            tokio::select! {
                () = self.untold.notified() => {}
                () = stop.cancelled() => return self.tell_now().await,
            }
            tokio::time::sleep(TELL_AFTER).await;
            self.tell_now().await;
        }
    }

    pub(crate) async fn tell_now(self: &Arc<Self>) {
        if self.state.lock().outcomes.is_empty() {
            return;
        }
        let (sequence, entry) = self.begin(&[]);
        self.put(sequence, &entry).await;
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

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        if batches.is_empty() {
            return Vec::new();
        }
        let (sequence, entry) = self.journal.begin(&batches);
        let first = entry.intents.first().map_or(0, |intent| intent.number);
        let (answers, ()) = tokio::join!(self.engine.commit_group(batches), self.journal.put(sequence, &entry));
        let era = self.journal.era;
        let outcomes = (first..).zip(&answers).filter_map(|(number, answer)| match answer {
            Ok(version) => Some(Outcome { number, version: Some(of_era(era, *version)) }),
            // Nobody knows: whoever makes the rows anew finds out by its checks.
            Err(CommitError::Unknown(_)) => None,
            Err(_) => Some(Outcome { number, version: None }),
        });
        self.journal.state.lock().outcomes.extend(outcomes);
        self.journal.untold.notify_one();
        answers
    }
}
