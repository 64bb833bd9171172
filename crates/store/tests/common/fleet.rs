//! Several gateways over the same rows and sites, each with a clock of its own, and each of which can be cut off from the rows.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use base::limits::COLUMNS;
use base::{Doors, ManualClock, SeededRng, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::{Caller, Keyring, Who};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Nearby, Page, Range, Row};
use parking_lot::Mutex;
use release::Via;
use sites::{Pool, PoolOptions, SiteSpec};
use store::api::{NewObject, ReadRange, WriteCondition};
use store::{Cause, Error, IslandOptions, Options, Origin, Store};

use crate::whole::Whole;

/// Between two rows of a gateway.
pub const BEAT_MS: u64 = 3_000;
/// The rows as one gateway reaches them, until it is cut off.
pub struct Reach {
    pub rows: Arc<Memory>,
    pub cut: Arc<AtomicBool>,
    /// Calls that met the cut.
    pub asked: Arc<AtomicUsize>,
    /// The rows as they were when it was cut off.
    pub copy: Arc<Mutex<Option<Memory>>>,
}

impl Reach {
    fn check(&self) -> Result<(), MetaError> {
        if !self.cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(MetaError::Unavailable("cut off".to_owned()))
    }
}

#[async_trait]
impl Engine for Reach {
    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.check()?;
        self.rows.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.check()?;
        self.rows.range(range).await
    }

    async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        let copy = self.copy.lock().as_ref().map(Memory::copy);
        copy.ok_or_else(|| MetaError::Unavailable("no copy".to_owned()))?.nearby(keys, range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        match self.check() {
            Ok(()) => self.rows.commit_group(batches).await,
            Err(error) => batches.iter().map(|_| Err(CommitError::Unavailable(error.to_string()))).collect(),
        }
    }
}

pub struct Gateway {
    rows: Arc<Memory>,
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub cut: Arc<AtomicBool>,
    pub asked: Arc<AtomicUsize>,
    pub copy: Arc<Mutex<Option<Memory>>>,
}

impl Gateway {
    /// The rows are out of reach but for a copy, and it is known by now.
    pub async fn cut_off(&self) {
        *self.copy.lock() = Some(self.rows.copy());
        self.cut.store(true, Ordering::SeqCst);
        assert!(self.store.portions().renew_site_lease().await.is_err());
    }

    /// They are in reach again, which is known by now.
    pub async fn join_again(&self) {
        self.cut.store(false, Ordering::SeqCst);
        *self.copy.lock() = None;
        self.store.portions().renew_site_lease().await.unwrap();
    }
}

pub struct World {
    pub rows: Arc<Memory>,
    pub sites: [Arc<sites::Memory>; COLUMNS],
    pub gateways: Vec<Gateway>,
    /// What gateways keep on disk, by their index.
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn empty() -> Self {
        let sites = std::array::from_fn(|_| Arc::new(sites::Memory::new()));
        Self { rows: Arc::new(Memory::shared()), sites, gateways: Vec::new(), folder: tempfile::tempdir().unwrap() }
    }

    pub async fn new(gateways: usize) -> Self {
        let mut world = Self::empty();
        for index in 0..gateways {
            world.start(index, 0).await;
        }
        world.gateways[0].store.create_bucket("b", "root", false).await.unwrap();
        world
    }

    /// Starts a gateway whose clock is so much ahead.
    pub async fn start(&mut self, index: usize, ahead_ms: u64) {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000 + ahead_ms));
        let cut = Arc::new(AtomicBool::new(false));
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: self.sites[slot].clone(),
        });
        let pool = Arc::new(Pool::new(specs, clock.clone(), PoolOptions::default()));
        let asked = Arc::new(AtomicUsize::new(0));
        let copy = Arc::default();
        let (rows, asked_too) = (self.rows.clone(), asked.clone());
        let reach = Arc::new(Reach { rows: rows.clone(), cut: cut.clone(), asked: asked_too, copy: Arc::clone(&copy) });
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let island = IslandOptions { folder: self.island(index), bytes_max: 16 << 20 };
        let options =
            Options { background: false, gateway: format!("gw{index}"), island: Some(island), ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let ring = Keyring::ephemeral(&SeededRng::new(1));
        let store = Store::open(reach, pool, ring, root, options).await.unwrap();
        self.gateways.push(Gateway { rows, store, clock, cut, asked, copy });
    }

    pub fn island(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(index.to_string())
    }

    pub fn advance(&self, ms: u64) {
        self.gateways.iter().for_each(|gateway| gateway.clock.advance_ms(ms));
    }

    /// All but those left out go on for so many beats.
    pub async fn beat(&self, beats: usize, without: &[usize]) {
        for _ in 0..beats {
            self.advance(BEAT_MS);
            for (index, gateway) in self.gateways.iter().enumerate() {
                if !without.contains(&index) {
                    gateway.store.keep_place().await.unwrap();
                }
            }
        }
    }

    /// The one that leads.
    pub fn leader(&self) -> Option<usize> {
        let leads: Vec<usize> = (0..self.gateways.len()).filter(|index| self.is_leader(*index)).collect();
        assert!(leads.len() <= 1, "{leads:?} lead");
        leads.first().copied()
    }

    pub fn is_leader(&self, index: usize) -> bool {
        self.gateways[index].store.gateways().iter().any(|gateway| gateway.is_this && gateway.leads)
    }

    pub fn shards(&self) -> usize {
        let names = self.sites.iter().flat_map(|site| site.names());
        names.filter(|name| name.starts_with("shards/")).count()
    }
}

pub async fn put(store: &Store, key: &str, body: Vec<u8>) -> Result<(), Error> {
    let (size, mut source) = (body.len() as u64, Whole(Some(body.into())));
    store.put("b", key, NewObject::default(), size, &WriteCondition::default(), &mut source).await.map(drop)
}

pub async fn get(store: &Store, key: &str) -> Result<Vec<u8>, Error> {
    let object = store.open_object("b", key, None, None).await?;
    let read: Vec<Bytes> = object.read(ReadRange::All).await?.try_collect().await?;
    Ok(read.concat())
}

pub fn anns(store: &Store) -> Store {
    let who = Who { name: Some("ann".to_owned()), id: "HFID-ann".to_owned(), groups: vec![], is_root: false };
    let caller = Caller::new(store.account(), who, Via::S3, false, None);
    store.acting_for(Origin {
        principal: "ann".to_owned(),
        address: None,
        request: None,
        cause: Cause::Request,
        caller: Some(Arc::new(caller)),
        access_key: None,
    })
}
