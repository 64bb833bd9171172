//! The gateways and what befalls them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::limits::COLUMNS;
use base::{AccountId, Doors, PortionId, SeededRng};
use bytes::Bytes;
use history::Record;
use keys::{CutOff, Keyring, NewPortion, Switch};
use meta::record::{DefaultEncryption, Maker, PortionRecord, Versioning};
use parking_lot::Mutex;
use sites::{Pool, PoolOptions, SiteSpec};
use store::api::Right;
use store::{IslandOptions, Options, State, Store};
use tokio::time::{Instant, sleep, timeout};

use super::clients;
use super::link::{Drifting, Far, Link, Metadata, Wrong};
use crate::chance::Chance;
use crate::site::{FAULTS, Fault, SimSite};

/// Gateways. Three are enough for every kind of disagreement.
pub(super) const GATEWAYS: usize = 3;
/// Times of trouble, with peace after each.
const EPOCHS: usize = 2;
/// What befalls in one.
const BLOWS: usize = 5;
/// Longest pause between two of them, milliseconds.
const PAUSE_MS: usize = 5_000;
/// Longest way to peace: what is away goes home, and who was taken for dead comes back.
const PEACE: Duration = Duration::from_secs(400);
/// A process that does not start in this time is given up.
const BOOTS: Duration = Duration::from_secs(20);
/// Past this an hour of the day decides nothing that cannot be undone.
const HOUR_MS: i64 = 3_600_000;

/// Objects over versions that an island takes.
pub(super) const TAKEN: &str = "taken";
/// Objects that are written over.
pub(super) const PLAIN: &str = "plain";
/// One object, in a portion of its own.
pub(super) const SHUT: &str = "shut";

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Requests whose outcome was told.
    pub answered: u64,
    /// Those that said how old they may be.
    pub old: u64,
    /// What islands took.
    pub taken: u64,
    /// What was told late, beneath another version.
    pub conflicts: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Pieces that were given after something was taken away, within the bound.
    pub given_late: u64,
}

/// What is taken away in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    Nothing,
    Person,
    Key,
    /// For good.
    Portion,
}

/// A gateway, in whichever life.
pub(super) struct Gateway {
    life: Mutex<Option<(Store, Arc<Link>)>>,
    clock: Arc<Drifting>,
    /// What is wrong with its ways, and until when something was, nanoseconds.
    wrong: Mutex<(Wrong, u64)>,
    folder: PathBuf,
}

impl Gateway {
    pub(super) fn life(&self) -> Option<(Store, Arc<Link>)> {
        self.life.lock().clone()
    }

    /// Since when nothing is wrong with it, nanoseconds.
    pub(super) fn well_since(&self) -> Option<u64> {
        let (wrong, until) = *self.wrong.lock();
        (!wrong.ails() && self.life.lock().is_some()).then_some(until)
    }
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) chance: Arc<Chance>,
    pub(super) begun: Instant,
    pub(super) metadata: Arc<Metadata>,
    pub(super) sites: [Arc<SimSite>; COLUMNS],
    pub(super) gateways: [Gateway; GATEWAYS],
    pub(super) taking: Taking,
    pub(super) class: CutOff,
    pub(super) portion: PortionId,
    /// The body of the one object in [`SHUT`].
    pub(super) secret: Bytes,
    /// Access keys of bob, who works, and ann, who reads.
    pub(super) keys: [String; 2],
    pub(super) seen: Mutex<Seen>,
}

/// What clients saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) told: Told,
    /// Of [`PLAIN`], by key.
    pub(super) histories: std::collections::BTreeMap<String, Vec<Record>>,
    /// Of [`TAKEN`], by key: what was acknowledged, and what may be there.
    pub(super) taken: std::collections::BTreeMap<String, (Vec<u64>, Vec<u64>)>,
    /// Ids of what islands acknowledged.
    pub(super) entries: Vec<String>,
    /// When the taking was acknowledged, nanoseconds.
    pub(super) taken_away: Option<u64>,
    /// Whether it was tried: it may have happened though nobody said so.
    pub(super) taking_tried: bool,
    pub(super) values: u64,
    pub(super) over: bool,
}

