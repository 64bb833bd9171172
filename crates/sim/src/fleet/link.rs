//! What lies between a gateway and all else: the network, which loses, delays and repeats, and the process itself, which stands still or
//! dies.

use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::{BlobId, Clock, PartId};
use bytes::Bytes;
use futures::FutureExt;
use meta::record::{BlobRecord, Record, key};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Nearby, Page, Row, Version};
use parking_lot::Mutex;
use sites::{Entry, Site, SiteError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::site::SimSite;

/// Milliseconds that a message takes at most.
const TRAVEL_MS: usize = 8;
/// After so long who asked the metadata gives up: the patience of [`meta`]'s engine over a network.
const PATIENCE: Duration = Duration::from_secs(5);
/// A message that was given up may arrive so much later, in milliseconds.
const LATE_MS: usize = 4_000;

/// What is wrong with a gateway and its ways, now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrong {
    /// The process stands still, as after `SIGSTOP`; its clock goes on.
    pub paused: bool,
    /// What it asks of the metadata does not arrive.
    pub meta_out: bool,
    /// What the metadata answer does not arrive.
    pub meta_in: bool,
    /// One message in eight to the metadata is lost or late, in either direction.
    pub meta_lossy: bool,
    /// Sites that it does not reach, as bits.
    pub sites: u8,
    /// Sites of which one message in eight is lost, late, or arrives twice, as bits.
    pub sites_lossy: u8,
}

impl Wrong {
    /// Whether it keeps a process from knowing what the others do. What it reaches at sites says nothing of that.
    pub fn ails(self) -> bool {
        Self { sites: 0, sites_lossy: 0, ..self } != Self::default()
    }
}

/// A life of a process, and its ways.
pub struct Link {
    chance: Arc<Chance>,
    state: Mutex<(Wrong, bool)>,
    changed: Notify,
    late: Mutex<Vec<Late>>,
}

/// What becomes of a message.
enum Fate {
    Arrives,
    /// It does not arrive.
    Lost,
    /// It arrives after whoever sent it gave up.
    Late,
}

impl Link {
    pub fn new(chance: Arc<Chance>, wrong: Wrong) -> Self {
        Self { chance, state: Mutex::new((wrong, false)), changed: Notify::new(), late: Mutex::default() }
    }

    pub fn set(&self, wrong: Wrong) {
        self.state.lock().0 = wrong;
        self.changed.notify_waiters();
    }

    pub fn wrong(&self) -> Wrong {
        self.state.lock().0
    }

    /// The process is gone: nothing of it goes on past what it is waiting for.
    pub fn die(&self) {
        self.state.lock().1 = true;
        self.changed.notify_waiters();
    }

    fn stands_still(&self) -> bool {
        let (wrong, dead) = *self.state.lock();
        wrong.paused || dead
    }

    async fn until(&self, stands_still: bool) {
        loop {
            let changed = self.changed.notified();
            if self.stands_still() == stands_still {
                return;
            }
            changed.await;
        }
    }

    /// Does something inside the process: it goes on only while the process does.
    pub async fn inside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.until(false).await;
            tokio::select! {
                biased;
                () = self.until(true) => {}
                done = &mut work => return done,
            }
        }
    }

    async fn travel(&self) {
        sleep(Duration::from_millis(self.chance.below(TRAVEL_MS) as u64)).await;
    }

    fn fate(&self, cut: bool, lossy: bool) -> Fate {
        match () {
            () if cut => Fate::Lost,
            () if lossy && self.chance.one_in(8) => {
                if self.chance.one_in(2) {
                    Fate::Lost
                } else {
                    Fate::Late
                }
            }
            () => Fate::Arrives,
        }
    }

    /// What became of a message to the metadata; one that was lost or is late was waited for.
    async fn sent(&self) -> Fate {
        self.until(false).await;
        self.travel().await;
        let wrong = self.wrong();
        let fate = self.fate(wrong.meta_out, wrong.meta_lossy);
        if !matches!(fate, Fate::Arrives) {
            sleep(PATIENCE).await;
        }
        fate
    }

    async fn answered<T>(&self, done: T) -> Option<T> {
        self.travel().await;
        let wrong = self.wrong();
        if !matches!(self.fate(wrong.meta_in, wrong.meta_lossy), Fate::Arrives) {
            sleep(PATIENCE).await;
            return None;
        }
        self.until(false).await;
        Some(done)
    }
}

