//! Every error of a site is the same error behind HTTP; and who has not the keys gets nothing.

mod common;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use common::Served;
use sites::{Entry, Memory, Site, SiteError};

/// Fails as it is told.
struct Failing(SiteError);

#[async_trait]
impl Site for Failing {
    async fn put(&self, _: &str, _: &[Bytes]) -> Result<(), SiteError> {
        Err(self.0.clone())
    }

    async fn get(&self, _: &str, _: Range<u64>) -> Result<Bytes, SiteError> {
        Err(self.0.clone())
    }

    async fn size(&self, _: &str) -> Result<u64, SiteError> {
        Err(self.0.clone())
    }

    async fn delete(&self, _: &str) -> Result<(), SiteError> {
        Err(self.0.clone())
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<Entry>, SiteError> {
        Err(self.0.clone())
    }
}

fn kind<T>(answer: Result<T, SiteError>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(SiteError::NotFound { .. }) => "not found",
        Err(SiteError::Short { .. }) => "short",
        Err(SiteError::Full(_)) => "full",
        Err(SiteError::Denied(_)) => "denied",
        Err(SiteError::Down(_)) => "down",
        Err(SiteError::Slow) => "slow",
    }
}

/// What `put`, `get`, `size`, `delete` and `list` answer, in that order.
async fn kinds(site: &dyn Site) -> [&'static str; 5] {
    [
        kind(site.put("a", &[Bytes::from_static(b"x")]).await),
        kind(site.get("a", 0..1).await),
        kind(site.size("a").await),
        kind(site.delete("a").await),
        kind(site.list("", None, 1).await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_through() {
    let why = || "the system's words".to_owned();
    for (error, expected) in [
        (SiteError::Full(why()), ["full"; 5]),
        (SiteError::Denied(why()), ["denied"; 5]),
        (SiteError::Down(why()), ["down"; 5]),
        // An answer to HEAD has no body that could tell.
        (SiteError::Slow, ["slow", "slow", "down", "slow", "slow"]),
        // No site says so to a put or a listing, and to delete what is not there is no error.
        (SiteError::NotFound { name: "a".to_owned() }, ["not found", "not found", "not found", "done", "down"]),
    ] {
        let served = Served::new(Arc::new(Failing(error.clone()))).await;
        assert_eq!(kinds(served.open("", &[]).as_ref()).await, expected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_the_keys_gets_nothing() {
    let memory = Arc::new(Memory::new());
    memory.put("a", &[Bytes::from_static(b"x")]).await.unwrap();
    let served = Served::new(memory.clone()).await;
    for (name, value) in [("secret_access_key", "another"), ("access_key_id", "ANOTHER"), ("skip_signature", "true")] {
        assert_eq!(kinds(served.open("", &[(name, value)]).as_ref()).await, ["denied"; 5], "{name}");
    }
    assert_eq!(memory.size("a").await.unwrap(), 1);
}

/// The way to another bucket is down, not empty: a mistake in a configuration must not look like a lost site.
#[tokio::test(flavor = "multi_thread")]
async fn another_bucket_is_down() {
    let served = Served::new(Arc::new(Memory::new())).await;
    let site = sites::open("s3://another/", &served.options(&[])).unwrap();
    assert_eq!(kinds(site.as_ref()).await, ["down"; 5]);
}
