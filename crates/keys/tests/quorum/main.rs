//! Keys in shares: made, opened, rotated, shredded, with sites that are away, lie, or come back from a backup.

mod holders;
mod model;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use audit::VerifierKey;
use base::{AccountId, Classify, Doors, ErrorKind, ManualClock, PortionId, SeededRng};
use futures::FutureExt;
use keys::quorum::receipt::{Attested, Receipt, ReceiptFile, verify};
use keys::quorum::{Bounds, MemoryShares, Mood, Quorum, ShareHolder};
use keys::{
    AuditEvent, Auditor, Caller, EncryptionContext, KeyName, Keyring, LEASE_MS, NewPortion, PortionClass, PortionError,
    Portions, Switch, Tended, Who,
};
use meta::Engine;
use meta::Memory;
use meta::record::{DenialReason, Maker, PortionKeyRecord, PortionState, Record, key};
use release::{Action, Via};

const HOME: AccountId = AccountId::DEFAULT;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Portions over five holders in memory.
struct World {
    clock: Arc<ManualClock>,
    meta: Arc<Memory>,
    ring: Arc<Keyring>,
    doors: Doors,
    holders: [Arc<MemoryShares>; 5],
    quorum: Arc<Quorum>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let rng = Arc::new(SeededRng::new(1));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let holders: [Arc<MemoryShares>; 5] = std::array::from_fn(|slot| Arc::new(MemoryShares::new(slot as u8)));
        let quorum = Quorum::new(holders.clone().map(|holder| holder as Arc<dyn ShareHolder>), Bounds::default());
        let doors = Doors { clock: clock.clone(), rng };
        Self { clock, meta: Arc::new(Memory::new()), ring, doors, holders, quorum: Arc::new(quorum) }
    }

    /// A process that remembers nothing.
    fn portions(&self) -> Portions {
        Portions::new(self.meta.clone(), self.ring.clone(), self.doors.clone()).with_quorum(self.quorum.clone())
    }

    async fn make(&self, name: &str) -> Result<PortionId, PortionError> {
        let new = NewPortion { name: Some(name.to_owned()), class: PortionClass::Quorum, ..NewPortion::default() };
        self.portions().create(HOME, new, Maker::Customer).await.map(|portion| portion.id)
    }

    async fn opens(&self, portion: PortionId, version: u32) -> Result<(), PortionError> {
        self.portions().to_open(HOME, KeyName { portion, version }).await.map(drop)
    }

    fn mood(&self, slots: &[usize], mood: Mood) {
        slots.iter().for_each(|slot| self.holders[*slot].set(mood));
    }

    async fn tend(&self) -> Tended {
        self.portions().tend(&[HOME]).await.unwrap()
    }

    async fn shred(&self, id: PortionId) -> Result<bool, PortionError> {
        let portions = self.portions();
        if !matches!(portions.get(HOME, id).await?.record.state, PortionState::PendingShred(_)) {
            portions.switch(HOME, id, Switch::Shred { days: 0 }).await?;
        }
        portions.shred(HOME, id).await
    }

    async fn receipts(&self, id: PortionId) -> ReceiptFile {
        self.portions().record_site_keys().await.unwrap();
        self.portions().receipts(HOME, id).await.unwrap()
    }

    fn held(&self) -> [usize; 5] {
        std::array::from_fn(|slot| self.holders[slot].names().len())
    }
}

fn keys_of(file: &ReceiptFile) -> Vec<VerifierKey> {
    file.site_keys.iter().map(|text| text.parse().unwrap()).collect()
}