/// A commit that was given up and may happen yet.
type Late = Arc<Mutex<Option<Vec<Batch>>>>;

/// The rows, and a copy beside each gateway, which lags behind.
pub struct Metadata {
    chance: Arc<Chance>,
    truth: Arc<Memory>,
    copies: Mutex<Vec<Copied>>,
}

/// What stands beside a gateway.
struct Copied {
    link: Arc<Link>,
    rows: Memory,
    /// What was committed and has not come here.
    behind: Vec<Batch>,
}

impl Metadata {
    pub fn new(chance: Arc<Chance>) -> Self {
        Self { chance, truth: Arc::new(Memory::shared()), copies: Mutex::default() }
    }

    /// The way of a gateway, which may be a new life of one that has a copy already.
    pub fn over(self: &Arc<Self>, index: usize, link: Arc<Link>) -> Rows {
        let mut copies = self.copies.lock();
        match copies.get_mut(index) {
            Some(known) => known.link = link.clone(),
            None => copies.push(Copied { link: link.clone(), rows: self.truth.copy(), behind: vec![] }),
        }
        Rows { all: self.clone(), index, link }
    }

    /// Blobs of which nothing is wanted any more and which wait for their collection.
    pub async fn garbage(&self) -> HashSet<BlobId> {
        let all = |(from, to)| self.truth.range(meta::Range { from, to, limit: usize::MAX });
        let garbage = all(key::garbage()).await.expect("rows in memory").rows;
        let parts: HashSet<Option<PartId>> = garbage.iter().map(|(row_key, _)| key::part_of(row_key)).collect();
        let blobs = all(key::blobs()).await.expect("rows in memory").rows;
        let is_garbage = |(row_key, row): &(meta::Key, meta::Row)| {
            let record = BlobRecord::decode(&row.value).expect("a blob's record");
            let all = record.parts.iter().all(|part| parts.contains(&Some(part.id)));
            key::blob_of(row_key).filter(|_| all)
        };
        blobs.iter().filter_map(is_garbage).collect()
    }

    async fn commit(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let done = self.truth.commit_group(batches.clone()).await;
        let committed = || batches.iter().zip(&done).filter(|(_, done)| done.is_ok()).map(|(batch, _)| batch.clone());
        for copy in self.copies.lock().iter_mut() {
            copy.behind.extend(committed());
            let wrong = copy.link.wrong();
            if !wrong.meta_out && !wrong.meta_in && self.chance.one_in(3) {
                // In the same order, so that rows get the same versions.
                let caught_up = copy.rows.commit_group(std::mem::take(&mut copy.behind)).now_or_never();
                assert!(caught_up.is_some_and(|done| done.iter().all(Result::is_ok)), "a copy is another one");
            }
        }
        done
    }
}

/// The metadata as one gateway reaches them.
pub struct Rows {
    all: Arc<Metadata>,
    index: usize,
    link: Arc<Link>,
}

fn no_answer() -> MetaError {
    MetaError::Unavailable("no answer".to_owned())
}

#[async_trait]
impl Engine for Rows {
    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.ask(self.all.truth.get(keys)).await
    }

    async fn range(&self, range: meta::Range) -> Result<Page, MetaError> {
        self.ask(self.all.truth.range(range)).await
    }

    async fn nearby(&self, keys: &[Key], range: Option<meta::Range>) -> Result<Nearby, MetaError> {
        self.link.until(false).await;
        let copy = self.all.copies.lock()[self.index].rows.copy();
        self.link.travel().await;
        copy.nearby(keys, range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        let unknown = vec![Err(CommitError::Unknown("no answer".to_owned())); batches.len()];
        match self.link.sent().await {
            Fate::Arrives => {}
            Fate::Lost => return unknown,
            Fate::Late => {
                self.happens_later(batches);
                return unknown;
            }
        }
        self.settle().await;
        let done = self.all.commit(batches).await;
        self.link.answered(done).await.unwrap_or(unknown)
    }
}

