//! How long it takes to open DEKs, and to move a million parts to another version of their key:
//! `cargo run --release -p store --example rewrap -- DIR [PARTS]`.
#![allow(clippy::print_stdout, reason = "printing figures is all that it does")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use base::{AccountId, BodyId, PartId, SystemRng};
use envelope::Dek;
use keys::{DekPlace, Wrap};
use meta::record::{Body, BucketRecord, ObjectRecord, Record, SealedPart, key};
use meta::{Batch, Embedded, EmbeddedOptions, Engine, Write};

const HOME: AccountId = AccountId::DEFAULT;
/// DEKs that are opened to tell how fast that goes.
const OPENED: u32 = 200_000;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("a folder"));
    let parts: usize = args.next().map_or(1_000_000, |parts| parts.parse().expect("a number"));
    let options = EmbeddedOptions { path: dir.join("rewrap.redb"), cache_bytes: 64 << 20 };
    let meta = Arc::new(Embedded::open(options).expect("an empty folder"));
    let store = common::store(meta.clone()).await;
    let bucket = bucket(&store, meta.as_ref()).await;
    let portion = store.portions().named(HOME, "bucket/moved").await.expect("a portion");

    let mut batches = Vec::new();
    for from in (0..parts).step_by(100) {
        let mut writes = Vec::new();
        for part in from..parts.min(from + 100) {
            let name = format!("{part:08}");
            let object = object(&store, bucket, portion, &name).await;
            writes.push(Write::Put(key::object_key(bucket, &name), object.encode()));
        }
        batches.push(Batch { checks: vec![], writes });
        if batches.len() == 100 || from + 100 >= parts {
            for answer in meta.commit_group(std::mem::take(&mut batches)).await {
                answer.expect("a commit");
            }
        }
    }
    opening(&store, bucket, portion).await;

    store.portions().rotate(HOME, portion, true).await.expect("a rotation");
    let begun = Instant::now();
    let done = store.rewrap().await.expect("a pass");
    assert_eq!(done.moved, parts as u64);
    println!("{parts} parts moved in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    assert_eq!(store.rewrap().await.expect("a pass").moved, 0);
    println!("a pass that finds nothing: {:.1} s", begun.elapsed().as_secs_f64());

    let other = store.portions().named(HOME, "bucket/other").await.expect("a portion");
    store.portions().rekey(HOME, other).await.expect("a rekey");
    let begun = Instant::now();
    assert_eq!(store.rewrap().await.expect("a pass").moved, 0);
    println!("a pass of a rekey that finds nothing: {:.1} s", begun.elapsed().as_secs_f64());
}

async fn bucket(store: &store::Store, meta: &dyn Engine) -> base::BucketId {
    store.create_bucket("moved", "root", false).await.expect("a bucket");
    let row = meta.get(&[key::bucket_key(HOME, "moved")]).await.expect("a read").remove(0).expect("a row");
    BucketRecord::decode(&row.value).expect("a record").id
}

async fn object(store: &store::Store, bucket: base::BucketId, portion: base::PortionId, name: &str) -> ObjectRecord {
    let (body, id) = (BodyId::random(&SystemRng), PartId::random(&SystemRng));
    let key = store.portions().to_seal(HOME, portion, 1000).await.expect("a key");
    let place = DekPlace { bucket, object: name, body, number: 0, part: id };
    let wrapped_dek = key.wrap(&place, &Dek::generate(&SystemRng)).expect("a wrap").encode();
    ObjectRecord {
        body_id: body,
        order: 1,
        null: true,
        modified_ms: 1_700_000_000_000,
        size: 1000,
        etag: "0".repeat(32),
        headers: Default::default(),
        user_metadata: Default::default(),
        checksum: None,
        tags: Default::default(),
        lock: Default::default(),
        body: Body::Single(SealedPart { id, size: 1000, wrapped_dek, header: vec![0; 56] }),
        encryption: Default::default(),
        acl: None,
        scan: None,
    }
}

/// On one core, the key in memory, as a reader does it.
async fn opening(store: &store::Store, bucket: base::BucketId, portion: base::PortionId) {
    let object = object(store, bucket, portion, "one").await;
    let Body::Single(part) = &object.body else { return };
    let place = DekPlace { bucket, object: "one", body: object.body_id, number: 0, part: part.id };
    let begun = Instant::now();
    for _ in 0..OPENED {
        let Wrap::Portion(name, wrapped) = Wrap::parse(&part.wrapped_dek).expect("a wrap") else { return };
        let key = store.portions().to_open(HOME, name).await.expect("a key");
        key.unwrap(&place, &wrapped).expect("a DEK");
    }
    println!("{:.0} DEKs opened a second on one core", f64::from(OPENED) / begun.elapsed().as_secs_f64());
}