fn is_unavailable<T>(result: Result<T, PortionError>) -> String {
    match result.map(drop) {
        Err(error @ PortionError::KeyUnavailable { .. }) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_metadata_hold_no_key_and_two_shares_open_nothing() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    let row = w.meta.get(&[key::key_version_key(id, 1)]).await.unwrap().remove(0).unwrap();
    let record = PortionKeyRecord::decode(&row.value).unwrap();
    assert!(record.wrapped.is_empty() && record.shares.is_some());
    assert_eq!(w.held(), [1; 5]);
    // For every set of sites that are away.
    for mask in 0u8..32 {
        let away: Vec<usize> = (0..5).filter(|slot| mask & (1 << slot) != 0).collect();
        w.mood(&[0, 1, 2, 3, 4], Mood::Honest);
        w.mood(&away, Mood::Away);
        let opened = w.opens(id, 1).await;
        assert_eq!(opened.is_ok(), away.len() <= 2, "{away:?}: {opened:?}");
        if away.len() > 2 {
            let told = is_unavailable(opened);
            assert!(told.contains(&format!("{} came (dc", 5 - away.len())) && told.contains("is away"), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sites_that_never_answer_cost_a_bounded_time() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    for (hanging, opens) in [(&[1, 3][..], true), (&[0, 1, 3], false)] {
        w.mood(hanging, Mood::Hangs);
        let begun = tokio::time::Instant::now();
        let opened = w.opens(id, 1).await;
        assert_eq!(opened.is_ok(), opens, "{opened:?}");
        let most = if opens { Duration::ZERO } else { Bounds::default().within };
        assert_eq!(begun.elapsed(), most);
        // Many who wait do not wait one after the other.
        let begun = tokio::time::Instant::now();
        let portions = w.portions();
        let all = (0..20).map(|_| portions.to_open(HOME, KeyName { portion: id, version: 1 }));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|one| one.is_ok() == opens) && begun.elapsed() <= 2 * most, "{:?}", begun.elapsed());
        let begun = tokio::time::Instant::now();
        assert_eq!(w.make(&hanging.len().to_string()).await.is_ok(), opens);
        assert!(begun.elapsed() <= if opens { Bounds::default().straggler } else { most });
    }
}

#[tokio::test]
async fn a_false_share_is_found_out_and_made_anew() {
    let w = World::new();
    let (id, other) = (w.make("p").await.unwrap(), w.make("q").await.unwrap());
    for liars in [&[0][..], &[4], &[1, 2]] {
        w.mood(liars, Mood::Mixes);
        for id in [id, other] {
            w.opens(id, 1).await.unwrap();
        }
        w.mood(liars, Mood::Honest);
    }
    w.mood(&[0, 1, 2], Mood::Mixes);
    assert!(is_unavailable(w.opens(id, 1).await).contains("dc1 has a share that does not open"));
    // Nothing is destroyed for what three say, nor for what one said once.
    assert_eq!(w.tend().await.unavailable, 2);
    assert_eq!(w.held(), [2; 5]);
    w.mood(&[0, 1, 2], Mood::Honest);
    assert_eq!(w.tend().await, Tended::default());
    for slot in [1, 3] {
        w.holders[slot].spoil();
        w.opens(id, 1).await.unwrap();
        w.opens(other, 1).await.unwrap();
    }
    assert_eq!(w.tend().await.made, 4);
    w.mood(&[0, 4], Mood::Away);
    w.opens(id, 1).await.unwrap();
    w.opens(other, 1).await.unwrap();
}

#[tokio::test]
async fn what_two_sites_lack_is_made_anew_from_the_others() {
    let w = World::new();
    w.mood(&[1, 4], Mood::Away);
    let id = w.make("p").await.unwrap();
    assert_eq!(w.held(), [1, 0, 1, 1, 0]);
    assert_eq!(w.portions().shares_held(id).await.unwrap(), BTreeMap::from([(1, 3)]));
    let tended = w.tend().await;
    assert_eq!((tended.lacking, tended.waiting, tended.made), (1, 2, 0));
    w.mood(&[2], Mood::Away);
    is_unavailable(w.opens(id, 1).await);
    is_unavailable(w.make("q").await);
    assert!(matches!(w.portions().find(HOME, "q").await, Err(PortionError::NoSuchPortion(_))), "nothing half made");
    w.mood(&[1, 2, 4], Mood::Honest);
    // What was left of the one that was not made is of a portion that nobody knows: it stays.
    let tended = w.tend().await;
    assert_eq!((tended.made, tended.destroyed, tended.lacking, tended.unknown), (2, 0, 0, 1), "{tended:?}");
    // A replaced site, and one more: the new shares are as good as the old ones.
    w.holders[0].lose();
    w.holders[2].lose();
    assert_eq!(w.tend().await.made, 2);
    w.mood(&[3], Mood::Away);
    for away in [1, 4] {
        w.mood(&[away], Mood::Away);
        w.opens(id, 1).await.unwrap();
        w.mood(&[away], Mood::Honest);
    }
    for slot in [0, 1, 2] {
        w.holders[slot].lose();
    }
    w.mood(&[3], Mood::Honest);
    let tended = w.tend().await;
    assert_eq!((tended.unavailable, tended.lacking, tended.made), (1, 1, 0));
}

#[tokio::test]
async fn a_site_that_takes_nothing_is_not_asked_without_end() {
    let w = World::new();
    let whole = w.make("whole").await.unwrap();
    w.mood(&[3], Mood::Full);
    let id = w.make("p").await.unwrap();
    let is_woken = || w.quorum.woken().now_or_never().is_some();
    assert!(is_woken(), "it was made in fewer than five shares");
    w.holders[3].spoil();
    for (round, id) in [whole, id].into_iter().enumerate() {
        w.opens(id, 1).await.unwrap();
        // Whoever opens it may have had enough from the others.
        is_woken();
        let tended = w.tend().await;
        assert_eq!((tended.made, tended.lacking > 0), (0, true), "{round}: {tended:?}");
        is_woken();
        assert_eq!(w.tend().await.made, 0);
        assert!(!is_woken(), "{round}: a pass that can do nothing asks for the next");
    }
    w.mood(&[3], Mood::Honest);
    w.mood(&[0, 1], Mood::Away);
    w.opens(whole, 1).await.unwrap_err();
    w.mood(&[0, 1], Mood::Honest);
    w.tend().await;
    assert_eq!(w.held(), [2; 5]);
}

#[tokio::test]
async fn shares_that_rot_are_found_before_they_are_needed() {
    let w = World::new();
    for name in ["p", "q"] {
        w.make(name).await.unwrap();
    }
    w.holders[1].spoil();
    w.mood(&[4], Mood::Away);
    assert_eq!(w.tend().await.made, 0, "a list does not tell");
    assert_eq!(w.portions().read_shares(&[HOME]).await.unwrap(), (8, 2));
    assert_eq!(w.tend().await.made, 2);
    w.mood(&[4], Mood::Honest);
    assert_eq!(w.portions().read_shares(&[HOME]).await.unwrap(), (10, 0));
    assert_eq!(w.tend().await, Tended::default());
}

#[tokio::test]
async fn what_rests_on_a_site_is_counted_before_it_is_replaced() {
    let w = World::new();
    let portions = w.portions();
    let resting = async |slot| portions.resting_on(&[HOME], slot).await.unwrap();
    assert_eq!(resting(0).await, 0, "there is none");
    w.make("p").await.unwrap();
    w.holders[0].lose();
    // Three others have it; with one more lost they do not.
    assert_eq!((resting(0).await, resting(1).await), (0, 0));
    w.holders[1].lose();
    assert_eq!([resting(0).await, resting(2).await, resting(4).await], [0, 1, 1]);
    w.tend().await;
    w.mood(&[0], Mood::Away);
    assert_eq!(resting(2).await, 0);
    w.mood(&[1], Mood::Away);
    assert_eq!(resting(2).await, 1, "what does not tell does not count");
    // Nor does what was found false: two good ones and a false one elsewhere.
    w.mood(&[0, 1], Mood::Honest);
    w.holders[3].lose();
    assert_eq!(resting(2).await, 0);
    w.holders[4].spoil();
    portions.read_shares(&[HOME]).await.unwrap();
    assert_eq!(resting(2).await, 1);
}

/// A listing that lags behind at all sites, whatever was made and shredded meanwhile, and by whom.
#[tokio::test]
async fn a_shredding_costs_no_key_that_listings_leave_out() {
    let mut sites = world::Sites::new(1).await;
    let (meta, ring) = (Arc::new(Memory::new()), Arc::new(Keyring::ephemeral(&SeededRng::new(1))));
    let over = |sites: &world::Sites| {
        Portions::new(meta.clone(), ring.clone(), sites.doors.clone()).with_quorum(sites.quorum.clone())
    };
    let new = || NewPortion { class: PortionClass::Quorum, ..NewPortion::default() };
    let other = AccountId::random(&SeededRng::new(9));
    let tenant = meta::record::TenantRecord { name: "other".to_owned(), created_ms: 1 };
    let row = vec![meta::Write::Put(key::tenant_key(other), tenant.encode())];
    meta.commit(meta::Batch { checks: vec![], writes: row }).await.unwrap();
    let dead = over(&sites).create(HOME, new(), Maker::Customer).await.unwrap().id;
    sites.disks.iter().for_each(|disk| disk.lags());
    let mut kept = None;
    // Ids end in chance: until one falls into the same drawer.
    for _ in 0..10_000 {
        let id = over(&sites).create(other, new(), Maker::Customer).await.unwrap().id;
        if id.as_bytes()[15] == dead.as_bytes()[15] {
            kept = Some(id);
            break;
        }
    }
    let none = EncryptionContext::new();
    let sealed = over(&sites).encrypt(other, kept.unwrap(), &none, b"kept").await.unwrap();
    sites.restart().await;
    over(&sites).switch(HOME, dead, Switch::Shred { days: 0 }).await.unwrap();
    assert!(over(&sites).shred(HOME, dead).await.unwrap());
    assert_eq!(over(&sites).decrypt(other, None, &none, &sealed).await.unwrap().plain.as_slice(), b"kept");
}

/// Once keys have begun to be destroyed no clock takes it back.
#[tokio::test]
async fn a_shredding_that_has_begun_goes_on_whatever_the_clock_says() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    w.mood(&[0, 1, 2], Mood::Away);
    assert!(matches!(w.shred(id).await, Err(PortionError::SharesLeft { have: 2, .. })));
    // By wrapping around.
    w.clock.advance_ms(0_u64.wrapping_sub(500_000));
    let told = w.portions().switch(HOME, id, Switch::KeepAfterAll).await.unwrap_err();
    assert!(matches!(&told, PortionError::PendingShred { .. }), "{told}");
    w.mood(&[0, 1, 2], Mood::Honest);
    assert!(w.portions().shred(HOME, id).await.unwrap());
    assert_eq!(w.held(), [0; 5]);
}

#[tokio::test]
async fn a_lease_ends_for_keys_in_shares_as_for_others() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    let portions = w.portions();
    let none = EncryptionContext::new();
    let sealed = portions.encrypt(HOME, id, &none, b"x").await.unwrap();
    portions.to_seal(HOME, id, 1).await.unwrap();
    w.mood(&[0, 1, 2], Mood::Away);
    assert_eq!(portions.decrypt(HOME, None, &none, &sealed).await.unwrap().plain.as_slice(), b"x");
    portions.to_seal(HOME, id, 1).await.unwrap();
    w.clock.advance_ms(LEASE_MS);
    is_unavailable(portions.decrypt(HOME, None, &none, &sealed).await);
    is_unavailable(portions.encrypt(HOME, id, &none, b"y").await);
    is_unavailable(portions.to_seal(HOME, id, 1).await);
    w.mood(&[0], Mood::Honest);
    assert_eq!(portions.decrypt(HOME, None, &none, &sealed).await.unwrap().plain.as_slice(), b"x");
    assert_eq!(portions.to_seal(HOME, id, 1).await.unwrap().name().version, 1);
}