impl Rows {
    async fn ask<T>(&self, work: impl Future<Output = Result<T, MetaError>>) -> Result<T, MetaError> {
        if !matches!(self.link.sent().await, Fate::Arrives) {
            return Err(no_answer());
        }
        self.settle().await;
        let done = work.await;
        self.link.answered(done).await.ok_or_else(no_answer)?
    }

    fn happens_later(&self, batches: Vec<Batch>) {
        let late = Late::new(Mutex::new(Some(batches)));
        self.link.late.lock().push(late.clone());
        let (all, later) = (self.all.clone(), Duration::from_millis(self.link.chance.below(LATE_MS) as u64));
        tokio::spawn(async move {
            sleep(later).await;
            let batches = late.lock().take();
            if let Some(batches) = batches {
                all.commit(batches).await;
            }
        });
    }

    /// As engines promise: what was told as unknown happens before what the same process asks later, or never.
    async fn settle(&self) {
        let late = std::mem::take(&mut *self.link.late.lock());
        for batches in late.iter().filter_map(|late| late.lock().take()) {
            if self.link.chance.one_in(2) {
                self.all.commit(batches).await;
            }
        }
    }
}

/// A site as one gateway reaches it.
pub struct Far {
    pub site: Arc<SimSite>,
    pub slot: usize,
    pub link: Arc<Link>,
}

impl Far {
    fn is_in(&self, sites: u8) -> bool {
        sites >> self.slot & 1 == 1
    }

    async fn ask<T>(&self, work: impl Future<Output = Result<T, SiteError>>) -> Result<T, SiteError> {
        let lost = |what: &str| SiteError::Down(format!("simulated: {what}"));
        self.link.until(false).await;
        if self.is_in(self.link.wrong().sites) {
            self.link.travel().await;
            return Err(lost("not reached"));
        }
        let done = work.await;
        let wrong = self.link.wrong();
        let fate = self.link.fate(self.is_in(wrong.sites), self.is_in(wrong.sites_lossy));
        self.link.until(false).await;
        if matches!(fate, Fate::Arrives) { done } else { Err(lost("the answer was lost")) }
    }

    /// Whether a change of which the answer was lost, or that was sent again, arrives once more, and when.
    fn echo(&self) -> Option<Duration> {
        let again = self.is_in(self.link.wrong().sites_lossy) && self.link.chance.one_in(8);
        again.then(|| Duration::from_millis(self.link.chance.below(LATE_MS) as u64))
    }
}

#[async_trait]
impl Site for Far {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        if let Some(later) = self.echo() {
            let (site, name, body) = (self.site.clone(), name.to_owned(), body.to_vec());
            tokio::spawn(async move {
                sleep(later).await;
                let _ = site.put(&name, &body).await;
            });
        }
        self.ask(self.site.put(name, body)).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        self.ask(self.site.get(name, range)).await
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        self.ask(self.site.size(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        self.ask(self.site.delete(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.ask(self.site.list(prefix, after, limit)).await
    }
}

/// A machine's clock: its own speed, and its own idea of the time of the day. It goes on while the process stands still.
pub struct Drifting {
    pub begun: Instant,
    /// Millionths that it is too fast.
    pub ppm: i64,
    /// Milliseconds that the time of the day is wrong.
    pub wrong_ms: i64,
}

impl Clock for Drifting {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000_u64.saturating_add_signed(self.wrong_ms) + self.passed_ms()
    }

    fn passed_ms(&self) -> u64 {
        let ms = self.begun.elapsed().as_millis() as i64;
        // A machine has run for a while before.
        (1_000_000 + ms + ms * self.ppm / 1_000_000).cast_unsigned()
    }
}
