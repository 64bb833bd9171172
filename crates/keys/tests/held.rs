//! Halves of tenants' keys that somebody else holds, over the engine in memory, a keeper in memory, and a clock moved by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, PortionId, SeededRng};
use keys::quorum::{Bounds, MemoryShares, Mood as SiteMood, Quorum, ShareHolder};
use keys::{
    AuditEvent, AuditOutcome, Auditor, EncryptionContext, HalfState, Keeper, KeeperError, Keepers, KeyName, Keyring,
    LEASE_MS, NewHold, NoKeepers, PortionClass, PortionError, Portions, Switch,
};
use meta::record::{PortionKeyRecord, Record, TenantKeyRecord, TenantRecord, key};
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Range, Row, Write};
use parking_lot::Mutex;
use proptest::prelude::*;
use zeroize::Zeroizing;

const HOME: AccountId = AccountId::DEFAULT;
const HOLD_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Gives,
    Refuses,
    Silent,
    GivesAnother,
}

/// A customer's key: what it keeps is worthless to who has only that.
struct Customer {
    mood: Mutex<Mood>,
    secrets: Mutex<Vec<[u8; 32]>>,
    asked: AtomicU64,
}

impl Customer {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Gives), secrets: Mutex::default(), asked: AtomicU64::new(0) })
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn willing(&self) -> Result<Mood, KeeperError> {
        match *self.mood.lock() {
            Mood::Refuses => Err(KeeperError::Refused("it is disabled".to_owned())),
            Mood::Silent => Err(KeeperError::Unreachable("it is away".to_owned())),
            mood => Ok(mood),
        }
    }
}

/// The customer's key as a keeper.
struct Key1(Arc<Customer>);

impl Keeper for Key1 {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "customer/1".to_owned()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        self.0.willing()?;
        let mut secrets = self.0.secrets.lock();
        secrets.push(*secret);
        Ok(vec![secrets.len() as u8 - 1])
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mood = self.0.willing()?;
        let mut secret = self.0.secrets.lock()[usize::from(kept[0])];
        secret[0] ^= u8::from(mood == Mood::GivesAnother);
        Ok(Zeroizing::new(secret.to_vec()))
    }
}

struct Customers(Arc<Customer>);

