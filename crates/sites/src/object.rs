//! Somebody else's object store as a site.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};

use crate::name::{check_name, check_prefix};
use crate::{Entry, Site, SiteError};

/// A bucket, or the part of one under a prefix. Listings come in the server's order, which should be
/// that of the whole names (some servers sort a folder before its siblings).
pub struct Object {
    store: Arc<dyn ObjectStore>,
    /// Ends in `/` unless empty.
    prefix: String,
}

/// What a provider's error says about the site. `name` is what was asked for.
///
/// `object_store` keeps the status code to itself, so beyond its own variants only the text is
/// left: the providers' documented error codes.
fn site_error(error: &object_store::Error, name: &str) -> SiteError {
    use object_store::Error as E;
    const NO_BUCKET: [&str; 4] =
        ["NoSuchBucket", "ContainerNotFound", "bucket does not exist", "container does not exist"];
    const FULL: [&str; 6] =
        ["507 Insufficient", "QuotaExceeded", "InsufficientStorage", "StorageFull", "no space left", "AccountIsFull"];
    const BUSY: [&str; 1] = ["<Code>SlowDown</Code>"];
    const REFUSED: [&str; 2] = ["status code: 403", "status code: 401"];
    const OUT_OF_RANGE: [&str; 2] = ["416 Range", "InvalidRange"];
    let text = error.to_string();
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    match error {
        _ if has(&FULL) => SiteError::Full(text),
        // Before it is down: the site is there, and says so.
        E::Generic { .. } if has(&BUSY) => SiteError::Slow,
        _ if has(&NO_BUCKET) => SiteError::Down(text),
        E::NotFound { .. } => SiteError::NotFound { name: name.to_owned() },
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => SiteError::Denied(text),
        // Of a listing, whose refusals have no variant of their own.
        E::Generic { .. } if has(&REFUSED) => SiteError::Denied(text),
        E::Generic { .. } if has(&OUT_OF_RANGE) || out_of_range(error) => SiteError::Short { name: name.to_owned() },
        _ => SiteError::Down(text),
    }
}

/// The stores that `object_store` implements itself refuse a range by a typed error.
fn out_of_range(error: &object_store::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.to_string().starts_with("Wanted range starting at") {
            return true;
        }
        source = cause.source();
    }
    error.to_string().contains("Wanted range starting at")
}

impl Object {
    /// A site that keeps its names in `store` under `prefix`, which may be empty.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { store, prefix }
    }

    fn path(&self, name: &str) -> Result<Path, SiteError> {
        check_name(name)?;
        self.parse(name)
    }

    fn parse(&self, relative: &str) -> Result<Path, SiteError> {
        let full = format!("{}{relative}", self.prefix);
        Path::parse(&full).map_err(|error| SiteError::Denied(format!("{full:?} is not a path: {error}")))
    }

    fn entry(&self, meta: ObjectMeta) -> Option<Entry> {
        let name = meta.location.as_ref().strip_prefix(&self.prefix)?.to_owned();
        let modified_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
        Some(Entry { name, size: meta.size, modified_ms })
    }

    /// Whether the absence of `name` is the bucket's: an answer to HEAD has no body that would
    /// tell.
    async fn absence(&self, path: &Path, name: &str) -> SiteError {
        let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match self.store.get_opts(path, options).await {
            Err(error) => site_error(&error, name),
            Ok(_) => SiteError::Down(format!("the site denied having {name} and then had it")),
        }
    }
}

#[async_trait]
impl Site for Object {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        let path = self.path(name)?;
        let payload: PutPayload = body.iter().filter(|slice| !slice.is_empty()).cloned().collect();
        let done = self.store.put_opts(&path, payload, PutOptions::default()).await;
        done.map(drop).map_err(|error| site_error(&error, name))
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        let path = self.path(name)?;
        let len = range.end.saturating_sub(range.start);
        let bytes = self.store.get_range(&path, range).await.map_err(|error| site_error(&error, name))?;
        // Providers cut a range at the end of the object.
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(SiteError::Short { name: name.to_owned() }) }
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        let path = self.path(name)?;
        match self.store.head(&path).await {
            Ok(meta) => Ok(meta.size),
            Err(object_store::Error::NotFound { .. }) => Err(self.absence(&path, name).await),
            Err(error) => Err(site_error(&error, name)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        let path = self.path(name)?;
        match self.store.delete(&path).await.map_err(|error| site_error(&error, name)) {
            Err(SiteError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        check_prefix(prefix)?;
        // Some servers list nothing after a name that sorts before all of the prefix.
        let after = after.filter(|after| *after >= prefix);
        if after.is_some_and(|after| !after.starts_with(prefix)) {
            return Ok(Vec::new());
        }
        let under = format!("{}{prefix}", self.prefix);
        let under = if under.is_empty() { None } else { Some(self.parse(prefix.trim_end_matches('/'))?) };
        let listing = match after {
            Some(after) => self.store.list_with_offset(under.as_ref(), &self.parse(after)?),
            None => self.store.list(under.as_ref()),
        };
        // What does not look like ours was put there by somebody else.
        let entries =
            listing.try_filter_map(async |meta| Ok(self.entry(meta).filter(|entry| check_name(&entry.name).is_ok())));
        let mut entries = std::pin::pin!(entries);
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(entry) = entries.try_next().await.map_err(|error| site_error(&error, prefix))?
        {
            found.push(entry);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn passes_the_suite() {
        let store = Arc::new(InMemory::new());
        for prefix in ["", "/deep/prefix/"] {
            let site = Object::new(store.clone(), prefix);
            crate::conformance::suite(&site).await;
            crate::conformance::whole_name_order(&site).await;
        }
    }

    /// Two sites in one bucket must not see each other.
    #[tokio::test]
    async fn prefixes_keep_sites_apart() {
        let store = Arc::new(InMemory::new());
        let (a, ab) = (Object::new(store.clone(), "a"), Object::new(store, "ab"));
        ab.put("x", &[Bytes::from_static(b"1")]).await.unwrap();
        assert_eq!(a.list("", None, 10).await.unwrap(), []);
        assert!(matches!(a.size("x").await, Err(SiteError::NotFound { .. })));
    }

    #[test]
    fn errors_by_what_they_mean_for_the_site() {
        use object_store::Error as E;
        let generic = |text: &str| E::Generic { store: "S3", source: text.into() };
        let missing = |text: &str| E::NotFound { path: "p".into(), source: text.into() };
        let denied = E::PermissionDenied { path: "p".into(), source: "403".into() };
        let kind = |error: &E| match site_error(error, "n") {
            SiteError::NotFound { .. } => "not found",
            SiteError::Short { .. } => "short",
            SiteError::Full(_) => "full",
            SiteError::Denied(_) => "denied",
            SiteError::Down(_) => "down",
            SiteError::Slow => "slow",
        };
        for (error, expected) in [
            (generic("error sending request: connection refused"), "down"),
            (generic("status code: 507 Insufficient Storage"), "full"),
            (generic("<Code>QuotaExceeded</Code>"), "full"),
            (generic("Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>"), "denied"),
            (generic("status code: 503: <Code>SlowDown</Code>"), "slow"),
            (generic("<Code>InvalidRange</Code>"), "short"),
            (missing("<Code>NoSuchKey</Code>"), "not found"),
            (missing("<Code>NoSuchBucket</Code>"), "down"),
            (denied, "denied"),
        ] {
            assert_eq!(kind(&error), expected, "{error}");
        }
    }
}
