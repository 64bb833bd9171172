//! A tenant that is deleted takes its keys along: destroyed as by a shredding, told, and nothing left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors};
use keys::{AuditEvent, Auditor, EncryptionContext, NewPortion, PortionError, Switch, Who};
use meta::record::{DenialReason, Maker, key};
use meta::{Engine, Memory, Range};
use parking_lot::Mutex;
use sites::Pool;
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
    let (meta, auditor) = (Arc::new(Memory::new()), Arc::new(Recording::default()));
    let doors = Doors::system();
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
    let options = Options { background: false, auditor: Some(auditor.clone()), ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    (Store::open(meta.clone(), pool, keyring, root, options).await.unwrap(), meta, auditor)
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
    let (from, to) = key::departed();
    assert!(meta.range(Range { from, to, limit: 10 }).await.unwrap().rows.is_empty());
    assert!(portions.get(AccountId::DEFAULT, elsewhere).await.unwrap().is_enabled(), "others' keys stay");
    store.take_tenants_apart().await.unwrap();
}
