//! What was read lately is opened again without the sites, and only by whom its key still opens it for.

#[path = "common/whole.rs"]
mod whole;

use std::sync::Arc;

use base::{AccountId, Doors, ManualClock, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::{Keyring, Switch};
use sites::{Memory, Pool, PoolOptions, SiteSpec};
use store::api::{DeleteRequest, NewObject, ReadRange, WriteCondition};
use store::{Error, Options, Store};
use whole::Whole;

struct World {
    store: Store,
    sites: [Arc<Memory>; 5],
}

impl World {
    async fn new(read_cache_bytes: u64) -> Self {
        let doors = Doors { clock: Arc::new(ManualClock::new(1_800_000_000_000)), rng: Arc::new(SystemRng) };
        let sites: [Arc<Memory>; 5] = std::array::from_fn(|_| Arc::new(Memory::new()));
        let spec = |slot: usize| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: sites[slot].clone(),
        };
        let pool = Arc::new(Pool::new(std::array::from_fn(spec), doors.clock.clone(), PoolOptions::default()));
        let keyring = Keyring::ephemeral(doors.rng.as_ref());
        let options = Options { background: false, read_cache_bytes, ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let store = Store::open(Arc::new(meta::Memory::new()), pool, keyring, root, options).await.unwrap();
        store.create_bucket("b", "root", false).await.unwrap();
        Self { store, sites }
    }

    async fn put(&self, key: &str, body: &[u8]) {
        let mut source = Whole(Some(Bytes::copy_from_slice(body)));
        let condition = WriteCondition::default();
        self.store.put("b", key, NewObject::default(), body.len() as u64, &condition, &mut source).await.unwrap();
    }

    async fn get(&self, key: &str, range: ReadRange) -> Result<Vec<u8>, Error> {
        let reader = self.store.open_object("b", key, None, None).await?;
        let chunks: Vec<Bytes> = reader.read(range).await?.try_collect().await?;
        Ok(chunks.concat())
    }

    /// Every shard of every object is gone.
    fn lose_all(&self) {
        for site in &self.sites {
            for name in site.names().iter().filter(|name| name.starts_with("shards/")) {
                assert!(site.remove(name));
            }
        }
    }
}

/// Three spans, the last of them short.
fn body() -> Vec<u8> {
    (0..600_000_u32).map(|i| (i * 7 % 251) as u8).collect()
}

#[tokio::test]
async fn what_was_read_is_there_without_the_sites() {
    let w = World::new(4 << 20).await;
    let body = body();
    for key in ["read", "not", "small"] {
        w.put(key, if key == "small" { b"small" } else { &body }).await;
    }
    assert_eq!(w.get("read", ReadRange::All).await.unwrap(), body);
    assert_eq!(w.get("small", ReadRange::All).await.unwrap(), b"small");
    w.lose_all();
    assert_eq!(w.get("read", ReadRange::All).await.unwrap(), body);
    assert_eq!(w.get("small", ReadRange::All).await.unwrap(), b"small");
    // Whole spans within it are the same bytes.
    assert_eq!(w.get("read", ReadRange::Bytes(262_144..600_000)).await.unwrap(), body[262_144..]);
    assert!(matches!(w.get("not", ReadRange::All).await, Err(Error::Unreadable(_))));
    // What stands there now counts, not what was read.
    w.put("read", b"another").await;
    assert_eq!(w.get("read", ReadRange::All).await.unwrap(), b"another");
    w.store.delete("b", "small", &DeleteRequest::default()).await.unwrap();
    assert!(matches!(w.get("small", ReadRange::All).await, Err(Error::NoSuchKey)));
}

#[tokio::test]
async fn without_room_nothing_is_kept() {
    let w = World::new(0).await;
    w.put("read", &body()).await;
    w.get("read", ReadRange::All).await.unwrap();
    w.lose_all();
    assert!(matches!(w.get("read", ReadRange::All).await, Err(Error::Unreadable(_))));
}

/// What is kept is sealed: without its key it is nothing.
#[tokio::test]
async fn what_was_shredded_is_not_opened_from_memory() {
    let w = World::new(4 << 20).await;
    let account = AccountId::DEFAULT;
    let portions = w.store.portions();
    portions.put_rules(account, r#"{"rules": [{"prefix": "users/{id}/", "portion": "users/{id}"}]}"#).await.unwrap();
    w.put("users/ann/a", &body()).await;
    w.get("users/ann/a", ReadRange::All).await.unwrap();
    let portion = portions.find(account, "users/ann").await.unwrap();
    portions.switch(account, portion.id, Switch::Shred { days: 0 }).await.unwrap();
    assert!(portions.shred(account, portion.id).await.unwrap());
    let read = w.get("users/ann/a", ReadRange::All).await;
    assert!(matches!(read, Err(Error::Portion(_) | Error::Key(_))), "{read:?}");
}
