//! Five sites in memory that can vanish, and whose contents can be copied and put back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use base::{Clock, Doors, ManualClock, SeededRng};
use bytes::Bytes;
use keys::quorum::{Bounds, EpochMemory, EpochPlace, Missing, Quorum, ShareHolder, SiteIdentity, SiteShares};
use parking_lot::Mutex;
use sites::{Entry, Marker, Memory, Pool, PoolOptions, Site, SiteError, SiteSpec, write_marker};
use zeroize::Zeroizing;

/// A site in memory that may be down, or fail after some more operations.
pub struct Disk {
    pub blobs: Memory,
    down: AtomicBool,
    /// Operations that still succeed.
    left: AtomicU64,
    /// Reads of names that begin so never end.
    stuck: Mutex<Option<String>>,
    /// How its listings lie.
    lie: Mutex<Lie>,
}

/// How a site lists.
#[derive(Default, Clone)]
pub enum Lie {
    #[default]
    None,
    /// As it was when these were all names.
    Lags(Vec<String>),
    /// From a name like this one, for ever.
    HasNoEnd(String),
    /// The first page again and again.
    GoesRound,
}

impl Disk {
    fn works(&self) -> Result<(), SiteError> {
        let counted = |left: u64| Some(if left == u64::MAX { left } else { left.saturating_sub(1) });
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted).unwrap_or_default();
        if left == 0 || self.down.load(Ordering::SeqCst) {
            return Err(SiteError::Down("it was told to be".to_owned()));
        }
        Ok(())
    }

    /// From now on names that are put are in no listing.
    pub fn lags(&self) {
        self.lies(Lie::Lags(self.blobs.names()));
    }

    pub fn lies(&self, lie: Lie) {
        *self.lie.lock() = lie;
    }

    /// Never answers a read below this prefix.
    pub fn sticks(&self, prefix: &str) {
        *self.stuck.lock() = Some(prefix.to_owned());
    }

    /// Fails from the operation after `more` on.
    pub fn fails_after(&self, more: u64) {
        self.left.store(more, Ordering::SeqCst);
    }
}

#[async_trait]
impl Site for Disk {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        self.works()?;
        self.blobs.put(name, body).await
    }
    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        self.works()?;
        if self.stuck.lock().as_ref().is_some_and(|prefix| name.starts_with(prefix)) {
            std::future::pending::<()>().await;
        }
        self.blobs.get(name, range).await
    }
    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        self.works()?;
        self.blobs.size(name).await
    }
    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        self.works()?;
        self.blobs.delete(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.works()?;
        let lie = self.lie.lock().clone();
        let page = match lie {
            Lie::HasNoEnd(like) if like.starts_with(prefix) => {
                let number = after.map_or(0, |after| u64::from_str_radix(&after[52..68], 16).unwrap() + 1);
                let name = |number: u64| format!("{}{number:016x}{}", &like[..52], &like[68..]);
                return Ok((number..number + limit as u64)
                    .map(|at| Entry { name: name(at), size: 176, modified_ms: 0 })
                    .collect());
            }
            Lie::GoesRound => self.blobs.list(prefix, None, limit).await?,
            _ => self.blobs.list(prefix, after, limit).await?,
        };
        let is_told = |entry: &Entry| !matches!(&lie, Lie::Lags(names) if !names.contains(&entry.name));
        Ok(page.into_iter().filter(is_told).collect())
    }
}

/// A copy of a site and its epoch keys.
#[derive(Clone)]
pub struct Copy {
    blobs: Vec<(String, Bytes)>,
    epochs: Option<Zeroizing<String>>,
}

pub struct Sites {
    pub clock: Arc<ManualClock>,
    pub doors: Doors,
    pub disks: [Arc<Disk>; 5],
    pub pool: Arc<Pool>,
    epochs: [EpochMemory; 5],
    pub holders: [Arc<SiteShares>; 5],
    pub quorum: Arc<Quorum>,
}

impl Sites {
    pub async fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SeededRng::new(seed)) };
        let disks: [Arc<Disk>; 5] = std::array::from_fn(|_| {
            Arc::new(Disk {
                blobs: Memory::new(),
                down: AtomicBool::new(false),
                left: AtomicU64::new(u64::MAX),
                stuck: Mutex::default(),
                lie: Mutex::default(),
            })
        });
        for (slot, disk) in (0..).zip(&disks) {
            let marker = Marker { cluster: "c".to_owned(), slot, name: format!("dc{slot}"), created_ms: 1 };
            write_marker(disk.as_ref(), &marker).await.unwrap();
        }
        let mut slot = 0;
        let specs = disks.clone().map(|site| {
            slot += 1;
            SiteSpec { name: format!("dc{}", slot - 1), url: "test://".to_owned(), site: site as Arc<dyn Site> }
        });
        let pool = Arc::new(Pool::new(specs, clock.clone() as Arc<dyn Clock>, PoolOptions::default()));
        let epochs = [(); 5].map(|()| EpochMemory::default());
        let (holders, quorum) = process(&pool, &epochs, &doors).await;
        Self { clock, doors, disks, pool, epochs, holders, quorum }
    }

    /// The process starts again on what is there.
    pub async fn restart(&mut self) {
        (self.holders, self.quorum) = process(&self.pool, &self.epochs, &self.doors).await;
    }

    pub async fn set_down(&self, slot: usize, down: bool) {
        self.disks[slot].down.store(down, Ordering::SeqCst);
        self.pool.probe_all().await;
    }

    pub async fn copy(&self, slot: usize) -> Copy {
        let disk = &self.disks[slot].blobs;
        let mut blobs = Vec::new();
        for name in disk.names() {
            let size = disk.size(&name).await.unwrap();
            blobs.push((name.clone(), disk.get(&name, 0..size).await.unwrap()));
        }
        Copy { blobs, epochs: self.epochs[slot].lock().clone() }
    }

    pub async fn restore(&mut self, slot: usize, copy: &Copy) {
        let disk = &self.disks[slot].blobs;
        assert!(disk.names().iter().all(|name| disk.remove(name)));
        for (name, body) in &copy.blobs {
            disk.put(name, std::slice::from_ref(body)).await.unwrap();
        }
        self.epochs[slot].lock().clone_from(&copy.epochs);
        self.restart().await;
    }
}

async fn process(pool: &Arc<Pool>, epochs: &[EpochMemory; 5], doors: &Doors) -> ([Arc<SiteShares>; 5], Arc<Quorum>) {
    let holders: [Arc<SiteShares>; 5] = std::array::from_fn(|slot| {
        let place = EpochPlace::Memory(epochs[slot].clone());
        Arc::new(SiteShares::new(pool.clone(), slot as u8, place, doors.rng.clone()))
    });
    for (slot, holder) in (0..).zip(&holders) {
        let identity = SiteIdentity { cluster: "c".to_owned(), slot, name: format!("dc{slot}"), since_ms: 1 };
        holder.settle(identity, Missing::IsFirst).await.unwrap();
    }
    let of = holders.clone().map(|holder| holder as Arc<dyn ShareHolder>);
    (holders, Arc::new(Quorum::new(of, Bounds::default())))
}

impl Sites {
    /// A copy of a site's blobs comes back, and the epoch keys stay as they are.
    pub async fn restore_blobs(&mut self, slot: usize, copy: &Copy) {
        let epochs = self.epochs[slot].lock().clone();
        self.restore(slot, &Copy { blobs: copy.blobs.clone(), epochs }).await;
    }
}