impl Keepers for Customers {
    fn keeper(&self, _: AccountId, kind: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        assert_eq!(kind, "memory");
        Ok(Arc::new(Key1(self.0.clone())))
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<(&'static str, AuditOutcome)>>);

#[async_trait]
impl Auditor for Told {
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError> {
        if event.action.starts_with("tenant:") {
            assert_eq!(event.resource, "tenant/default");
            assert_eq!(event.details["key"], "customer/1");
            self.0.lock().push((event.action, event.outcome));
        }
        Ok(())
    }
}

struct World {
    clock: Arc<ManualClock>,
    rng: Arc<SeededRng>,
    meta: Arc<dyn Engine>,
    ring: Arc<Keyring>,
    customer: Arc<Customer>,
    told: Arc<Told>,
    one: Portions,
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(Memory::new()), 1)
    }

    fn over(meta: Arc<dyn Engine>, seed: u64) -> Self {
        let (clock, rng) = (Arc::new(ManualClock::new(1_000_000)), Arc::new(SeededRng::new(seed)));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let (customer, told) = (Customer::new(), Arc::new(Told::default()));
        let doors = Doors { clock: clock.clone(), rng: rng.clone() };
        let one = Portions::new(meta.clone(), ring.clone(), doors)
            .with_keepers(Arc::new(Customers(customer.clone())))
            .audited(Some(told.clone()));
        Self { clock, rng, meta, ring, customer, told, one }
    }

    /// Another process on the same metadata and root key.
    fn process(&self, keepers: Arc<dyn Keepers>) -> Portions {
        let doors = Doors { clock: self.clock.clone(), rng: self.rng.clone() };
        Portions::new(self.meta.clone(), self.ring.clone(), doors).with_keepers(keepers)
    }

    fn another(&self) -> Portions {
        self.process(Arc::new(Customers(self.customer.clone())))
    }

    /// Whoever has root key, metadata and sites, but not the customer's key.
    fn attacker(&self) -> Portions {
        self.process(Arc::new(NoKeepers))
    }

    async fn hold(&self) {
        self.one.hold(HOME, "default", &new_hold(), false).await.unwrap();
    }

    async fn row(&self) -> TenantKeyRecord {
        let row = self.meta.get(&[key::tenant_key_key(HOME)]).await.unwrap().pop().flatten().unwrap();
        TenantKeyRecord::decode(&row.value).unwrap()
    }

    async fn change_version(&self, id: PortionId, change: impl FnOnce(&mut PortionKeyRecord)) {
        let row_key = key::key_version_key(id, 1);
        let row = self.meta.get(std::slice::from_ref(&row_key)).await.unwrap().pop().flatten().unwrap();
        let mut record = PortionKeyRecord::decode(&row.value).unwrap();
        change(&mut record);
        let writes = vec![Write::Put(row_key, record.encode())];
        self.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    }

    /// What the worker does: one look, and all that it asks for.
    async fn look(&self) -> u64 {
        self.one.find_halves().await.unwrap();
        let (due, next) = self.one.look_after_halves();
        for account in due {
            self.one.renew_half(account).await;
        }
        next
    }
}

fn new_hold() -> NewHold {
    NewHold { kind: "memory".to_owned(), options: BTreeMap::new(), lease_ms: HOLD_MS }
}

async fn sealed(portions: &Portions, id: PortionId) -> Vec<u8> {
    portions.encrypt(HOME, id, &EncryptionContext::new(), b"secret").await.unwrap()
}

async fn opens(portions: &Portions, ciphertext: &[u8]) -> Result<(), PortionError> {
    let opened = portions.decrypt(HOME, None, &EncryptionContext::new(), ciphertext).await?;
    assert_eq!(opened.plain.as_slice(), b"secret");
    Ok(())
}

fn refused<T>(result: Result<T, PortionError>) -> bool {
    matches!(result, Err(PortionError::HalfRefused { tenant, place }) if tenant == "default" && place == "customer/1")
}

fn unreachable<T>(result: Result<T, PortionError>) -> bool {
    matches!(result, Err(PortionError::HalfUnreachable { tenant, place }) if tenant == "default" && place == "customer/1")
}

#[tokio::test]
async fn who_has_all_but_the_customers_key_opens_nothing() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let before = sealed(&w.one, id).await;
    assert!(opens(&w.attacker(), &before).await.is_ok(), "the root key was enough");
    w.hold().await;
    let after = sealed(&w.one, id).await;
    w.one.rotate(HOME, id, false).await.unwrap();
    let rotated = sealed(&w.one, id).await;
    for settled in [false, true] {
        for ciphertext in [&before, &after, &rotated] {
            assert!(opens(&w.one, ciphertext).await.is_ok());
            assert!(opens(&w.another(), ciphertext).await.is_ok(), "with the half it is whole");
            assert!(unreachable(opens(&w.attacker(), ciphertext).await));
        }
        // Nor past what asks for the half: what the row holds is not the key, by itself or as one.
        let row = w.row().await;
        let whole = |wrapped: &Vec<u8>| TenantKeyRecord {
            created_ms: 0,
            wrapped: wrapped.clone(),
            held: None,
            older: Vec::new(),
        };
        assert!(!w.ring.opens_tenant(HOME, &whole(&row.wrapped)));
        for older in &row.older {
            assert!(!w.ring.opens_tenant(HOME, &whole(&older.wrapped)));
        }
        assert_eq!(row.older.is_empty(), settled);
        assert!(w.attacker().release_half(HOME, "default", false).await.is_err());
        if !settled {
            assert_eq!(w.one.settle_tenant_key(HOME).await.unwrap(), 1, "the first version was under the old key");
        }
    }
    w.one.release_half(HOME, "default", false).await.unwrap();
    for ciphertext in [&before, &after, &rotated] {
        assert!(opens(&w.attacker(), ciphertext).await.is_ok(), "the root key is enough again");
        assert!(opens(&w.one, ciphertext).await.is_ok());
    }
    let done = |action| (action, AuditOutcome::Done);
    let expected = ["tenant:holding", "tenant:hold", "tenant:releasing", "tenant:release"].map(done);
    assert_eq!(*w.told.0.lock(), expected);
}

