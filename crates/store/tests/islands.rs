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
use keys::{Caller, CutOff, PortionError, SITE_LEASE_MS, Who};
use meta::record::{DenialReason, Versioning};
use release::Via;
use store::api::{ListRequest, NewObject, ObjectMeta, ReadRange, Right, WriteCondition};
use store::{Cause, Deferred, Error, Origin, Store, stale};
use whole::Whole;

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
    b.store.portions().write_down_owed().await;
    assert_eq!(hours().await, [2]);
}

/// The second gateway is cut off, from a bucket that says `island = accept`; ann may write there.
async fn accepting() -> (World, Store) {
    let world = World::new(2).await;
    let a = &world.gateways[0].store;
    a.change_bucket_state("b", |state| {
        state.versioning = Versioning::Enabled;
        Ok(())
    })
    .await
    .unwrap();
    a.set_island("b", true).await.unwrap();
    put(a, "k", b"before".to_vec()).await.unwrap();
    a.create_user("ann", None).await.unwrap();
    a.grant("ann", "b", Some(Right::Write)).await.unwrap();
    let ann = writer(&world, 1).await;
    get(&ann, "k").await.unwrap();
    world.beat(1, &[]).await;
    (world, ann)
}

/// A gateway's store on ann's behalf, as a request of hers has it.
async fn writer(world: &World, index: usize) -> Store {
    let store = &world.gateways[index].store;
    let user = store.users().await.unwrap().into_iter().find(|user| user.name == "ann").unwrap();
    let access_key = user.keys.first().unwrap().access_key.clone();
    let (_, principal) = store.authenticate(&access_key).await.unwrap().unwrap();
    let caller = Caller::new(store.account(), principal.who(), Via::S3, false, None);
    store.acting_for(Origin {
        principal: "ann".to_owned(),
        address: None,
        request: None,
        cause: Cause::Request,
        caller: Some(Arc::new(caller)),
        access_key: Some(access_key.into()),
    })
}

async fn take(store: &Store, key: &str, body: Vec<u8>) -> Result<Deferred, Error> {
    let (size, mut source) = (body.len() as u64, Whole(Some(body.into())));
    let new = NewObject::from(ObjectMeta {
        headers: [("content-type".into(), "text/x".into())].into(),
        ..Default::default()
    });
    old(store.put_at_island("b", key, new, size, &WriteCondition::default(), &mut source)).await.0
}

#[tokio::test]
async fn what_is_taken_is_told_afterwards() {
    for size in [0, 1, 16 << 10, (256 << 10) + 1, LARGE] {
        let (world, ann) = accepting().await;
        let (a, b) = (&world.gateways[0], &world.gateways[1]);
        b.cut_off().await;
        let taken = take(&ann, "k", vec![5; size]).await.unwrap();
        take(&ann, "new", vec![6; size]).await.unwrap();
        assert_eq!(b.store.island_waiting().len(), 2);
        assert_eq!(get(&a.store, "k").await.unwrap(), b"before");
        let hidden = old(ann.must_tell_old("b", "k")).await.0;
        assert!(matches!(hidden, Err(Error::Island(_))), "what it acknowledged last it cannot show: {hidden:?}");
        assert_eq!(b.store.merge_island().await.unwrap(), 0, "not now");
        // Long after all leases.
        world.advance(5 * MINUTE_MS);
        take(&ann, "later", vec![7; size]).await.unwrap();
        b.join_again().await;
        assert_eq!(b.store.merge_island().await.unwrap(), 3);
        for (key, byte) in [("k", 5), ("new", 6), ("later", 7)] {
            assert_eq!(get(&a.store, key).await.unwrap(), vec![byte; size], "{key} of {size}");
        }
        let info = a.store.head("b", "k", None).await.unwrap();
        assert_eq!((info.etag, info.meta.headers["content-type"].as_str()), (taken.etag, "text/x"));
        assert_eq!(a.store.conflicts().await.unwrap(), []);
        assert_eq!(b.store.island_waiting(), []);
        assert_eq!(std::fs::read_dir(world.island(1)).unwrap().count(), 0);
    }
}

