//! What is told of changes to portions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, SeededRng};
use keys::{
    AuditEvent, AuditOutcome, Auditor, Constraints, EndGrant, Keyring, NewGrant, NewPortion, PARTS_MAX, PortionError,
    Portions, Switch,
};
use meta::Memory;
use meta::record::{Begun, GrantPrincipal, KeyOperation, Maker, PortionRecord, PortionState};
use parking_lot::Mutex;

const HOME: AccountId = AccountId::DEFAULT;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Keeps what it is told, unless it is full.
#[derive(Default)]
struct Recording {
    events: Mutex<Vec<AuditEvent>>,
    full: AtomicBool,
}

#[async_trait]
impl Auditor for Recording {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(PortionError::Unrecorded { log: "data/audit".into(), reason: "no space is left".into() });
        }
        self.events.lock().push(event);
        Ok(())
    }
}

struct World {
    clock: Arc<ManualClock>,
    told: Arc<Recording>,
    portions: Portions,
}

impl World {
    fn new() -> Self {
        let (clock, told) = (Arc::new(ManualClock::new(1_000_000)), Arc::new(Recording::default()));
        let rng = Arc::new(SeededRng::new(1));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let doors = Doors { clock: clock.clone(), rng };
        let portions = Portions::new(Arc::new(Memory::new()), ring, doors).audited(Some(told.clone()));
        Self { clock, told, portions }
    }