#[tokio::test]
async fn the_class_changes_with_a_version_and_old_ones_end_as_ever() {
    let w = World::new();
    let portions = w.portions();
    let id = portions.named(HOME, "p").await.unwrap();
    let classes = async || -> Vec<PortionClass> {
        portions.versions(id).await.unwrap().into_iter().map(|version| version.class).collect()
    };
    let (sealed, quorum) = (PortionClass::Sealed, PortionClass::Quorum);
    let rotated = portions.rotate_as(HOME, id, true, Some(quorum)).await.unwrap();
    assert_eq!((rotated.record.class, rotated.record.version), (quorum, 2));
    portions.rotate(HOME, id, true).await.unwrap();
    assert_eq!(classes().await, [sealed, quorum, quorum]);
    assert_eq!(portions.to_seal(HOME, id, 1).await.unwrap().name().version, 3);
    for version in 1..=3 {
        w.opens(id, version).await.unwrap();
    }
    let (_, work) = portions.rewraps(HOME).await.unwrap().remove(0);
    portions.rewrapped(HOME, id, &work).await.unwrap();
    assert_eq!(classes().await, [quorum]);
    assert_eq!(w.held(), [2; 5]);
    assert_eq!(w.tend().await.destroyed, 5);
    assert_eq!(w.held(), [1; 5]);
    assert!(matches!(w.opens(id, 2).await, Err(PortionError::NoSuchVersion { .. })));
    w.opens(id, 3).await.unwrap();
    portions.rotate_as(HOME, id, false, Some(sealed)).await.unwrap();
    assert_eq!(classes().await, [quorum, sealed]);
    w.mood(&[0, 1, 2], Mood::Away);
    w.opens(id, 4).await.unwrap();
    is_unavailable(w.opens(id, 3).await);
}

