//! Objects of a tenant whose key takes a half that a customer holds.

#[path = "common/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base::{AccountId, Doors, ManualClock, SystemRng};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use keys::{CustomerKey, Keeper, KeeperError, Keepers, LEASE_MS, NewHold, PortionError};
use meta::Memory;
use parking_lot::Mutex;
use sites::Pool;
use store::api::{BodyError, BodyFacts, BodySource, DeleteRequest, Encrypt, NewObject, ReadRange, WriteCondition};
use store::{Error, Options, Store};
use whole::Whole;
use zeroize::Zeroizing;

const HOLD_MS: u64 = 60_000;

/// A customer who keeps one half, and gives it while it is there; else it says no, or nothing.
#[derive(Clone, Default)]
struct Customer(Arc<Mutex<Option<[u8; 32]>>>, Arc<AtomicBool>);

impl Keeper for Customer {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "theirs".to_owned()
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        *self.0.lock() = Some(*secret);
        Ok(Vec::new())
    }

    fn give(&self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let secret = *self.0.lock();
        let is_silent = self.1.load(Ordering::SeqCst);
        let no = if is_silent { KeeperError::Unreachable } else { KeeperError::Refused };
        secret.map(|secret| Zeroizing::new(secret.to_vec())).ok_or_else(|| no("no".to_owned()))
    }
}

impl Keepers for Customer {
    fn keeper(&self, _: AccountId, _: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        Ok(Arc::new(self.clone()))
    }
}

async fn put(store: &Store, key: &str, encrypt: Encrypt) -> Result<(), Error> {
    put_from(store, key, encrypt, 4, &mut Whole(Some(Bytes::from_static(b"held")))).await
}

async fn put_from(
    store: &Store,
    key: &str,
    encrypt: Encrypt,
    size: usize,
    body: &mut dyn BodySource,
) -> Result<(), Error> {
    let new = NewObject { encrypt, ..NewObject::default() };
    store.put("app", key, new, size as u64, &WriteCondition::default(), body).await.map(drop)
}

async fn get(store: &Store, key: &str, customer: Option<&CustomerKey>) -> Result<(), Error> {
    let reader = store.open_object("app", key, None, customer).await?;
    let chunks: Vec<Bytes> = reader.read(ReadRange::All).await?.try_collect().await?;
    assert_eq!(chunks.concat(), b"held");
    Ok(())
}

fn shut(result: Result<(), Error>) -> bool {
    matches!(result, Err(Error::Portion(PortionError::HalfRefused { place, .. })) if place == "theirs")
}

fn unreachable(result: Result<(), Error>) -> bool {
    matches!(result, Err(Error::Portion(PortionError::HalfUnreachable { place, .. })) if place == "theirs")
}

/// A store with a tenant, `acme`, whose key nobody holds yet.
struct World {
    clock: Arc<ManualClock>,
    customer: Customer,
    store: Store,
    acme: AccountId,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
        let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
        let customer = Customer::default();
        let options = Options { background: false, keepers: Arc::new(customer.clone()), ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let store = Store::open(Arc::new(Memory::new()), pool, keyring, root, options).await.unwrap();
        let (acme, _, _) = store.create_tenant("acme").await.unwrap();
        Self { clock, customer, store, acme: acme.account }
    }

    async fn hold(&self) {
        let new = NewHold { kind: "memory".to_owned(), options: BTreeMap::new(), lease_ms: HOLD_MS };
        self.store.portions().hold(self.acme, "acme", &new, false).await.unwrap();
    }

    /// What the worker does.
    async fn look(&self) {
        let portions = self.store.portions();
        for account in portions.look_after_halves().0 {
            portions.renew_half(account).await;
        }
    }

    /// The customer takes the half away: says no, or nothing until the lease ends. Gives the half.
    async fn takes_away(&self, is_silent: bool) -> Option<[u8; 32]> {
        self.customer.1.store(is_silent, Ordering::SeqCst);
        let half = self.customer.0.lock().take();
        self.clock.advance_ms(if is_silent { HOLD_MS } else { HOLD_MS / 2 });
        self.look().await;
        half
    }

    async fn gives_back(&self, half: Option<[u8; 32]>) {
        *self.customer.0.lock() = half;
        self.clock.advance_ms(HOLD_MS);
        self.look().await;
    }
}

/// A body of which the half is taken away after the first piece.
struct Slow<'a> {
    pieces: Vec<Bytes>,
    half: Option<[u8; 32]>,
    world: &'a World,
}

#[async_trait]
impl BodySource for Slow<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.pieces.len() == 1 {
            self.half = self.world.takes_away(false).await;
        }
        Ok(self.pieces.pop())
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