#[tokio::test]
async fn no_shuts_everything_of_the_tenant_at_once_and_nothing_else() {
    let w = World::new();
    let other = AccountId::random(&SeededRng::new(9));
    let tenant = TenantRecord { name: "other".to_owned(), created_ms: 1 };
    let row = vec![Write::Put(key::tenant_key(other), tenant.encode())];
    w.meta.commit(Batch { checks: vec![], writes: row }).await.unwrap();
    let (id, others) = (w.one.named(HOME, "p").await.unwrap(), w.one.named(other, "p").await.unwrap());
    w.hold().await;
    let ciphertext = sealed(&w.one, id).await;
    let name = KeyName { portion: id, version: 1 };
    w.one.to_open(HOME, name).await.unwrap();
    w.one.to_seal(HOME, id, 1).await.unwrap();
    w.customer.is(Mood::Refuses);
    // Nobody knows yet: the lease runs.
    assert!(opens(&w.one, &ciphertext).await.is_ok());
    w.clock.advance_ms(HOLD_MS / 2);
    w.look().await;
    assert!(refused(w.one.to_open(HOME, name).await));
    assert!(refused(w.one.to_seal(HOME, id, 1).await));
    assert!(refused(opens(&w.one, &ciphertext).await));
    assert!(refused(w.one.rotate(HOME, id, true).await));
    assert!(refused(w.one.named(HOME, "new").await));
    assert!(refused(w.one.must_be_open(HOME).await));
    assert!(w.one.to_seal(other, others, 1).await.is_ok() && w.one.must_be_open(other).await.is_ok());
    let holding = w.one.holding(HOME).await.unwrap().unwrap();
    assert_eq!((holding.state, holding.trouble.as_deref()), (HalfState::Refused, Some("it is disabled")));
    // What destroys needs no key.
    w.one.switch(HOME, id, Switch::Disable).await.unwrap();
    w.one.switch(HOME, id, Switch::Enable).await.unwrap();
    // Told once, however often it is asked.
    for _ in 0..3 {
        w.clock.advance_ms(HOLD_MS);
        w.look().await;
    }
    w.customer.is(Mood::Gives);
    w.clock.advance_ms(HOLD_MS);
    w.look().await;
    assert!(opens(&w.one, &ciphertext).await.is_ok() && w.one.to_seal(HOME, id, 1).await.is_ok());
    assert_eq!(w.one.holding(HOME).await.unwrap().unwrap().state, HalfState::Open);
    let told = w.told.0.lock()[2..].to_vec();
    assert_eq!(told, [("tenant:half-refused", AuditOutcome::Denied), ("tenant:half-given", AuditOutcome::Done)]);
}

