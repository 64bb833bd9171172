//! Portions over the engine in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AccountId, Clock, Doors, ManualClock, PortionId, SeededRng};
use keys::{BYTES_MAX, EncryptionContext, Keyring, LEASE_MS, NewPortion, PARTS_MAX, PortionError, Portions, Switch};
use meta::record::{Maker, PortionState, Record, TenantRecord, key};
use meta::{Batch, Engine, Memory, Write};

const HOME: AccountId = AccountId::DEFAULT;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Two processes over one engine and one root key.
struct World {
    clock: Arc<ManualClock>,
    one: Portions,
    two: Portions,
    meta: Arc<Memory>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let (meta, rng) = (Arc::new(Memory::new()), Arc::new(SeededRng::new(1)));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let doors = Doors { clock: clock.clone(), rng };
        let process = || Portions::new(meta.clone(), ring.clone(), doors.clone());
        Self { one: process(), two: process(), clock, meta }
    }

    /// Another tenant, of which there is nothing but its row.
    async fn tenant(&self) -> AccountId {
        let account = AccountId::random(&SeededRng::new(9));
        let record = TenantRecord { name: "other".to_owned(), created_ms: 0 };
        let writes = vec![Write::Put(key::tenant_key(account), record.encode())];
        self.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
        account
    }

    async fn portion(&self, name: &str) -> PortionId {
        self.one.named(HOME, name).await.unwrap()
    }
}

#[tokio::test]
async fn a_portion_is_made_once_and_found_by_its_names() {
    let w = World::new();
    let id = w.portion("users/7").await;
    assert_eq!(w.two.named(HOME, "users/7").await.unwrap(), id);
    assert_eq!(w.two.find(HOME, "users/7").await.unwrap().id, id);
    for text in [id.to_string(), keys::dashed(id)] {
        assert_eq!(w.two.find(HOME, &text).await.unwrap().id, id, "{text}");
    }
    w.one.create_alias(HOME, "app", id).await.unwrap();
    assert_eq!(w.two.find(HOME, "alias/app").await.unwrap().id, id);
    assert!(matches!(w.one.create_alias(HOME, "app", id).await, Err(PortionError::AliasExists(_))));
    for absent in ["users/8", "alias/other", "0", "00000000-0000-0000-0000-000000000000"] {
        assert!(matches!(w.one.find(HOME, absent).await, Err(PortionError::NoSuchPortion(_))), "{absent}");
    }
    let other = w.tenant().await;
    assert!(matches!(w.one.find(other, &id.to_string()).await, Err(PortionError::NoSuchPortion(_))));
    assert_ne!(w.one.named(other, "users/7").await.unwrap(), id, "a tenant's own");
    let new = NewPortion { name: Some("users/7".to_owned()), ..NewPortion::default() };
    assert!(matches!(w.one.create(HOME, new, Maker::Customer).await, Err(PortionError::Exists(_))));
}

