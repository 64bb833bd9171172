//! How long a page of a listing takes in a bucket of a million keys, and in one of ten thousand:
//! `cargo run --release -p store --example listing -- DIR`.
#![allow(clippy::print_stdout, reason = "printing figures is all that it does")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use meta::{Embedded, EmbeddedOptions};
use store::Store;
use store::api::{ListRequest, VersionMarker};

/// Times that each page is read; the median counts.
const TURNS: usize = 21;

#[tokio::main]
async fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).expect("a folder"));
    let options = EmbeddedOptions { path: dir.join("listing.redb"), cache_bytes: 64 << 20 };
    let meta = Arc::new(Embedded::open(options).expect("an empty folder"));
    let store = common::store(meta.clone()).await;
    let sizes = [("small", 10_000), ("large", 1_000_000)];
    for (bucket, count) in sizes {
        let begun = Instant::now();
        common::fill(&store, meta.as_ref(), bucket, count, |i| format!("{:04}/{:06}", i / 1000, i)).await;
        let deep = format!("{bucket}-deep");
        common::fill(&store, meta.as_ref(), &deep, count, |i| format!("{}/{i:07}", if i < 10 { "a" } else { "m" }))
            .await;
        println!("{bucket}: twice {count} keys in {:.1} s", begun.elapsed().as_secs_f64());
    }
    println!("{:<44} {:>10} {:>12} {:>7}", "page of at most 1,000", "10,000 ms", "1,000,000 ms", "ratio");
    let shapes: [(&str, &str, &str, Option<&str>, bool); 8] = [
        ("first page", "", "", None, false),
        ("middle, by start-after", "", "", Some("0005/005500"), false),
        ("a prefix of 1,000 keys", "", "0005/", None, false),
        ("delimiter, 1,000 keys below each prefix", "/", "", None, false),
        ("delimiter, nearly all keys below one prefix", "/", "", None, true),
        ("below the prefix of nearly all keys", "/", "m/", None, true),
        ("versions, first page", "", "", None, false),
        ("versions, delimiter", "/", "", None, false),
    ];
    for (name, delimiter, prefix, after, deep) in shapes {
        let request = ListRequest {
            prefix: prefix.to_owned(),
            delimiter: Some(delimiter.to_owned()).filter(|delimiter| !delimiter.is_empty()),
            after: after.map(str::to_owned),
            limit: 1000,
        };
        let mut times = Vec::new();
        for (bucket, _) in sizes {
            let bucket = if deep { format!("{bucket}-deep") } else { bucket.to_owned() };
            times.push(median(&store, &bucket, &request, name.starts_with("versions")).await);
        }
        println!("{name:<44} {:>10.2} {:>12.2} {:>7.1}", times[0].0, times[1].0, times[1].0 / times[0].0);
        println!("{:<44} {:>10} {:>12}", "  entries told", times[0].1, times[1].1);
    }
}

/// Milliseconds of a page, and its entries.
async fn median(store: &Store, bucket: &str, request: &ListRequest, versions: bool) -> (f64, usize) {
    let mut times = Vec::with_capacity(TURNS);
    let mut entries = 0;
    for _ in 0..TURNS {
        let begun = Instant::now();
        entries = if versions {
            let page = store.list_versions(bucket, request, None::<&VersionMarker>).await.expect("a page");
            page.versions.len() + page.common_prefixes.len()
        } else {
            let page = store.list(bucket, request).await.expect("a page");
            page.objects.len() + page.common_prefixes.len()
        };
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[TURNS / 2], entries)
}