/// Two writers, of which neither knew the other: both versions are there, and that is told.
#[tokio::test]
async fn conflicts_lose_nothing_and_are_listed() {
    for deleted in [false, true] {
        let (world, ann) = accepting().await;
        let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
        let before = a.head("b", "k", None).await.unwrap().version;
        b.cut_off().await;
        world.advance(1_000);
        take(&ann, "k", b"island".to_vec()).await.unwrap();
        world.advance(1_000);
        match deleted {
            true => drop(a.delete("b", "k", &Default::default()).await.unwrap()),
            false => put(a, "k", b"others".to_vec()).await.unwrap(),
        }
        b.join_again().await;
        assert_eq!(b.store.merge_island().await.unwrap(), 1);
        match deleted {
            true => assert!(matches!(get(a, "k").await, Err(Error::DeleteMarker { .. })), "what was deleted stays so"),
            false => assert_eq!(get(a, "k").await.unwrap(), b"others"),
        }
        let conflicts = a.conflicts().await.unwrap();
        assert_eq!(conflicts.len(), 1);
        assert_eq!((conflicts[0].key.as_str(), conflicts[0].principal.as_str()), ("k", "ann"));
        assert_eq!(conflicts[0].gateway, "gw1");
        let version = conflicts[0].version.parse().unwrap();
        let object = a.open_object("b", "k", Some(version), None).await.unwrap();
        let read: Vec<_> = object.read(ReadRange::All).await.unwrap().collect().await;
        assert_eq!(read[0].as_ref().unwrap(), &b"island"[..]);
        assert!(version > before);
        a.forget_conflict(&conflicts[0].id).await.unwrap();
        assert_eq!(a.conflicts().await.unwrap(), []);
    }
}

/// A gateway that dies tells what it took when it is started again, once, wherever in the telling it died.
#[tokio::test]
async fn who_died_tells_once() {
    let (mut world, ann) = accepting().await;
    world.gateways[1].cut_off().await;
    take(&ann, "k", vec![5; LARGE]).await.unwrap();
    // What was never acknowledged.
    let stray = world.island(1).join("0000000000000001-00000000000000000000000000000000.body");
    std::fs::write(&stray, b"half a body").unwrap();
    let copy = world.folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(world.island(1)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    for _ in 0..2 {
        world.gateways.truncate(1);
        world.start(1, 0).await;
        assert!(!stray.exists());
        assert_eq!(world.gateways[1].store.island_waiting().len(), 1);
        world.gateways[1].store.portions().renew_site_lease().await.unwrap();
        assert_eq!(world.gateways[1].store.merge_island().await.unwrap(), 1);
        let versions = world.gateways[0]
            .store
            .list_versions("b", &ListRequest { limit: 10, ..Default::default() }, None)
            .await
            .unwrap();
        assert_eq!(versions.versions.len(), 2, "the one from before, and what was taken");
        assert_eq!(get(&world.gateways[0].store, "k").await.unwrap(), vec![5; LARGE]);
        // It died after the commit, and before it forgot.
        for file in std::fs::read_dir(&copy).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), world.island(1).join(file.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn only_what_may_be_taken_is() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    a.create_bucket("plain", "root", false).await.unwrap();
    assert!(matches!(a.set_island("plain", true).await, Err(Error::BucketState(_))), "it keeps no versions");
    a.set_island("b", false).await.unwrap();
    b.cut_off().await;
    assert!(matches!(take(&ann, "k", b"x".to_vec()).await, Err(Error::Island(_))), "the bucket does not say so");
    b.join_again().await;
    a.set_island("b", true).await.unwrap();
    b.cut_off().await;
    let mut whole = Whole(Some((&b"x"[..]).into()));
    let condition = WriteCondition { absent: true, etag_is: None };
    let conditional = ann.put_at_island("b", "k", NewObject::default(), 1, &condition, &mut whole);
    assert!(matches!(old(conditional).await.0, Err(Error::Island(_))), "nobody knows what is there");
    let mut short = Whole(Some((&b"x"[..]).into()));
    let none = WriteCondition::default();
    let cut = ann.put_at_island("b", "k", NewObject::default(), 2, &none, &mut short);
    assert!(matches!(old(cut).await.0, Err(Error::Body(_))), "the client went away");
    assert_eq!(std::fs::read_dir(world.island(1)).unwrap().count(), 0, "and nothing of it is left");
    let full = take(&ann, "k", vec![0; 17 << 20]).await;
    assert!(matches!(&full, Err(Error::Island(why)) if why.contains("island_max_mib")), "{full:?}");
    world.advance(25 * 60 * MINUTE_MS);
    assert!(take(&ann, "k", b"x".to_vec()).await.is_err(), "what is known is a day old");
    assert_eq!(b.store.island_waiting(), []);
}

/// Who may not write any more has written nothing; an operator may tell it all the same, or drop it.
#[tokio::test]
async fn who_was_revoked_meanwhile_waits_for_a_decision() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    b.cut_off().await;
    let first = take(&ann, "first", b"1".to_vec()).await.unwrap();
    let second = take(&ann, "second", b"2".to_vec()).await.unwrap();
    a.grant("ann", "b", None).await.unwrap();
    b.join_again().await;
    assert_eq!(b.store.merge_island().await.unwrap(), 0);
    let waiting = b.store.island_waiting();
    assert_eq!(waiting.len(), 2);
    assert!(waiting[0].trouble.as_ref().unwrap().contains("ann may not write"), "{waiting:?}");
    assert!(matches!(get(a, "first").await, Err(Error::NoSuchKey)));
    b.store.tell_anyway(&first.id).await.unwrap();
    assert_eq!(get(a, "first").await.unwrap(), b"1");
    b.store.drop_entry(&second.id).await.unwrap();
    assert_eq!(b.store.island_waiting(), []);
    assert!(matches!(b.store.drop_entry(&second.id).await, Err(Error::NoSuchEntry(_))));
}

/// Damage to one is told, and keeps no other waiting.
#[tokio::test]
async fn damage_is_told() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    b.cut_off().await;
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for key in ["body", "entry", "gone", "good"] {
            ids.push(take(&ann, key, vec![9; LARGE]).await.unwrap().id);
            world.advance(1);
        }
        ids
    };
    let flip = |name: String| {
        let path = world.island(1).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip(format!("{}.body", ids[0]));
    flip(format!("{}.entry", ids[1]));
    std::fs::remove_file(world.island(1).join(format!("{}.body", ids[2]))).unwrap();
    b.join_again().await;
    // A file that is gone is the folder's trouble, and may pass.
    let _ = b.store.merge_island().await;
    std::fs::write(world.island(1).join(format!("{}.body", ids[2])), b"").unwrap();
    b.store.merge_island().await.unwrap();
    assert_eq!(get(a, "good").await.unwrap(), vec![9; LARGE]);
    let waiting = b.store.island_waiting();
    assert_eq!(waiting.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids[..3]);
    assert!(waiting.iter().all(|one| one.trouble.is_some()), "{waiting:?}");
}

