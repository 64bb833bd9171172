//! Several processes over the same rows and sites: what one acknowledged the others show, what one holds the others leave alone, and
//! what is taken away through one is gone at all.

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/whole.rs"]
mod whole;

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use base::AccountId;
use bytes::Bytes;
use fleet::{World, anns, get, put};
use futures::StreamExt;
use keys::{Refusal, SITE_LEASE_MS, Who};
use meta::record::DenialReason;
use store::api::{BodyError, BodyFacts, BodySource, NewObject, ReadRange, WriteCondition};
use store::{Error, Store};
use tokio::sync::mpsc;
use whole::Whole;

/// Bytes of a segment.
const SEGMENT: usize = 6 << 20;
/// Larger than what goes into packs, so that it is read in several pieces.
const LARGE: usize = 3 << 20;

/// A body that comes when the test lets it.
struct Slow(mpsc::Receiver<Bytes>);

#[async_trait]
impl BodySource for Slow {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(self.0.recv().await)
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Whole(None).finish()
    }
}

#[tokio::test]
async fn what_one_acknowledged_the_others_show() {
    let world = World::new(3).await;
    let [a, b, c] = [0, 1, 2].map(|index| world.gateways[index].store.clone());
    put(&a, "k", b"one".to_vec()).await.unwrap();
    assert_eq!(get(&b, "k").await.unwrap(), b"one");
    put(&b, "k", b"two".to_vec()).await.unwrap();
    assert_eq!(get(&c, "k").await.unwrap(), b"two");
    c.create_user("ann", None).await.unwrap();
    assert!(a.users().await.unwrap().iter().any(|user| user.name == "ann"));
    // A rule for portions that one takes is followed by the others at their next look.
    let rules = r#"{"rules": [{"bucket": "b", "portion": "ours"}]}"#;
    put(&b, "before", b"x".to_vec()).await.unwrap();
    a.portions().put_rules(AccountId::DEFAULT, rules).await.unwrap();
    b.portions().renew_site_lease().await.unwrap();
    put(&b, "after", b"x".to_vec()).await.unwrap();
    assert!(
        a.portions()
            .list(AccountId::DEFAULT, None, 10)
            .await
            .unwrap()
            .0
            .iter()
            .any(|portion| portion.record.name == "ours")
    );
}

#[tokio::test]
async fn one_leads_and_another_when_it_is_gone() {
    let mut world = World::new(3).await;
    world.beat(1, &[]).await;
    assert_eq!(world.leader(), Some(0), "the first one");
    // It stands still for half a minute: another one leads, and it learns that it does not.
    world.beat(12, &[0]).await;
    let leader = (1..3).find(|index| world.is_leader(*index));
    assert!(leader.is_some());
    assert!(!world.is_leader(0), "nobody told it, and it knows by its own clock");
    world.beat(1, &[]).await;
    assert_eq!(world.leader(), leader);
    // One that stops is not waited for.
    let gone = world.gateways.remove(leader.unwrap());
    gone.store.shutdown().await;
    world.beat(1, &[]).await;
    assert!(world.leader().is_some());
}

/// Which of five clocks is wrong the others know, and it as well.
#[tokio::test]
async fn a_wrong_clock_decides_nothing_for_good() {
    let mut world = World::empty();
    world.start(0, 3_600_000).await;
    for index in 1..5 {
        world.start(index, 0).await;
    }
    assert_eq!(world.leader(), Some(0), "alone it cannot know");
    world.beat(1, &[]).await;
    assert!(!world.is_leader(0), "an hour ahead of all others");
    world.beat(1, &[]).await;
    assert!(world.leader().is_some_and(|leader| leader != 0), "it lives, and leaves the lead to another one");
}

