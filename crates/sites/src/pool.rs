//! Five sites as one: placement, hand-off, health.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Clock;
use base::limits::{COLUMNS, DATA_COLUMNS};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::health::{Health, P95, ProbeResult, SiteState};
use crate::{Entry, Marker, Memory, Site, SiteError, read_marker};

/// Columns of one stripe that one site may hold. Two, so that with two sites down (2+2+1) the
/// loss of a third still leaves three columns.
const COLUMNS_PER_SITE_MAX: usize = 2;

/// A site and how it is called.
#[derive(Clone)]
pub struct SiteSpec {
    /// Unique among the five.
    pub name: String,
    /// For people.
    pub url: String,
    /// The site.
    pub site: Arc<dyn Site>,
}

/// Time bounds of the pool.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// A put that takes longer has failed.
    pub put_deadline: Duration,
    /// A get that takes longer has failed.
    pub get_deadline: Duration,
    /// Once three columns of a stripe are durable, the others get at least this long before
    /// they are handed to other sites.
    pub straggler_min: Duration,
    /// Time between probes of a site.
    pub probe_every: Duration,
    /// A probe that takes longer has failed.
    pub probe_deadline: Duration,
    /// A reader waits at least this long for a column before it asks the parity columns too.
    pub hedge_min: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            put_deadline: Duration::from_secs(20),
            get_deadline: Duration::from_secs(10),
            straggler_min: Duration::from_millis(1500),
            probe_every: Duration::from_secs(1),
            probe_deadline: Duration::from_secs(3),
            hedge_min: Duration::from_millis(20),
        }
    }
}

/// Why five shards could not be made durable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("only {placed} of 5 shards found a site: {last}")]
pub struct PlaceError {
    /// Shards that were made durable.
    pub placed: usize,
    /// Every refusal was for lack of space.
    pub full: bool,
    /// Sites that take writes.
    pub live: usize,
    /// The last refusal.
    pub last: SiteError,
}

/// What operators see of a site.
#[derive(Debug, Clone)]
pub struct SiteView {
    /// As configured.
    pub name: String,
    /// As configured.
    pub url: String,
    /// The state.
    pub state: SiteState,
    /// When the state began, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// What is wrong.
    pub error: Option<String>,
    /// Puts that succeeded since start.
    pub puts: u64,
    /// Gets that succeeded since start.
    pub gets: u64,
    /// Operations that failed since start.
    pub errors: u64,
    /// Shards found there with wrong bytes since start.
    pub damaged: u64,
    /// Estimated 95th percentile of put latency, milliseconds.
    pub put_p95_ms: f64,
    /// The same for gets.
    pub get_p95_ms: f64,
}

struct Member {
    spec: SiteSpec,
    health: RwLock<Health>,
    expected: RwLock<Option<Marker>>,
    put_p95: Mutex<P95>,
    get_p95: Mutex<P95>,
    puts: AtomicU64,
    gets: AtomicU64,
    errors: AtomicU64,
    damaged: AtomicU64,
}

/// Five sites.
pub struct Pool {
    members: [Member; COLUMNS],
    options: PoolOptions,
    clock: Arc<dyn Clock>,
    changed: Notify,
    /// Rises with each marker that is to be expected.
    generation: AtomicU64,
}