#[tokio::test]
async fn silence_shuts_when_the_lease_ends() {
    for mood in [Mood::Silent, Mood::GivesAnother] {
        let w = World::new();
        let id = w.one.named(HOME, "p").await.unwrap();
        w.hold().await;
        let ciphertext = sealed(&w.one, id).await;
        w.customer.is(mood);
        for _ in 0..HOLD_MS / 1000 - 1 {
            w.clock.advance_ms(1000);
            w.look().await;
            assert!(opens(&w.one, &ciphertext).await.is_ok() && w.one.to_seal(HOME, id, 1).await.is_ok());
        }
        assert!(w.customer.asked() > 2, "it is asked again before the end");
        w.clock.advance_ms(1000);
        // Before anybody looks.
        assert!(unreachable(opens(&w.one, &ciphertext).await), "{mood:?}");
        assert!(unreachable(w.one.to_seal(HOME, id, 1).await));
        w.look().await;
        assert!(unreachable(opens(&w.one, &ciphertext).await));
        assert_eq!(w.one.holding(HOME).await.unwrap().unwrap().state, HalfState::Unreachable);
        w.customer.is(Mood::Gives);
        w.clock.advance_ms(5_000);
        w.look().await;
        assert!(opens(&w.one, &ciphertext).await.is_ok() && w.one.to_seal(HOME, id, 1).await.is_ok());
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_opens_nothing_longer() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    w.hold().await;
    let ciphertext = sealed(&w.one, id).await;
    w.customer.is(Mood::Silent);
    // Behind where the lease began, and then back to where it was open.
    w.clock.set_ms(1_000_000 - 500);
    assert!(unreachable(opens(&w.one, &ciphertext).await));
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    w.hold().await;
    let ciphertext = sealed(&w.one, id).await;
    w.customer.is(Mood::Silent);
    // To where it began, again and again.
    for passed in 1..=4 {
        assert!(opens(&w.one, &ciphertext).await.is_ok(), "{passed}");
        w.clock.advance_ms(HOLD_MS / 4);
        w.clock.set_ms(1_000_000);
    }
    assert!(unreachable(opens(&w.one, &ciphertext).await));
    let next = w.look().await;
    assert!(next <= HOLD_MS / 4, "it is asked again soon: in {next} ms");
    w.customer.is(Mood::Gives);
    w.clock.advance_ms(HOLD_MS / 4);
    w.look().await;
    assert!(opens(&w.one, &ciphertext).await.is_ok());
}

/// Who can write rows and has no keys: the longest lease in place of the one that the customer was told.
#[tokio::test]
async fn no_row_lengthens_a_lease() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    w.hold().await;
    let ciphertext = sealed(&w.one, id).await;
    let mut row = w.row().await;
    row.held.as_mut().unwrap().lease_ms = u64::MAX;
    let writes = vec![Write::Put(key::tenant_key_key(HOME), row.encode())];
    w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    assert!(unreachable(opens(&w.another(), &ciphertext).await));
    assert_eq!(w.another().holding(HOME).await.unwrap().unwrap().lease_ms, 3_600_000);
    // Nor where it is open: it is asked for, and is not what was held.
    w.clock.advance_ms(HOLD_MS / 2);
    w.look().await;
    assert!(opens(&w.one, &ciphertext).await.is_ok());
    w.clock.advance_ms(3_600_000);
    assert!(unreachable(opens(&w.one, &ciphertext).await));
}

/// Another process dropped a key from before, which changes the row: what is open stays open, whether or not the customer answers.
#[tokio::test]
async fn a_row_that_changed_shuts_nothing_while_the_key_is_the_same() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    w.hold().await;
    assert_eq!(w.another().settle_tenant_key(HOME).await.unwrap(), 1);
    w.customer.is(Mood::Silent);
    w.one.rotate(HOME, id, false).await.unwrap();
    assert!(w.one.named(HOME, "q").await.is_ok());
}

#[tokio::test]
async fn who_knows_only_the_key_from_before_drops_nothing() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let ciphertext = sealed(&w.one, id).await;
    let two = w.another();
    opens(&two, &ciphertext).await.unwrap();
    w.hold().await;
    two.settle_tenant_key(HOME).await.unwrap();
    opens(&w.another(), &ciphertext).await.unwrap();
}

#[tokio::test]
async fn no_request_waits_for_the_customers_key_again() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    w.hold().await;
    let ciphertext = sealed(&w.one, id).await;
    let asked = w.customer.asked();
    for _ in 0..50 {
        w.clock.advance_ms(LEASE_MS / 10);
        opens(&w.one, &ciphertext).await.unwrap();
        w.one.to_seal(HOME, id, 1).await.unwrap();
    }
    assert_eq!(w.customer.asked(), asked, "for most of a lease");
    // A process that starts asks once, whoever comes first.
    let two = w.another();
    let all = (0..20).map(|_| opens(&two, &ciphertext));
    for opened in futures::future::join_all(all).await {
        opened.unwrap();
    }
    assert_eq!(w.customer.asked(), asked + 1);
    // What is known to be shut is asked for by who looks after it, and by no request.
    w.customer.is(Mood::Silent);
    w.clock.advance_ms(HOLD_MS);
    w.look().await;
    let asked = w.customer.asked();
    for _ in 0..50 {
        w.clock.advance_ms(1000);
        assert!(unreachable(opens(&w.one, &ciphertext).await));
    }
    assert_eq!(w.customer.asked(), asked);
}