    /// What was told since the last time: action and resource.
    fn since(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.told.events.lock());
        let line = |event: AuditEvent| format!("{} {} {}", event.actor, event.action, event.resource);
        events.into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn every_change_is_told_once() {
    let w = World::new();
    let alice = w.portions.by("alice");
    let new = NewPortion { name: Some("p".to_owned()), ..NewPortion::default() };
    let id = alice.create(HOME, new, Maker::Customer).await.unwrap().id;
    assert_eq!(w.told.events.lock()[0].details["id"], keys::dashed(id));
    assert_eq!(w.since(), ["alice portion:create portion/p"]);
    let other = w.portions.named(HOME, "bucket/b").await.unwrap();
    w.portions.named(HOME, "bucket/b").await.unwrap();
    assert_eq!(w.since(), ["holdfast portion:create portion/bucket/b"]);

    alice.switch(HOME, id, Switch::Disable).await.unwrap();
    alice.switch(HOME, id, Switch::Enable).await.unwrap();
    assert_eq!(w.since(), ["alice portion:disable portion/p", "alice portion:enable portion/p"]);
    alice.rotate(HOME, id, true).await.unwrap();
    assert_eq!(w.told.events.lock()[0].details["version"], "2");
    assert_eq!(w.since(), ["alice portion:rotate portion/p"]);
    let work = w.portions.rewraps(HOME).await.unwrap().pop().unwrap().1;
    w.portions.rewrapped(HOME, id, &work).await.unwrap();
    assert_eq!(w.told.events.lock()[0].details["version"], "1");
    assert_eq!(w.since(), ["holdfast portion:version-destroyed portion/p"]);
    let days = |record: &mut PortionRecord| {
        record.rotation_days = 90;
        Ok(())
    };
    alice.describe(HOME, id, days).await.unwrap();
    assert_eq!(w.since(), ["alice portion:describe portion/p"]);

    alice.create_alias(HOME, "app", id).await.unwrap();
    alice.update_alias(HOME, "app", other).await.unwrap();
    alice.delete_alias(HOME, "app").await.unwrap();
    assert_eq!(
        w.since(),
        ["alice alias:create alias/app", "alice alias:update alias/app", "alice alias:delete alias/app"]
    );
    let grant = NewGrant {
        name: Some("n".to_owned()),
        grantee: GrantPrincipal { arn: "arn:b".to_owned(), id: "B".to_owned() },
        retiring: Some(GrantPrincipal { arn: "arn:c".to_owned(), id: "C".to_owned() }),
        operations: [KeyOperation::Encrypt, KeyOperation::Decrypt].into(),
        constraints: Constraints::default(),
    };
    let made = alice.create_grant(HOME, id, grant.clone()).await.unwrap();
    // The same once more is no change.
    alice.create_grant(HOME, id, grant.clone()).await.unwrap();
    let details = w.told.events.lock()[0].details.clone();
    let expected = [
        ("grant", made.to_string()),
        ("grantee", "arn:b".to_owned()),
        ("id", keys::dashed(id)),
        ("operations", "Decrypt,Encrypt".to_owned()),
        ("retiring", "arn:c".to_owned()),
    ];
    assert_eq!(details, expected.map(|(name, value)| (name.to_owned(), value)).into());
    alice.end_grant(HOME, id, made, EndGrant::Retire).await.unwrap();
    alice.create_grant(HOME, id, grant).await.unwrap();
    alice.end_grant(HOME, id, made, EndGrant::Revoke).await.unwrap();
    alice.end_grant(HOME, id, made, EndGrant::Revoke).await.unwrap_err();
    let told = ["grant:create", "grant:retire", "grant:create", "grant:revoke"];
    assert_eq!(w.since(), told.map(|action| format!("alice {action} portion/p")));

    alice.create_alias(HOME, "gone", id).await.unwrap();
    w.since();
    alice.put_rules(HOME, r#"{"rules": []}"#).await.unwrap();
    assert_eq!(w.since(), ["alice portion:rules-changing portion-rules", "alice portion:rules portion-rules"]);

    alice.switch(HOME, id, Switch::Shred { days: 7 }).await.unwrap();
    alice.switch(HOME, id, Switch::KeepAfterAll).await.unwrap();
    alice.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    w.portions.shred(HOME, id).await.unwrap();
    let expected = [
        "alice portion:shred-scheduling portion/p",
        "alice portion:shred-scheduled portion/p",
        "alice portion:kept portion/p",
        "alice portion:shred-scheduling portion/p",
        "alice portion:shred-scheduled portion/p",
        "holdfast portion:shredding portion/p",
        "holdfast alias:delete alias/gone",
        "holdfast portion:shredded portion/p",
    ];
    assert_eq!(w.since(), expected);
}

#[tokio::test]
async fn a_version_that_begins_by_itself_is_told() {
    let w = World::new();
    let id = w.portions.named(HOME, "p").await.unwrap();
    w.since();
    w.portions.to_seal(HOME, id, 1).await.unwrap();
    assert!(w.since().is_empty(), "no change");
    w.clock.advance_ms(31 * DAY_MS);
    w.portions.to_seal(HOME, id, 1).await.unwrap();
    assert_eq!(w.since(), ["holdfast portion:version portion/p"]);
    for _ in 0..=PARTS_MAX {
        w.portions.to_seal(HOME, id, 1).await.unwrap();
    }
    assert_eq!(w.since(), ["holdfast portion:version portion/p"]);
    w.portions.rotate(HOME, id, false).await.unwrap();
    let begun: Vec<_> = w.portions.versions(id).await.unwrap().iter().map(|version| version.begun).collect();
    assert_eq!(begun, [Begun::First, Begun::Automatic, Begun::Automatic, Begun::OnDemand]);
}

#[tokio::test]
async fn what_was_not_done_is_not_told() {
    let w = World::new();
    let id = w.portions.named(HOME, "p").await.unwrap();
    w.since();
    w.portions.switch(HOME, id, Switch::KeepAfterAll).await.unwrap_err();
    w.portions.switch(HOME, id, Switch::Shred { days: 31 }).await.unwrap_err();
    w.portions.put_rules(HOME, "no rules").await.unwrap_err();
    w.portions.delete_alias(HOME, "app").await.unwrap_err();
    assert!(!w.portions.shred(HOME, id).await.unwrap());
    assert_eq!(w.since(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_record_nothing_is_shredded_and_no_rules_change() {
    let w = World::new();
    let id = w.portions.named(HOME, "p").await.unwrap();
    let name = w.portions.to_seal(HOME, id, 1).await.unwrap().name();
    w.told.full.store(true, Ordering::Relaxed);

    let refused = w.portions.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("data/audit") && words.contains("no space is left"), "{words}");
    let refused = w.portions.put_rules(HOME, r#"{"rules": []}"#).await;
    assert!(matches!(refused, Err(PortionError::Unrecorded { .. })));
    assert_eq!(w.portions.rules(HOME).await.unwrap(), None);
    w.portions.to_open(HOME, name).await.unwrap();

    // What destroys nothing is done, and not taken back.
    let disabled = w.portions.switch(HOME, id, Switch::Disable).await.unwrap();
    assert_eq!(disabled.record.state, PortionState::Disabled);

    // Decided while there was room, and due when there is none: the keys stay until it is told.
    w.told.full.store(false, Ordering::Relaxed);
    w.portions.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    w.told.full.store(true, Ordering::Relaxed);
    assert!(matches!(w.portions.shred(HOME, id).await, Err(PortionError::Unrecorded { .. })));
    assert_eq!(w.portions.versions(id).await.unwrap().len(), 1);
    w.told.full.store(false, Ordering::Relaxed);
    assert!(w.portions.shred(HOME, id).await.unwrap());
    assert!(w.portions.versions(id).await.unwrap().is_empty());
    assert!(w.told.events.lock().iter().all(|event| event.outcome == AuditOutcome::Done));
}
