//! How many waits for far places follow one after the other in a request, and that a request which goes by what is remembered tells
//! and does nothing that is not so. The clock stands still but for those waits, so the counts are exact.
//!
//! Each call to the metadata and to a site takes one unit, however much is asked for in it. How many round trips of a network
//! a unit is, is etcd's matter: `docs/design/0026-speed-over-five-sites.md`.

#[path = "common/whole.rs"]
mod whole;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::limits::COLUMNS;
use base::{Doors, ManualClock, SeededRng, SystemRng};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use keys::Keyring;
use meta::record::Versioning;
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Row};
use sites::{Entry, Pool, PoolOptions, Site, SiteError, SiteSpec};
use store::api::{DeleteRequest, NewObject, ReadRange, WriteCondition};
use store::{Error, Options, POLICY, Store};
use tokio::time::Instant;
use whole::Whole;

/// As between sites that are 20 ms from each other.
const UNIT: Duration = Duration::from_millis(20);
const ANN: &str = "HFAKANNANNANNANNANNA";
const POLICY_DOCUMENT: &[u8] = br#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
    "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*"}]}"#;

/// What is this far away.
struct Far<T> {
    it: Arc<T>,
    /// Not yet, or for now, it is near.
    is_far: Arc<AtomicBool>,
}

impl<T> Far<T> {
    /// There and back, and what is asked happens there.
    async fn ask<A>(&self, asked: impl Future<Output = A>) -> A {
        let way = if self.is_far.load(Ordering::SeqCst) { UNIT / 2 } else { Duration::ZERO };
        tokio::time::sleep(way).await;
        let answer = asked.await;
        tokio::time::sleep(way).await;
        answer
    }
}

#[async_trait]
impl Engine for Far<Memory> {
    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.ask(self.it.get(keys)).await
    }

    async fn range(&self, range: meta::Range) -> Result<Page, MetaError> {
        self.ask(self.it.range(range)).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        self.ask(self.it.commit_group(batches)).await
    }
}

