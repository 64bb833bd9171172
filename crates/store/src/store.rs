//! The store itself: what it holds, how it starts and stops.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use base::limits::COLUMNS;
use base::{AccountId, BucketId, Doors, PortionId};
use keys::quorum::{Bounds, Quorum, ShareHolder, SiteShares};
use keys::{Keyring, Portions};
use meta::record::{Record, SiteRecord, key};
use meta::{Batch, Check, Engine, Revoking, Row, Version, Write};
use parking_lot::Mutex;
use policy::Policy;
use release::{Language, NoLanguage};
use sites::{Marker, Pool, SiteError, read_marker, write_marker};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::authorize::CachedPolicy;
use crate::buffers::Buffers;
use crate::credential::CachedUser;
use crate::gateway::Gateways;
use crate::island::{Island, IslandOptions};
use crate::journal::{Journal, Journaled};
use crate::outbox::{Cause, EventOptions, Origin, Outbox, Watched};
use crate::pack::Packer;
use crate::pin::Pins;
use crate::principal::{Identity, Principal};
use crate::reach::Reach;
use crate::remember::{Remembering, Rows};
use crate::shares;
use crate::spans::Spans;
use crate::worker::{RepairOptions, Workers};

/// How the store behaves.
#[derive(Clone)]
pub struct Options {
    /// Time and chance.
    pub doors: Doors,
    /// Milliseconds that unreferenced data stays before it is collected.
    pub gc_grace_ms: u64,
    /// Bytes of memory for bodies in flight, all uploads together. A body waits for room.
    pub buffer_bytes: usize,
    /// Bytes of memory for sealed bytes that were read lately; 0: none are kept.
    pub read_cache_bytes: u64,
    /// Most bytes of parts that rekeys seal anew in a second; `None`: as many as they can.
    pub rekey_bytes_per_s: Option<NonZeroU64>,
    /// How fast repair may go.
    pub repair: RepairOptions,
    /// How long a day of lifecycle rules is: a day, unless rules are being tried out.
    pub lifecycle_day: lifecycle::Day,
    /// What looks for malware in this process; `None`: nothing does.
    pub scanner: Option<scan::Scanner>,
    /// Where events go.
    pub events: EventOptions,
    /// Where new versions are taken while the metadata are out of reach; `None`: nowhere.
    pub island: Option<IslandOptions>,
    /// Whether what is committed is told at the sites, so that the metadata can be made anew from them.
    pub journal: bool,
    /// What this process is called among those that serve the store.
    pub gateway: String,
    /// What release policies are written in.
    pub language: Arc<dyn Language>,
    /// Files of the sites' epoch keys, in the order of their slots; without them they live in memory only, and with them the
    /// portions of class quorum.
    pub epochs: Option<[PathBuf; COLUMNS]>,
    /// Whom changes of portions are told.
    pub auditor: Option<Arc<dyn keys::Auditor>>,
    /// Who may hold halves of tenants' keys.
    pub keepers: Arc<dyn keys::Keepers>,
    /// Whether workers (repair, collection, sweep, probes) run by themselves. A simulation
    /// drives them by hand.
    pub background: bool,
}

impl Options {
    /// The defaults of `holdfast serve`.
    pub fn new(doors: Doors) -> Self {
        Self {
            doors,
            gc_grace_ms: 60_000,
            buffer_bytes: 112 << 20,
            read_cache_bytes: 0,
            rekey_bytes_per_s: None,
            repair: RepairOptions::default(),
            lifecycle_day: lifecycle::Day::UTC,
            scanner: None,
            events: EventOptions::default(),
            island: None,
            journal: false,
            gateway: "gateway".to_owned(),
            language: Arc::new(NoLanguage),
            epochs: None,
            auditor: None,
            keepers: Arc::new(keys::NoKeepers),
            background: true,
        }
    }
}

/// The object store, for whom it acts, and the account whose buckets, users and groups it means: as
/// it is opened, the default tenant's. Cheap to clone.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>, pub(crate) Arc<Origin>, pub(crate) AccountId);

