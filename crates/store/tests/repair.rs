//! Repair after an outage: nearest to loss first over the whole queue, gone on with by whoever comes next, no faster than it may.

#[path = "common/whole.rs"]
mod whole;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::limits::COLUMNS;
use base::{BlobId, Clock, Doors, SeededRng};
use bytes::Bytes;
use keys::Keyring;
use meta::record::{BlobRecord, GarbageRecord, Record, RepairProgressRecord, key};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Row, Version, Write};
use parking_lot::Mutex;
use sites::{Entry, Pool, PoolOptions, Site, SiteError, SiteSpec};
use store::api::{DeleteRequest, NewObject, WriteCondition};
use store::{Options, RepairBounds, RepairChange, RepairOptions, RepairReport, Replace, Store};
use tokio::time::Instant;
use whole::Whole;

/// Time as the runtime of a test has it.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000 + self.passed_ms()
    }

    fn passed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// A site that can be out, and tells which shards were put there.
struct Watched {
    inner: Mutex<Arc<sites::Memory>>,
    out: AtomicBool,
    slot: u8,
    puts: Arc<Mutex<Vec<(u8, String)>>>,
    /// Puts of shards until the process stops for good.
    until_stuck: Arc<AtomicUsize>,
}

impl Watched {
    fn site(&self) -> Result<Arc<sites::Memory>, SiteError> {
        if self.out.load(Ordering::SeqCst) { Err(SiteError::Down("out".into())) } else { Ok(self.inner.lock().clone()) }
    }
}

#[async_trait]
impl Site for Watched {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        let site = self.site()?;
        if name.starts_with("shards/") {
            let left = self.until_stuck.load(Ordering::SeqCst);
            if left == 0 {
                return std::future::pending().await;
            }
            self.until_stuck.store(left - 1, Ordering::SeqCst);
            self.puts.lock().push((self.slot, name.to_owned()));
        }
        site.put(name, body).await
    }
    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        self.site()?.get(name, range).await
    }
    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        self.site()?.size(name).await
    }
    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        self.site()?.delete(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.site()?.list(prefix, after, limit).await
    }
}

/// Rows that can be out of reach; to read the repair queue takes its time, and more may happen meanwhile.
struct Rows {
    inner: Memory,
    away: AtomicBool,
    /// How long a page of the queue takes.
    page_in: Mutex<Duration>,
    /// While a page is read this site goes or comes back, as the pool learns at once.
    flips: Mutex<Option<(Arc<Watched>, Store)>>,
}