/// Of several writes of one key at one island the last one acknowledged is the newest, and beneath another's they stay in order.
#[tokio::test]
async fn writes_of_one_key_stay_in_order() {
    for others in [false, true] {
        let (world, ann) = accepting().await;
        let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
        b.cut_off().await;
        world.advance(60_000);
        if others {
            put(a, "k", b"others".to_vec()).await.unwrap();
        }
        for number in 0..70u8 {
            take(&ann, "k", vec![number]).await.unwrap();
        }
        b.join_again().await;
        assert_eq!(b.store.merge_island().await.unwrap(), 70);
        let newest = if others { b"others".to_vec() } else { vec![69] };
        assert_eq!(get(a, "k").await.unwrap(), newest);
        let request = ListRequest { limit: 100, ..Default::default() };
        let versions = a.list_versions("b", &request, None).await.unwrap().versions;
        assert_eq!(versions.len(), 71 + usize::from(others));
        let mut read = Vec::new();
        for version in &versions {
            let object = a.open_object("b", "k", Some(version.info.version), None).await.unwrap();
            let bytes: Vec<_> = object.read(ReadRange::All).await.unwrap().collect().await;
            read.push(bytes[0].as_ref().unwrap().to_vec());
        }
        let mut expected: Vec<Vec<u8>> = (0..70).rev().map(|number| vec![number]).collect();
        expected.push(b"before".to_vec());
        if others {
            expected.insert(0, b"others".to_vec());
        }
        assert_eq!(read, expected);
        assert_eq!(a.conflicts().await.unwrap().len(), if others { 70 } else { 0 });
    }
}