#[tokio::test]
async fn no_object_of_the_tenant_is_read_or_written_while_the_customer_says_no() {
    let w = World::new().await;
    let (store, clock, customer, account) = (&w.store, &w.clock, &w.customer, w.acme);
    let theirs = store.of(account);
    for store in [store, &theirs] {
        store.create_bucket("app", "root", false).await.unwrap();
        put(store, "a", Encrypt::Default).await.unwrap();
    }
    let sse_c = || Arc::new(CustomerKey::new(Zeroizing::new([3; 32])));
    put(&theirs, "c", Encrypt::Customer(sse_c())).await.unwrap();
    let portions = theirs.portions();
    w.hold().await;
    let holding = portions.holding(account).await.unwrap().unwrap();
    assert_eq!((holding.older, holding.migrating), (1, true));
    put(&theirs, "b", Encrypt::Default).await.unwrap();
    // The worker moves what is under keys from before; a bucket's key is left with what is under the customer's own.
    theirs.rewrap().await.unwrap();
    let holding = portions.holding(account).await.unwrap().unwrap();
    assert_eq!((holding.older, holding.migrating), (0, false));

    let half = customer.0.lock().take();
    clock.advance_ms(HOLD_MS);
    let key = sse_c();
    for name in ["a", "b"] {
        assert!(shut(get(&theirs, name, None).await), "{name}");
    }
    assert!(shut(get(&theirs, "c", Some(&key)).await));
    assert!(shut(put(&theirs, "d", Encrypt::Default).await));
    assert!(shut(put(&theirs, "d", Encrypt::Customer(sse_c())).await));
    get(store, "a", None).await.unwrap();
    put(store, "d", Encrypt::Default).await.unwrap();
    // The workers go on for all.
    theirs.rewrap().await.unwrap();
    theirs.delete("app", "a", &DeleteRequest::default()).await.unwrap();

    *customer.0.lock() = half;
    clock.advance_ms(HOLD_MS);
    get(&theirs, "b", None).await.unwrap();
    get(&theirs, "c", Some(&key)).await.unwrap();
    put(&theirs, "d", Encrypt::Default).await.unwrap();
}

/// What a slow client reads or writes ends as well when the customer says no, whatever key it is under.
#[tokio::test]
async fn a_no_ends_what_runs() {
    let w = World::new().await;
    let theirs = w.store.of(w.acme);
    theirs.create_bucket("app", "root", false).await.unwrap();
    w.hold().await;
    let customer = Arc::new(CustomerKey::new(Zeroizing::new([3; 32])));
    for customer in [None, Some(customer)] {
        let encrypt = || customer.clone().map_or(Encrypt::Default, Encrypt::Customer);
        let told = encrypt_name(&customer);
        let body = Bytes::from(vec![7; 5 << 20]);
        put_from(&theirs, "a", encrypt(), body.len(), &mut Whole(Some(body.clone()))).await.unwrap();
        for is_silent in [false, true] {
            let object = theirs.open_object("app", "a", None, customer.as_deref()).await.unwrap();
            let mut stream = object.read(ReadRange::All).await.unwrap();
            stream.next().await.unwrap().unwrap();
            let half = w.takes_away(is_silent).await;
            let mut got = 1;
            let ended = loop {
                match stream.next().await.expect("it is cut before its end") {
                    Ok(_) => got += 1,
                    Err(error) => break Err(error),
                }
            };
            assert!(if is_silent { unreachable(ended) } else { shut(ended) }, "{told}");
            assert!(got < 6, "what was fetched ahead at most: {got} pieces, {told}");
            w.gives_back(half).await;
        }
        // A small one, and one that is cut before its end.
        for size in [4 << 10, 5 << 20] {
            let pieces = vec![body.slice(..size - 1), body.slice(..1)];
            let mut slow = Slow { pieces, half: None, world: &w };
            assert!(shut(put_from(&theirs, "new", encrypt(), size, &mut slow).await), "{told}, {size} bytes");
            let half = slow.half.take();
            assert!(matches!(theirs.head("app", "new", None).await, Err(Error::NoSuchKey)), "{told}, {size} bytes");
            w.gives_back(half).await;
        }
        // Given all the time, it goes on: leases end, and are given again.
        let object = theirs.open_object("app", "a", None, customer.as_deref()).await.unwrap();
        let mut stream = object.read(ReadRange::All).await.unwrap();
        let mut got = 0;
        while let Some(piece) = stream.next().await {
            got += piece.unwrap().len();
            w.clock.advance_ms(LEASE_MS);
            w.look().await;
        }
        assert_eq!(got, body.len(), "{told}");
    }
}

fn encrypt_name(customer: &Option<Arc<CustomerKey>>) -> &'static str {
    if customer.is_some() { "SSE-C" } else { "a portion" }
}
