//! One run: epochs of work under failure, each followed by healing, repair and an audit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::limits::COLUMNS;
use base::{Clock, Doors};
use bytes::Bytes;
use futures::StreamExt;
use keys::Keyring;
use sites::{Pool, PoolOptions, SiteSpec};
use store::api::{
    BodyError, BodyFacts, BodySource, CompletePart, CopyChanges, CopySource, DeleteRequest, Expected, ListRequest,
    NewPart, ObjectMeta, ReadCondition, ReadRange, Versioning, WriteCondition,
};
use store::{Error, Options, State, Store};
use tokio::time::Instant;

use crate::auditor::Auditor;
use crate::chance::Chance;
use crate::site::{FAULTS, Fault, SimSite};

const BUCKET: &str = "sim";
const EPOCHS: usize = 3;
const STEPS: usize = 14;
const KEYS: [&str; 6] = ["a", "b", "dir/c", "dir/d", "dir/sub/e", "z"];
/// Around the borders of chunks, packs and segments.
const SIZES: [usize; 9] = [0, 1, 100, 16_383, 16_384, 70_000, 1_126_400, 1_300_000, 6_400_000];

/// What a run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were compared.
    pub compared: u64,
    /// Crashes.
    pub crashes: u64,
}

/// Virtual time as wall-clock time.
pub struct SimClock(pub Instant);

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms()
    }

    fn passed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// A request body of known bytes, in odd frames.
struct Body(Bytes, Arc<Chance>);

#[async_trait]
impl BodySource for Body {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        if self.1.one_in(4) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let take = (1 + self.1.below(100_000)).min(self.0.len());
        Ok(Some(self.0.split_to(take)))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

/// Runs one seed.
///
/// # Panics
/// When the store breaks a promise; the message says how.
pub fn run_seed(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(World::new(seed).run())
}

struct World {
    chance: Arc<Chance>,
    clock: Arc<dyn Clock>,
    meta: Arc<meta::Memory>,
    sites: [Arc<SimSite>; COLUMNS],
    key_seed: u64,
    auditor: Auditor,
    outcome: Outcome,
    /// Whether the bucket has, or had, versions.
    versioned: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let chance = Arc::new(Chance::new(seed));
        let sites = std::array::from_fn(|_| Arc::new(SimSite::new(chance.clone())));
        Self {
            clock: Arc::new(SimClock(Instant::now())),
            meta: Arc::new(meta::Memory::new()),
            sites,
            key_seed: seed,
            auditor: Auditor::default(),
            outcome: Outcome::default(),
            chance,
            versioned: false,
        }
    }

    /// A process starts on what is there.
    async fn boot(&self) -> Store {
        let mut slot = 0;
        let specs = self.sites.clone().map(|site| {
            slot += 1;
            SiteSpec { name: format!("dc{slot}"), url: format!("sim://{slot}"), site }
        });
        let pool = Arc::new(Pool::new(specs, self.clock.clone(), PoolOptions::default()));
        // The root key is the same in every life of the process.
        let keyring = Keyring::ephemeral(&base::SeededRng::new(self.key_seed));
        let doors = Doors { clock: self.clock.clone(), rng: self.chance.clone() };
        let options = Options { gc_grace_ms: 0, background: false, ..Options::new(doors) };
        let root = ("root".to_owned(), "secret".to_owned());
        Store::open(self.meta.clone(), pool, keyring, root, options).await.expect("the store opens")
    }

    async fn run(mut self) -> Outcome {
        let mut store = self.boot().await;
        store.create_bucket(BUCKET, "root", false).await.expect("a bucket");
        if !self.chance.one_in(3) {
            self.switch(&store).await;
        }
        for _ in 0..EPOCHS {
            let victims = self.victims();
            for step in 0..STEPS {
                if step == STEPS / 3 || self.chance.one_in(6) {
                    self.strike(&victims);
                }
                if self.chance.one_in(4) {
                    store.probe().await;
                }
                if self.chance.one_in(12) {
                    store = self.crash(store).await;
                }
                self.step(&store).await;
            }
            self.heal(&store, &victims).await;
        }
        self.outcome
    }

    /// The two sites that may fail in this epoch.
    fn victims(&self) -> [usize; 2] {
        let first = self.chance.below(COLUMNS);
        [first, (first + 1 + self.chance.below(COLUMNS - 1)) % COLUMNS]
    }

