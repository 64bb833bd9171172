//! A gateway that is cut off from the metadata: what it still answers, for how long, and that it says so.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/whole.rs"]
mod whole;

use std::future::Future;
use std::sync::Arc;

use base::AccountId;
use fleet::{World, anns, get, put};
use futures::StreamExt;
use keys::{CutOff, PortionError, SITE_LEASE_MS, Who};
use meta::record::DenialReason;
use store::api::ReadRange;
use store::{Error, Store, stale};

/// Larger than what goes into packs.
const LARGE: usize = 3 << 20;
const MINUTE_MS: u64 = 60_000;

/// What something gives for who accepts old answers, and how old it is, in milliseconds.
async fn old<T>(work: impl Future<Output = T>) -> (T, Option<u64>) {
    let answer = Arc::new(stale::Answer::default());
    let done = stale::accepting(answer.clone(), work).await;
    (done, answer.age_ms())
}

/// Puts `k` into a portion of this class; the second gateway has read it.
async fn world_of(class: CutOff) -> World {
    let world = World::new(2).await;
    put(&world.gateways[0].store, "k", vec![7; LARGE]).await.unwrap();
    let name = portion(&world.gateways[0].store).await;
    let set = |record: &mut meta::record::PortionRecord| {
        record.cut_off = class;
        Ok(())
    };
    world.gateways[0].store.portions().describe(AccountId::DEFAULT, name, set).await.unwrap();
    world.gateways[1].store.portions().renew_site_lease().await.unwrap();
    get(&anns(&world.gateways[1].store), "k").await.unwrap();
    world
}

async fn portion(store: &Store) -> base::PortionId {
    store.portions().list(AccountId::DEFAULT, None, 10).await.unwrap().0.remove(0).id
}

fn is_cut_off<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Portion(PortionError::CutOff { .. })))
}

#[tokio::test]
async fn reads_go_on_for_as_long_as_the_class_says() {
    for (class, minutes) in [(CutOff::Strict, 0), (CutOff::Bounded, 15), (CutOff::Available, 24 * 60)] {
        let world = world_of(class).await;
        let (cut, store) = (&world.gateways[1], anns(&world.gateways[1].store));
        cut.cut_off().await;
        let (read, age_ms) = old(get(&store, "k")).await;
        assert_eq!(read.unwrap().len(), LARGE, "{class:?}: its lease counts");
        assert!(age_ms.is_some(), "and it is told as old");
        assert!(get(&store, "k").await.is_err(), "{class:?}: who does not accept old answers gets none");
        world.advance(SITE_LEASE_MS);
        for minute in 0..minutes.min(20) {
            let (read, age_ms) = old(get(&store, "k")).await;
            assert_eq!(read.unwrap().len(), LARGE, "{class:?}: minute {minute}");
            assert_eq!(age_ms, Some(SITE_LEASE_MS + minute * MINUTE_MS));
            old(store.must_tell_old("b", "k")).await.0.unwrap();
            world.advance(MINUTE_MS);
        }
        world.advance(minutes.saturating_sub(20) * MINUTE_MS);
        let (read, _) = old(get(&store, "k")).await;
        assert!(read.is_err(), "{class:?}: {read:?}", read = read.map(|read| read.len()));
        let told = old(async {
            store.head("b", "k", None).await?;
            store.must_tell_old("b", "k").await
        });
        assert!(told.await.0.is_err(), "{class:?}: names neither");
        cut.join_again().await;
        assert_eq!(get(&store, "k").await.unwrap().len(), LARGE);
    }
}

#[tokio::test]
async fn a_copy_says_how_old_it_is() {
    let world = world_of(CutOff::Bounded).await;
    world.beat(1, &[]).await;
    let store = anns(&world.gateways[1].store);
    world.advance(1_000);
    world.gateways[1].cut_off().await;
    put(&world.gateways[0].store, "k", b"newer".to_vec()).await.unwrap();
    world.advance(500);
    let (read, age_ms) = old(get(&store, "k")).await;
    assert_eq!((read.unwrap().len(), age_ms), (LARGE, Some(1_500)), "since its own last beat");
}

