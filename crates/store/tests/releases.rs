//! What is released to a caller when it finds, reads and copies, what that counts for, and when a stream ends.

#[path = "common/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use base::{Doors, ManualClock, SeededRng, SystemRng};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use keys::{Caller, CustomerKey, LEASE_MS, PortionError, Refusal, Switch, Who};
use meta::record::DenialReason;
use release::{Budget, Decision, Language, Mistakes, Outcome, Policies, Question, Terms, Via};
use sites::Pool;
use store::api::{BodyError, BodyFacts, BodySource, Encrypt, NewObject, ReadRange, WriteCondition};
use store::{Cause, Error, Options, Origin, Store};
use world::{Counting, Whole, World, read};
use zeroize::Zeroizing;

/// A language in which a document is the number of objects that each caller may open in an hour.
struct Objects;

struct Limit(Option<NonZeroU64>);

impl Language for Objects {
    fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
        Ok(Arc::new(Limit(documents.first().and_then(|(_, text)| text.parse().ok()))))
    }
}

impl Policies for Limit {
    fn decide(&self, _: &Question<'_>) -> Decision {
        let budget = Budget { objects: self.0, ..Budget::default() };
        Decision { outcome: Outcome::Release(Terms { budget, ..Terms::default() }), by: Vec::new(), failed: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

fn ann() -> Who {
    Who { name: Some("ann".to_owned()), id: "id-ann".to_owned(), groups: Vec::new(), is_root: false }
}

/// A world, and the store on behalf of ann.
async fn world() -> (World, Store) {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let (pool, meta) = (Arc::new(Pool::in_memory(clock.clone())), Arc::new(Counting::default()));
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let options = Options { background: false, language: Arc::new(Objects), ..Options::new(doors) };
    let (ring, root) = (keys::Keyring::ephemeral(&SeededRng::new(1)), ("root".to_owned(), "rootroot".to_owned()));
    let store = Store::open(meta.clone(), pool.clone(), ring, root, options).await.unwrap();
    store.create_bucket("app", "root", false).await.unwrap();
    let caller = Caller::new(store.account(), ann(), Via::S3, false, None);
    let hers = store.acting_for(Origin {
        principal: "ann".to_owned(),
        address: None,
        request: None,
        cause: Cause::Request,
        caller: Some(Arc::new(caller)),
        access_key: None,
    });
    (World { store, clock, meta, pool }, hers)
}

async fn may_open(w: &World, objects: u64) {
    let account = w.store.account();
    w.store.portions().put_release_policy(account, "doc", &objects.to_string()).await.unwrap();
}

async fn had(w: &World) -> Vec<String> {
    let holders = w.store.portions().holders(w.store.account(), None, None, 10).await.unwrap().0;
    holders.into_iter().map(|holder| holder.record.name).collect()
}

fn over(result: Result<(), Error>) -> bool {
    matches!(result, Err(Error::Portion(PortionError::Release(Refusal::OverBudget { what: "objects", .. }))))
}

/// Under a lease nothing asks for keys, policies, denials or budgets, however much is read and written.
#[tokio::test]
async fn a_lease_is_asked_for_once() {
    let (w, hers) = world().await;
    may_open(&w, 1_000_000).await;
    let put = |key: &'static str| {
        let (hers, new) = (&hers, NewObject::default());
        async move {
            let mut source = Whole(Some(Bytes::from_static(b"body")));
            hers.put("app", key, new, 4, &WriteCondition::default(), &mut source).await.unwrap();
        }
    };
    put("one").await;
    read(&hers, "one", None).await.unwrap();
    let of_keys = || -> BTreeMap<char, usize> {
        let all = std::mem::take(&mut *w.meta.kinds_read.lock());
        let of_keys = all.into_iter().filter(|(kind, _)| b"KhHjylFJUmDRSzPEALQX".contains(kind));
        of_keys.map(|(kind, reads)| (char::from(kind), reads)).collect()
    };
    of_keys();
    for _ in 0..100 {
        assert_eq!(read(&hers, "one", None).await.unwrap(), b"body");
    }
    assert_eq!(of_keys(), BTreeMap::new());
    for _ in 0..100 {
        put("another").await;
    }
    // The caps of a key's version are counted in blocks of parts.
    let asked = of_keys();
    assert!(asked.keys().all(|kind| "hj".contains(*kind)) && asked.values().all(|reads| *reads <= 10), "{asked:?}");
    // When it is over it is asked for again.
    w.clock.advance_ms(LEASE_MS);
    read(&hers, "one", None).await.unwrap();
    assert!(!of_keys().is_empty());
}

#[tokio::test]
async fn what_is_only_found_is_not_released() {
    let (w, hers) = world().await;
    may_open(&w, 1).await;
    w.put("one").await;
    w.upload("several", &[vec![1; 5 << 20], vec![2; 10]]).await;
    for key in ["one", "several"] {
        let object = hers.open_object("app", key, None, None).await.unwrap();
        assert!(object.info.size > 0);
        assert!(object.read(ReadRange::Bytes(0..0)).await.unwrap().next().await.is_none(), "nothing is read of {key}");
    }
    assert!(had(&w).await.is_empty());
    // All of the budget is there.
    assert_eq!(read(&hers, "one", None).await.unwrap(), b"one");
    assert_eq!(had(&w).await, ["ann"]);
    assert!(over(read(&hers, "several", None).await.map(drop)));
    // Found before it was overwritten: its bytes are held.
    let object = w.store.open_object("app", "one", None, None).await.unwrap();
    w.put_as("one", Encrypt::Default, b"another").await.unwrap();
    w.clock.advance_ms(world::DAY_MS);
    let chunks: Vec<Bytes> = object.read(ReadRange::All).await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.concat(), b"one");
}

/// A lease is asked for again while a slow client reads on, and a denial ends the stream.
#[tokio::test]
async fn a_denial_ends_a_stream() {
    let (w, hers) = world().await;
    let body = vec![7; 5 << 20];
    w.put_as("one", Encrypt::Default, &body).await.unwrap();
    w.upload("several", &[body.clone(), vec![2; 10]]).await;
    may_open(&w, 4).await;
    // A lease ends, and is given again: nothing is counted twice.
    for key in ["one", "several"] {
        let mut stream = hers.open_object("app", key, None, None).await.unwrap().read(ReadRange::All).await.unwrap();
        let mut got = 0;
        while let Some(chunk) = stream.next().await {
            got += chunk.unwrap().len();
            w.clock.advance_ms(LEASE_MS);
        }
        assert!(got >= body.len());
    }
    for key in ["one", "several"] {
        let mut stream = hers.open_object("app", key, None, None).await.unwrap().read(ReadRange::All).await.unwrap();
        stream.next().await.unwrap().unwrap();
        let (portions, account) = (w.store.portions(), w.store.account());
        portions.deny(account, &ann(), DenialReason::Quarantined, "").await.unwrap();
        w.clock.advance_ms(LEASE_MS);
        let mut got = 1;
        let ended = loop {
            match stream.next().await.expect("it is cut before its end") {
                Ok(_) => got += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(ended, Error::Portion(PortionError::Release(Refusal::Denied { .. }))), "{ended}");
        assert!(got < 6, "what was fetched ahead at most: {got} pieces of {key}");
        portions.readmit(account, &ann()).await.unwrap();
    }
}

/// A body; before its last piece the portion is switched, and a lease passes.
struct Half<'a> {
    pieces: Vec<Bytes>,
    world: &'a World,
    switch: Switch,
}

#[async_trait]
impl BodySource for Half<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.pieces.len() == 1 {
            let (w, id) = (self.world, self.world.portion("bucket/app").await);
            w.store.portions().switch(w.store.account(), id, self.switch).await.unwrap();
            w.clock.advance_ms(LEASE_MS);
        }
        Ok(self.pieces.pop())
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

fn is_shut(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::Portion(PortionError::Disabled(_) | PortionError::PendingShred { .. })))
}