#[tokio::test]
async fn what_cannot_be_held_changes_nothing() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let before = w.row().await;
    for mood in [Mood::Refuses, Mood::Silent, Mood::GivesAnother] {
        w.customer.is(mood);
        let held = w.one.hold(HOME, "default", &new_hold(), false).await;
        assert!(matches!(held, Err(PortionError::Keeper(_))), "{mood:?}: {held:?}");
    }
    w.customer.is(Mood::Gives);
    for lease_ms in [0, 999, 3_600_001] {
        let new = NewHold { lease_ms, ..new_hold() };
        assert!(matches!(w.one.hold(HOME, "default", &new, false).await, Err(PortionError::Invalid(_))), "{lease_ms}");
    }
    assert!(matches!(w.one.release_half(HOME, "default", false).await, Err(PortionError::NotHeld(_))));
    let tried = w.one.hold(HOME, "default", &new_hold(), true).await.unwrap();
    assert_eq!((tried.place.as_str(), tried.state), ("customer/1", HalfState::Open));
    assert_eq!(w.one.holding(HOME).await.unwrap(), None);
    assert_eq!(w.row().await, before);
    w.hold().await;
    assert!(matches!(w.one.hold(HOME, "default", &new_hold(), false).await, Err(PortionError::Held { .. })));
    let held = w.row().await;
    w.one.release_half(HOME, "default", true).await.unwrap();
    w.customer.is(Mood::Refuses);
    let kept = w.one.release_half(HOME, "default", false).await;
    assert!(matches!(kept, Err(PortionError::Keeper(KeeperError::Refused(_)))), "{kept:?}");
    assert_eq!(w.row().await, held);
    assert!(w.one.to_seal(HOME, id, 1).await.is_ok(), "it was asked for another purpose than a lease");
}

/// Keeps what it is given under a key of the installation itself, as its own KMS API would.
struct Own(Vec<u8>, Mutex<[u8; 32]>);

impl Keeper for Own {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "own".to_owned()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        *self.1.lock() = *secret;
        Ok(self.0.clone())
    }

    fn give(&self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        Ok(Zeroizing::new(self.1.lock().to_vec()))
    }
}

struct Owns(Arc<Own>);

impl Keepers for Owns {
    fn keeper(&self, _: AccountId, _: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn no_half_is_kept_under_a_key_of_the_same_installation() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let owns = |ciphertext| w.process(Arc::new(Owns(Arc::new(Own(ciphertext, Mutex::new([0; 32]))))));
    let other = AccountId::random(&SeededRng::new(9));
    for account in [HOME, other] {
        let held = owns(sealed(&w.one, id).await).hold(account, "t", &new_hold(), false).await;
        assert!(matches!(held, Err(PortionError::Invalid(why)) if why.contains("own")), "{held:?}");
    }
    let elsewhere = World::over(Arc::new(Memory::new()), 2);
    let ciphertext = sealed(&elsewhere.one, elsewhere.one.named(HOME, "p").await.unwrap()).await;
    owns(ciphertext).hold(HOME, "t", &new_hold(), false).await.unwrap();
}

#[tokio::test]
async fn another_process_notices_a_hold_and_a_release() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let (two, ciphertext) = (w.another(), sealed(&w.one, id).await);
    opens(&two, &ciphertext).await.unwrap();
    w.hold().await;
    // It makes no key under the one from before, though it knows that one still.
    two.rotate(HOME, id, false).await.unwrap();
    let rotated = sealed(&two, id).await;
    assert!(unreachable(opens(&w.attacker(), &rotated).await));
    w.one.settle_tenant_key(HOME).await.unwrap();
    w.clock.advance_ms(LEASE_MS);
    w.customer.is(Mood::Refuses);
    w.clock.advance_ms(HOLD_MS);
    assert!(refused(opens(&two, &rotated).await));
    w.customer.is(Mood::Gives);
    w.one.release_half(HOME, "default", false).await.unwrap();
    w.customer.is(Mood::Silent);
    w.clock.advance_ms(HOLD_MS);
    for ciphertext in [&ciphertext, &rotated] {
        opens(&two, ciphertext).await.unwrap();
    }
}