/// A copy that lags behind what this gateway knows to be taken away is no answer.
#[tokio::test]
async fn no_copy_from_before_a_denial() {
    let world = world_of(CutOff::Available).await;
    let [a, b] = [0, 1].map(|index| &world.gateways[index]);
    let before = world.rows.copy();
    let who = Who { name: Some("ann".to_owned()), id: "HFID-ann".to_owned(), groups: vec![], is_root: false };
    a.store.portions().deny(AccountId::DEFAULT, &who, DenialReason::Revoked, "").await.unwrap();
    b.store.portions().renew_site_lease().await.unwrap();
    b.cut_off().await;
    *b.copy.lock() = Some(before);
    let (read, _) = old(get(&anns(&b.store), "k")).await;
    assert!(matches!(read, Err(Error::Meta(_))), "{:?}", read.map(|read| read.len()));
}

/// What is denied is denied at an island as soon as its copy knows.
#[tokio::test]
async fn what_was_denied_before_stays_denied() {
    let world = world_of(CutOff::Available).await;
    let [a, b] = [0, 1].map(|index| &world.gateways[index]);
    let who = Who { name: Some("ann".to_owned()), id: "HFID-ann".to_owned(), groups: vec![], is_root: false };
    a.store.portions().deny(AccountId::DEFAULT, &who, DenialReason::Revoked, "").await.unwrap();
    b.store.portions().renew_site_lease().await.unwrap();
    b.cut_off().await;
    world.advance(SITE_LEASE_MS);
    assert!(old(get(&anns(&b.store), "k")).await.0.is_err());
    assert_eq!(old(get(&b.store, "k")).await.0.unwrap().len(), LARGE, "the store itself is asked nothing");
}

/// No new keys: what was not in use when the cut came is not opened.
#[tokio::test]
async fn only_what_was_in_use_goes_on() {
    let world = World::new(2).await;
    put(&world.gateways[0].store, "k", vec![7; LARGE]).await.unwrap();
    let store = anns(&world.gateways[1].store);
    store.portions().renew_site_lease().await.unwrap();
    world.gateways[1].cut_off().await;
    world.advance(SITE_LEASE_MS);
    assert!(is_cut_off(old(get(&store, "k")).await.0));
}

/// A stream goes on over the end of the lease where a read may, and ends where not.
#[tokio::test]
async fn streams_end_with_their_class() {
    for (class, goes_on) in [(CutOff::Strict, false), (CutOff::Bounded, true)] {
        let world = world_of(class).await;
        let store = anns(&world.gateways[1].store);
        let mut stream = old(async {
            let object = store.open_object("b", "k", None, None).await.unwrap();
            object.read(ReadRange::All).await.unwrap()
        })
        .await
        .0;
        stream.next().await.unwrap().unwrap();
        world.gateways[1].cut_off().await;
        world.advance(SITE_LEASE_MS);
        let rest: Vec<_> = stream.collect().await;
        assert_eq!(rest.iter().all(Result::is_ok), goes_on, "{class:?}");
    }
}

/// Nothing is written, whoever accepts what.
#[tokio::test]
async fn writes_are_refused() {
    let world = world_of(CutOff::Available).await;
    let store = anns(&world.gateways[1].store);
    world.gateways[1].cut_off().await;
    for _ in 0..2 {
        assert!(old(put(&store, "other", b"x".to_vec())).await.0.is_err());
        world.advance(SITE_LEASE_MS);
    }
}

/// Who had a key meanwhile is in the rows when they are in reach again.
#[tokio::test]
async fn releases_are_written_down_afterwards() {
    let world = world_of(CutOff::Available).await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    let id = portion(a).await;
    let hours = async || {
        let (holders, _) = a.portions().holders(AccountId::DEFAULT, Some(id), None, 10).await.unwrap();
        holders.iter().map(|holder| holder.record.hours).collect::<Vec<_>>()
    };
    assert_eq!(hours().await, [1]);
    b.cut_off().await;
    // The next hour: a release of its own.
    world.advance(60 * MINUTE_MS);
    old(get(&anns(&b.store), "k")).await.0.unwrap();
    assert_eq!(hours().await, [1]);
    b.join_again().await;
    world.beat(1, &[0]).await;
    assert_eq!(hours().await, [2]);
}
