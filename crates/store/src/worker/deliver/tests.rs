//! Delivery, a pass at a time.

use std::collections::HashMap;

use async_trait::async_trait;
use base::{Doors, SeededRng};
use bytes::Bytes;
use keys::Keyring;
use meta::{CommitError, Engine, Memory};
use notify::{Kind, Rule, Rules};
use parking_lot::Mutex;
use sites::Pool;

use super::*;
use crate::api::{BodyError, BodyFacts, BodySource, ObjectMeta, WriteCondition};
use crate::{EventOptions, Options, TargetOptions};

/// A target that refuses some keys, and remembers what it was sent.
#[derive(Default)]
struct Sink {
    refused: Mutex<HashMap<&'static str, TargetError>>,
    sent: Mutex<Vec<String>>,
}

#[async_trait]
impl Target for Sink {
    async fn send(&self, message: &Message) -> Result<(), TargetError> {
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let (_, key) = body.split_once(r#""key":""#).unwrap();
        let key = key.split('"').next().unwrap();
        self.sent.lock().push(key.to_owned());
        self.refused.lock().get(key).cloned().map_or(Ok(()), Err)
    }

    fn kind(&self) -> &'static str {
        "sink"
    }

    fn address(&self) -> String {
        String::new()
    }
}

struct Nothing;

#[async_trait]
impl BodySource for Nothing {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

/// A store whose bucket `bbb` sends all that is made in it to `hook`.
async fn store(meta: Arc<Memory>, sink: Arc<Sink>) -> (Store, Arc<Lane>) {
    let doors = Doors::system();
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let tenants = vec!["default".to_owned()];
    let target = TargetOptions { name: "hook".to_owned(), target: sink, queue_max: 1000, tenants };
    let events = EventOptions { region: String::new(), targets: vec![target] };
    let options = Options { background: false, events, ..Options::new(doors) };
    let root = ("root".to_owned(), "rootroot".to_owned());
    let store = Store::open(meta, pool, Keyring::ephemeral(&SeededRng::new(1)), root, options).await.unwrap();
    store.create_bucket("bbb", "root", false).await.unwrap();
    let rule = Rule {
        id: "all".to_owned(),
        kind: Kind::Queue,
        arn: "arn:aws:sqs:::hook".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        filter: None,
    };
    store.put_notification(&Rules { bucket: "bbb".to_owned(), rules: vec![rule] }, false).await.unwrap();
    let lane = store.0.outbox.lane("hook");
    (store, lane)
}

async fn put(store: &Store, key: &str) {
    let (meta, condition) = (ObjectMeta::default(), WriteCondition::default());
    store.put("bbb", key, meta, 0, &condition, &mut Nothing).await.unwrap();
}

#[tokio::test]
async fn a_refused_key_keeps_back_no_other() {
    let table = [
        // It answers: what is behind the first page is sent as well.
        (TargetError::Refused("no".to_owned()), ["hot", "cold"].as_slice()),
        // It is away: nothing more is tried.
        (TargetError::Unreachable("no".to_owned()), &["hot"]),
    ];
    for (error, expected) in table {
        let sink = Arc::new(Sink::default());
        let (store, lane) = store(Arc::new(Memory::new()), sink.clone()).await;
        sink.refused.lock().insert("hot", error.clone());
        for _ in 0..PAGE * 3 {
            put(&store, "hot").await;
        }
        put(&store, "cold").await;
        let pass = store.deliver_pass(&lane, sink.as_ref()).await.unwrap();
        assert_eq!(*sink.sent.lock(), expected, "{error}");
        assert_eq!((pass.delivered, pass.error), (expected.len() as u64 - 1, Some(error)));
    }
}

#[tokio::test]
async fn a_target_that_takes_nothing_is_not_offered_everything() {
    let sink = Arc::new(Sink::default());
    let (store, lane) = store(Arc::new(Memory::new()), sink.clone()).await;
    for at in 0..PAGE * 3 {
        let key: &'static str = format!("k{at}").leak();
        sink.refused.lock().insert(key, TargetError::Refused("no".to_owned()));
        put(&store, key).await;
    }
    assert_eq!(store.deliver_pass(&lane, sink.as_ref()).await.unwrap().delivered, 0);
    assert_eq!(sink.sent.lock().len(), PAGE);
}

#[tokio::test]
async fn a_damaged_queue_record_stops_neither_the_start_nor_delivery() {
    let meta = Arc::new(Memory::new());
    let writes = vec![Write::Put(key::queue_key("hook"), Bytes::from_static(&[0xff, 1]))];
    meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    let sink = Arc::new(Sink::default());
    let (store, lane) = store(meta, sink.clone()).await;
    put(&store, "a").await;
    assert_eq!(store.deliver_pass(&lane, sink.as_ref()).await.unwrap().delivered, 1);
    assert_eq!(store.deliver_pass(&lane, sink.as_ref()).await.unwrap().seen, 0, "it is not sent again");
    assert_eq!(store.targets()[0].delivered, 1);
}

#[tokio::test]
async fn the_length_of_a_queue_is_found_again() {
    let (meta, sink) = (Arc::new(Memory::new()), Arc::new(Sink::default()));
    let (store, lane) = store(meta.clone(), sink.clone()).await;
    let queued = || lane.queued.load(Ordering::Relaxed);
    put(&store, "a").await;
    // Removed, and not known to be.
    meta.set_fault(Some(CommitError::Unknown("the disk went away".to_owned())));
    assert!(store.deliver_pass(&lane, sink.as_ref()).await.is_err());
    meta.set_fault(None);
    assert_eq!(queued(), 1);
    put(&store, "b").await;
    assert_eq!(store.deliver_pass(&lane, sink.as_ref()).await.unwrap().seen, 1);
    assert_eq!(queued(), 0);
    // Nothing is dropped from a queue that is only thought to be full.
    put(&store, "c").await;
    lane.queued.store(lane.queue_max + 1, Ordering::Relaxed);
    store.trim_outbox().await.unwrap();
    assert_eq!((queued(), store.targets()[0].dropped), (1, 0));
}
