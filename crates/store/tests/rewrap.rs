//! The worker that moves parts to newer keys: what it walks, what it leaves, and what it tells of that.

#[path = "common/world.rs"]
mod world;

use std::sync::atomic::Ordering;

use base::{PortionId, Rng, SystemRng};
use bytes::Bytes;
use meta::record::{Record, RewrapRecord, key};
use meta::{Batch, Engine, Write};
use world::{DAY_MS, World};

const MINUTE_MS: u64 = 60_000;

fn report(w: &World) -> store::WorkerReport {
    w.store.workers().into_iter().find(|worker| worker.name == "rewrap").unwrap()
}

/// Passes, each over what is left, until the versions of rotated keys are a day old.
async fn pass_a_day(w: &World) {
    w.store.rewrap().await.unwrap();
    w.clock.advance_ms(DAY_MS);
    w.store.rewrap().await.unwrap();
}

/// Objects `KEY` of the portions `p/KEY`, all rotated.
async fn rotated(keys: &[&str]) -> World {
    let w = World::new().await;
    w.rules(r#"{"rules": [{"prefix": "{id}", "portion": "p/{id}"}]}"#).await;
    for key in keys {
        w.put(key).await;
        w.rotate(&format!("p/{key}")).await;
    }
    w
}

#[tokio::test]
async fn one_walk_serves_all_work_of_a_tenant() {
    let mut read = Vec::new();
    for keys in [&["a"][..], &["a", "b", "c", "d"]] {
        let w = rotated(keys).await;
        w.meta.objects_read.store(0, Ordering::Relaxed);
        let done = w.store.rewrap().await.unwrap();
        assert_eq!((done.moved, done.lost), (keys.len() as u64, 0));
        read.push(w.meta.objects_read.load(Ordering::Relaxed));
        for key in keys {
            assert_eq!(w.exposed(&format!("p/{key}")).await[*key], [2]);
        }
    }
    assert_eq!(read[0], read[1]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_the_versions_that_it_names() {
    let w = rotated(&["a", "b"]).await;
    let (row_key, sound) = w.damage("a").await;
    pass_a_day(&w).await;
    assert_eq!((w.versions("p/a").await, w.versions("p/b").await), (vec![1, 2], vec![2]));
    let told = report(&w);
    let error = told.last_error.clone().expect("it is told");
    assert!(told.queue == 1 && error.contains("the row o/") && error.contains('a'), "{told:?} {error}");
    // Once it is put right, it moves as well.
    w.write(row_key, sound).await;
    w.clock.advance_ms(DAY_MS);
    w.store.rewrap().await.unwrap();
    w.store.rewrap().await.unwrap();
    assert_eq!(w.versions("p/a").await, [2]);
    assert_eq!(w.get("a").await.unwrap(), b"a");
    assert_eq!((report(&w).queue, report(&w).last_error), (0, None));
}

#[tokio::test]
async fn a_row_that_names_no_key_keeps_all() {
    let w = rotated(&["a", "b"]).await;
    let row_key = key::object_key(w.bucket().await, "c");
    w.write(row_key, Bytes::from_static(&[3, 1])).await;
    pass_a_day(&w).await;
    assert_eq!((w.versions("p/a").await, w.versions("p/b").await), (vec![1, 2], vec![1, 2]));
}

#[tokio::test]
async fn a_damaged_part_keeps_no_other_part_from_moving() {
    let w = World::new().await;
    let upload = w.begin_upload("big").await;
    for number in 1..=3 {
        w.put_part("big", upload, number, b"part").await;
    }
    w.rotate("bucket/app").await;
    let row_key = key::part_key(upload, 2);
    let sound = w.value(&row_key).await;
    w.write(row_key, [&sound[..], &[0xff]].concat().into()).await;
    let done = w.store.rewrap().await.unwrap();
    assert_eq!((done.moved, done.unreadable), (2, 1));
}

#[tokio::test]
async fn what_cannot_be_moved_is_not_walked_again_every_minute() {
    let w = rotated(&["a"]).await;
    w.damage("a").await;
    let walked = async || {
        w.meta.objects_read.store(0, Ordering::Relaxed);
        w.store.rewrap().await.unwrap();
        w.meta.objects_read.load(Ordering::Relaxed) > 0
    };
    assert!(walked().await);
    // (minutes that go by, whether it is walked then)
    for (minutes, expected) in [(0, false), (1, true), (1, false), (1, true), (3, false), (1, true), (60, true)] {
        w.clock.advance_ms(minutes * MINUTE_MS);
        assert_eq!(walked().await, expected, "after {minutes} more minutes");
        assert_eq!(report(&w).queue, 1, "it is told meanwhile");
    }
    // Whoever asks need not wait, and neither does new work.
    assert!(!walked().await);
    w.store.wake_rewrap();
    assert!(walked().await);
    assert!(!walked().await);
    w.rotate("p/a").await;
    assert!(walked().await);
}

#[tokio::test]
async fn all_work_is_read() {
    let w = World::new().await;
    let work = RewrapRecord { below: 2, since_ms: 1, is_clean: true, reseal: false };
    for _ in 0..110 {
        let row = || {
            let mut id = [0; 16];
            SystemRng.fill(&mut id);
            Write::Put(key::rewrap_key(w.store.account(), PortionId::from_bytes(id)), work.encode())
        };
        let writes = (0..10).map(|_| row()).collect();
        w.meta.commit(Batch { checks: vec![], writes }).await.unwrap();
    }
    assert_eq!(w.store.portions().rewraps(w.store.account()).await.unwrap().len(), 1100);
}
