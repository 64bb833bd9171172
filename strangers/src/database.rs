//! A SlateDB in a bucket: its log and its manifest are written under conditions, which is also how a new
//! writer shuts out an old one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use slatedb::config::Settings;
use slatedb::{CloseReason, Db, ErrorKind};

use crate::body;

const ROUNDS: usize = 3;
const ROWS: usize = 400;
/// Of the rows, those that are looked up one by one.
const STEP: usize = 40;

type Rows = BTreeMap<String, Vec<u8>>;

/// Writes, closes, opens again, and lets a second writer shut out a first.
pub async fn run(store: Arc<dyn ObjectStore>) {
    let mut expected = Rows::new();
    for round in 0..ROUNDS {
        let db = open(&store).await;
        check(&db, &expected).await;
        change(&db, round, &mut expected).await;
        check(&db, &expected).await;
        db.close().await.expect("a close");
    }
    fence(&store, &mut expected).await;
}

async fn open(store: &Arc<dyn ObjectStore>) -> Db {
    let settings = Settings {
        flush_interval: Some(Duration::from_millis(20)),
        // Small tables, so that there is something to compact.
        l0_sst_size_bytes: 128 << 10,
        ..Settings::default()
    };
    Db::builder("slate", store.clone()).with_settings(settings).build().await.expect("a database")
}

async fn change(db: &Db, round: usize, expected: &mut Rows) {
    for row in 0..ROWS {
        let key = format!("row{:05}", (row * 7 + round * ROWS / 2) % (2 * ROWS));
        if row % 9 == 8 {
            db.delete(&key).await.expect("a delete");
            expected.remove(&key);
        } else {
            let value = body(&format!("{key}/{round}"), 100 + row * 5);
            db.put(&key, &value).await.expect("a put");
            expected.insert(key, value);
        }
    }
    db.flush().await.expect("a flush");
}

async fn check(db: &Db, expected: &Rows) {
    // A look at one row is several reads of the bucket; the scan below sees all.
    for (key, value) in expected.iter().step_by(STEP) {
        let got = db.get(key).await.unwrap_or_else(|e| panic!("{key}: {e}"));
        assert!(got.is_some_and(|got| got[..] == value[..]), "{key} differs");
    }
    let mut rows = db.scan("row".."rox").await.expect("a scan");
    let mut found = Rows::new();
    while let Some(row) = rows.next().await.expect("a row") {
        found.insert(String::from_utf8_lossy(&row.key).into_owned(), row.value.to_vec());
    }
    assert!(found == *expected, "{} rows scanned, {} written", found.len(), expected.len());
}

async fn fence(store: &Arc<dyn ObjectStore>, expected: &mut Rows) {
    let old = open(store).await;
    change(&old, ROUNDS, expected).await;
    let new = open(store).await;
    check(&new, expected).await;
    new.put("row-new", "of the new writer").await.expect("a put");
    new.flush().await.expect("a flush");
    expected.insert("row-new".to_owned(), b"of the new writer".to_vec());
    // The put may still be taken into memory; that it is durable must not be told.
    let late = match old.put("row-old", "of the old writer").await {
        Ok(_) => old.flush().await,
        Err(error) => Err(error),
    };
    let late = late.expect_err("a writer that was shut out wrote");
    assert!(matches!(late.kind(), ErrorKind::Closed(CloseReason::Fenced)), "{late}");
    check(&new, expected).await;
    new.close().await.expect("a close");
    let again = open(store).await;
    check(&again, expected).await;
    again.close().await.expect("a close");
}
