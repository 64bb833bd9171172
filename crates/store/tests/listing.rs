//! A listing reads about what it tells, whatever is in the bucket.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use meta::{Batch, CommitError, Engine, Key, Memory, MetaError, Page, Range, Row};
use store::api::{ListRequest, VersionMarker};

/// Counts what is read in ranges.
#[derive(Default)]
struct Counted {
    inner: Memory,
    rows: AtomicUsize,
    reads: AtomicUsize,
}

#[async_trait]
impl Engine for Counted {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        let page = self.inner.range(range).await?;
        self.rows.fetch_add(page.rows.len(), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(page)
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
        self.inner.commit_group(batches).await
    }
}

const KEYS: usize = 50_000;

#[tokio::test]
async fn a_page_costs_what_it_tells() {
    let meta = Arc::new(Counted::default());
    let store = common::store(meta.clone()).await;
    // 100 keys below each of 500 prefixes; all keys below one prefix, with a few around it.
    common::fill(&store, meta.as_ref(), "wide", KEYS, |i| format!("{:04}/{:02}", i / 100, i % 100)).await;
    common::fill(&store, meta.as_ref(), "deep", KEYS, |i| match i {
        0 => "a".to_owned(),
        1 => "z".to_owned(),
        _ => format!("m/{i:06}"),
    })
    .await;
    let request = |prefix: &str, delimiter: Option<&str>, after: Option<&str>, limit| ListRequest {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: after.map(str::to_owned),
        limit,
    };
    // Bucket, request, keys and prefixes told.
    let table = [
        ("wide", request("", None, None, 1000), (1000, 0)),
        ("wide", request("", None, Some("0250/50"), 1000), (1000, 0)),
        ("wide", request("0250/", None, None, 1000), (100, 0)),
        ("wide", request("", Some("/"), None, 1000), (0, 500)),
        ("wide", request("", Some("/"), Some("0249/"), 100), (0, 100)),
        ("wide", request("0250/", Some("/"), None, 1000), (100, 0)),
        ("wide", request("", Some("5"), None, 1000), (0, 0)),
        ("deep", request("", Some("/"), None, 1000), (2, 1)),
        ("deep", request("m/", Some("/"), None, 1000), (1000, 0)),
        ("deep", request("", None, None, 1), (1, 0)),
        ("deep", request("zz", None, None, 1000), (0, 0)),
    ];
    for (bucket, request, expected) in table {
        for versions in [false, true] {
            meta.rows.store(0, Ordering::Relaxed);
            meta.reads.store(0, Ordering::Relaxed);
            let told = if versions {
                let marker = request.after.as_ref().map(|key| VersionMarker { key: key.clone(), version: None });
                let page = store.list_versions(bucket, &request, marker.as_ref()).await.unwrap();
                (page.versions.len(), page.common_prefixes.len())
            } else {
                let page = store.list(bucket, &request).await.unwrap();
                (page.objects.len(), page.common_prefixes.len())
            };
            if request.delimiter.as_deref() != Some("5") {
                assert_eq!(told, expected, "{bucket} {request:?}");
            }
            let (rows, reads) = (meta.rows.load(Ordering::Relaxed), meta.reads.load(Ordering::Relaxed));
            let entries = told.0 + told.1;
            assert!(rows <= 4 * entries + 8, "{bucket} {request:?} versions={versions}: {rows} rows for {entries}");
            // A read for each prefix that is skipped, and as many in all as a long page doubles.
            assert!(reads <= 2 * (told.1 + 16), "{bucket} {request:?} versions={versions}: {reads} reads");
        }
    }
}
