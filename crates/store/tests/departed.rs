//! A tenant that is deleted takes its keys along: destroyed as by a shredding, told, and nothing left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, SystemRng};
use bytes::Bytes;
use keys::{AuditEvent, Auditor, EncryptionContext, NewPortion, PortionClass, PortionError, Switch, Who};
use meta::record::{DenialReason, Maker, key};
use meta::{Batch, Engine, Memory, Range, Write};
use parking_lot::Mutex;
use sites::{Entry, Pool, PoolOptions, Site, SiteError, SiteSpec};
use store::{Error, Options, Store};

#[derive(Default)]
struct Recording {
    told: Mutex<Vec<String>>,
    full: AtomicBool,
}

#[async_trait]
impl Auditor for Recording {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(PortionError::Unrecorded { log: "audit".into(), reason: "no space is left".into() });
        }
        self.told.lock().push(format!("{} {}", event.action, event.resource));
        Ok(())
    }
}

async fn world() -> (Store, Arc<Memory>, Arc<Recording>) {
    let (store, meta, auditor, _) = world_of_sites().await;
    (store, meta, auditor)
}

/// A site in memory that may be down.
#[derive(Default)]
struct Disk {
    blobs: sites::Memory,
    down: AtomicBool,
}

impl Disk {
    fn works(&self) -> Result<(), SiteError> {
        if self.down.load(Ordering::Relaxed) { Err(SiteError::Down("it was told to be".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Site for Disk {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        self.works()?;
        self.blobs.put(name, body).await
    }
    async fn get(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, SiteError> {
        self.works()?;
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
        self.blobs.list(prefix, after, limit).await
    }
}

async fn world_of_sites() -> (Store, Arc<Memory>, Arc<Recording>, [Arc<Disk>; 5]) {
    world_at(Doors::system()).await
}

async fn world_at(doors: Doors) -> (Store, Arc<Memory>, Arc<Recording>, [Arc<Disk>; 5]) {
    let (meta, auditor) = (Arc::new(Memory::new()), Arc::new(Recording::default()));
    let disks: [Arc<Disk>; 5] = std::array::from_fn(|_| Arc::new(Disk::default()));
    let specs = std::array::from_fn(|slot| SiteSpec {
        name: format!("dc{slot}"),
        url: "test://".to_owned(),
        site: disks[slot].clone(),
    });
    let pool = Arc::new(Pool::new(specs, doors.clock.clone(), PoolOptions::default()));
    let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
    let options = Options { background: false, auditor: Some(auditor.clone()), ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    (Store::open(meta.clone(), pool, keyring, root, options).await.unwrap(), meta, auditor, disks)
}

/// Metadata that stop the first deletion of a tenant until somebody did something else.
struct Slow {
    inner: Arc<Memory>,
    at: tokio::sync::Barrier,
    armed: AtomicBool,
}

#[async_trait]
impl Engine for Slow {
    async fn get(&self, keys: &[meta::Key]) -> Result<Vec<Option<meta::Row>>, meta::MetaError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<meta::Page, meta::MetaError> {
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, meta::CommitError>> {
        let deletes = |write: &Write| matches!(write, Write::Put(row_key, _) if row_key.starts_with(b"X/"));
        if batches.iter().any(|batch| batch.writes.iter().any(deletes)) && self.armed.swap(false, Ordering::Relaxed) {
            self.at.wait().await;
            self.at.wait().await;
        }
        self.inner.commit_group(batches).await
    }
}

/// A client seals something with a key of the tenant between the look at its keys and the deletion.
#[tokio::test]
async fn a_tenant_whose_key_seals_something_meanwhile_is_not_deleted() {
    let slow = Arc::new(Slow {
        inner: Arc::new(Memory::new()),
        at: tokio::sync::Barrier::new(2),
        armed: AtomicBool::new(true),
    });
    let doors = Doors::system();
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
    let options = Options { background: false, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    let store = Store::open(slow.clone(), pool, keyring, root, options).await.unwrap();
    let home = store.create_tenant("a").await.unwrap().0.account;
    let portions = store.portions().clone();
    let new = NewPortion { name: Some("p".to_owned()), ..NewPortion::default() };
    let id = portions.create(home, new, Maker::Customer).await.unwrap().id;
    let none = EncryptionContext::new();
    let meanwhile = async {
        slow.at.wait().await;
        let sealed = portions.encrypt(home, id, &none, b"kept").await.unwrap();
        slow.at.wait().await;
        sealed
    };
    let (deleted, sealed) = futures::join!(store.delete_tenant("a"), meanwhile);
    assert!(deleted.is_err(), "what was sealed would be lost");
    assert!(matches!(store.delete_tenant("a").await, Err(Error::TenantHasKeys { .. })));
    assert_eq!(portions.decrypt(home, None, &none, &sealed).await.unwrap().plain.as_slice(), b"kept");

    // And in one that is gone nothing is made, nor sealed.
    let gone = store.create_tenant("b").await.unwrap().0.account;
    let id = portions.create(gone, NewPortion::default(), Maker::Customer).await.unwrap().id;
    store.delete_tenant("b").await.unwrap();
    assert!(portions.encrypt(gone, id, &none, b"lost").await.is_err());
    store.take_tenants_apart().await.unwrap();
    for class in [PortionClass::Sealed, PortionClass::Quorum] {
        let new = NewPortion { class, ..NewPortion::default() };
        let made = portions.create(gone, new, Maker::Customer).await;
        assert!(matches!(made, Err(PortionError::NoSuchPortion(_))), "{:?}", made.map(|made| made.id));
    }
    assert_eq!(rows_of(&slow.inner, gone).await, 0);
}

/// The clock goes back between two passes, the first of which had begun to destroy keys.
#[tokio::test]
async fn a_clock_that_goes_back_holds_up_no_departure() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let (store, meta, _, disks) = world_at(doors).await;
    let home = store.create_tenant("a").await.unwrap().0.account;
    let new = NewPortion { class: PortionClass::Quorum, ..NewPortion::default() };
    store.portions().create(home, new, Maker::Customer).await.unwrap();
    store.delete_tenant("a").await.unwrap();
    disks[..3].iter().for_each(|disk| disk.down.store(true, Ordering::Relaxed));
    store.take_tenants_apart().await.unwrap_err();
    // By wrapping around.
    clock.advance_ms(0_u64.wrapping_sub(500_000));
    disks[..3].iter().for_each(|disk| disk.down.store(false, Ordering::Relaxed));
    store.probe().await;
    store.take_tenants_apart().await.unwrap();
    assert_eq!(rows_of(&meta, home).await, 0);
}

/// Portions in shares whose sites are away, rows that cannot be read, and many tenants: each keeps only itself alive.
#[tokio::test]
async fn what_cannot_be_destroyed_yet_keeps_nothing_else_alive() {
    let (store, meta, _, disks) = world_of_sites().await;
    let mut tenants = Vec::new();
    for number in 0..103 {
        let name = format!("t{number}");
        let home = store.create_tenant(&name).await.unwrap().0.account;
        let mut ids = Vec::new();
        let classes =
            if number == 0 { vec![PortionClass::Quorum, PortionClass::Sealed] } else { vec![PortionClass::Sealed] };
        for class in classes {
            let new = NewPortion { class, ..NewPortion::default() };
            ids.push(store.portions().create(home, new, Maker::Customer).await.unwrap().id);
        }
        store.delete_tenant(&name).await.unwrap();
        tenants.push((home, ids));
    }
    // The first cannot be read, nor its only portion.
    let (broken, ids) = tenants[1].clone();
    for row_key in [key::departed_key(broken), key::portion_key(broken, ids[0])] {
        meta.commit(Batch { checks: vec![], writes: vec![Write::Put(row_key, vec![9, 9].into())] }).await.unwrap();
    }
    disks[..3].iter().for_each(|disk| disk.down.store(true, Ordering::Relaxed));
    store.take_tenants_apart().await.unwrap_err();
    let waits = &tenants[0];
    assert_eq!(store.portions().versions(waits.1[0]).await.unwrap().len(), 1, "its sites are away");
    assert!(store.portions().versions(waits.1[1]).await.unwrap().is_empty(), "no site is needed for this one");
    for (home, ids) in &tenants[2..] {
        assert!(store.portions().versions(ids[0]).await.unwrap().is_empty());
        assert_eq!(rows_of(&meta, *home).await, 0);
    }
    let (from, to) = key::departed();
    assert_eq!(meta.range(Range { from, to, limit: 10 }).await.unwrap().rows.len(), 2);
}

async fn rows_of(meta: &Memory, account: AccountId) -> usize {
    let mut rows = 0;
    for (from, to) in key::of_tenant(account) {
        rows += meta.range(Range { from, to, limit: 1000 }).await.unwrap().rows.len();
    }
    rows
}

#[tokio::test]
async fn keys_of_a_deleted_tenant_are_destroyed() {
    let (store, meta, auditor) = world().await;
    let home = store.create_tenant("a").await.unwrap().0.account;
    let tenant = store.of(home);
    let portions = tenant.portions().clone();
    let mut ids = Vec::new();
    for name in ["p", "waits", "gone"] {
        let new = NewPortion { name: Some(name.to_owned()), ..NewPortion::default() };
        ids.push(portions.create(home, new, Maker::Customer).await.unwrap().id);
    }
    portions.create_alias(home, "x", ids[0]).await.unwrap();
    portions.put_rules(home, r#"{"rules": []}"#).await.unwrap();
    portions.deny(home, &Who::anonymous(), DenialReason::Quarantined, "").await.unwrap();
    portions.switch(home, ids[1], Switch::Shred { days: 30 }).await.unwrap();
    let elsewhere = portions.named(AccountId::DEFAULT, "stays").await.unwrap();

    let sealed = portions.encrypt(home, ids[2], &EncryptionContext::new(), b"kept").await.unwrap();
    let refused = store.delete_tenant("a").await.unwrap_err();
    assert!(matches!(&refused, Error::TenantHasKeys { portion, .. } if portion == "gone"), "{refused}");
    portions.switch(home, ids[2], Switch::Shred { days: 0 }).await.unwrap();
    assert!(portions.shred(home, ids[2]).await.unwrap());
    assert!(portions.decrypt(home, None, &EncryptionContext::new(), &sealed).await.is_err());
    store.delete_tenant("a").await.unwrap();
    assert!(rows_of(&meta, home).await > 5);

    // Nothing is destroyed unrecorded; the next pass takes it up again.
    auditor.full.store(true, Ordering::Relaxed);
    store.take_tenants_apart().await.unwrap_err();
    assert_eq!(portions.versions(ids[0]).await.unwrap().len(), 1);
    auditor.full.store(false, Ordering::Relaxed);
    auditor.told.lock().clear();
    store.take_tenants_apart().await.unwrap();
    let told = auditor.told.lock().clone();
    for expected in ["portion:shredded portion/p", "portion:shredded portion/waits"] {
        assert!(told.iter().any(|line| line == expected), "{expected} in {told:?}");
    }
    assert_eq!(rows_of(&meta, home).await, 0);
    for id in &ids {
        assert!(portions.versions(*id).await.unwrap().is_empty());
    }
    // What proves it is there still.
    let file = portions.receipts_of_key(ids[0]).await.unwrap();
    let site_keys: Vec<_> = file.site_keys.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(keys::quorum::receipt::verify(&file, &site_keys).unwrap().rows.len(), 5);
    let (from, to) = key::departed();
    assert!(meta.range(Range { from, to, limit: 10 }).await.unwrap().rows.is_empty());
    assert!(portions.get(AccountId::DEFAULT, elsewhere).await.unwrap().is_enabled(), "others' keys stay");
    store.take_tenants_apart().await.unwrap();
}