    fn strike(&self, victims: &[usize; 2]) {
        for victim in victims {
            let site = &self.sites[*victim];
            match self.chance.below(8) {
                0 => site.set_fault(Fault::None),
                1 => site.rot(3),
                2 => {
                    site.set_fault(Fault::Down);
                    site.wipe();
                }
                _ => site.set_fault(*self.chance.pick(&FAULTS)),
            }
        }
    }

    /// The process dies in the middle of a write and another starts.
    async fn crash(&mut self, store: Store) -> Store {
        let (key, body) = (*self.chance.pick(&KEYS), self.body());
        let write = {
            let (store, body, chance) = (store.clone(), body.clone(), self.chance.clone());
            async move {
                let mut source = Body(body.clone(), chance);
                let size = body.len() as u64;
                store.put(BUCKET, key, ObjectMeta::default(), size, &WriteCondition::default(), &mut source).await
            }
        };
        let patience = Duration::from_millis(self.chance.below(20) as u64);
        match tokio::time::timeout(patience, write).await {
            Ok(Ok(_)) => self.auditor.acknowledged(key, Some(body)),
            Ok(Err(error)) => panic!("put of {key} failed: {error}"),
            Err(_) => self.auditor.perhaps(key, Some(body)),
        }
        self.outcome.crashes += 1;
        drop(store);
        // What the old process had under way may still land; then it is gone.
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.boot().await
    }

    fn body(&self) -> Bytes {
        let size = *self.chance.pick(&SIZES);
        let mut bytes = vec![0; size];
        base::Rng::fill(self.chance.as_ref(), &mut bytes[..size.min(64)]);
        // Cheap and unlike from place to place, so that a misplaced block is noticed.
        let salt = self.chance.below(251);
        for (i, byte) in bytes.iter_mut().enumerate().skip(64) {
            *byte = ((i * 31) ^ (i >> 8) ^ salt) as u8;
        }
        bytes.into()
    }

    fn source(&self, body: &Bytes) -> Body {
        Body(body.clone(), self.chance.clone())
    }

    async fn step(&mut self, store: &Store) {
        match self.chance.below(12) {
            0..=3 => self.put_some(store).await,
            4 => self.multipart(store).await,
            5 => self.copy(store).await,
            6 => self.delete(store).await,
            7 => self.list(store).await,
            8 => self.put_if_absent(store).await,
            9 => self.versions(store).await,
            10 if self.versioned => self.switch(store).await,
            _ => self.read_all(store).await,
        }
    }

    /// One to four puts at once, to different keys: they share packs.
    async fn put_some(&mut self, store: &Store) {
        let count = 1 + self.chance.below(4);
        let first = self.chance.below(KEYS.len());
        let puts: Vec<(&str, Bytes)> = (0..count).map(|i| (KEYS[(first + i) % KEYS.len()], self.body())).collect();
        let running = puts.iter().map(|(key, body)| {
            let mut source = self.source(body);
            async move {
                let size = body.len() as u64;
                store.put(BUCKET, key, ObjectMeta::default(), size, &WriteCondition::default(), &mut source).await
            }
        });
        for ((key, body), done) in puts.iter().zip(futures::future::join_all(running).await) {
            done.unwrap_or_else(|error| panic!("put of {key} failed: {error}"));
            self.acknowledge(key, Some(body.clone()));
        }
    }

    async fn put_if_absent(&mut self, store: &Store) {
        let (key, body) = (*self.chance.pick(&KEYS), self.body());
        let condition = WriteCondition { absent: true, etag_is: None };
        let mut source = self.source(&body);
        let put = store.put(BUCKET, key, ObjectMeta::default(), body.len() as u64, &condition, &mut source).await;
        match put {
            Ok(_) => {
                assert!(!matches!(self.auditor.sure(key), Some(Some(_))), "{key} was there and was overwritten");
                self.acknowledge(key, Some(body));
            }
            Err(Error::PreconditionFailed) => {
                assert!(!matches!(self.auditor.sure(key), Some(None)), "{key} was absent and was said to be there");
            }
            Err(error) => panic!("conditional put of {key} failed: {error}"),
        }
    }

