//! Epoch files of sites: out of reach at a start, on one device, and ended by a replacement.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, PortionId, SeededRng, SystemRng};
use bytes::Bytes;
use keys::{EncryptionContext, NewPortion, PortionClass, PortionError};
use meta::record::{Maker, Record, SiteRecord, key};
use meta::{Engine, Memory};
use sites::{Entry, Pool, PoolOptions, Site, SiteError, SiteSpec};
use store::{Error, Options, Replace, Store};

const HOME: AccountId = AccountId::DEFAULT;
const FORCE: Replace = Replace { force: true, lose_keys: false };
/// When the clock starts.
const START_MS: u64 = 1_000_000;

/// A site in memory that may not answer for a while.
#[derive(Default)]
struct Disk {
    blobs: sites::Memory,
    /// Looks at the size of a name that are still not answered.
    silent: AtomicU64,
}

#[async_trait]
impl Site for Disk {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        self.blobs.put(name, body).await
    }
    async fn get(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, SiteError> {
        self.blobs.get(name, range).await
    }
    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        if self.silent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(SiteError::Down("it was told to be".to_owned()));
        }
        self.blobs.size(name).await
    }
    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        self.blobs.delete(name).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.blobs.list(prefix, after, limit).await
    }
}

impl Disk {
    /// Another disk takes its place, an empty one; returns what was on it.
    async fn is_taken_out(&self) -> Vec<(String, Bytes)> {
        let mut found = Vec::new();
        for name in self.blobs.names() {
            let size = self.blobs.size(&name).await.unwrap();
            found.push((name.clone(), self.blobs.get(&name, 0..size).await.unwrap()));
            assert!(self.blobs.remove(&name));
        }
        found
    }
}

struct World {
    meta: Arc<Memory>,
    disks: [Arc<Disk>; 5],
    pool: Arc<Pool>,
    clock: Arc<ManualClock>,
    doors: Doors,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let disks: [Arc<Disk>; 5] = std::array::from_fn(|_| Arc::new(Disk::default()));
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: "test://".to_owned(),
            site: disks[slot].clone(),
        });
        let pool = Arc::new(Pool::new(specs, doors.clock.clone(), PoolOptions::default()));
        Self { meta: Arc::new(Memory::new()), disks, pool, clock, doors }
    }

    /// A start over what is there.
    async fn start(&self, epochs: &Path) -> Store {
        let files = std::array::from_fn(|slot| epochs.join(format!("dc{slot}")));
        let options = Options { background: false, epochs: Some(files), ..Options::new(self.doors.clone()) };
        let keyring = keys::Keyring::ephemeral(&SeededRng::new(1));
        let root = ("root".to_owned(), "rootroot".to_owned());
        Store::open(self.meta.clone(), self.pool.clone(), keyring, root, options).await.unwrap()
    }
}

fn quorum() -> NewPortion {
    NewPortion { class: PortionClass::Quorum, ..NewPortion::default() }
}

/// A portion in shares, and something under its key.
async fn kept(store: &Store) -> (PortionId, Vec<u8>) {
    let id = store.portions().create(HOME, quorum(), Maker::Customer).await.unwrap().id;
    let sealed = store.portions().encrypt(HOME, id, &EncryptionContext::new(), b"kept").await.unwrap();
    (id, sealed)
}

async fn opens(store: &Store, sealed: &[u8]) {
    let opened = store.portions().decrypt(HOME, None, &EncryptionContext::new(), sealed).await.unwrap();
    assert_eq!(opened.plain.as_slice(), b"kept");
}

async fn costs_keys(store: &Store, site: &str, how: Replace) {
    let refused = store.replace_site(site, how).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("--lose-keys")), "{site}: {refused}");
}

#[tokio::test]
async fn a_start_without_the_epoch_files_makes_none_and_goes_on_when_they_are_back() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let (here, away) = (dir.path().join("epochs"), dir.path().join("away"));
    let store = w.start(&here).await;
    let [warning] = &store.status().await.unwrap().warnings[..] else { panic!("one warning") };
    assert!(warning.contains("one device") && warning.contains("dc0, dc1, dc2, dc3, dc4"), "{warning}");
    let none = EncryptionContext::new();
    let id = store.portions().create(HOME, quorum(), Maker::Customer).await.unwrap().id;
    let sealed = store.portions().encrypt(HOME, id, &none, b"kept").await.unwrap();
    drop(store);

    std::fs::rename(&here, &away).unwrap();
    let store = w.start(&here).await;
    assert!(!here.exists(), "nothing is made where a disk should be");
    let told = store.portions().decrypt(HOME, None, &none, &sealed).await.map(drop).unwrap_err();
    assert!(matches!(&told, PortionError::KeyUnavailable { have: 0, .. }), "{told}");
    for part in ["epochs/dc0 is not there", "mount it", "site replace dc0"] {
        assert!(told.to_string().contains(part), "{part} in {told}");
    }
    // Nor is anything destroyed, or signed for.
    store.portions().switch(HOME, id, keys::Switch::Shred { days: 0 }).await.unwrap();
    assert!(matches!(store.portions().shred(HOME, id).await, Err(PortionError::SharesLeft { have: 0, .. })));
    assert!(store.portions().receipts(HOME, id).await.unwrap().receipts.is_empty());

    // Back, without another start.
    std::fs::rename(&away, &here).unwrap();
    store.tend_shares().await.unwrap();
    assert!(store.portions().shred(HOME, id).await.unwrap());
    assert_eq!(store.portions().receipts(HOME, id).await.unwrap().receipts.len(), 5);
}