#[tokio::test]
async fn keys_in_shares_are_held_too_wherever_their_shares_are() {
    let w = World::new();
    let holders: [Arc<MemoryShares>; 5] = std::array::from_fn(|slot| Arc::new(MemoryShares::new(slot as u8)));
    let quorum = Arc::new(Quorum::new(holders.map(|holder| holder as Arc<dyn ShareHolder>), Bounds::default()));
    let here = || w.another().with_quorum(quorum.clone());
    let attacker = || w.attacker().with_quorum(quorum.clone());
    let id = here().named_as(HOME, "p", PortionClass::Quorum).await.unwrap();
    let mut ciphertexts = vec![sealed(&here(), id).await];
    assert!(opens(&attacker(), &ciphertexts[0]).await.is_ok(), "the sites and the root key were enough");
    w.hold().await;
    here().rotate(HOME, id, false).await.unwrap();
    ciphertexts.push(sealed(&here(), id).await);
    here().settle_tenant_key(HOME).await.unwrap();
    assert_eq!(w.row().await.older.len(), 1, "shares are under the key from before");
    for ciphertext in &ciphertexts {
        opens(&here(), ciphertext).await.unwrap();
        assert!(unreachable(opens(&attacker(), ciphertext).await));
    }
    // Nothing is made anew while it is shut, and others' shares do not wait for that.
    let tended = attacker().tend(&[HOME]).await.unwrap();
    assert_eq!((tended.made, tended.unavailable), (0, 0));
    // What destroys needs no half.
    w.customer.is(Mood::Refuses);
    let shut = here();
    shut.switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
    assert!(shut.shred(HOME, id).await.unwrap());
    w.customer.is(Mood::Gives);
    here().settle_tenant_key(HOME).await.unwrap();
    assert!(w.row().await.older.is_empty(), "nothing is under it any more");
}

/// Clocks were days off, either way, when a key was made or held: shares say by themselves what they are under.
#[tokio::test]
async fn no_clock_decides_which_key_shares_are_under() {
    const NOW: u64 = 1_000_000_000;
    for (made_ms, held_ms) in [(NOW + 3 * DAY_MS, NOW), (NOW, NOW - 3 * DAY_MS), (NOW, NOW)] {
        // Rows of before did not tell under which key their shares are.
        for told in [true, false] {
            let w = World::new();
            let holders: [Arc<MemoryShares>; 5] = std::array::from_fn(|slot| Arc::new(MemoryShares::new(slot as u8)));
            let quorum = holders.clone().map(|holder| holder as Arc<dyn ShareHolder>);
            let quorum = Arc::new(Quorum::new(quorum, Bounds::default()));
            let here = || w.another().with_quorum(quorum.clone());
            w.clock.set_ms(made_ms);
            let id = here().named_as(HOME, "p", PortionClass::Quorum).await.unwrap();
            let ciphertext = sealed(&here(), id).await;
            w.clock.set_ms(held_ms);
            w.hold().await;
            w.clock.set_ms(NOW - 7 * DAY_MS);
            let later = here().named_as(HOME, "later", PortionClass::Quorum).await.unwrap();
            let of_later = sealed(&here(), later).await;
            w.clock.set_ms(NOW);
            if !told {
                for id in [id, later] {
                    w.change_version(id, |row| row.under = None).await;
                }
                // Too few say anything.
                holders[..3].iter().for_each(|holder| holder.set(SiteMood::Away));
                here().settle_tenant_key(HOME).await.unwrap();
                assert_eq!(w.row().await.older.len(), 1);
                holders[..3].iter().for_each(|holder| holder.set(SiteMood::Honest));
            }
            here().settle_tenant_key(HOME).await.unwrap();
            assert_eq!(w.row().await.older.len(), 1, "{made_ms} {held_ms} {told}");
            for ciphertext in [&ciphertext, &of_later] {
                opens(&here(), ciphertext).await.unwrap();
            }
            // What is left is under the newest, and is told to be from then on.
            here().switch(HOME, id, Switch::Shred { days: 0 }).await.unwrap();
            assert!(here().shred(HOME, id).await.unwrap());
            holders.iter().for_each(|holder| holder.set(SiteMood::Away));
            here().settle_tenant_key(HOME).await.unwrap();
            holders.iter().for_each(|holder| holder.set(SiteMood::Honest));
            assert!(w.row().await.older.is_empty(), "{made_ms} {held_ms} {told}");
            opens(&here(), &of_later).await.unwrap();
        }
    }
}