/// A portion that is disabled, or is to be shredded, is read and written no further either, by whomever.
#[tokio::test]
async fn a_portion_that_shuts_ends_a_stream() {
    let body = vec![7; 5 << 20];
    for switch in [Switch::Disable, Switch::Shred { days: 7 }, Switch::Shred { days: 0 }] {
        for by_ann in [false, true] {
            let (w, hers) = world().await;
            let reader = if by_ann { &hers } else { &w.store };
            w.put_as("one", Encrypt::Default, &body).await.unwrap();
            w.upload("several", &[body.clone(), vec![2; 10]]).await;
            may_open(&w, 4).await;
            let mut streams = Vec::new();
            for key in ["one", "several"] {
                let object = reader.open_object("app", key, None, None).await.unwrap();
                let mut stream = object.read(ReadRange::All).await.unwrap();
                stream.next().await.unwrap().unwrap();
                streams.push(stream);
            }
            // Half of what it writes has come when the portion shuts.
            let pieces = vec![Bytes::from(vec![7]), Bytes::from(vec![7; body.len() - 1])];
            let mut half = Half { pieces, world: &w, switch };
            let (new, any) = (NewObject::default(), WriteCondition::default());
            let put = reader.put("app", "new", new, body.len() as u64, &any, &mut half).await.map(drop);
            assert!(is_shut(&put), "{switch:?}: {put:?}");
            assert!(matches!(reader.head("app", "new", None).await, Err(Error::NoSuchKey)));
            for stream in &mut streams {
                let mut got = 1;
                let ended = loop {
                    match stream.next().await.expect("it is cut before its end") {
                        Ok(_) => got += 1,
                        Err(error) => break Err(error),
                    }
                };
                assert!(is_shut(&ended), "{switch:?}: {ended:?}");
                assert!(got < 6, "what was fetched ahead at most: {got} pieces");
            }
        }
    }
}

/// A copy opens an object, whatever its parts are numbered and whether it shares their bytes.
#[tokio::test]
async fn a_copy_counts_for_an_object() {
    for numbers in [[1, 2], [2, 3], [7, 9]] {
        let (w, hers) = world().await;
        let upload = w.begin_upload("from").await;
        let mut named = Vec::new();
        for (number, part) in numbers.into_iter().zip([vec![1; 5 << 20], vec![2; 10]]) {
            named.push(w.put_part("from", upload, number, &part).await);
        }
        w.complete("from", upload, &named).await;
        may_open(&w, 2).await;
        let w = World { store: hers, ..w };
        w.copy("from", "shared", Encrypt::Default).await.unwrap();
        let customer = Arc::new(CustomerKey::new(Zeroizing::new([3; 32])));
        w.copy("from", "customers", Encrypt::Customer(customer)).await.unwrap();
        assert!(over(w.copy("from", "more", Encrypt::Default).await), "{numbers:?}");
    }
}