#[tokio::test]
async fn no_name_is_taken_for_another_portions_key() {
    let w = World::new();
    let id = w.portion("p").await;
    for name in [id.to_string(), keys::dashed(id), "alias/p".to_owned()] {
        let new = NewPortion { name: Some(name.clone()), ..NewPortion::default() };
        assert!(matches!(w.one.create(HOME, new, Maker::Customer).await, Err(PortionError::Invalid(_))), "{name}");
    }
    let rules = keys::rules::Rules::parse(r#"{"rules": [{"prefix": "{a}/", "portion": "{a}"}]}"#).unwrap();
    let tags = BTreeMap::new();
    let subject = keys::rules::Subject { bucket: "b", key: &format!("{id}/x"), tags: &tags, content_type: "" };
    let made = w.one.named(HOME, &rules.choose(&subject).portion).await.unwrap();
    assert_ne!(made, id);
    assert_eq!(w.one.find(HOME, &id.to_string()).await.unwrap().id, id);
}

#[tokio::test]
async fn no_version_takes_more_parts_than_its_cap_whoever_seals() {
    let w = World::new();
    let id = w.portion("p").await;
    let mut under: BTreeMap<u32, u64> = BTreeMap::new();
    for part in 0..PARTS_MAX + 20_000 {
        let process = if part % 3 == 0 { &w.one } else { &w.two };
        *under.entry(process.to_seal(HOME, id, 10).await.unwrap().name().version).or_default() += 1;
    }
    assert!(under.values().all(|parts| *parts <= PARTS_MAX), "{under:?}");
    let versions = w.one.versions(id).await.unwrap();
    assert_eq!(versions.len(), 2, "{versions:?}");
    for version in versions {
        assert!(version.parts >= under[&version.version] && version.parts <= PARTS_MAX, "{version:?}");
    }
}

#[tokio::test]
async fn bytes_and_age_end_a_version_too() {
    let w = World::new();
    let id = w.portion("p").await;
    let seal = async |bytes: u64| w.one.to_seal(HOME, id, bytes).await.unwrap().name().version;
    // 5 GiB at a time: twenty fit, but for what was taken room for and not used.
    let mut versions = Vec::new();
    for _ in 0..45 {
        versions.push(seal(5 << 30).await);
    }
    for version in 1..=2 {
        let parts = versions.iter().filter(|v| **v == version).count() as u64;
        assert!((15..=BYTES_MAX / (5 << 30)).contains(&parts), "{version}: {parts}");
    }
    let before = seal(1).await;
    w.clock.advance_ms(29 * DAY_MS);
    assert_eq!(seal(1).await, before);
    w.clock.advance_ms(2 * DAY_MS);
    assert_eq!(seal(1).await, before + 1);
}

#[tokio::test]
async fn age_ends_a_version_for_callers_of_the_api_too_unless_it_is_told_not_to() {
    let w = World::new();
    let id = w.portion("p").await;
    let none = EncryptionContext::new();
    let seal = async || {
        let sealed = w.one.encrypt(HOME, id, &none, b"x").await.unwrap();
        assert_eq!(w.one.decrypt(HOME, None, &none, &sealed).await.unwrap().plain.as_slice(), b"x");
        keys::key_of(&sealed).unwrap().0.version
    };
    let ages = async |days: u32| {
        let change = |record: &mut meta::record::PortionRecord| {
            record.rotation_days = days;
            Ok(())
        };
        w.one.describe(HOME, id, change).await.map(drop)
    };
    assert_eq!(seal().await, 1);
    w.clock.advance_ms(29 * DAY_MS);
    assert_eq!(seal().await, 1);
    w.clock.advance_ms(2 * DAY_MS);
    assert_eq!(seal().await, 2);
    ages(0).await.unwrap();
    w.clock.advance_ms(3_000 * DAY_MS);
    assert_eq!(seal().await, 2);
    assert_eq!(w.one.to_seal(HOME, id, 1).await.unwrap().name().version, 2);
    assert!(ages(2_561).await.is_err());
    ages(1).await.unwrap();
    w.clock.advance_ms(LEASE_MS);
    assert_eq!(seal().await, 3);
}

#[tokio::test]
async fn a_lease_that_ran_out_loses_no_room() {
    let w = World::new();
    let id = w.portion("p").await;
    for _ in 0..10 {
        w.one.to_seal(HOME, id, 1).await.unwrap();
        w.clock.advance_ms(LEASE_MS + 1);
    }
    assert_eq!(w.one.versions(id).await.unwrap()[0].parts, 16, "one block");
}

#[tokio::test]
async fn a_disabled_key_neither_seals_nor_opens() {
    let w = World::new();
    let id = w.portion("p").await;
    let name = w.one.to_seal(HOME, id, 1).await.unwrap().name();
    w.two.to_open(HOME, name).await.unwrap();
    w.one.switch(HOME, id, Switch::Disable).await.unwrap();
    assert!(matches!(w.one.to_seal(HOME, id, 1).await, Err(PortionError::Disabled(_))), "here at once");
    assert!(matches!(w.one.to_open(HOME, name).await, Err(PortionError::Disabled(_))));
    w.clock.advance_ms(LEASE_MS);
    assert!(matches!(w.two.to_open(HOME, name).await, Err(PortionError::Disabled(_))), "elsewhere after the lease");
    assert!(matches!(w.two.to_seal(HOME, id, 1).await, Err(PortionError::Disabled(_))));
    w.one.switch(HOME, id, Switch::Enable).await.unwrap();
    w.one.to_open(HOME, name).await.unwrap();
}

/// The machine where it was asked for is an hour ahead of all others.
#[tokio::test]
async fn at_once_is_so_by_every_clock() {
    let w = World::new();
    let id = w.portion("p").await;
    let now = w.clock.now_ms();
    w.clock.set_ms(now + DAY_MS / 24);
    w.one.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    w.clock.set_ms(now);
    let kept = w.two.switch(HOME, id, Switch::KeepAfterAll).await;
    assert_eq!(kept.unwrap_err().to_string(), "portion p will be shredded now");
    assert!(w.two.shred(HOME, id).await.unwrap());
}

#[tokio::test]
async fn a_shredded_portion_never_opens_again() {
    let w = World::new();
    let id = w.portion("p").await;
    let name = w.one.to_seal(HOME, id, 1).await.unwrap().name();
    let refused = w.one.switch(HOME, id, Switch::Shred { days: 31 }).await;
    assert!(matches!(refused, Err(PortionError::Invalid(_))));
    w.one.switch(HOME, id, Switch::Shred { days: 7 }).await.unwrap();
    assert!(matches!(w.one.to_open(HOME, name).await, Err(PortionError::PendingShred { .. })));
    assert!(!w.one.shred(HOME, id).await.unwrap(), "not yet");
    let kept = w.one.switch(HOME, id, Switch::KeepAfterAll).await.unwrap();
    assert_eq!(kept.record.state, PortionState::Disabled);
    w.one.switch(HOME, id, Switch::Shred { days: 7 }).await.unwrap();
    w.clock.advance_ms(7 * DAY_MS);
    let late = w.one.switch(HOME, id, Switch::KeepAfterAll).await;
    assert!(matches!(late, Err(PortionError::PendingShred { .. })), "its keys may be half gone");
    assert!(w.one.shred(HOME, id).await.unwrap());
    for switch in [Switch::Enable, Switch::KeepAfterAll, Switch::Shred { days: 0 }] {
        assert!(matches!(w.one.switch(HOME, id, switch).await, Err(PortionError::Shredded(_))), "{switch:?}");
    }
    assert!(matches!(w.two.to_open(HOME, name).await, Err(PortionError::Shredded(_))));
    assert!(w.one.versions(id).await.unwrap().is_empty());
    assert_ne!(w.two.named(HOME, "p").await.unwrap(), id, "the name is free for another");
}

#[tokio::test]
async fn rotation_leaves_what_others_keep() {
    let w = World::new();
    let id = w.portion("p").await;
    let first = w.one.to_seal(HOME, id, 1).await.unwrap().name();
    w.one.rotate(HOME, id, true).await.unwrap();
    assert_eq!(w.one.to_seal(HOME, id, 1).await.unwrap().name().version, 2);
    let context = BTreeMap::new();
    let kept = w.one.encrypt(HOME, id, &context, b"kept").await.unwrap();
    let [(_, work)] = &w.one.rewraps(HOME).await.unwrap()[..] else { panic!("one") };
    assert_eq!(work.below, 2);
    w.one.rewrapped(HOME, id, work).await.unwrap();
    assert!(matches!(w.one.to_open(HOME, first).await, Err(PortionError::NoSuchVersion { version: 1, .. })));
    w.one.rotate(HOME, id, true).await.unwrap();
    let work = w.one.rewraps(HOME).await.unwrap()[0].1;
    w.one.rewrapped(HOME, id, &work).await.unwrap();
    assert_eq!(&*w.two.decrypt(HOME, None, &context, &kept).await.unwrap().plain, b"kept");
    assert!(w.one.rewraps(HOME).await.unwrap().is_empty());
}

#[tokio::test]
async fn ciphertexts_open_in_their_context_account_and_key_only() {
    let w = World::new();
    let (id, other) = (w.portion("p").await, w.portion("q").await);
    let context: BTreeMap<_, _> = [("a".to_owned(), "1".to_owned())].into();
    let sealed = w.one.encrypt(HOME, id, &context, b"secret").await.unwrap();
    let opened = w.two.decrypt(HOME, None, &context, &sealed).await.unwrap();
    assert_eq!((&opened.plain[..], opened.key.portion), (&b"secret"[..], id));
    let refused = |result: Result<keys::Opened, PortionError>| matches!(result, Err(PortionError::Ciphertext));
    assert!(refused(w.one.decrypt(HOME, None, &BTreeMap::new(), &sealed).await));
    assert!(matches!(w.one.decrypt(HOME, Some(other), &context, &sealed).await, Err(PortionError::OtherKey)));
    let stranger = w.tenant().await;
    assert!(refused(w.one.decrypt(stranger, None, &context, &sealed).await));
    for at in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[at] ^= 1;
        assert!(w.one.decrypt(HOME, None, &context, &bent).await.is_err(), "{at}");
        assert!(refused(w.one.decrypt(HOME, None, &context, &sealed[..at]).await), "{at}");
    }
    assert!(w.clock.now_ms() > 0);
}