#[tokio::test]
async fn shredding_waits_for_three_sites_and_the_others_follow() {
    let w = World::new();
    let (id, lives) = (w.make("p").await.unwrap(), w.make("q").await.unwrap());
    w.portions().rotate(HOME, id, false).await.unwrap();
    w.mood(&[0, 2, 4], Mood::Away);
    let waits = w.shred(id).await.unwrap_err();
    assert!(matches!(&waits, PortionError::SharesLeft { have: 2, need: 3, .. }), "{waits}");
    assert!(waits.to_string().contains("dc0 is away"), "{waits}");
    // It opens nothing, is not kept after all, and nothing is made anew of what is left.
    w.mood(&[0, 2, 4], Mood::Honest);
    w.tend().await;
    assert_eq!(w.held(), [3, 1, 3, 1, 3]);
    assert!(matches!(w.opens(id, 1).await, Err(PortionError::PendingShred { .. })));
    assert!(w.portions().switch(HOME, id, Switch::KeepAfterAll).await.is_err());
    let two = w.receipts(id).await;
    assert!(verify(&two, &keys_of(&two)).unwrap_err().to_string().contains("2 sites destroyed"), "not proved yet");

    w.mood(&[4], Mood::Away);
    w.clock.advance_ms(1000);
    assert!(w.shred(id).await.unwrap());
    let file = w.receipts(id).await;
    assert_eq!((file.receipts.len(), file.waiting_for.clone()), (4, vec!["dc4".to_owned()]));
    let proof = verify(&file, &keys_of(&file)).unwrap();
    assert_eq!(proof.shares, ["dc0", "dc1", "dc2", "dc3"]);
    assert_eq!((proof.quorum_versions.as_str(), proof.sealed_versions.as_str()), ("1-2", "none"));
    assert!(matches!(w.opens(id, 1).await, Err(PortionError::Shredded(_))));
    assert_eq!(w.held(), [1, 1, 1, 1, 3]);

    assert_eq!(w.tend().await.waiting, 2, "of the shredded one and of what it has");
    w.mood(&[4], Mood::Honest);
    assert_eq!(w.tend().await.receipts, 1);
    assert_eq!(w.tend().await, Tended::default());
    assert_eq!(w.held(), [1; 5]);
    let file = w.receipts(id).await;
    assert_eq!((file.receipts.len(), file.waiting_for.len()), (5, 0));
    assert_eq!(verify(&file, &keys_of(&file)).unwrap().shares.len(), 5);
    let of: Vec<Receipt> = file.receipts.iter().map(|note| Receipt::of_note(note).unwrap()).collect();
    assert!(of.iter().all(|receipt| receipt.destroyed == "1-2" && receipt.epoch_ended != "none"), "{of:?}");
    w.opens(lives, 1).await.unwrap();
}