/// Runs a seed. `folder` is for what islands keep.
///
/// # Panics
/// When a promise is broken; the message says which.
pub fn run(seed: u64, folder: &std::path::Path) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let world = Arc::new(World::new(seed, folder).await);
        let clients = clients::spawn(&world);
        for _ in 0..EPOCHS {
            world.trouble().await;
            world.peace().await;
        }
        world.seen.lock().over = true;
        for client in clients {
            if let Err(panicked) = client.await {
                std::panic::resume_unwind(panicked.into_panic());
            }
        }
        world.audit().await;
        world.seen.lock().told
    })
}

impl World {
    async fn new(seed: u64, folder: &std::path::Path) -> Self {
        let chance = Arc::new(Chance::new(seed));
        let begun = Instant::now();
        let wrong_hour = chance.below(2 * GATEWAYS);
        let gateways = std::array::from_fn(|index| Gateway {
            life: Mutex::default(),
            clock: Arc::new(Drifting {
                begun,
                ppm: chance.below(19_001) as i64 - 9_500,
                wrong_ms: if wrong_hour == index { HOUR_MS * (1 - 2 * chance.below(2) as i64) } else { 0 },
            }),
            wrong: Mutex::default(),
            folder: folder.join(index.to_string()),
        });
        let taking = *chance.pick(&[Taking::Nothing, Taking::Person, Taking::Key, Taking::Portion]);
        let class = *chance.pick(&[CutOff::Strict, CutOff::Bounded]);
        let mut world = Self {
            seed,
            begun,
            metadata: Arc::new(Metadata::new(chance.clone())),
            sites: std::array::from_fn(|_| Arc::new(SimSite::new(chance.clone()))),
            gateways,
            taking,
            class,
            portion: PortionId::from_bytes([0; 16]),
            secret: clients::body(seed),
            keys: Default::default(),
            seen: Mutex::default(),
            chance,
        };
        for index in 0..GATEWAYS {
            world.boot(index).await;
        }
        world.furnish().await;
        world
    }

    pub(super) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    pub(super) fn store(&self, index: usize) -> Store {
        self.gateways[index].life().expect("it lives").0
    }