#[tokio::test]
async fn what_another_reads_is_not_collected() {
    let world = World::new(2).await;
    let [a, b] = [0, 1].map(|index| world.gateways[index].store.clone());
    world.beat(1, &[]).await;
    put(&a, "k", vec![7; LARGE]).await.unwrap();
    let object = b.open_object("b", "k", None, None).await.unwrap();
    let mut stream = object.read(ReadRange::All).await.unwrap();
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    put(&a, "k", b"small".to_vec()).await.unwrap();
    let both = world.shards();
    // Long past the grace, by whatever clock.
    world.advance(3_600_000);
    for _ in 0..10 {
        world.beat(1, &[]).await;
        a.collect_garbage().await.unwrap();
    }
    assert_eq!(world.shards(), both, "its bytes are there");
    while let Some(bytes) = stream.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(read, vec![7; LARGE]);
    drop(stream);
    for _ in 0..12 {
        world.beat(1, &[]).await;
        a.collect_garbage().await.unwrap();
    }
    assert_eq!(world.shards(), both / 2, "and now they are not");
    assert_eq!(get(&b, "k").await.unwrap(), b"small");
}

/// The clock of the sweeper is an hour ahead of everything, and the upload takes its time.
#[tokio::test]
async fn what_another_writes_is_not_swept() {
    let mut world = World::new(1).await;
    world.start(1, 2 * 3_600_000).await;
    let [a, b] = [0, 1].map(|index| world.gateways[index].store.clone());
    let (send, receive) = mpsc::channel(1);
    let upload = tokio::spawn(async move {
        let size = 2 * SEGMENT as u64;
        a.put("b", "k", NewObject::default(), size, &WriteCondition::default(), &mut Slow(receive)).await
    });
    // A whole segment goes to the sites when the next one begins.
    for _ in 0..=SEGMENT >> 20 {
        send.send(vec![1; 1 << 20].into()).await.unwrap();
    }
    while world.shards() == 0 {
        tokio::task::yield_now().await;
    }
    let sweep = tokio::spawn(async move { b.sweep(0).await });
    while !sweep.is_finished() {
        world.beat(1, &[]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(sweep.await.unwrap().unwrap().removed, 0);
    for _ in 1..SEGMENT >> 20 {
        send.send(vec![1; 1 << 20].into()).await.unwrap();
    }
    drop(send);
    upload.await.unwrap().unwrap();
    assert_eq!(get(&world.gateways[1].store, "k").await.unwrap().len(), 2 * SEGMENT);
}

/// A process that was stopped in the middle of an upload: its shards may have been swept, so it must not commit them.
#[tokio::test]
async fn who_was_taken_for_dead_commits_nothing() {
    let world = World::new(2).await;
    let [a, b] = [0, 1].map(|index| world.gateways[index].store.clone());
    let (send, receive) = mpsc::channel(1);
    let upload = tokio::spawn({
        let a = a.clone();
        async move {
            let mut body = Slow(receive);
            a.put("b", "k", NewObject::default(), LARGE as u64, &WriteCondition::default(), &mut body).await
        }
    });
    send.send(vec![1; LARGE / 2].into()).await.unwrap();
    send.send(Bytes::new()).await.unwrap();
    world.beat(12, &[0]).await;
    assert_eq!(b.gateways().len(), 1, "it is out");
    send.send(vec![1; LARGE / 2].into()).await.unwrap();
    drop(send);
    // Clients try that again, elsewhere; a conflict they would not.
    assert!(matches!(upload.await.unwrap(), Err(Error::Expelled)));
    assert!(matches!(get(&b, "k").await, Err(Error::NoSuchKey)), "nothing of it is visible");
    // It goes on as another one.
    a.keep_place().await.unwrap();
    put(&a, "k", vec![2; LARGE]).await.unwrap();
    assert_eq!(get(&b, "k").await.unwrap(), vec![2; LARGE]);
}

fn is_denied(result: Result<Vec<u8>, Error>) -> bool {
    matches!(result, Err(Error::Portion(keys::PortionError::Release(Refusal::Denied { .. }))))
}

#[tokio::test]
async fn who_is_revoked_through_one_is_revoked_at_all() {
    let world = World::new(3).await;
    let [a, b, c] = [0, 1, 2].map(|index| world.gateways[index].store.clone());
    put(&a, "k", vec![7; LARGE]).await.unwrap();
    let who = Who { name: Some("ann".to_owned()), id: "HFID-ann".to_owned(), groups: vec![], is_root: false };
    for store in [&b, &c] {
        get(&anns(store), "k").await.unwrap();
    }
    let object = anns(&b).open_object("b", "k", None, None).await.unwrap();
    let mut stream = object.read(ReadRange::All).await.unwrap();
    stream.next().await.unwrap().unwrap();
    world.gateways[2].cut.store(true, Ordering::SeqCst);
    a.portions().deny(AccountId::DEFAULT, &who, DenialReason::Revoked, "").await.unwrap();
    // A gateway that reaches the metadata: with its next look, whatever its leases say.
    b.portions().renew_site_lease().await.unwrap();
    assert!(is_denied(get(&anns(&b), "k").await));
    let mut rest = Vec::new();
    while let Some(bytes) = stream.next().await {
        rest.push(bytes);
    }
    assert!(rest.last().unwrap().is_err(), "what it was reading ends");
    // One that is cut off: no later than its lease, however fresh what it remembers.
    assert!(c.portions().renew_site_lease().await.is_err());
    world.advance(SITE_LEASE_MS);
    assert!(c.portions().on_lease().await.is_err());
    let keys = c.portions().to_open(AccountId::DEFAULT, any_key(&a).await).await;
    assert!(keys.is_err(), "no key comes out of its memory");
    world.gateways[2].cut.store(false, Ordering::SeqCst);
    c.portions().renew_site_lease().await.unwrap();
    assert!(is_denied(get(&anns(&c), "k").await));
}

/// A version of a key that there is.
async fn any_key(store: &Store) -> keys::KeyName {
    let portion = store.portions().list(AccountId::DEFAULT, None, 10).await.unwrap().0.remove(0);
    keys::KeyName { portion: portion.id, version: portion.record.version }
}

/// A disabled portion opens nothing at any gateway, though each of them has its key in memory.
#[tokio::test]
async fn a_portion_that_one_disables_is_shut_at_all() {
    let world = World::new(2).await;
    let [a, b] = [0, 1].map(|index| world.gateways[index].store.clone());
    put(&a, "k", b"body".to_vec()).await.unwrap();
    get(&b, "k").await.unwrap();
    let name = any_key(&a).await;
    a.portions().switch(AccountId::DEFAULT, name.portion, keys::Switch::Disable).await.unwrap();
    b.portions().renew_site_lease().await.unwrap();
    assert!(get(&b, "k").await.is_err());
    a.portions().switch(AccountId::DEFAULT, name.portion, keys::Switch::Enable).await.unwrap();
    b.portions().renew_site_lease().await.unwrap();
    assert_eq!(get(&b, "k").await.unwrap(), b"body");
}

/// Clients of a gateway that cannot reach the metadata are told at once, and not after the engine's patience.
#[tokio::test]
async fn who_cannot_reach_the_metadata_says_so_at_once() {
    let world = World::new(2).await;
    let [a, b] = [0, 1].map(|index| world.gateways[index].store.clone());
    put(&a, "k", b"body".to_vec()).await.unwrap();
    world.gateways[1].cut.store(true, Ordering::SeqCst);
    assert!(b.portions().renew_site_lease().await.is_err());
    let asked = world.gateways[1].asked.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert!(get(&b, "k").await.is_err());
        assert!(put(&b, "k", b"other".to_vec()).await.is_err());
    }
    assert_eq!(world.gateways[1].asked.load(Ordering::SeqCst), asked, "nobody waits for what does not answer");
    world.gateways[1].cut.store(false, Ordering::SeqCst);
    b.portions().renew_site_lease().await.unwrap();
    assert_eq!(get(&b, "k").await.unwrap(), b"body");
}