/// The copy at hand lacks what this gateway has written itself.
#[tokio::test]
async fn its_own_last_write_is_known_without_the_copy() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    let before = world.rows.copy();
    put(&ann, "k", b"last".to_vec()).await.unwrap();
    b.cut_off().await;
    *b.copy.lock() = Some(before);
    take(&ann, "k", b"island".to_vec()).await.unwrap();
    b.join_again().await;
    b.store.merge_island().await.unwrap();
    assert_eq!(get(a, "k").await.unwrap(), b"island");
    assert_eq!(a.conflicts().await.unwrap(), []);
}

/// What an entry lacks keeps no other waiting, nor does a bucket that keeps no versions any more.
#[tokio::test]
async fn trouble_is_each_ones_own() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    b.cut_off().await;
    let gone = take(&ann, "gone", b"1".to_vec()).await.unwrap();
    world.advance(1);
    take(&ann, "there", b"2".to_vec()).await.unwrap();
    std::fs::remove_file(world.island(1).join(format!("{}.body", gone.id))).unwrap();
    b.join_again().await;
    assert_eq!(b.store.merge_island().await.unwrap(), 1);
    assert_eq!(get(a, "there").await.unwrap(), b"2");
    assert!(b.store.island_waiting()[0].trouble.is_some());
    b.store.drop_entry(&gone.id).await.unwrap();

    b.cut_off().await;
    take(&ann, "k", b"island".to_vec()).await.unwrap();
    let suspend = |state: &mut meta::record::BucketState| {
        state.versioning = Versioning::Suspended;
        Ok(())
    };
    a.change_bucket_state("b", suspend).await.unwrap();
    b.join_again().await;
    assert_eq!(b.store.merge_island().await.unwrap(), 0);
    assert_eq!(get(a, "k").await.unwrap(), b"before", "nothing is overwritten");
    assert!(b.store.island_waiting()[0].trouble.as_ref().unwrap().contains("keeps no versions"));
}

/// An operator tells what the worker is telling.
#[tokio::test]
async fn nobody_tells_twice() {
    let (world, ann) = accepting().await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    b.cut_off().await;
    let taken = take(&ann, "k", vec![3; LARGE]).await.unwrap();
    b.join_again().await;
    let (told, by_hand, dropped) =
        futures::join!(b.store.merge_island(), b.store.tell_anyway(&taken.id), b.store.drop_entry(&taken.id));
    assert_eq!(told.unwrap(), 1);
    by_hand.unwrap();
    assert!(matches!(dropped, Err(Error::NoSuchEntry(_))), "it was told: there is nothing to drop");
    let request = ListRequest { limit: 10, ..Default::default() };
    assert_eq!(a.list_versions("b", &request, None).await.unwrap().versions.len(), 2);
}

/// Names are told for as long as what they name is opened, by the portion that it really is in.
#[tokio::test]
async fn names_in_a_strict_portion_are_not_told() {
    let world = World::new(2).await;
    let (a, b) = (&world.gateways[0].store, &world.gateways[1]);
    put(a, "plain", b"x".to_vec()).await.unwrap();
    let new = keys::NewPortion { name: Some("secret".to_owned()), cut_off: CutOff::Strict, ..Default::default() };
    let secret = a.portions().create(AccountId::DEFAULT, new, meta::record::Maker::Customer).await.unwrap().id;
    let encrypt = store::api::Encrypt::Kms { key: Some(secret), context: None, bucket_key: None };
    let mut body = Whole(Some((&b"x"[..]).into()));
    let new = NewObject { encrypt, ..NewObject::default() };
    a.put("b", "hidden/k", new, 1, &WriteCondition::default(), &mut body).await.unwrap();
    for key in ["plain", "hidden/k"] {
        get(&b.store, key).await.unwrap();
    }
    b.store.portions().renew_site_lease().await.unwrap();
    b.cut_off().await;
    world.advance(SITE_LEASE_MS);
    let list = |prefix: &str| {
        let request = ListRequest { prefix: prefix.to_owned(), limit: 10, ..Default::default() };
        let store = b.store.clone();
        async move { old(store.list("b", &request)).await.0 }
    };
    old(b.store.head("b", "plain", None)).await.0.unwrap();
    assert!(is_cut_off(old(b.store.head("b", "hidden/k", None)).await.0));
    assert_eq!(list("plain").await.unwrap().objects.len(), 1);
    assert!(is_cut_off(list("").await));
    assert!(is_cut_off(list("hidden/").await));
}
