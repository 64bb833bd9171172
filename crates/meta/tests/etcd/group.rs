//! Groups: dependent batches, many, large; pages of a large interval; snapshots.

use bytes::Bytes;
use meta::{Batch, Check, CommitError, Engine, Key, Range, Write, after};

use crate::cluster::Cluster;

pub fn key(text: impl Into<String>) -> Key {
    Bytes::from(text.into())
}

pub fn put(text: impl Into<String>, value: impl Into<Bytes>) -> Write {
    Write::Put(key(text), value.into())
}

/// One member does all of these: starting one takes longer than any.
#[tokio::test(flavor = "multi_thread")]
async fn groups_and_pages() {
    let cluster = Cluster::one().await;
    let engine = cluster.open().await;
    a_chain(&engine).await;
    many_small(&engine).await;
    large_ones(&engine).await;
    an_interval_to_be_empty(&engine).await;
    many_keys_in_one_snapshot(&engine).await;
    a_walk(&engine).await;
}

/// Each batch needs the one before: none may share a transaction.
async fn a_chain(engine: &dyn Engine) {
    let link = |i: usize| Batch {
        checks: if i == 0 { vec![] } else { vec![Check::Present(key(format!("chain/{}", i - 1)))] },
        writes: vec![put(format!("chain/{i}"), "")],
    };
    for answer in engine.commit_group((0..30).map(link).collect()).await {
        answer.expect("the one before was there");
    }
}

async fn many_small(engine: &dyn Engine) {
    let batch = |i: usize| Batch {
        checks: vec![Check::Absent(key(format!("many/{}", i / 2 * 2)))],
        writes: vec![put(format!("many/{}", i / 2 * 2), i.to_string())],
    };
    let answers = engine.commit_group((0..1000).map(batch).collect()).await;
    for (i, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) if i % 2 == 0 => {}
            Err(CommitError::Failed { check: 0 }) if i % 2 == 1 => {}
            other => panic!("batch {i}: {other:?}"),
        }
    }
}

/// Ten batches of nearly the largest size, with the longest keys, are more than etcd takes at once.
async fn large_ones(engine: &dyn Engine) {
    let long = |i: usize, j: usize| format!("large/{i}/{j}/{}", "k".repeat(2000));
    let batch = |i: usize| Batch {
        checks: (0..50).map(|j| Check::Empty(key(long(i, j)), key(format!("{}~", long(i, j))))).collect(),
        writes: (0..50).map(|j| put(long(i, j), vec![7; 8000])).collect(),
    };
    for answer in engine.commit_group((0..10).map(batch).collect()).await {
        answer.expect("within the limits");
    }
}

async fn an_interval_to_be_empty(engine: &dyn Engine) {
    let empty = || Check::Empty(key("empty/"), key("empty0"));
    let batch = |checks, writes| Batch { checks, writes };
    let answers = engine
        .commit_group(vec![
            batch(vec![empty()], vec![put("empty/a", "")]),
            batch(vec![Check::Present(key("empty/a")), empty()], vec![put("empty/b", "")]),
            batch(vec![], vec![Write::Delete(key("empty/a"))]),
            batch(vec![empty()], vec![put("empty/c", "")]),
        ])
        .await;
    let said = format!("{answers:?}");
    assert!(matches!(&answers[..], [Ok(_), Err(CommitError::Failed { check: 1 }), Ok(_), Ok(_)]), "{said}");
}

/// Two rows of each batch always are the same, whoever reads.
async fn many_keys_in_one_snapshot(engine: &dyn Engine) {
    let keys: Vec<Key> = (0..300).map(|i| key(format!("snapshot/{i}"))).collect();
    let write = async || {
        for round in 0..20 {
            let writes = [0, 299].map(|i| Write::Put(keys[i].clone(), round.to_string().into()));
            engine.commit(Batch { checks: vec![], writes: writes.into() }).await.expect("a commit");
        }
    };
    let read = async || {
        for _ in 0..40 {
            let rows = engine.get(&keys).await.expect("a get");
            assert_eq!(rows.len(), 300);
            assert_eq!(rows[0], rows[299].clone(), "one snapshot over three transactions");
        }
    };
    futures::join!(write(), read(), read());
}

/// etcd counts a whole interval for every page of it: pieces keep that near to what is returned.
async fn a_walk(engine: &meta::Etcd) {
    const ROWS: usize = 50_000;
    for batch in (0..ROWS).collect::<Vec<_>>().chunks(5000) {
        let group = batch.chunks(100).map(|some| Batch {
            checks: vec![],
            writes: some.iter().map(|i| put(format!("walk/bucket/obj-{i:08}"), "v")).collect(),
        });
        engine.commit_group(group.collect()).await.into_iter().for_each(|answer| _ = answer.expect("a commit"));
    }
    for walk in 1..=2 {
        let before = engine.counted();
        let (mut from, to, mut rows) = (key("walk/"), key("walk0"), 0);
        loop {
            let page = engine.range(Range { from, to: to.clone(), limit: 1000 }).await.expect("a page");
            rows += page.rows.len();
            assert_eq!(page.more, rows < ROWS, "more is exact");
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => break,
            }
        }
        assert_eq!(rows, ROWS);
        let counted = engine.counted() - before;
        assert!(counted <= 10 * ROWS as u64, "walk {walk}: etcd counted {counted} for {ROWS} rows");
        eprintln!("walk {walk}: etcd counted {counted}");
    }
    let before = engine.counted();
    assert!(engine.range(Range { from: key("walk/"), to: key("walk0"), limit: 10 }).await.expect("a page").more);
    let counted = engine.counted() - before;
    assert!(counted <= 10_000, "a short page: etcd counted {counted}");
}
