//! Objects of a tenant whose key takes a half that a customer holds.

#[path = "common/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AccountId, Doors, ManualClock, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::{CustomerKey, Keeper, KeeperError, Keepers, NewHold, PortionError};
use meta::Memory;
use parking_lot::Mutex;
use sites::Pool;
use store::api::{DeleteRequest, Encrypt, NewObject, ReadRange, WriteCondition};
use store::{Error, Options, Store};
use whole::Whole;
use zeroize::Zeroizing;

/// A customer who keeps one half, and gives it while it is there.
#[derive(Clone, Default)]
struct Customer(Arc<Mutex<Option<[u8; 32]>>>);

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
        secret.map(|secret| Zeroizing::new(secret.to_vec())).ok_or_else(|| KeeperError::Refused("no".to_owned()))
    }
}

impl Keepers for Customer {
    fn keeper(&self, _: AccountId, _: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        Ok(Arc::new(self.clone()))
    }
}

async fn put(store: &Store, key: &str, encrypt: Encrypt) -> Result<(), Error> {
    let (new, mut source) = (NewObject { encrypt, ..NewObject::default() }, Whole(Some(Bytes::from_static(b"held"))));
    store.put("app", key, new, 4, &WriteCondition::default(), &mut source).await.map(drop)
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

#[tokio::test]
async fn no_object_of_the_tenant_is_read_or_written_while_the_customer_says_no() {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
    let customer = Customer::default();
    let options = Options { background: false, keepers: Arc::new(customer.clone()), ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    let store = Store::open(Arc::new(Memory::new()), pool, keyring, root, options).await.unwrap();
    let (acme, _, _) = store.create_tenant("acme").await.unwrap();
    let theirs = store.of(acme.account);
    for store in [&store, &theirs] {
        store.create_bucket("app", "root", false).await.unwrap();
        put(store, "a", Encrypt::Default).await.unwrap();
    }
    let sse_c = || Arc::new(CustomerKey::new(Zeroizing::new([3; 32])));
    put(&theirs, "c", Encrypt::Customer(sse_c())).await.unwrap();
    let portions = theirs.portions();
    let new = NewHold { kind: "memory".to_owned(), options: BTreeMap::new(), lease_ms: 60_000 };
    portions.hold(acme.account, "acme", &new, false).await.unwrap();
    let holding = portions.holding(acme.account).await.unwrap().unwrap();
    assert_eq!((holding.older, holding.migrating), (1, true));
    put(&theirs, "b", Encrypt::Default).await.unwrap();
    // The worker moves what is under keys from before; a bucket's key is left with what is under the customer's own.
    theirs.rewrap().await.unwrap();
    let holding = portions.holding(acme.account).await.unwrap().unwrap();
    assert_eq!((holding.older, holding.migrating), (0, false));

    let half = customer.0.lock().take();
    clock.advance_ms(60_000);
    let key = sse_c();
    for name in ["a", "b"] {
        assert!(shut(get(&theirs, name, None).await), "{name}");
    }
    assert!(shut(get(&theirs, "c", Some(&key)).await));
    assert!(shut(put(&theirs, "d", Encrypt::Default).await));
    assert!(shut(put(&theirs, "d", Encrypt::Customer(sse_c())).await));
    get(&store, "a", None).await.unwrap();
    put(&store, "d", Encrypt::Default).await.unwrap();
    // The workers go on for all.
    theirs.rewrap().await.unwrap();
    theirs.delete("app", "a", &DeleteRequest::default()).await.unwrap();

    *customer.0.lock() = half;
    clock.advance_ms(60_000);
    get(&theirs, "b", None).await.unwrap();
    get(&theirs, "c", Some(&key)).await.unwrap();
    put(&theirs, "d", Encrypt::Default).await.unwrap();
}