#[tokio::test]
async fn sites_in_service_are_not_replaced_while_keys_rest_on_them() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let store = w.start(dir.path()).await;
    let none = EncryptionContext::new();
    let id = store.portions().create(HOME, quorum(), Maker::Customer).await.unwrap().id;
    let sealed = store.portions().encrypt(HOME, id, &none, b"kept").await.unwrap();
    for site in ["dc0", "dc1"] {
        store.replace_site(site, FORCE).await.unwrap();
    }
    let refused = store.replace_site("dc2", FORCE).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("--lose-keys")), "{refused}");
    // Once theirs are made anew there is no reason against it.
    assert_eq!(store.tend_shares().await.unwrap().made, 2);
    store.replace_site("dc2", FORCE).await.unwrap();
    store.replace_site("dc3", FORCE).await.unwrap();
    drop(store);
    let store = w.start(dir.path()).await;
    assert_eq!(store.portions().decrypt(HOME, None, &none, &sealed).await.unwrap().plain.as_slice(), b"kept");
    drop(store);
    let store = w.start(dir.path()).await;
    assert!(store.replace_site("dc4", FORCE).await.is_err());
    store.replace_site("dc4", Replace { lose_keys: true, ..FORCE }).await.unwrap();
    assert!(store.portions().decrypt(HOME, None, &none, &sealed).await.is_err(), "it was said");
}

/// All epoch files lie on one disk, which is not mounted: nobody can tell what would be lost, so nothing is replaced unasked.
#[tokio::test]
async fn no_site_is_replaced_while_no_epoch_file_is_there() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let (here, away) = (dir.path().join("epochs"), dir.path().join("away"));
    let store = w.start(&here).await;
    let (_, sealed) = kept(&store).await;
    drop(store);
    std::fs::rename(&here, &away).unwrap();
    let store = w.start(&here).await;
    for site in ["dc0", "dc1", "dc2", "dc3", "dc4"] {
        costs_keys(&store, site, FORCE).await;
    }
    assert!(!here.exists(), "nothing was written where the disk should be");
    assert_eq!(store.tend_shares().await.unwrap().unavailable, 1, "and it is told");
    std::fs::rename(&away, &here).unwrap();
    store.tend_shares().await.unwrap();
    opens(&store, &sealed).await;
    store.replace_site("dc0", FORCE).await.unwrap();
}

/// A disk that is not mounted looks like an empty site, and its shares are still needed.
#[tokio::test]
async fn an_empty_site_is_not_replaced_while_keys_rest_on_it() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let store = w.start(dir.path()).await;
    // Made while two are away.
    for disk in &w.disks[3..] {
        disk.is_taken_out().await;
    }
    store.probe().await;
    let (id, sealed) = kept(&store).await;
    assert_eq!(store.portions().shares_held(id).await.unwrap()[&1], 3);
    let disk = w.disks[2].is_taken_out().await;
    store.probe().await;
    costs_keys(&store, "dc2", Replace::default()).await;
    costs_keys(&store, "dc2", FORCE).await;
    for (name, body) in disk {
        w.disks[2].put(&name, &[body]).await.unwrap();
    }
    store.probe().await;
    opens(&store, &sealed).await;
    store.replace_site("dc3", Replace::default()).await.unwrap();
}

#[tokio::test]
async fn a_site_that_comes_back_just_then_is_not_replaced() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let store = w.start(dir.path()).await;
    w.disks[0].silent.store(1, Ordering::SeqCst);
    let refused = store.replace_site("dc0", Replace::default()).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("the site is back")), "{refused}");
}

/// Its epoch keys end all the same, and it gets others; where it gets none, that is told.
#[tokio::test]
async fn a_site_is_replaced_also_by_a_clock_that_went_back() {
    let (w, dir) = (World::new(), tempfile::tempdir().unwrap());
    let store = w.start(dir.path()).await;
    let (_, sealed) = kept(&store).await;
    // By wrapping around.
    w.clock.advance_ms(0_u64.wrapping_sub(START_MS / 2));
    let before = std::fs::read(dir.path().join("dc0")).unwrap();
    store.replace_site("dc0", FORCE).await.unwrap();
    assert_ne!(std::fs::read(dir.path().join("dc0")).unwrap(), before);
    let row = w.meta.get(&[key::site_key(0)]).await.unwrap().pop().flatten().unwrap();
    assert_eq!(SiteRecord::decode(&row.value).unwrap().since_ms, START_MS + 1);
    assert_eq!(store.tend_shares().await.unwrap().made, 1);

    // Its folder takes no file.
    let blocked = dir.path().join("dc1.next");
    std::fs::create_dir(&blocked).unwrap();
    let told = store.replace_site("dc1", FORCE).await.unwrap_err();
    assert!(matches!(&told, Error::Portion(PortionError::NoEpochKeys { site, .. }) if site == "dc1"), "{told}");
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(store.tend_shares().await.unwrap().made, 1);
    opens(&store, &sealed).await;
}