    /// A process starts, over ways that are as they are. It may fail, as one does that does not reach the metadata.
    async fn boot(&self, index: usize) -> bool {
        let gateway = &self.gateways[index];
        let link = Arc::new(Link::new(self.chance.clone(), gateway.wrong.lock().0));
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("sim://{slot}"),
            site: Arc::new(Far { site: self.sites[slot].clone(), slot, link: link.clone() }),
        });
        let pool = Arc::new(Pool::new(specs, gateway.clock.clone(), PoolOptions::default()));
        let rows = Arc::new(self.metadata.over(index, link.clone()));
        let doors = Doors { clock: gateway.clock.clone(), rng: self.chance.clone() };
        let island = IslandOptions { folder: gateway.folder.clone(), bytes_max: 1 << 20 };
        let options = Options {
            gateway: format!("gw{index}"),
            island: Some(island),
            gc_grace_ms: 1_000,
            // One asks the sites each time.
            read_cache_bytes: if index == 0 { 0 } else { 64 << 10 },
            ..Options::new(doors)
        };
        // The root key is the same at all, in every life.
        let keyring = Keyring::ephemeral(&SeededRng::new(self.seed));
        let root = ("root".to_owned(), "rootroot".to_owned());
        let opened = Store::open(rows, pool, keyring, root, options);
        match timeout(BOOTS, opened).await {
            Ok(Ok(store)) => {
                *gateway.life.lock() = Some((store, link));
                true
            }
            _ => {
                link.die();
                false
            }
        }
    }

    async fn furnish(&mut self) {
        let store = self.store(0);
        for bucket in [PLAIN, TAKEN, SHUT] {
            store.create_bucket(bucket, "root", false).await.expect("a bucket");
        }
        let versions = |state: &mut meta::record::BucketState| {
            state.versioning = Versioning::Enabled;
            Ok(())
        };
        store.change_bucket_state(TAKEN, versions).await.expect("versions");
        store.set_island(TAKEN, true).await.expect("an island");
        let portions = store.portions();
        let new = NewPortion { name: Some("shut".to_owned()), ..NewPortion::default() };
        self.portion = portions.create(AccountId::DEFAULT, new, Maker::Customer).await.expect("a portion").id;
        let class = self.class;
        let set = |record: &mut PortionRecord| {
            record.cut_off = class;
            Ok(())
        };
        portions.describe(AccountId::DEFAULT, self.portion, set).await.expect("a class");
        let portion = self.portion;
        let under = |state: &mut meta::record::BucketState| {
            state.encryption = DefaultEncryption::Portion { portion, bucket_key: false };
            Ok(())
        };
        store.change_bucket_state(SHUT, under).await.expect("an encryption");
        clients::put(&store, SHUT, "secret", self.secret.clone()).await.expect("a secret");
        for (at, name) in ["bob", "ann"].into_iter().enumerate() {
            self.keys[at] = store.create_user(name, None).await.expect("a user").0.access_key;
            for bucket in [PLAIN, TAKEN, SHUT] {
                store.grant(name, bucket, Some(Right::Write)).await.expect("a right");
            }
        }
        // All have heard of all.
        sleep(Duration::from_secs(7)).await;
    }

    fn set(&self, index: usize, wrong: Wrong) {
        tracing::info!(at_ms = self.now() / 1_000_000, gateway = index, ?wrong, "ways");
        let gateway = &self.gateways[index];
        {
            let mut known = gateway.wrong.lock();
            if known.0.ails() || wrong.ails() {
                known.1 = self.now();
            }
            known.0 = wrong;
        }
        if let Some((_, link)) = gateway.life() {
            link.set(wrong);
        }
    }

    /// A process dies in whatever it does. What it had not acknowledged may be torn.
    async fn die(&self, index: usize) {
        let gateway = &self.gateways[index];
        let Some((store, link)) = gateway.life.lock().take() else { return };
        tracing::info!(at_ms = self.now() / 1_000_000, gateway = index, "dies");
        link.die();
        gateway.wrong.lock().1 = self.now();
        self.seen.lock().told.deaths += 1;
        // Ends its loops; what waits for something goes on waiting.
        tokio::spawn(async move { store.shutdown().await });
        // What was on its way to the disk is there, or is not.
        sleep(Duration::from_millis(1)).await;
        let entries = self.seen.lock().entries.clone();
        for file in std::fs::read_dir(&gateway.folder).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !entries.iter().any(|id| name.starts_with(id.as_str())) && self.chance.one_in(2) {
                let length = file.metadata().map_or(0, |known| known.len() as usize);
                let torn = std::fs::File::options().write(true).open(file.path());
                let _ = torn.and_then(|torn| torn.set_len(self.chance.below(length + 1) as u64));
            }
        }
    }

    async fn trouble(&self) {
        let first = self.chance.below(COLUMNS);
        let victims = [first, (first + 1 + self.chance.below(COLUMNS - 1)) % COLUMNS];
        let taking_at = self.chance.below(BLOWS);
        for blow in 0..BLOWS {
            if blow == taking_at && self.seen.lock().taken_away.is_none() && self.chance.one_in(2) {
                self.take_away().await;
            }
            self.strike(victims).await;
            sleep(Duration::from_millis(self.chance.below(PAUSE_MS) as u64)).await;
        }
        // Some outlive a lease.
        if self.chance.one_in(3) {
            sleep(Duration::from_secs(13)).await;
        }
    }

    async fn strike(&self, victims: [usize; 2]) {
        if self.chance.one_in(3) {
            self.set(self.chance.below(GATEWAYS), Wrong::default());
        }
        let index = self.chance.below(GATEWAYS);
        let wrong = self.gateways[index].wrong.lock().0;
        let at_ms = self.now() / 1_000_000;
        let some = || victims.iter().filter(|_| self.chance.one_in(2)).fold(0, |bits, slot| bits | 1 << slot);
        match self.chance.below(12) {
            0 => self.set(index, Wrong { meta_out: true, ..wrong }),
            1 => self.set(index, Wrong { meta_in: true, ..wrong }),
            2 | 3 => self.set(index, Wrong { meta_out: true, meta_in: true, ..wrong }),
            4 => self.set(index, Wrong { meta_lossy: true, ..wrong }),
            5 => self.set(index, Wrong { sites: some(), sites_lossy: some(), ..wrong }),
            6 => self.set(index, Wrong { paused: true, ..wrong }),
            7 => {
                self.die(index).await;
                if self.chance.one_in(2) {
                    self.boot(index).await;
                }
            }
            8 => self.set(index, Wrong::default()),
            9 => {
                tracing::info!(at_ms, site = victims[0], "rot");
                self.sites[victims[0]].rot(3);
            }
            _ => {
                let (site, fault) = (*self.chance.pick(&victims), *self.chance.pick(&FAULTS));
                tracing::info!(at_ms, site, ?fault, "a site fails");
                self.sites[site].set_fault(fault);
            }
        }
    }

    /// Takes something away, through whichever gateway does it.
    async fn take_away(&self) {
        self.seen.lock().taking_tried = true;
        for _ in 0..40 {
            let index = self.chance.below(GATEWAYS);
            if let Some((store, link)) = self.gateways[index].life() {
                let (portions, id) = (store.portions().clone(), self.portion);
                let taking = self.taking;
                let work = async move {
                    match taking {
                        Taking::Nothing => true,
                        Taking::Person => store.revoke_user("ann", "root", "").await.is_ok(),
                        Taking::Key => portions.switch(AccountId::DEFAULT, id, Switch::Disable).await.is_ok(),
                        Taking::Portion => {
                            portions.switch(AccountId::DEFAULT, id, Switch::Shred { days: 0 }).await.is_ok()
                        }
                    }
                };
                if let Ok(true) = timeout(Duration::from_secs(10), link.inside(work)).await {
                    self.seen.lock().taken_away = Some(self.now());
                    return;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Everything works again, and goes on until all that was away is home.
    async fn peace(&self) {
        tracing::info!(at_ms = self.now() / 1_000_000, "peace");
        self.sites.iter().for_each(|site| site.set_fault(Fault::None));
        for index in 0..GATEWAYS {
            self.set(index, Wrong::default());
            if self.gateways[index].life().is_none() {
                assert!(self.boot(index).await, "gateway {index} does not start");
            }
        }
        let begun = Instant::now();
        let (mut told, mut scrubs) = (String::new(), 0);
        while begun.elapsed() < PEACE {
            sleep(Duration::from_secs(3)).await;
            let status = self.store(0).status().await;
            match status {
                Ok(status) if status.state == State::Whole && self.nothing_waits() => match self.leader() {
                    // What sites lied about, or what rotted, only reading tells; and the second time there is none.
                    Some(_) if scrubs == 2 => return,
                    Some(leader) if self.scrub(leader).await => scrubs += 1,
                    _ => {}
                },
                Ok(status) => told = status.summary,
                Err(error) => told = error.to_string(),
            }
        }
        let waiting: Vec<_> = (0..GATEWAYS).map(|index| self.store(index).island_waiting()).collect();
        panic!("there is no peace: {told}; at islands {waiting:?}");
    }

    /// The one that leads now.
    pub(super) fn leader(&self) -> Option<usize> {
        (0..GATEWAYS).find(|index| self.store(*index).gateways().iter().any(|one| one.is_this && one.leads))
    }

    /// Reads all shards. Whether it came to its end.
    async fn scrub(&self, index: usize) -> bool {
        let store = self.store(index);
        let started = store.start_scrub();
        while store.scrub_progress().running {
            sleep(Duration::from_millis(100)).await;
        }
        let told = store.scrub_progress();
        assert_eq!(told.unrepairable, 0, "{told:?}");
        started && told.last_error.is_none()
    }

    fn nothing_waits(&self) -> bool {
        (0..GATEWAYS).all(|index| self.store(index).island_waiting().is_empty())
    }
}
