//! Uses a bucket as strangers' software does: `strangers object-store BUCKET` or `strangers slatedb BUCKET`,
//! with the endpoint and the keys in the usual `AWS_…` variables. Ends with a panic at the first answer that
//! is not what the library's own documentation promises.

mod database;
mod store;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3CopyIfNotExists};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["object-store", bucket] => store::run(open(bucket)).await,
        ["slatedb", bucket] => database::run(open(bucket)).await,
        _ => panic!("usage: strangers object-store|slatedb BUCKET"),
    }
}

fn open(bucket: &str) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::from_env()
        .with_allow_http(true)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .with_bucket_name(bucket);
    Arc::new(builder.build().expect("an endpoint"))
}

/// Bytes that belong to a name: unlike for every name, cheap to make again, not to be compressed.
pub fn body(name: &str, size: usize) -> Vec<u8> {
    let mut state = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