#[async_trait]
impl Site for Far<sites::Memory> {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        self.ask(self.it.put(name, body)).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        self.ask(self.it.get(name, range)).await
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        self.ask(self.it.size(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        self.ask(self.it.delete(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        self.ask(self.it.list(prefix, after, limit)).await
    }
}

struct World {
    gateways: [Store; 2],
    is_far: Arc<AtomicBool>,
}

/// Two gateways over the same rows and sites, a bucket `b`, and a user `ann` who may do everything in it.
async fn world() -> World {
    let (rows, is_far) = (Arc::new(Memory::shared()), Arc::new(AtomicBool::new(false)));
    let sites: [Arc<sites::Memory>; COLUMNS] = std::array::from_fn(|_| Arc::new(sites::Memory::new()));
    let mut gateways = Vec::new();
    for index in 0..2 {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let specs = std::array::from_fn(|slot| SiteSpec {
            name: format!("dc{slot}"),
            url: format!("memory://{slot}"),
            site: Arc::new(Far { it: sites[slot].clone(), is_far: is_far.clone() }),
        });
        let pool = Arc::new(Pool::new(specs, clock.clone(), PoolOptions::default()));
        let engine = Arc::new(Far { it: rows.clone(), is_far: is_far.clone() });
        let doors = Doors { clock, rng: Arc::new(SystemRng) };
        let options =
            Options { background: false, journal: true, gateway: format!("gw{index}"), ..Options::new(doors) };
        let root = ("root".to_owned(), "rootroot".to_owned());
        let ring = Keyring::ephemeral(&SeededRng::new(1));
        gateways.push(Store::open(engine, pool, ring, root, options).await.unwrap());
    }
    let gateways: [Store; 2] = gateways.try_into().ok().unwrap();
    gateways[0].create_bucket("b", "root", false).await.unwrap();
    let keys = Some((ANN.to_owned(), "a-secret-of-ann".to_owned()));
    gateways[0].create_user("ann", keys).await.unwrap();
    World { gateways, is_far }
}

/// As the endpoint puts an object that `ann` sends: what is asked, and in which order.
async fn put(store: &Store, key: &str, body: Vec<u8>) -> Result<(), Error> {
    let work = async {
        who(store).await?;
        if let Some(policy) = store.bucket_policy("b").await? {
            assert!(!policy.document().is_empty());
            return Err(Error::Invalid("denied"));
        }
        store.bucket_state("b").await?;
        let (size, mut source) = (body.len() as u64, Whole(Some(body.into())));
        let info = store.put("b", key, NewObject::default(), size, &WriteCondition::default(), &mut source).await?;
        store.told(&info, true).await.map(drop)
    };
    store.writing(work, Result::is_err).await?
}

/// As the endpoint reads one; again, if what it went by was not so.
async fn get(store: &Store, key: &str) -> Result<Vec<u8>, Error> {
    let work = || async {
        who(store).await?;
        store.bucket_policy("b").await?;
        let object = store.open_object("b", key, None, None).await?;
        store.told(&object.info, true).await?;
        let mut stream = object.read(ReadRange::All).await?;
        Ok::<_, Error>((stream.next().await, stream))
    };
    let (first, rest) = match store.reading(work()).await {
        Ok(answer) => answer?,
        Err(_) => work().await?,
    };
    let rest: Vec<Bytes> = rest.try_collect().await?;
    Ok([first.transpose()?.unwrap_or_default(), rest.concat().into()].concat())
}

async fn head(store: &Store, key: &str) -> Result<u64, Error> {
    let work = || async {
        who(store).await?;
        store.bucket_policy("b").await?;
        let info = store.head("b", key, None).await?;
        store.told(&info, true).await?;
        Ok::<_, Error>(info.size)
    };
    match store.reading(work()).await {
        Ok(answer) => answer,
        Err(_) => work().await,
    }
}

/// For the secret, and again for the rights.
async fn who(store: &Store) -> Result<(), Error> {
    for _ in 0..2 {
        store.authenticate(ANN).await?.ok_or(Error::KeyGone)?;
    }
    Ok(())
}

impl World {
    /// How many units pass.
    async fn units<T>(&self, work: impl Future<Output = Result<T, Error>>) -> (T, u32) {
        self.is_far.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let done = work.await.unwrap();
        let took = begun.elapsed();
        self.is_far.store(false, Ordering::SeqCst);
        // Packs wait a millisecond for company.
        (done, u32::try_from(took.as_millis() / UNIT.as_millis()).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_waits_and_no_more() {
    let world = world().await;
    let [a, b] = &world.gateways;
    for size in [0, 4 << 10, 1 << 20, 3 << 20] {
        let body = vec![7; size];
        // Room under keys, rules, and what may be opened are known afterwards.
        for store in [a, b] {
            put(store, "first", body.clone()).await.unwrap();
            get(store, "first").await.unwrap();
        }
        let bytes = u32::from(size > 0);
        let new = format!("new{size}");
        assert_eq!(world.units(put(a, &new, body.clone())).await.1, 1 + bytes, "a new object of {size}");
        assert_eq!(world.units(put(a, &new, body.clone())).await.1, 1 + bytes, "another one in its place");
        assert_eq!(world.units(head(a, &new)).await, (size as u64, 1), "HEAD of {size}");
        assert_eq!(world.units(get(a, &new)).await.1, 1.max(bytes * spans(size)), "GET of {size}");
        // What it has not seen yet: the object's row, the row of its bytes, and then as above.
        let (read, units) = world.units(get(b, &new)).await;
        assert!(read == body);
        assert_eq!(units, 1 + bytes * (1 + spans(size)) + (1 - bytes), "a first GET of {size}");
        assert_eq!(world.units(get(b, &new)).await.1, 1.max(bytes * spans(size)), "a second GET of {size}");
    }
}

/// Reads of 256 KiB, of which three are ahead of the client after the first.
fn spans(size: usize) -> u32 {
    let spans = size.div_ceil(256 << 10);
    1 + spans.saturating_sub(1).div_ceil(3) as u32
}

/// Each change is made through one gateway while the other remembers what was before.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_or_done_by_what_is_not_so() {
    let world = world().await;
    let [a, b] = &world.gateways;
    let warm = || async {
        put(b, "mine", b"mine".to_vec()).await.unwrap();
        let _ = get(b, "k").await;
    };

    put(a, "k", b"one".to_vec()).await.unwrap();
    warm().await;
    put(a, "k", b"two".to_vec()).await.unwrap();
    assert_eq!(get(b, "k").await.unwrap(), b"two", "a newer object");
    assert_eq!(head(b, "k").await.unwrap(), 3);
    a.delete("b", "k", &DeleteRequest::default()).await.unwrap();
    assert!(matches!(get(b, "k").await, Err(Error::NoSuchKey)), "a deletion");
    put(a, "k", b"three".to_vec()).await.unwrap();
    put(b, "k", b"four".to_vec()).await.unwrap();
    assert_eq!(get(a, "k").await.unwrap(), b"four", "over one that was not known to be there");

    warm().await;
    a.change_bucket_state("b", |state| {
        state.versioning = Versioning::Enabled;
        Ok(())
    })
    .await
    .unwrap();
    assert!(matches!(put(b, "k", b"five".to_vec()).await, Err(Error::Overtaken)), "judged by another state");
    assert_eq!(get(a, "k").await.unwrap(), b"four");
    put(b, "k", b"five".to_vec()).await.unwrap();
    assert_eq!(get(a, "k").await.unwrap(), b"five", "and then by this one");

    warm().await;
    a.put_bucket_config("b", POLICY, POLICY_DOCUMENT.to_vec()).await.unwrap();
    assert!(matches!(put(b, "k", b"six".to_vec()).await, Err(Error::Overtaken)), "a policy that denies");
    assert!(matches!(put(b, "k", b"six".to_vec()).await, Err(Error::Invalid("denied"))));
    assert_eq!(get(a, "k").await.unwrap(), b"five");
    a.delete_bucket_config("b", POLICY).await.unwrap();
    // It is refused by what is remembered, which is looked at before that is told.
    assert!(matches!(put(b, "k", b"seven".to_vec()).await, Err(Error::Overtaken)), "one that does not any more");
    put(b, "k", b"seven".to_vec()).await.unwrap();

    warm().await;
    a.delete_user("ann").await.unwrap();
    assert!(matches!(put(b, "k", b"eight".to_vec()).await, Err(Error::Overtaken)), "a user that is gone");
    assert!(matches!(put(b, "k", b"eight".to_vec()).await, Err(Error::KeyGone)));
    let keys = Some((ANN.to_owned(), "another-secret".to_owned()));
    a.create_user("ann", keys).await.unwrap();
    warm().await;
    assert_eq!(get(b, "k").await.unwrap(), b"seven");
    a.delete_user("ann").await.unwrap();
    assert!(matches!(get(b, "k").await, Err(Error::KeyGone)), "and for a read");
}