impl Rows {
    fn check(&self) -> Result<(), MetaError> {
        if self.away.load(Ordering::SeqCst) { Err(MetaError::Unavailable("out of reach".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Engine for Rows {
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.check()?;
        self.inner.get(keys).await
    }
    async fn range(&self, range: meta::Range) -> Result<Page, MetaError> {
        self.check()?;
        if range.to == key::repairs().1 {
            let page_in = *self.page_in.lock();
            tokio::time::sleep(page_in).await;
            let flips = self.flips.lock().as_ref().map(|(site, store)| (site.clone(), store.clone()));
            if let Some((site, store)) = flips {
                site.out.fetch_xor(true, Ordering::SeqCst);
                store.probe().await;
            }
        }
        self.inner.range(range).await
    }
    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        if self.check().is_err() {
            return batches.iter().map(|_| Err(CommitError::Unavailable("out of reach".into()))).collect();
        }
        self.inner.commit_group(batches).await
    }
}

struct World {
    rows: Arc<Rows>,
    sites: [Arc<Watched>; COLUMNS],
    puts: Arc<Mutex<Vec<(u8, String)>>>,
    until_stuck: Arc<AtomicUsize>,
    clock: Arc<TestClock>,
    starts: u8,
}

impl World {
    fn new() -> Self {
        let (puts, until_stuck) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let sites = std::array::from_fn(|slot| {
            Arc::new(Watched {
                inner: Mutex::default(),
                out: AtomicBool::new(false),
                slot: slot as u8,
                puts: puts.clone(),
                until_stuck: until_stuck.clone(),
            })
        });
        let clock = Arc::new(TestClock(Instant::now()));
        let rows = Arc::new(Rows {
            inner: Memory::shared(),
            away: AtomicBool::new(false),
            page_in: Mutex::default(),
            flips: Mutex::default(),
        });
        Self { rows, sites, puts, until_stuck, clock, starts: 0 }
    }

    /// A process starts beside those that run.
    async fn start(&mut self, repair: RepairOptions, background: bool) -> Store {
        self.starts += 1;
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: self.sites[slot].clone(),
        });
        let pool = Arc::new(Pool::new(specs, self.clock.clone(), PoolOptions::default()));
        let doors = Doors { clock: self.clock.clone(), rng: Arc::new(SeededRng::new(u64::from(self.starts))) };
        let gateway = format!("gw{}", self.starts);
        let options = Options { background, repair, gateway, ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let store = Store::open(self.rows.clone(), pool, Keyring::ephemeral(&SeededRng::new(1)), root, options);
        store.await.unwrap()
    }

    async fn set_out(&self, store: &Store, slot: usize, out: bool) {
        self.sites[slot].out.store(out, Ordering::SeqCst);
        store.probe().await;
    }

    /// An empty site comes to a slot.
    async fn replace(&self, store: &Store, slot: usize) {
        *self.sites[slot].inner.lock() = Arc::default();
        store.replace_site(&format!("dc{slot}"), Replace { force: true, lose_keys: true }).await.unwrap();
    }

    async fn rows(&self, (from, to): (meta::Key, meta::Key)) -> Vec<(BlobId, Bytes)> {
        let page = self.rows.range(meta::Range { from, to, limit: 10_000 }).await.unwrap();
        page.rows.into_iter().map(|(row_key, row)| (key::blob_of(&row_key).unwrap(), row.value)).collect()
    }

    async fn queued(&self) -> usize {
        self.rows(key::repairs()).await.len()
    }

    /// Shards that were put since the last call: the slot, and the blob.
    fn take_puts(&self) -> Vec<(u8, BlobId)> {
        let puts = std::mem::take(&mut *self.puts.lock());
        let blob = |name: &str| name.rsplit('/').next().unwrap().split('.').next().unwrap().parse().unwrap();
        puts.into_iter().map(|(slot, name)| (slot, blob(&name))).collect()
    }

    /// All shards are at home.
    async fn assert_whole(&self, store: &Store) {
        assert_eq!(self.queued().await, 0);
        for (blob, row) in self.rows(key::blobs()).await {
            assert_eq!(BlobRecord::decode(&row).unwrap().away, [], "{blob}");
            for site in &self.sites {
                // Homes are turned by the blob's last byte.
                let column = (site.slot + 5 - blob.as_bytes()[15] % 5) % 5;
                let name = format!("{blob}.0.{column}");
                assert!(
                    site.inner.lock().names().iter().any(|there| there.ends_with(&name)),
                    "{name} at {}",
                    site.slot
                );
            }
        }
        assert_eq!(store.status().await.unwrap().state, store::State::Whole);
    }
}

/// Each is a blob of its own, as nothing else is written at the time.
async fn put(store: &Store, objects: Range<usize>) {
    for i in objects {
        let body = Bytes::from(vec![i as u8; 20_000]);
        let (size, mut source) = (body.len() as u64, Whole(Some(body)));
        let (object, condition) = (NewObject::default(), WriteCondition::default());
        store.put("b", &format!("o{i}"), object, size, &condition, &mut source).await.unwrap();
    }
}

fn in_small_plans(plan: usize) -> RepairOptions {
    RepairOptions { plan, ..RepairOptions::default() }
}

fn blobs(report: &RepairReport) -> [u64; 4] {
    std::array::from_fn(|class| report.queued[class].blobs)
}

/// One site was out for long. When it is back another one is out: blobs that lost two shards by that come before those that
/// lost one, whenever they were queued, and before those that lost none.
#[tokio::test(start_paused = true)]
async fn nearest_to_loss_first_over_the_whole_queue() {
    for plan in [1, 3, 1000] {
        let mut world = World::new();
        let store = world.start(in_small_plans(plan), false).await;
        store.create_bucket("b", "root", false).await.unwrap();
        world.set_out(&store, 0, true).await;
        put(&store, 0..30).await;
        world.set_out(&store, 0, false).await;
        world.set_out(&store, 1, true).await;
        // Two shards of these are at the site that is out now, or one is.
        let lost: HashMap<BlobId, usize> = world
            .rows(key::blobs())
            .await
            .into_iter()
            .map(|(blob, row)| {
                let away = BlobRecord::decode(&row).unwrap().away;
                (blob, away[0].slots.iter().filter(|slot| **slot == 1).count())
            })
            .collect();
        assert_eq!(world.queued().await, 30);
        let (two, one) = [2, 1].map(|lost_now| lost.values().filter(|lost| **lost == lost_now).count()).into();
        assert!(two > 3 && one > 3 && two + one == 30, "{lost:?}");
        world.take_puts();
        store.repair_pass().await.unwrap();
        // Of those with two shards at the site that is out one is at home there.
        let order: Vec<usize> = world.take_puts().iter().map(|(_, blob)| lost[blob]).collect();
        assert!(order.len() >= 30, "{plan}: {order:?}");
        let until = order.iter().rposition(|lost| *lost == 2).unwrap();
        let early = order[..until].iter().filter(|lost| **lost == 1).count();
        assert!(early <= 2, "{plan}: three are worked on at once: {order:?}");
        // All shards but those at the site that is out are at home; the rows stay until those were looked at.
        world.set_out(&store, 1, false).await;
        world.take_puts();
        store.repair_pass().await.unwrap();
        world.assert_whole(&store).await;
        let report = store.repair_report().await.unwrap();
        assert_eq!((blobs(&report), report.since_ms, report.why.as_str()), ([0; 4], None, "nothing to do"));
    }
}

/// Risk is that of now: the same rows are of another class when a site goes or comes back, and nothing was written.
#[tokio::test(start_paused = true)]
async fn risk_follows_the_sites() {
    let mut world = World::new();
    let store = world.start(in_small_plans(3), false).await;
    store.create_bucket("b", "root", false).await.unwrap();
    world.set_out(&store, 0, true).await;
    put(&store, 0..20).await;
    // (sites that are out) -> blobs by class: last, thin, away, beyond
    let mut classes = BTreeMap::new();
    for out in [vec![0], vec![0, 1], vec![0, 1, 2], vec![0]] {
        for slot in 0..3 {
            world.set_out(&store, slot, out.contains(&slot)).await;
        }
        store.repair_pass().await.unwrap();
        classes.entry(out).or_insert_with(Vec::new).push(blobs(&store.repair_report().await.unwrap()));
    }
    assert_eq!(classes[&vec![0]], [[0, 0, 20, 0]; 2], "all are durable");
    let [last, thin, 0, 0] = classes[&vec![0, 1]][0] else { panic!("{classes:?}") };
    assert!(last > 0 && thin > 0 && last + thin == 20);
    let [last, 0, 0, beyond] = classes[&vec![0, 1, 2]][0] else { panic!("{classes:?}") };
    assert!(last > 0 && beyond > 0 && last + beyond == 20);
    assert_eq!(world.queued().await, 20);
}

/// A process is gone in the middle; another gateway goes on. No shard is put twice but those that were under way.
#[tokio::test(start_paused = true)]
async fn another_gateway_goes_on() {
    let mut world = World::new();
    let first = world.start(in_small_plans(7), false).await;
    first.create_bucket("b", "root", false).await.unwrap();
    world.set_out(&first, 0, true).await;
    put(&first, 0..40).await;
    world.set_out(&first, 0, false).await;
    world.take_puts();
    world.until_stuck.store(17, Ordering::SeqCst);
    let cut = tokio::time::timeout(Duration::from_secs(5), first.repair_pass()).await;
    assert!(cut.is_err(), "it hangs in the middle");
    let told = first.repair_report().await.unwrap();
    assert_eq!((told.gateway.as_str(), told.queued[2].risk.as_str()), ("gw1", "away"));
    assert!(told.since_ms.is_some());
    drop(first);
    let left = world.queued().await;
    assert!((23..=26).contains(&left), "{left}: three are under way at most");

    world.until_stuck.store(usize::MAX, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = world.start(in_small_plans(7), false).await;
    let third = world.start(in_small_plans(7), false).await;
    second.repair_pass().await.unwrap();
    let mut homes: HashMap<(u8, BlobId), usize> = HashMap::new();
    for put in world.take_puts().into_iter().filter(|(slot, _)| *slot == 0) {
        *homes.entry(put).or_default() += 1;
    }
    assert_eq!(homes.len(), 40);
    let twice = homes.values().filter(|times| **times > 1).count();
    assert!(twice <= 3 && homes.values().all(|times| *times <= 2), "{homes:?}");
    world.assert_whole(&second).await;
    // Who did not do it tells it as well; and it is one outage, whoever repaired.
    let report = third.repair_report().await.unwrap();
    assert_eq!((report.gateway.as_str(), report.since_ms, report.to_walk), ("gw2", None, 0));
    assert_eq!(report.done, left as u64);
    assert!(report.told_ms > told.told_ms);
    let row = world.rows.get(&[key::repair_progress_key()]).await.unwrap().remove(0).unwrap();
    assert_eq!(Some(RepairProgressRecord::decode(&row.value).unwrap().since_ms), told.since_ms);
}

/// Two sites are replaced, the second while the first is being filled, and the process is gone in between.
#[tokio::test(start_paused = true)]
async fn replaced_sites_are_filled_by_one_walk() {
    let mut world = World::new();
    let first = world.start(RepairOptions::default(), false).await;
    first.create_bucket("b", "root", false).await.unwrap();
    put(&first, 0..150).await;
    world.replace(&first, 2).await;
    world.take_puts();
    // One shard of each blob until then.
    world.until_stuck.store(70, Ordering::SeqCst);
    assert!(tokio::time::timeout(Duration::from_secs(5), first.repair_pass()).await.is_err(), "it hangs in the middle");
    drop(first);
    world.until_stuck.store(usize::MAX, Ordering::SeqCst);
    let walked: Vec<BlobId> = world.take_puts().into_iter().map(|(_, blob)| blob).collect();
    assert_eq!(walked.len(), 70);

    let second = world.start(RepairOptions::default(), false).await;
    world.replace(&second, 3).await;
    second.repair_pass().await.unwrap();
    let mut puts: BTreeMap<BlobId, Vec<u8>> = BTreeMap::new();
    let mut order = Vec::new();
    for (slot, blob) in world.take_puts() {
        puts.entry(blob).or_default().push(slot);
        order.push(blob);
    }
    for (blob, slots) in &mut puts {
        slots.sort_unstable();
        let expected: &[u8] = if walked.contains(blob) { &[3] } else { &[2, 3] };
        assert_eq!(slots, expected, "{blob}: once at each site that lacked it");
    }
    assert_eq!(puts.len(), 150);
    // Those that lacked two come before those that lacked one, but for the page that was cut off.
    let lacked: Vec<usize> = order.iter().map(|blob| puts[blob].len()).collect();
    let until = lacked.iter().rposition(|lacked| *lacked == 2).unwrap();
    let early = lacked[..until].iter().filter(|lacked| **lacked == 1).count();
    assert!(early <= 32, "{lacked:?}");
    world.assert_whole(&second).await;
}

/// A second site is out while one is filled. What that one has is waited for; no row is made for it.
#[tokio::test(start_paused = true)]
async fn a_walk_queues_nothing_for_a_site_that_is_out() {
    let mut world = World::new();
    let store = world.start(RepairOptions::default(), false).await;
    store.create_bucket("b", "root", false).await.unwrap();
    put(&store, 0..40).await;
    world.set_out(&store, 4, true).await;
    world.replace(&store, 2).await;
    let before = store.repair_report().await.unwrap();
    store.repair_pass().await.unwrap();
    assert_eq!(world.queued().await, 0);
    assert!(store.status().await.unwrap().sites[2].resync.is_none());
    world.set_out(&store, 4, false).await;
    world.assert_whole(&store).await;
    assert!(store.repair_report().await.unwrap().done >= before.done);
}

/// By itself, in the background: an operator's pause holds, his limit is kept to, and it gets done.
#[tokio::test(start_paused = true)]
async fn no_faster_than_it_may() {
    let mut world = World::new();
    let bounds = RepairBounds { max_bytes_per_s: NonZeroU64::new(64 << 10).unwrap(), ..RepairBounds::default() };
    let store = world.start(RepairOptions { bounds, ..RepairOptions::default() }, true).await;
    store.create_bucket("b", "root", false).await.unwrap();
    let pause = |paused| RepairChange { paused: Some(paused), max_bytes_per_s: None };
    store.steer_repair(pause(true)).await.unwrap();
    world.set_out(&store, 0, true).await;
    put(&store, 0..30).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.set_out(&store, 0, false).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let report = store.repair_report().await.unwrap();
    assert_eq!((world.queued().await, report.paused, report.why.as_str()), (30, true, "paused"));
    assert_eq!(store.status().await.unwrap().repair_backlog, 30);

    let begun = Instant::now();
    store.steer_repair(pause(false)).await.unwrap();
    let mut seconds = 0;
    let mut seen = Vec::new();
    while world.queued().await > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seconds += 1;
        seen.push(store.repair_report().await.unwrap());
        assert!(seconds < 3600, "{seen:?}");
    }
    // 30 blobs of five looks, a read and a write at 16 KiB beside the bytes: 3.3 MiB, at 64 KiB a second.
    assert!(begun.elapsed() > Duration::from_secs(45), "{:?}", begun.elapsed());
    let rates: Vec<u64> = seen.iter().map(|report| report.bytes_per_s).collect();
    assert!(rates.iter().all(|rate| *rate <= 64 << 10) && rates.iter().any(|rate| *rate > 0), "{rates:?}");
    assert!(seen.iter().any(|report| report.eta_s.is_some() && report.limit_bytes_per_s == 64 << 10));
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.assert_whole(&store).await;
    let report = store.repair_report().await.unwrap();
    assert_eq!((report.since_ms, report.done), (None, 30));
    store.shutdown().await;
}

/// A site goes or comes back each time that the queue is read: what can be done is done all the same.
#[tokio::test(start_paused = true)]
async fn goes_on_while_a_site_flips() {
    for plan in [1000, 7] {
        let mut world = World::new();
        let store = world.start(in_small_plans(plan), false).await;
        store.create_bucket("b", "root", false).await.unwrap();
        world.set_out(&store, 0, true).await;
        put(&store, 0..40).await;
        world.set_out(&store, 0, false).await;
        world.take_puts();
        *world.rows.page_in.lock() = Duration::from_millis(50);
        *world.rows.flips.lock() = Some((world.sites[4].clone(), store.clone()));
        // As no two plans find the sites the same, it may have no end.
        let _ = tokio::time::timeout(Duration::from_secs(20), store.repair_pass()).await;
        *world.rows.flips.lock() = None;
        let home = world.take_puts().iter().filter(|(slot, _)| *slot == 0).count();
        assert_eq!(
            home, 40,
            "{plan}: what may go home is there, each once, though the sites were never the same for two plans"
        );
        world.set_out(&store, 4, false).await;
        store.repair_pass().await.unwrap();
        world.assert_whole(&store).await;
    }
}

/// What was deleted is half collected when a site goes: what is missing of it is missed by nobody, and no alarm.
#[tokio::test(start_paused = true)]
async fn what_is_half_collected_is_no_loss() {
    let mut world = World::new();
    let store = world.start(RepairOptions::default(), false).await;
    store.create_bucket("b", "root", false).await.unwrap();
    put(&store, 0..2).await;
    store.delete("b", "o0", &DeleteRequest::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.set_out(&store, 4, true).await;
    for _ in 0..2 {
        store.collect_garbage().await.unwrap();
    }
    let shards = || world.sites.iter().map(|site| site.inner.lock().names().len()).collect::<Vec<_>>();
    // Those columns that come before the one at the site that is out.
    assert!(shards().iter().any(|count| *count < shards()[4]), "{:?}", shards());
    assert!(store.start_scrub());
    while store.scrub_progress().running {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let scrub = store.scrub_progress();
    assert_eq!((scrub.missing, scrub.mended, scrub.unrepairable), (0, 0, 0), "nor is it made anew");
    assert_eq!(store.status().await.unwrap().state, store::State::Degraded);
    world.set_out(&store, 4, false).await;
    for _ in 0..2 {
        store.collect_garbage().await.unwrap();
    }
    assert_eq!(world.rows(key::blobs()).await.len(), 1);
}

/// A gateway whose clock was ahead collected half of what was deleted. By all other clocks it is not due for an hour: that is no hour of repair.
#[tokio::test(start_paused = true)]
async fn what_a_clock_that_was_ahead_half_collected_waits_for_nobody() {
    let mut world = World::new();
    let store = world.start(RepairOptions::default(), false).await;
    store.create_bucket("b", "root", false).await.unwrap();
    world.set_out(&store, 0, true).await;
    put(&store, 0..10).await;
    world.set_out(&store, 0, false).await;
    assert_eq!(world.queued().await, 10);
    for number in 0..10 {
        store.delete("b", &format!("o{number}"), &DeleteRequest::default()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.set_out(&store, 4, true).await;
    for _ in 0..2 {
        store.collect_garbage().await.unwrap();
    }
    world.set_out(&store, 4, false).await;
    let (from, to) = key::garbage();
    let page = world.rows.range(meta::Range { from, to, limit: 1000 }).await.unwrap();
    let later = |(row_key, row): (Key, Row)| {
        let garbage = GarbageRecord::decode(&row.value).unwrap();
        let garbage = GarbageRecord { since_ms: garbage.since_ms + 3_600_000, ..garbage };
        Write::Put(row_key, garbage.encode())
    };
    world.rows.commit(Batch { checks: vec![], writes: page.rows.into_iter().map(later).collect() }).await.unwrap();
    let mut unrepairable = 0;
    for _ in 0..2 {
        assert!(store.start_scrub());
        while store.scrub_progress().running {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unrepairable += store.scrub_progress().unrepairable;
        store.repair_pass().await.unwrap();
    }
    assert_eq!((unrepairable, world.queued().await), (0, 0));
    assert_eq!(store.status().await.unwrap().state, store::State::Whole);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    for _ in 0..2 {
        store.collect_garbage().await.unwrap();
    }
    assert_eq!(world.rows(key::blobs()).await.len(), 0);
}

/// An operator paused repair, and the gateway that was about to mend leads no more: it ends that, and does not wait for the pause's end.
#[tokio::test(start_paused = true)]
async fn who_leads_no_more_waits_for_no_turn() {
    let mut world = World::new();
    let store = world.start(RepairOptions::default(), true).await;
    store.create_bucket("b", "root", false).await.unwrap();
    store.steer_repair(RepairChange { paused: Some(true), max_bytes_per_s: None }).await.unwrap();
    world.set_out(&store, 0, true).await;
    put(&store, 0..10).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.set_out(&store, 0, false).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = || store.workers().into_iter().find(|worker| worker.name == "repair").unwrap().state;
    assert_eq!(state(), "running", "it waits for its turn");
    world.take_puts();
    world.rows.away.store(true, Ordering::SeqCst);
    // For ten seconds a gateway goes on without having seen that it leads.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(state(), "idle");
    world.rows.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.steer_repair(RepairChange { paused: Some(false), max_bytes_per_s: None }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    world.assert_whole(&store).await;
    store.shutdown().await;
}
