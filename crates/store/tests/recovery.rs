//! The metadata are lost, and made anew from any three sites.

#[path = "common/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::limits::COLUMNS;
use base::{AccountId, Doors, ManualClock, SeededRng, SystemRng};
use bytes::Bytes;
use futures::TryStreamExt;
use keys::{Keyring, Who};
use meta::record::{BucketState, DenialReason, Versioning, key};
use meta::{Engine, Key, Memory, Range};
use sites::{Pool, PoolOptions, Site, SiteSpec};
use store::api::{DeleteRequest, NewObject, ReadRange, WriteCondition};
use store::journal::rebuild::{RebuildError, Rebuilt, rebuild};
use store::{Error, Options, Store};
use whole::Whole;

struct World {
    store: Store,
    meta: Arc<Memory>,
    sites: [Arc<sites::Memory>; COLUMNS],
    clock: Arc<ManualClock>,
}

fn ring() -> Keyring {
    Keyring::ephemeral(&SeededRng::new(1))
}

async fn open(meta: Arc<Memory>, sites: [Arc<sites::Memory>; COLUMNS]) -> World {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let specs = std::array::from_fn(|slot| SiteSpec {
        name: format!("dc{slot}"),
        url: format!("memory://{slot}"),
        site: sites[slot].clone(),
    });
    let pool = Arc::new(Pool::new(specs, clock.clone(), PoolOptions::default()));
    let doors = Doors { clock: clock.clone(), rng: Arc::new(SystemRng) };
    let options = Options { background: false, journal: true, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    let store = Store::open(meta.clone(), pool, ring(), root, options).await.unwrap();
    World { store, meta, sites, clock }
}

async fn new() -> World {
    let world = open(Arc::new(Memory::new()), std::array::from_fn(|_| Arc::new(sites::Memory::new()))).await;
    world.store.create_bucket("b", "root", false).await.unwrap();
    world
}

async fn put_if(store: &Store, key: &str, body: &str, condition: WriteCondition) -> Result<(), Error> {
    let (size, mut source) = (body.len() as u64, Whole(Some(Bytes::copy_from_slice(body.as_bytes()))));
    store.put("b", key, NewObject::default(), size, &condition, &mut source).await.map(drop)
}

async fn put(store: &Store, key: &str, body: &str) {
    put_if(store, key, body, WriteCondition::default()).await.unwrap();
}

async fn get(store: &Store, key: &str) -> Result<String, Error> {
    let object = store.open_object("b", key, None, None).await?;
    let read: Vec<Bytes> = object.read(ReadRange::All).await?.try_collect().await?;
    Ok(String::from_utf8(read.concat()).unwrap())
}

async fn rows(engine: &dyn Engine) -> BTreeMap<Key, Bytes> {
    let all = Range { from: Key::new(), to: Key::from_static(&[0xff]), limit: usize::MAX };
    let rows = engine.range(all).await.unwrap().rows;
    rows.into_iter()
        .map(|(row_key, row)| (row_key, row.value))
        .filter(|(row_key, _)| ![key::era_key(), key::floor_key()].contains(row_key))
        .collect()
}

/// Sets of three sites.
fn threes() -> Vec<[usize; 3]> {
    let all = 0..COLUMNS;
    let mut sets = Vec::new();
    for a in all.clone() {
        for b in a + 1..COLUMNS {
            sets.extend((b + 1..COLUMNS).map(|c| [a, b, c]));
        }
    }
    sets
}

fn of(world: &World, which: &[usize]) -> Vec<Arc<dyn Site>> {
    which.iter().map(|slot| world.sites[*slot].clone() as Arc<dyn Site>).collect()
}

async fn rebuilt_from(world: &World, which: &[usize]) -> Result<(Memory, Rebuilt), RebuildError> {
    let engine = Memory::new();
    let done = rebuild(&of(world, which), &ring(), Some(&engine), false, |_, _| ()).await?;
    Ok((engine, done))
}

/// Every kind of change that clients and operators make.
async fn live(world: &World, from: usize) {
    let store = &world.store;
    for index in from..from + 10 {
        put(store, &format!("small/{index}"), "small").await;
        put(store, "over and over", &index.to_string()).await;
    }
    put(store, "large", &"x".repeat(2 << 20)).await;
    put(store, "gone", "soon").await;
    store.delete("b", "gone", &DeleteRequest::default()).await.unwrap();
    store.create_user(&format!("ann-{from}"), None).await.unwrap();
    let name = format!("bucket-{from}");
    store.create_bucket(&name, "root", false).await.unwrap();
    let enable = |state: &mut BucketState| {
        state.versioning = Versioning::Enabled;
        Ok(())
    };
    store.change_bucket_state("b", enable).await.unwrap();
    put(store, "versions", "one").await;
    put(store, "versions", "two").await;
    let who = Who { name: Some("eve".to_owned()), id: format!("HFID-{from}"), groups: vec![], is_root: false };
    store.portions().deny(AccountId::DEFAULT, &who, DenialReason::Revoked, "").await.unwrap();
    assert!(matches!(
        put_if(store, "large", "never", WriteCondition { absent: true, etag_is: None }).await,
        Err(Error::PreconditionFailed)
    ));
    world.clock.advance_ms(1000);
}

#[tokio::test]
async fn any_three_sites_give_all_of_it_back() {
    let world = new().await;
    live(&world, 0).await;
    for checkpoints in 0..4 {
        let expected = rows(world.meta.as_ref()).await;
        for which in threes() {
            let (engine, done) = rebuilt_from(&world, &which).await.unwrap();
            assert_eq!(rows(&engine).await, expected, "{which:?} after {checkpoints} checkpoints, {done:?}");
            assert!(done.checkpoint.is_some());
        }
        world.store.checkpoint(Duration::ZERO).await.unwrap();
        live(&world, 100 * (checkpoints as usize + 1)).await;
    }
    let entries = world.sites[0].names().iter().filter(|name| name.starts_with("journal/")).count();
    world.store.checkpoint(Duration::ZERO).await.unwrap();
    world.store.checkpoint(Duration::ZERO).await.unwrap();
    let left = world.sites[0].names().iter().filter(|name| name.starts_with("journal/")).count();
    assert!(left < entries / 4, "{left} of {entries} entries are left");
    let expected = rows(world.meta.as_ref()).await;
    assert_eq!(rows(&rebuilt_from(&world, &[1, 2, 4]).await.unwrap().0).await, expected);
}

/// What was acknowledged last has no outcome in the journal yet.
#[tokio::test]
async fn what_was_acknowledged_in_the_last_moment_is_there() {
    let world = new().await;
    for index in 0..20 {
        put(&world.store, "k", &index.to_string()).await;
        let (engine, done) = rebuilt_from(&world, &[0, 2, 4]).await.unwrap();
        assert_eq!(rows(&engine).await, rows(world.meta.as_ref()).await, "{done:?}");
        assert!(done.taken > 0, "the last one at least");
    }
}

#[tokio::test]
async fn the_store_goes_on_with_rows_made_anew() {
    let mut world = new().await;
    for life in 0..3 {
        live(&world, 1000 * life).await;
        if life == 1 {
            world.store.checkpoint(Duration::ZERO).await.unwrap();
        }
        put(&world.store, "last", &life.to_string()).await;
        let engine = rebuilt_from(&world, &[0, 1, 3]).await.unwrap().0;
        // Another engine, that counts its versions from the beginning.
        world = open(Arc::new(engine), world.sites.clone()).await;
        assert_eq!(get(&world.store, "last").await.unwrap(), life.to_string());
        assert_eq!(get(&world.store, "large").await.unwrap().len(), 2 << 20);
        assert_eq!(get(&world.store, "versions").await.unwrap(), "two");
        assert!(get(&world.store, "gone").await.is_err());
        let denials = world.store.portions().denials(AccountId::DEFAULT).await.unwrap();
        assert_eq!(denials.len(), life + 1);
    }
}

#[tokio::test]
async fn damaged_and_forged_copies_are_passed_over_and_too_little_is_told() {
    let world = new().await;
    live(&world, 0).await;
    let expected = rows(world.meta.as_ref()).await;
    for name in world.sites[2].names().iter().filter(|name| name.starts_with("journal/")) {
        assert!(world.sites[2].corrupt(name, 60));
    }
    let (engine, _) = rebuilt_from(&world, &[0, 1, 2, 3, 4]).await.unwrap();
    assert_eq!(rows(&engine).await, expected);
    assert!(matches!(rebuilt_from(&world, &[0, 1]).await, Err(RebuildError::TooFewSites { readable: 2, .. })));
    let other = Keyring::ephemeral(&SeededRng::new(2));
    let nothing = rebuild(&of(&world, &[0, 1, 3]), &other, None, false, |_, _| ()).await;
    assert!(matches!(nothing, Err(RebuildError::Nothing | RebuildError::Missing { .. })), "{nothing:?}");
    // One in the middle that is at no site any more.
    let names = world.sites[0].names();
    let entries: Vec<_> = names.iter().filter(|name| name.starts_with("journal/")).collect();
    let middle = entries[entries.len() / 2];
    assert!(world.sites.iter().filter(|site| site.remove(middle)).count() >= 3);
    assert!(matches!(rebuilt_from(&world, &[0, 1, 3]).await, Err(RebuildError::Missing { .. })));
    // Not into rows that are there.
    let full = rebuild(&of(&world, &[0, 1, 3]), &ring(), Some(world.meta.as_ref()), false, |_, _| ()).await;
    assert!(full.is_err());
}