#[tokio::test]
async fn a_receipt_for_rows_says_that_it_attests_less() {
    let w = World::new();
    let id = w.portions().named(HOME, "p").await.unwrap();
    w.mood(&[0, 1, 2, 3, 4], Mood::Away);
    assert!(w.shred(id).await.unwrap(), "no site is needed");
    let file = w.receipts(id).await;
    let of: Vec<Receipt> = file.receipts.iter().map(|note| Receipt::of_note(note).unwrap()).collect();
    assert!(of.len() == 5 && of.iter().all(|receipt| receipt.attests == Attested::Rows), "{of:?}");
    let proof = verify(&file, &keys_of(&file)).unwrap();
    assert_eq!((proof.shares.len(), proof.rows.len(), proof.sealed_versions.as_str()), (0, 5, "1"));
    let few = ReceiptFile { receipts: file.receipts[..2].to_vec(), ..file };
    assert!(verify(&few, &keys_of(&few)).is_err(), "two sites are not enough");

    let both = w.portions().named(HOME, "q").await.unwrap();
    w.mood(&[0, 1, 2, 3, 4], Mood::Honest);
    w.portions().rotate_as(HOME, both, false, Some(PortionClass::Quorum)).await.unwrap();
    w.clock.advance_ms(DAY_MS);
    assert!(w.shred(both).await.unwrap());
    let file = w.receipts(both).await;
    let proof = verify(&file, &keys_of(&file)).unwrap();
    assert_eq!((proof.quorum_versions.as_str(), proof.sealed_versions.as_str()), ("2", "1"));
    assert_eq!((file.receipts.len(), proof.shares.len()), (10, 5));
}