    async fn multipart(&mut self, store: &Store) {
        let key = *self.chance.pick(&KEYS);
        let upload =
            store.create_upload(BUCKET, key, ObjectMeta::default(), None, "root").await.expect("an upload").upload;
        let sizes = [5 << 20, 1 + self.chance.below(100_000)];
        let mut whole = Vec::new();
        let mut parts = Vec::new();
        for (number, size) in (1u16..).zip(sizes) {
            let body = Bytes::from(vec![number as u8 ^ self.chance.below(256) as u8; size]);
            let mut source = self.source(&body);
            let part = store
                .put_part(BUCKET, key, &NewPart { upload, number, customer: None }, size as u64, &mut source)
                .await;
            let part = part.unwrap_or_else(|error| panic!("part {number} of {key} failed: {error}"));
            parts.push(CompletePart { number, etag: part.etag, checksum: None });
            whole.extend_from_slice(&body);
        }
        if self.chance.one_in(3) {
            store.abort_upload(BUCKET, key, upload).await.expect("an abort");
            return;
        }
        let done =
            store.complete_upload(BUCKET, key, upload, &parts, &Expected::default(), &WriteCondition::default()).await;
        done.unwrap_or_else(|error| panic!("completion of {key} failed: {error}"));
        self.acknowledge(key, Some(whole.into()));
    }

    async fn copy(&mut self, store: &Store) {
        let (from, to) = (*self.chance.pick(&KEYS), *self.chance.pick(&KEYS));
        // What is copied is what is there: read it first, so that it is known for sure.
        let Some(body) = self.read(store, from).await else { return };
        let source = CopySource {
            bucket: BUCKET.to_owned(),
            key: from.to_owned(),
            version: None,
            condition: ReadCondition::default(),
            customer: None,
            judged: None,
        };
        let copied = store.copy(&source, BUCKET, to, &CopyChanges::default(), &WriteCondition::default()).await;
        copied.unwrap_or_else(|error| panic!("copy of {from} to {to} failed: {error}"));
        self.acknowledge(to, Some(body));
    }

    async fn delete(&mut self, store: &Store) {
        let key = *self.chance.pick(&KEYS);
        let deleted = store.delete(BUCKET, key, &DeleteRequest::default()).await;
        deleted.unwrap_or_else(|error| panic!("delete of {key} failed: {error}"));
        self.acknowledge(key, None);
    }

    async fn list(&mut self, store: &Store) {
        let request = ListRequest { limit: 1000, ..ListRequest::default() };
        let page = store.list(BUCKET, &request).await.expect("a listing");
        let listed: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        for key in KEYS {
            if let Some(sure) = self.auditor.sure(key) {
                assert_eq!(listed.contains(&key), sure.is_some(), "{key} in the listing {listed:?}");
            }
        }
    }

    fn acknowledge(&mut self, key: &str, body: Option<Bytes>) {
        self.auditor.acknowledged(key, body);
        self.outcome.acknowledged += 1;
    }

    /// Enables versions, or suspends them.
    async fn switch(&mut self, store: &Store) {
        let to = if self.versioned && self.chance.one_in(2) { Versioning::Suspended } else { Versioning::Enabled };
        let changed = store.change_bucket_state(BUCKET, |state| {
            state.versioning = to;
            Ok(())
        });
        changed.await.expect("versions are switched");
        self.versioned = true;
    }

    /// Every version that is listed can be read; some of those that are not current are removed
    /// for good, which changes nothing of what stands.
    async fn versions(&mut self, store: &Store) {
        let request = ListRequest { limit: 1000, ..ListRequest::default() };
        let page = store.list_versions(BUCKET, &request, None).await.expect("a listing");
        let mut newest = None;
        for listed in page.versions {
            let (key, version) = (listed.info.key.clone(), listed.info.version);
            assert_eq!(listed.latest, newest.as_ref() != Some(&key), "{key} {version} is the latest");
            newest = Some(key.clone());
            if !listed.marker {
                let opened = store.open_object(BUCKET, &key, Some(version), None).await;
                let reader = opened.unwrap_or_else(|error| panic!("open of {key} {version} failed: {error}"));
                let bytes = collect(reader.read(ReadRange::All).await, &key).await;
                assert_eq!(bytes.len() as u64, listed.info.size, "length of {key} {version}");
            }
            if !listed.latest && self.chance.one_in(2) {
                let request = DeleteRequest { version: Some(version), ..DeleteRequest::default() };
                let deleted = store.delete(BUCKET, &key, &request).await;
                assert!(deleted.unwrap_or_else(|error| panic!("delete of {key} {version}: {error}")).existed);
            }
        }
    }

