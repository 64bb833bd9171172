//! A bucket of many empty objects, put into the metadata directly: listings read nothing else.

use std::sync::Arc;

use base::{BodyId, Doors, SeededRng};
use meta::record::{Body, BucketRecord, ObjectRecord, Record, key};
use meta::{Batch, Engine, Write};
use sites::Pool;
use store::{Options, Store};

/// A store over sites in memory.
pub async fn store(meta: Arc<dyn Engine>) -> Store {
    let doors = Doors::system();
    let pool = Arc::new(Pool::in_memory(doors.clock.clone()));
    let keyring = keys::Keyring::ephemeral(doors.rng.as_ref());
    let options = Options { background: false, ..Options::new(doors) };
    Store::open(meta, pool, keyring, ("root".to_owned(), "rootroot".to_owned()), options).await.expect("a store")
}

/// Makes a bucket with the keys `name(0)` to `name(count - 1)`.
#[allow(dead_code, reason = "each test file takes what it needs")]
pub async fn fill(store: &Store, meta: &dyn Engine, bucket: &str, count: usize, name: impl Fn(usize) -> String) {
    store.create_bucket(bucket, "root", false).await.expect("a bucket");
    let row = meta
        .get(&[key::bucket_key(base::AccountId::DEFAULT, bucket)])
        .await
        .expect("a read")
        .remove(0)
        .expect("the bucket's row");
    let id = BucketRecord::decode(&row.value).expect("a record").id;
    let rng = SeededRng::new(1);
    let object = |i: usize| ObjectRecord {
        body_id: BodyId::random(&rng),
        order: i as u64,
        null: true,
        modified_ms: 1_700_000_000_000,
        size: 0,
        etag: format!("{i:032x}"),
        headers: [("content-type".to_owned(), "application/octet-stream".to_owned())].into(),
        user_metadata: Default::default(),
        checksum: None,
        tags: Default::default(),
        lock: Default::default(),
        body: Body::Empty,
        encryption: Default::default(),
        acl: None,
        scan: None,
    };
    let rows: Vec<usize> = (0..count).collect();
    // As many batches in a group as an engine takes in one flush.
    for group in rows.chunks(10_000) {
        let batches = group.chunks(100).map(|rows| Batch {
            checks: vec![],
            writes: rows.iter().map(|i| Write::Put(key::object_key(id, &name(*i)), object(*i).encode())).collect(),
        });
        for answer in meta.commit_group(batches.collect()).await {
            answer.expect("a commit");
        }
    }
}