impl Pool {
    /// A pool over five sites in memory, `dc0` to `dc4`: for tests and simulation.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        let sites = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: Arc::new(Memory::new()),
        });
        Self::new(sites, clock, PoolOptions::default())
    }

    /// A pool over five sites, in slot order.
    pub fn new(sites: [SiteSpec; COLUMNS], clock: Arc<dyn Clock>, options: PoolOptions) -> Self {
        let now_ms = clock.now_ms();
        let members = sites.map(|spec| Member {
            spec,
            health: RwLock::new(Health::new(now_ms)),
            expected: RwLock::new(None),
            put_p95: Mutex::default(),
            get_p95: Mutex::default(),
            puts: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        });
        Self { members, options, clock, changed: Notify::new(), generation: AtomicU64::new(0) }
    }

    fn member(&self, slot: u8) -> &Member {
        // Slots come from stored records too: fold what cannot be, rather than panic.
        &self.members[usize::from(slot) % COLUMNS]
    }

    /// The time bounds in force.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// The bare site in a slot: for marker handling and sweeps.
    pub fn site(&self, slot: u8) -> Arc<dyn Site> {
        self.member(slot).spec.site.clone()
    }

    /// The state of a slot's site.
    pub fn state(&self, slot: u8) -> SiteState {
        self.member(slot).health.read().state()
    }

    /// The slot of the site with this name.
    pub fn slot_of(&self, name: &str) -> Option<u8> {
        let slot = self.members.iter().position(|member| member.spec.name == name)?;
        u8::try_from(slot).ok()
    }

    /// Says which marker the slot's site must carry. Until then any marker will do.
    pub fn expect(&self, slot: u8, marker: Marker) {
        *self.member(slot).expected.write() = Some(marker);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The marker that the slot's site must carry.
    pub fn expects(&self, slot: u8) -> Option<Marker> {
        self.member(slot).expected.read().clone()
    }

    /// Rises whenever a slot is given to another site. What was put before may be on the old one.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Resolves when some site's state has changed since this was called.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// What operators see of a slot.
    pub fn view(&self, slot: u8) -> SiteView {
        let member = self.member(slot);
        let health = member.health.read();
        SiteView {
            name: member.spec.name.clone(),
            url: member.spec.url.clone(),
            state: health.state(),
            since_ms: health.since_ms(),
            error: health.error().map(str::to_owned),
            puts: member.puts.load(Ordering::Relaxed),
            gets: member.gets.load(Ordering::Relaxed),
            errors: member.errors.load(Ordering::Relaxed),
            damaged: member.damaged.load(Ordering::Relaxed),
            put_p95_ms: member.put_p95.lock().micros() / 1000.0,
            get_p95_ms: member.get_p95.lock().micros() / 1000.0,
        }
    }

    /// How long a reader waits for this site before it hedges: three times its 95th percentile.
    pub fn hedge_after(&self, slot: u8) -> Duration {
        let p95 = Duration::from_micros(self.member(slot).get_p95.lock().micros() as u64);
        (p95 * 3).clamp(self.options.hedge_min, self.options.get_deadline)
    }

    /// Counts a shard whose bytes are not those that were put. The site stays in service: of what else it gives the same
    /// checks judge.
    pub fn note_damage(&self, slot: u8) {
        self.member(slot).damaged.fetch_add(1, Ordering::Relaxed);
    }

    fn note_failure(&self, slot: u8, error: &SiteError) {
        let member = self.member(slot);
        member.errors.fetch_add(1, Ordering::Relaxed);
        let changed = member.health.write().failed(error, self.clock.now_ms());
        if changed {
            tracing::warn!(site = %member.spec.name, %error, "site leaves service");
            self.changed.notify_waiters();
        }
    }

    /// Puts a name at one site, durably, within the deadline.
    ///
    /// # Errors
    /// [`SiteError`]; the site's health is told.
    pub async fn put(&self, slot: u8, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        let member = self.member(slot);
        let begun = Instant::now();
        let done = tokio::time::timeout(self.options.put_deadline, member.spec.site.put(name, body)).await;
        match done.unwrap_or(Err(SiteError::Slow)) {
            Ok(()) => {
                member.puts.fetch_add(1, Ordering::Relaxed);
                member.put_p95.lock().add(begun.elapsed().as_micros() as f64);
                Ok(())
            }
            Err(error) => {
                self.note_failure(slot, &error);
                Err(error)
            }
        }
    }

    /// Reads a range from one site within the deadline. A site known to be out of service is
    /// not asked.
    ///
    /// # Errors
    /// [`SiteError`]; the site's health is told.
    pub async fn get(&self, slot: u8, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        let member = self.member(slot);
        self.require_readable(slot)?;
        let begun = Instant::now();
        let done = tokio::time::timeout(self.options.get_deadline, member.spec.site.get(name, range)).await;
        match done.unwrap_or(Err(SiteError::Slow)) {
            Ok(bytes) => {
                member.gets.fetch_add(1, Ordering::Relaxed);
                member.get_p95.lock().add(begun.elapsed().as_micros() as f64);
                Ok(bytes)
            }
            Err(error) => {
                self.note_failure(slot, &error);
                Err(error)
            }
        }
    }

    /// The size of a name at one site, within the deadline.
    ///
    /// # Errors
    /// [`SiteError`]; the site's health is told.
    pub async fn size(&self, slot: u8, name: &str) -> Result<u64, SiteError> {
        self.require_readable(slot)?;
        self.bounded(slot, self.member(slot).spec.site.size(name)).await
    }

    /// Removes a name at one site.
    ///
    /// # Errors
    /// [`SiteError`]; the site's health is told.
    pub async fn delete(&self, slot: u8, name: &str) -> Result<(), SiteError> {
        self.require_readable(slot)?;
        self.bounded(slot, self.member(slot).spec.site.delete(name)).await
    }

    /// Names at one site, as [`Site::list`] tells them, within the deadline.
    ///
    /// # Errors
    /// [`SiteError`]; the site's health is told.
    pub async fn list(
        &self,
        slot: u8,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, SiteError> {
        self.require_readable(slot)?;
        self.bounded(slot, self.member(slot).spec.site.list(prefix, after, limit)).await
    }

    fn require_readable(&self, slot: u8) -> Result<(), SiteError> {
        let state = self.state(slot);
        if state.readable() { Ok(()) } else { Err(SiteError::Down(format!("out of service: {}", state.word()))) }
    }

    async fn bounded<T>(&self, slot: u8, work: impl Future<Output = Result<T, SiteError>>) -> Result<T, SiteError> {
        let done = tokio::time::timeout(self.options.get_deadline, work).await;
        done.unwrap_or(Err(SiteError::Slow)).inspect_err(|error| self.note_failure(slot, error))
    }

    /// Makes five shards durable and tells where each one is. A column whose home is dead, full
    /// or slow goes to another site; no site gets more than two.
    ///
    /// # Errors
    /// [`PlaceError`] when some column found no site. Shards that were stored stay behind as
    /// garbage under names that nothing refers to.
    pub async fn put_shards(
        &self,
        home: [u8; COLUMNS],
        names: &[String; COLUMNS],
        bodies: &[Vec<Bytes>; COLUMNS],
    ) -> Result<[u8; COLUMNS], PlaceError> {
        let mut plan = Placement::new(home);
        let mut running = FuturesUnordered::new();
        let start = |column: usize, slot: u8| async move {
            (column, slot, self.put(slot, &names[column], &bodies[column]).await)
        };
        let begun = Instant::now();
        let mut straggler_at = None;
        let mut last = SiteError::Down("no site takes writes".to_owned());
        let mut only_full = true;
        let writable =
            || -> [bool; COLUMNS] { std::array::from_fn(|slot| self.members[slot].health.read().state().writable()) };
        for column in 0..COLUMNS {
            if let Some(slot) = plan.choose(column, &writable()) {
                running.push(start(column, slot));
            }
        }
        while !plan.complete() {
            let step = async {
                match straggler_at {
                    Some(at) => tokio::time::timeout_at(at, running.next()).await.ok(),
                    None => Some(running.next().await),
                }
            };
            match step.await {
                // Nothing in flight and not complete: every site was tried.
                Some(None) => {
                    let live = writable().iter().filter(|w| **w).count();
                    // Also of the sites that were not asked: where none is in reach, nobody has said that space is short.
                    let mut states = self.members.iter().map(|member| member.health.read().state());
                    only_full &= states.all(|state| state.writable() || state == SiteState::Full);
                    return Err(PlaceError {
                        placed: plan.placed(),
                        full: only_full && live < DATA_COLUMNS,
                        live,
                        last,
                    });
                }
                Some(Some((column, slot, Ok(())))) => {
                    plan.done(column, slot);
                    if plan.placed() == DATA_COLUMNS && straggler_at.is_none() {
                        let patience = (begun.elapsed() * 4).max(self.options.straggler_min);
                        straggler_at = Some(Instant::now() + patience);
                    }
                }
                Some(Some((column, slot, Err(error)))) => {
                    only_full &= matches!(error, SiteError::Full(_));
                    last = error;
                    plan.failed(column, slot);
                    if !plan.is_done(column)
                        && let Some(next) = plan.choose(column, &writable())
                    {
                        running.push(start(column, next));
                    }
                }
                // The others are durable and these still are not: hand them on, and let the
                // first to finish win.
                None => {
                    straggler_at = None;
                    // All that are late first: else one of two would be handed on to the other.
                    for slot in plan.open_columns().into_iter().flat_map(|column| plan.in_flight(column)) {
                        self.note_failure(slot, &SiteError::Slow);
                    }
                    for column in plan.open_columns() {
                        if let Some(next) = plan.choose(column, &writable()) {
                            running.push(start(column, next));
                        }
                    }
                }
            }
        }
        Ok(plan.slots())
    }

    /// Looks at every site once: is the marker there, is it the right one, and where writes
    /// were refused, do they work again?
    pub async fn probe_all(&self) {
        let probes = (0..COLUMNS).map(|slot| self.probe(slot as u8));
        futures::future::join_all(probes).await;
    }

    async fn probe(&self, slot: u8) {
        let member = self.member(slot);
        let probe = self.probe_once(slot);
        let result = tokio::time::timeout(self.options.probe_deadline, probe).await.unwrap_or(Err(SiteError::Slow));
        let changed = member.health.write().probed(&result, self.clock.now_ms());
        if changed {
            let state = self.state(slot);
            tracing::warn!(site = %member.spec.name, state = state.word(), "site changes state");
            self.changed.notify_waiters();
        }
    }

    async fn probe_once(&self, slot: u8) -> Result<ProbeResult, SiteError> {
        let member = self.member(slot);
        let site = &member.spec.site;
        let found = read_marker(site.as_ref()).await?;
        let expected = member.expected.read().clone();
        match (found, expected) {
            (None, _) => return Ok(ProbeResult::Empty),
            (Some(found), Some(expected)) if found != expected => return Ok(ProbeResult::Foreign),
            _ => {}
        }
        if !self.state(slot).writable() {
            let name = format!("probe/{slot}");
            // Larger than what a folder keeps in its log, so that the trial needs real space.
            let trial = Bytes::from(vec![0; 256 * 1024]);
            site.put(&name, &[trial]).await?;
            site.delete(&name).await?;
        }
        Ok(ProbeResult::Good)
    }
}

/// Which column is, or is being, put where. Pure.
struct Placement {
    home: [u8; COLUMNS],
    done: [Option<u8>; COLUMNS],
    in_flight: HashSet<(usize, u8)>,
    tried: HashSet<(usize, u8)>,
}

impl Placement {
    fn new(home: [u8; COLUMNS]) -> Self {
        Self { home, done: [None; COLUMNS], in_flight: HashSet::new(), tried: HashSet::new() }
    }

    fn load(&self, slot: u8) -> usize {
        let done = self.done.iter().filter(|done| **done == Some(slot)).count();
        let coming = self.in_flight.iter().filter(|(column, s)| *s == slot && self.done[*column].is_none()).count();
        // A site that is still somebody's home is kept free for that column.
        let reserved = (0..COLUMNS).any(|c| self.home[c] == slot && !self.tried.contains(&(c, slot)));
        done + coming + usize::from(reserved)
    }

    /// The best site for a column: its home if that was not tried, else the least loaded one.
    fn choose(&mut self, column: usize, writable: &[bool; COLUMNS]) -> Option<u8> {
        let home = self.home[column];
        if !self.tried.contains(&(column, home)) {
            self.tried.insert((column, home));
            if writable[usize::from(home) % COLUMNS] {
                self.in_flight.insert((column, home));
                return Some(home);
            }
        }
        let candidates = (0..COLUMNS as u8).filter(|slot| {
            writable[usize::from(*slot)]
                && !self.tried.contains(&(column, *slot))
                && self.load(*slot) < COLUMNS_PER_SITE_MAX
        });
        let slot =
            candidates.min_by_key(|slot| (self.load(*slot), (usize::from(*slot) + COLUMNS - column) % COLUMNS))?;
        self.tried.insert((column, slot));
        self.in_flight.insert((column, slot));
        Some(slot)
    }

    fn done(&mut self, column: usize, slot: u8) {
        self.in_flight.remove(&(column, slot));
        self.done[column].get_or_insert(slot);
    }

    fn failed(&mut self, column: usize, slot: u8) {
        self.in_flight.remove(&(column, slot));
    }

    fn is_done(&self, column: usize) -> bool {
        self.done[column].is_some() || self.in_flight.iter().any(|(c, _)| *c == column)
    }

    fn in_flight(&self, column: usize) -> Vec<u8> {
        self.in_flight.iter().filter(|(c, _)| *c == column).map(|(_, slot)| *slot).collect()
    }

    fn open_columns(&self) -> Vec<usize> {
        (0..COLUMNS).filter(|column| self.done[*column].is_none()).collect()
    }

    fn placed(&self) -> usize {
        self.done.iter().flatten().count()
    }

    fn complete(&self) -> bool {
        self.placed() == COLUMNS
    }

    fn slots(&self) -> [u8; COLUMNS] {
        self.done.map(|slot| slot.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use async_trait::async_trait;
    use base::ManualClock;

    const HOME: [u8; 5] = [0, 1, 2, 3, 4];

    /// Plays a write in which every put to an unwritable site would fail.
    fn place(writable: [bool; 5]) -> Option<[u8; 5]> {
        let mut plan = Placement::new(HOME);
        for column in 0..COLUMNS {
            let slot = plan.choose(column, &writable)?;
            plan.done(column, slot);
        }
        Some(plan.slots())
    }

    /// For every set of live sites: all five columns are placed with three or more, and then
    /// the loss of as many sites as the promise says leaves three columns.
    #[test]
    fn every_set_of_live_sites() {
        for mask in 0u8..32 {
            let writable: [bool; 5] = std::array::from_fn(|slot| mask & (1 << slot) != 0);
            let live = writable.iter().filter(|w| **w).count();
            let Some(slots) = place(writable) else {
                assert!(live < 3, "no placement with {live} live sites");
                continue;
            };
            assert!(live >= 3, "a placement on {live} sites would not survive a loss");
            for slot in 0..5u8 {
                let columns = slots.iter().filter(|s| **s == slot).count();
                assert!(columns <= 2, "{slots:?}");
                assert!(columns == 0 || writable[usize::from(slot)], "{slots:?}");
                assert!(live < 5 || slots == HOME);
            }
        }
    }

    struct Stuck;

    #[async_trait]
    impl Site for Stuck {
        async fn put(&self, _: &str, _: &[Bytes]) -> Result<(), SiteError> {
            std::future::pending().await
        }
        async fn get(&self, _: &str, _: Range<u64>) -> Result<Bytes, SiteError> {
            std::future::pending().await
        }
        async fn size(&self, _: &str) -> Result<u64, SiteError> {
            std::future::pending().await
        }
        async fn delete(&self, _: &str) -> Result<(), SiteError> {
            std::future::pending().await
        }
        async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<crate::Entry>, SiteError> {
            std::future::pending().await
        }
    }

    struct Refuses(SiteError);

    #[async_trait]
    impl Site for Refuses {
        async fn put(&self, _: &str, _: &[Bytes]) -> Result<(), SiteError> {
            Err(self.0.clone())
        }
        async fn get(&self, _: &str, _: Range<u64>) -> Result<Bytes, SiteError> {
            Err(self.0.clone())
        }
        async fn size(&self, _: &str) -> Result<u64, SiteError> {
            Err(self.0.clone())
        }
        async fn delete(&self, _: &str) -> Result<(), SiteError> {
            Err(self.0.clone())
        }
        async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<crate::Entry>, SiteError> {
            Err(self.0.clone())
        }
    }

    fn pool(sites: [Arc<dyn Site>; 5]) -> Pool {
        let mut slot = 0;
        let sites = sites.map(|site| {
            slot += 1;
            SiteSpec { name: format!("dc{slot}"), url: format!("test://{slot}"), site }
        });
        Pool::new(sites, Arc::new(ManualClock::new(1_000)), PoolOptions::default())
    }

    async fn put_five(pool: &Pool) -> Result<[u8; 5], PlaceError> {
        let names = std::array::from_fn(|column| format!("shards/00/x.0.{column}"));
        let bodies = std::array::from_fn(|column| vec![Bytes::from(vec![column as u8; 10])]);
        pool.put_shards(HOME, &names, &bodies).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_site_costs_its_patience_and_no_more() {
        let good = || Arc::new(Memory::new()) as Arc<dyn Site>;
        let pool = pool([good(), Arc::new(Stuck), good(), good(), good()]);
        let begun = Instant::now();
        let slots = put_five(&pool).await.unwrap();
        assert!(!slots.contains(&1), "{slots:?}");
        assert!(begun.elapsed() <= pool.options.straggler_min + Duration::from_millis(10));
        assert_eq!(pool.state(1), SiteState::Slow);

        let begun = Instant::now();
        put_five(&pool).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "the second write does not wait for it again");
    }

    /// Neither is handed what the other one has not done.
    #[tokio::test(start_paused = true)]
    async fn any_two_stuck_sites_cost_the_patience_for_one() {
        for (a, b) in (0..5u8).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let pool = pool(std::array::from_fn(|slot| -> Arc<dyn Site> {
                if [a, b].map(usize::from).contains(&slot) { Arc::new(Stuck) } else { Arc::new(Memory::new()) }
            }));
            let begun = Instant::now();
            let slots = put_five(&pool).await.unwrap();
            assert!(!slots.contains(&a) && !slots.contains(&b), "{slots:?}");
            assert!(begun.elapsed() <= pool.options.straggler_min + Duration::from_millis(10), "{a} {b}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_reach_is_not_full() {
        let down = || Arc::new(Refuses(SiteError::Down("no route".into()))) as Arc<dyn Site>;
        let full = || Arc::new(Refuses(SiteError::Full("no space left".into()))) as Arc<dyn Site>;
        let cases =
            [([down(), down(), down(), down(), down()], false), ([full(), full(), full(), down(), down()], false)];
        for (sites, expected) in cases.into_iter().chain([([full(), full(), full(), full(), full()], true)]) {
            let pool = pool(sites);
            // The second time none is asked.
            for _ in 0..2 {
                let error = put_five(&pool).await.unwrap_err();
                assert_eq!(error.full, expected, "{error:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_refusing_sites_are_handed_off_and_a_third_is_an_error() {
        let good = || Arc::new(Memory::new()) as Arc<dyn Site>;
        let full = || Arc::new(Refuses(SiteError::Full("no space left".into()))) as Arc<dyn Site>;
        let two = pool([full(), good(), good(), full(), good()]);
        let slots = put_five(&two).await.unwrap();
        assert!(slots.iter().all(|slot| ![0, 3].contains(slot)), "{slots:?}");

        let three = pool([full(), good(), full(), full(), good()]);
        let error = put_five(&three).await.unwrap_err();
        assert!(error.full && error.live == 2, "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn probes_tell_empty_foreign_and_good_apart() {
        let site = Arc::new(Memory::new());
        let good = || Arc::new(Memory::new()) as Arc<dyn Site>;
        let pool = pool([site.clone(), good(), good(), good(), good()]);
        let marker = Marker { cluster: "c".into(), slot: 0, name: "dc1".into(), created_ms: 1 };
        pool.expect(0, marker.clone());

        pool.probe_all().await;
        assert_eq!(pool.state(0), SiteState::Empty);
        crate::write_marker(site.as_ref(), &Marker { cluster: "other".into(), ..marker.clone() }).await.unwrap();
        pool.probe_all().await;
        assert_eq!(pool.state(0), SiteState::Foreign);
        crate::write_marker(site.as_ref(), &marker).await.unwrap();
        pool.probe_all().await;
        assert_eq!(pool.state(0), SiteState::Up);
    }
}