    async fn read_all(&mut self, store: &Store) {
        for key in KEYS {
            self.read(store, key).await;
        }
    }

    /// Reads a key whole, compares, then compares a range of it.
    async fn read(&mut self, store: &Store, key: &str) -> Option<Bytes> {
        let body = match store.open_object(BUCKET, key, None, None).await {
            Ok(reader) => {
                let size = reader.info.size;
                let bytes = collect(reader.read(ReadRange::All).await, key).await;
                assert_eq!(bytes.len() as u64, size, "length of {key}");
                Some(bytes)
            }
            Err(Error::NoSuchKey | Error::DeleteMarker { .. }) => None,
            Err(error) => panic!("open of {key} failed: {error}"),
        };
        assert!(self.auditor.saw(key, body.as_ref()), "{key} reads as something never acknowledged");
        self.outcome.compared += 1;
        let body = body?;
        if body.len() > 1 {
            let from = self.chance.below(body.len() - 1);
            let to = from + 1 + self.chance.below(body.len() - from);
            let reader = store
                .open_object(BUCKET, key, None, None)
                .await
                .unwrap_or_else(|error| panic!("reopen of {key}: {error}"));
            let range = ReadRange::Bytes(from as u64..to.min(body.len()) as u64);
            let part = collect(reader.read(range).await, key).await;
            assert!(part == body.slice(from..to.min(body.len())), "range {from}..{to} of {key}");
        }
        Some(body)
    }

    /// The sites come back, one of them perhaps empty; repair and scrub bring all home; then
    /// everything is looked at.
    async fn heal(&mut self, store: &Store, victims: &[usize; 2]) {
        self.read_all(store).await;
        for victim in victims {
            self.sites[*victim].set_fault(Fault::None);
            if self.chance.one_in(4) {
                self.sites[*victim].wipe();
            }
        }
        store.probe().await;
        for victim in victims {
            let name = format!("dc{}", victim + 1);
            let state = store.status().await.expect("a status").sites[*victim].state.clone();
            if state == "empty" {
                store.replace_site(&name, store::Replace::default()).await.expect("a replacement");
            } else {
                assert_eq!(state, "up", "{name}");
            }
        }
        for _ in 0..3 {
            store.repair_pass().await.expect("repair");
        }
        self.scrub(store).await;
        store.repair_pass().await.expect("repair");
        store.collect_garbage().await.expect("collection");
        store.sweep(0).await.expect("sweep");
        store.collect_garbage().await.expect("collection");
        self.scrub(store).await;
        let scrub = store.scrub_progress();
        assert_eq!((scrub.damaged, scrub.missing, scrub.unrepairable), (0, 0, 0), "a second scrub is clean: {scrub:?}");
        let status = store.status().await.expect("a status");
        assert_eq!(status.state, State::Whole, "{}", status.summary);
        self.read_all(store).await;
        self.no_strays(store).await;
    }

    async fn scrub(&self, store: &Store) {
        assert!(store.start_scrub());
        while store.scrub_progress().running {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// With nothing being written, another sweep finds nothing to remove.
    async fn no_strays(&self, store: &Store) {
        let swept = store.sweep(0).await.expect("sweep");
        assert_eq!((swept.removed, swept.parts), (0, 0), "strays are left after a sweep and a collection");
        let counts: Vec<usize> = self.sites.iter().map(|site| site.shards().len()).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "a site holds too many or too few shards: {counts:?}");
        let empty = self.auditor.keys().iter().all(|key| matches!(self.auditor.sure(key), Some(None)));
        assert!(!empty || counts[0] == 0, "everything is deleted and {counts:?} shards are left");
    }
}

async fn collect(stream: Result<store::api::ReadStream, Error>, key: &str) -> Bytes {
    let mut stream = stream.unwrap_or_else(|error| panic!("read of {key} failed: {error}"));
    let mut bytes = Vec::new();
    while let Some(next) = stream.next().await {
        bytes.extend_from_slice(&next.unwrap_or_else(|error| panic!("read of {key} broke off: {error}")));
    }
    bytes.into()
}