pub(crate) struct Inner {
    pub(crate) meta: Arc<dyn Engine>,
    /// Below all that is in front of the engine; `None` where that is in this process.
    pub(crate) reach: Option<Arc<Reach>>,
    /// What of it was seen.
    pub(crate) rows: Arc<Rows>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) portions: Portions,
    pub(crate) shares: [Arc<SiteShares>; COLUMNS],
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) root: (String, String),
    pub(crate) root_principal: Principal,
    pub(crate) options: Options,
    pub(crate) started_ms: u64,
    /// What operators are told with the state: found at the start.
    pub(crate) warnings: Mutex<Vec<String>>,
    /// One permit per KiB of body memory.
    pub(crate) buffers: Arc<Semaphore>,
    /// Half of that, in KiB, for bodies that are judged before they are stored.
    pub(crate) screening: Arc<Semaphore>,
    /// What that memory is given out as, where it is much.
    pub(crate) stripes: Arc<Buffers>,
    pub(crate) spans: Spans,
    pub(crate) pins: Pins,
    pub(crate) gateways: Gateways,
    pub(crate) island: Option<Arc<Island>>,
    pub(crate) packer: Packer,
    pub(crate) users: Mutex<HashMap<String, CachedUser>>,
    pub(crate) policies: Mutex<HashMap<BucketId, CachedPolicy>>,
    /// Key policies that were parsed.
    pub(crate) key_policies: Mutex<HashMap<PortionId, Arc<Policy>>>,
    pub(crate) workers: Workers,
    pub(crate) outbox: Arc<Outbox>,
    /// Of the engine that the rows are in, as it was at the start.
    pub(crate) era: u64,
    /// What was true at the start is not any more: another root key, or another engine.
    pub(crate) outdated: CancellationToken,
    /// Where commits are told at the sites.
    pub(crate) journal: Option<Arc<Journal>>,
    /// Work that outlives the request that began it.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Store {
    /// Opens the store: checks or makes the sites' markers, starts the workers.
    ///
    /// On the very first start every site must answer, because all five get their markers then.
    /// Later any site may be missing.
    ///
    /// # Errors
    /// [`Error::Meta`], [`Error::Commit`] when metadata fails; [`Error::Site`] when a site cannot
    /// be set up on the first start.
    pub async fn open(
        meta: Arc<dyn Engine>,
        pool: Arc<Pool>,
        keys: Keyring,
        root: (String, String),
        options: Options,
    ) -> Result<Self, Error> {
        let outbox = Arc::new(Outbox::new(&options.events));
        outbox.restore(meta.as_ref()).await?;
        let tasks = TaskTracker::new();
        let (era, _) = meta::era(meta.as_ref()).await?;
        let journal = match options.journal {
            false => None,
            true => {
                let journal =
                    Journal::new(era, keys.journal_key()?, options.doors.clone(), pool.clone(), tasks.clone());
                Some(Arc::new(journal))
            }
        };
        let meta: Arc<dyn Engine> = match &journal {
            Some(journal) => Arc::new(Journaled { engine: meta, journal: journal.clone() }),
            None => meta,
        };
        // Only where the engine is elsewhere: of one in this process the parts that can be read are still worth reading.
        let reach = meta.is_shared().then(|| Arc::new(Reach::over(meta.clone(), options.doors.clock.clone())));
        let engine = reach.clone().map_or(meta, |reach| reach as Arc<dyn Engine>);
        let meta: Arc<dyn Engine> = Arc::new(Revoking(Arc::new(Watched { engine, outbox: outbox.clone() })));
        let rows = Rows::of(meta.as_ref());
        let meta: Arc<dyn Engine> = Arc::new(Remembering { engine: meta, rows: rows.clone() });
        let keys = Arc::new(keys);
        let shares = shares::holders(&pool, &options);
        let holders = shares.each_ref().map(|holder| holder.clone() as Arc<dyn ShareHolder>);
        let quorum = Arc::new(Quorum::new(holders, Bounds::default()));
        let portions = Portions::new(meta.clone(), keys.clone(), options.doors.clone());
        let inner = Inner {
            portions: portions
                .audited(options.auditor.clone())
                .speaking(options.language.clone())
                .with_keepers(options.keepers.clone())
                .with_quorum(quorum.clone()),
            shares,
            quorum,
            meta,
            reach,
            rows,
            outbox,
            pool,
            keys,
            root,
            root_principal: Principal::new(Identity::root(AccountId::DEFAULT)),
            started_ms: options.doors.clock.now_ms(),
            warnings: Mutex::default(),
            buffers: Arc::new(Semaphore::new((options.buffer_bytes / 1024).max(1))),
            screening: Arc::new(Semaphore::new((options.buffer_bytes / 2048).max(1))),
            stripes: Buffers::new(options.buffer_bytes),
            spans: Spans::new(options.read_cache_bytes),
            pins: Pins::new(options.doors.clock.clone()),
            gateways: Gateways::default(),
            island: options.island.clone().map(Island::open).transpose()?.map(Arc::new),
            packer: Packer::default(),
            users: Mutex::default(),
            policies: Mutex::default(),
            key_policies: Mutex::default(),
            workers: Workers::new(&options.repair),
            tasks,
            journal,
            era,
            outdated: CancellationToken::new(),
            stop: CancellationToken::new(),
            options,
        };
        let store = Self(Arc::new(inner), Arc::new(Origin::itself(Cause::Request)), AccountId::DEFAULT);
        store.check_markers().await?;
        match store.begin_journal().await {
            // Serving comes first; the worker makes it when there are sites for it.
            Err(error @ Error::TooFewSites { .. }) => {
                tracing::error!(%error, "with the metadata lost, what is written from now on could not be made anew from the sites");
            }
            done => done?,
        }
        store.join().await?;
        store.keep_place().await?;
        store.0.pool.probe_all().await;
        store.0.portions.record_site_keys().await?;
        store.look_at_epochs().await;
        if store.0.options.background {
            store.spawn_workers();
        }
        Ok(store)
    }

    /// Stops the workers and waits for what is under way. The caller bounds the wait.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.leave().await;
        if let Some(journal) = &self.0.journal {
            journal.tell_now().await;
        }
    }

    /// Resolves when this process must not go on: the root key was rotated, or the metadata were made anew, while it was taken for dead.
    pub async fn outdated(&self) {
        self.0.outdated.cancelled().await;
    }

    /// Whether the metadata are known to be out of reach.
    pub fn is_away(&self) -> bool {
        self.0.reach.as_ref().is_some_and(|reach| reach.is_away())
    }

    /// Looks at every site now, instead of waiting for the next probe.
    pub async fn probe(&self) {
        self.0.pool.probe_all().await;
    }

    /// Looks now for keys that were rotated or are to be shredded, instead of within a minute.
    pub fn wake_rewrap(&self) {
        self.0.workers.rests.end();
        self.0.workers.wake_rewrap.notify_one();
        self.0.workers.wake_rekey.notify_one();
    }

    /// Portions of the data and their keys.
    pub fn portions(&self) -> &Portions {
        &self.0.portions
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.options.doors.clock.now_ms()
    }

    pub(crate) async fn row(&self, key: meta::Key) -> Result<Option<Row>, Error> {
        Ok(self.rows(&[key]).await?.pop().flatten())
    }

    /// A record and its row's version.
    pub(crate) async fn record<R: Record>(&self, key: meta::Key) -> Result<Option<(R, Version)>, Error> {
        let Some(row) = self.row(key).await? else { return Ok(None) };
        Ok(Some((R::decode(&row.value)?, row.version)))
    }

    async fn check_markers(&self) -> Result<(), Error> {
        for slot in 0..COLUMNS as u8 {
            let marker = match self.record::<SiteRecord>(key::site_key(slot)).await? {
                Some((record, _)) => self.marker(slot, &record),
                None => self.adopt_site(slot).await?,
            };
            self.0.pool.expect(slot, marker.clone());
            // Told in the log: one site without shares keeps no server from starting.
            let _ = self.settle_shares(marker, self.missing_epochs(slot).await?).await;
        }
        Ok(())
    }

    pub(crate) fn marker(&self, slot: u8, record: &SiteRecord) -> Marker {
        Marker { cluster: record.cluster.clone(), slot, name: record.name.clone(), created_ms: record.since_ms }
    }

    /// First start: gives the slot's site its marker and remembers it. A site that carries a
    /// marker already belongs to another installation (or to this one, whose metadata is lost)
    /// and is refused rather than overwritten.
    async fn adopt_site(&self, slot: u8) -> Result<Marker, Error> {
        let site = self.0.pool.site(slot);
        let name = self.0.pool.view(slot).name;
        if let Some(found) = read_marker(site.as_ref()).await? {
            return Err(Error::Site(SiteError::Denied(format!(
                "site {name} already belongs to cluster {}, slot {}; point it at an empty place, or restore the metadata that knows it",
                found.cluster, found.slot
            ))));
        }
        let record = SiteRecord { cluster: self.cluster_id().await?, name, since_ms: self.now_ms(), resync: None };
        let marker = self.marker(slot, &record);
        // The record first: a crash between the two leaves a site that says "empty", which an
        // operator can replace; the other order would leave one that refuses to start.
        let batch = Batch {
            checks: vec![Check::Absent(key::site_key(slot))],
            writes: vec![Write::Put(key::site_key(slot), record.encode())],
        };
        self.0.meta.commit(batch).await?;
        write_marker(site.as_ref(), &marker).await?;
        Ok(marker)
    }

    /// The cluster's id: the first slot's record has it, or a fresh one is drawn for it.
    async fn cluster_id(&self) -> Result<String, Error> {
        for slot in 0..COLUMNS as u8 {
            if let Some((record, _)) = self.record::<SiteRecord>(key::site_key(slot)).await? {
                return Ok(record.cluster);
            }
        }
        Ok(base::BlobId::random(self.0.options.doors.rng.as_ref()).to_string())
    }
}