/// Metadata that take so many commits and no more: the process dies there.
struct Dying {
    inner: Arc<Memory>,
    left: AtomicUsize,
}

#[async_trait]
impl Engine for Dying {
    async fn get(&self, keys: &[meta::Key]) -> Result<Vec<Option<meta::Row>>, meta::MetaError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: meta::Range) -> Result<meta::Page, meta::MetaError> {
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<meta::Batch>) -> Vec<Result<meta::Version, meta::CommitError>> {
        let mut done = Vec::new();
        for batch in batches {
            let lives =
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            done.push(if lives {
                self.inner.commit_group(vec![batch]).await.remove(0)
            } else {
                Err(meta::CommitError::Full)
            });
        }
        done
    }
}

/// Versions of both classes, more than a page; one of them closed.
#[tokio::test]
async fn a_crash_at_any_step_of_a_shredding_loses_no_receipt() {
    let mut cut_short = 0;
    for left in 0..40 {
        let w = World::new();
        let id = w.portions().named(HOME, "p").await.unwrap();
        for version in 2..=60 {
            let class = if version == 3 { PortionClass::Quorum } else { PortionClass::Sealed };
            w.portions().rotate_as(HOME, id, false, Some(class)).await.unwrap();
        }
        let closed = meta::Write::Put(key::closed_version_key(id, 2), vec![0].into());
        w.meta.commit(meta::Batch { checks: vec![], writes: vec![closed] }).await.unwrap();
        w.portions().switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
        let dying = Dying { inner: w.meta.clone(), left: AtomicUsize::new(left) };
        let mortal = Portions::new(Arc::new(dying), w.ring.clone(), w.doors.clone()).with_quorum(w.quorum.clone());
        cut_short += u32::from(mortal.shred(HOME, id).await.is_err());
        w.clock.advance_ms(1);
        w.portions().shred(HOME, id).await.unwrap();
        w.tend().await;
        let file = w.receipts(id).await;
        let proof = verify(&file, &keys_of(&file)).unwrap_or_else(|error| panic!("after {left} commits: {error}"));
        assert_eq!((proof.versions.as_str(), proof.quorum_versions.as_str()), ("1-60", "3"), "after {left}");
        assert_eq!((proof.sealed_versions.as_str(), proof.rows.len(), proof.shares.len()), ("1-2,4-60", 5, 5));
        assert_eq!(file.waiting_for, Vec::<String>::new());
        let left_closed = w.meta.get(&[key::closed_version_key(id, 2)]).await.unwrap().remove(0);
        assert!(left_closed.is_none(), "that a version was closed goes with it");
    }
    assert!((5..40).contains(&cut_short), "{cut_short}");
}