#[tokio::test]
async fn another_root_key_takes_over_our_half() {
    let w = World::new();
    let id = w.one.named(HOME, "p").await.unwrap();
    let ciphertext = sealed(&w.one, id).await;
    w.hold().await;
    let next = Arc::new(Keyring::ephemeral(w.rng.as_ref()));
    let moved = keys::rotate(w.meta.as_ref(), &w.ring, &next, w.rng.as_ref(), false, &mut |_, _| {}).await.unwrap();
    assert_eq!((moved.moved, moved.damaged), ([0, 1, 0], vec![]));
    let doors = Doors { clock: w.clock.clone(), rng: w.rng.clone() };
    let under_next = Portions::new(w.meta.clone(), next, doors);
    assert!(unreachable(opens(&under_next, &ciphertext).await));
    let under_next = under_next.with_keepers(Arc::new(Customers(w.customer.clone())));
    w.clock.advance_ms(LEASE_MS);
    opens(&under_next, &ciphertext).await.unwrap();
    assert!(unreachable(opens(&w.another(), &ciphertext).await), "the old root key opens no half");
}

/// Does so many commits, and then dies: before it does the next, or after that and before it says so.
struct Dying {
    inner: Memory,
    left: AtomicUsize,
    after: bool,
}

impl Dying {
    fn dies(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

#[async_trait]
impl Engine for Dying {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.inner.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        let mut done = Vec::new();
        for batch in batches {
            let dies = self.dies();
            if dies && !self.after {
                done.push(Err(CommitError::Full));
                continue;
            }
            let answer = self.inner.commit_group(vec![batch]).await.remove(0);
            done.push(if dies { Err(CommitError::Full) } else { answer });
        }
        done
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Hold,
    Release,
    Rotate,
    Seal,
    Settle,
    Advance(u64),
    Mood(Mood),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    let step = prop_oneof![
        3 => Just(Step::Hold),
        3 => Just(Step::Release),
        2 => Just(Step::Rotate),
        4 => Just(Step::Seal),
        2 => Just(Step::Settle),
        2 => (0..2 * HOLD_MS).prop_map(Step::Advance),
        1 => prop_oneof![Just(Mood::Refuses), Just(Mood::Silent)].prop_map(Step::Mood),
        2 => Just(Step::Mood(Mood::Gives)),
        2 => Just(Step::Look),
    ];
    // After how many commits the process dies in a step; mostly it does not.
    let dies = prop_oneof![2 => 0..4_usize, 3 => Just(usize::MAX)];
    proptest::collection::vec((step, dies), 1..40)
}

async fn lives(steps: Vec<(Step, usize)>, after: bool, seed: u64) {
    let engine = Arc::new(Dying { inner: Memory::new(), left: AtomicUsize::new(usize::MAX), after });
    let mut w = World::over(engine.clone(), seed);
    let id = w.one.named(HOME, "p").await.unwrap();
    let mut ciphertexts = vec![sealed(&w.one, id).await];
    for (step, dies) in steps {
        engine.left.store(dies, Ordering::SeqCst);
        let failed = match step {
            Step::Hold => w.one.hold(HOME, "default", &new_hold(), false).await.is_err(),
            Step::Release => w.one.release_half(HOME, "default", false).await.is_err(),
            Step::Rotate => w.one.rotate(HOME, id, true).await.is_err(),
            Step::Seal => match w.one.encrypt(HOME, id, &EncryptionContext::new(), b"secret").await {
                Ok(ciphertext) => {
                    ciphertexts.push(ciphertext);
                    false
                }
                Err(_) => true,
            },
            Step::Settle => w.one.settle_tenant_key(HOME).await.is_err(),
            Step::Advance(ms) => {
                w.clock.advance_ms(ms);
                false
            }
            Step::Mood(mood) => {
                w.customer.is(mood);
                false
            }
            Step::Look => {
                w.look().await;
                false
            }
        };
        engine.left.store(usize::MAX, Ordering::SeqCst);
        if failed && dies != usize::MAX {
            w.one = w.another();
        }
        // As it stands is what the customer says.
        let mood = *w.customer.mood.lock();
        let is_held = w.row().await.held.is_some();
        for ciphertext in &ciphertexts {
            w.customer.is(Mood::Gives);
            opens(&w.another(), ciphertext).await.unwrap_or_else(|e| panic!("lost after {step:?}: {e}"));
            w.customer.is(mood);
            assert_eq!(opens(&w.attacker(), ciphertext).await.is_err(), is_held, "after {step:?}");
        }
    }
    w.customer.is(Mood::Gives);
    w.clock.advance_ms(2 * HOLD_MS);
    w.look().await;
    for ciphertext in &ciphertexts {
        opens(&w.one, ciphertext).await.unwrap();
    }
    w.one.settle_tenant_key(HOME).await.unwrap();
    assert!(w.row().await.older.is_empty());
    for ciphertext in &ciphertexts {
        opens(&w.one, ciphertext).await.unwrap();
        opens(&w.another(), ciphertext).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_holds_releases_rotations_and_deaths_loses_anything(steps in steps(), after: bool, seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(lives(steps, after, seed));
    }
}

/// One tenant's customer says no: the shares of others are read all the same, and its own once it opens again.
#[tokio::test]
async fn a_shut_tenant_keeps_no_others_shares_from_being_read() {
    for no in [Mood::Refuses, Mood::Silent] {
        let w = World::new();
        let holders: [Arc<MemoryShares>; 5] = std::array::from_fn(|slot| Arc::new(MemoryShares::new(slot as u8)));
        let quorum = Quorum::new(holders.clone().map(|holder| holder as Arc<dyn ShareHolder>), Bounds::default());
        let one = w.one.clone().with_quorum(Arc::new(quorum));
        let other = AccountId::random(&SeededRng::new(9));
        let tenant = TenantRecord { name: "other".to_owned(), created_ms: 1 };
        let row = vec![Write::Put(key::tenant_key(other), tenant.encode())];
        w.meta.commit(Batch { checks: vec![], writes: row }).await.unwrap();
        one.hold(HOME, "default", &new_hold(), false).await.unwrap();
        // Three of each, in drawers by chance: some of the shut one's come first.
        for account in [HOME, other] {
            for _ in 0..3 {
                let new = keys::NewPortion { class: PortionClass::Quorum, ..keys::NewPortion::default() };
                one.create(account, new, meta::record::Maker::Customer).await.unwrap();
            }
        }
        let accounts = [HOME, other];
        assert_eq!(one.read_shares(&accounts).await.unwrap(), (30, 0));
        w.customer.is(no);
        w.clock.advance_ms(2 * HOLD_MS);
        holders[0].spoil();
        assert_eq!(one.read_shares(&accounts).await.unwrap(), (15, 3), "{no:?}");
        w.customer.is(Mood::Gives);
        w.clock.advance_ms(2 * HOLD_MS);
        assert_eq!(one.read_shares(&accounts).await.unwrap(), (30, 6), "{no:?}");
    }
}