#[tokio::test]
async fn rules_make_portions_of_their_class() {
    let w = World::new();
    let portions = w.portions();
    let document = r#"{"rules": [{"prefix": "secret/", "portion": "secret", "class": "quorum"}]}"#;
    portions.put_rules(HOME, document).await.unwrap();
    let rules = portions.chosen_by(HOME).await.unwrap();
    let tags = BTreeMap::new();
    for (key, class) in [("secret/a", PortionClass::Quorum), ("a", PortionClass::Sealed)] {
        let choice = rules.choose(&keys::rules::Subject { bucket: "b", key, tags: &tags, content_type: "" });
        let id = portions.named_as(HOME, &choice.portion, choice.class).await.unwrap();
        assert_eq!(portions.get(HOME, id).await.unwrap().record.class, class);
        assert_eq!(portions.versions(id).await.unwrap()[0].class, class);
    }
}

/// Takes no record.
struct Full;

#[async_trait]
impl Auditor for Full {
    async fn record(&self, _: AuditEvent) -> Result<(), PortionError> {
        Err(PortionError::Unrecorded { log: "data/audit".into(), reason: "no space is left".into() })
    }
}

fn caller(name: &str) -> Arc<Caller> {
    let who = Who { name: Some(name.to_owned()), id: format!("id-{name}"), groups: Vec::new(), is_root: false };
    Arc::new(Caller::new(HOME, who, Via::Kms, false, None))
}

/// The class is that of the next version: what is in shares may not be had unrecorded as long as any version is.
#[tokio::test]
async fn what_is_in_shares_is_recorded_first_whatever_the_class_has_become() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    let none = EncryptionContext::new();
    let sealed = w.portions().encrypt(HOME, id, &none, b"x").await.unwrap();
    let rotated = w.portions().rotate_as(HOME, id, false, Some(PortionClass::Sealed)).await.unwrap();
    assert_eq!(rotated.record.class, PortionClass::Sealed);
    let full = w.portions().audited(Some(Arc::new(Full))).for_caller(caller("ann"));
    let opened = full.decrypt(HOME, None, &none, &sealed).await.map(drop);
    assert!(matches!(opened, Err(PortionError::Unrecorded { .. })), "{opened:?}");
    // With the last of them it ends.
    let id = w.make("q").await.unwrap();
    w.portions().rotate_as(HOME, id, true, Some(PortionClass::Sealed)).await.unwrap();
    let release = async || full.release(&caller("ann"), HOME, id, Action::Open).await.map(drop);
    assert!(matches!(release().await, Err(PortionError::Unrecorded { .. })));
    let (_, work) = w.portions().rewraps(HOME).await.unwrap().remove(0);
    w.portions().rewrapped(HOME, id, &work).await.unwrap();
    release().await.unwrap();
}

/// No site gives a share for somebody to whom nothing is released.
#[tokio::test]
async fn who_is_denied_makes_no_site_give_a_share() {
    let w = World::new();
    let id = w.make("p").await.unwrap();
    let none = EncryptionContext::new();
    let sealed = w.portions().encrypt(HOME, id, &none, b"x").await.unwrap();
    let ann = caller("ann");
    w.portions().deny(HOME, ann.who(), DenialReason::Lost, "").await.unwrap();
    w.mood(&[0, 1, 2, 3, 4], Mood::Away);
    let opened = w.portions().for_caller(ann).decrypt(HOME, None, &none, &sealed).await.map(drop);
    assert!(matches!(opened, Err(PortionError::Release(_))), "{opened:?}");
    let nobodys = [b"HFK1".as_slice(), &[7; 40]].concat();
    let opened = w.portions().for_caller(caller("bob")).decrypt(HOME, None, &none, &nobodys).await.map(drop);
    assert!(matches!(opened, Err(PortionError::Ciphertext)), "{opened:?}");
}
