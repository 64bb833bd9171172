//! A site in memory, for tests and simulation. Deterministic: no threads, no clock.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::name::{check_name, check_prefix};
use crate::{Entry, Site, SiteError};

/// A site that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct Memory {
    blobs: Mutex<BTreeMap<String, Bytes>>,
}

impl Memory {
    /// An empty site.
    pub fn new() -> Self {
        Self::default()
    }

    /// Flips the lowest bit of one stored byte, as a rotting disk would. Returns whether there
    /// was such a byte.
    pub fn corrupt(&self, name: &str, offset: usize) -> bool {
        let mut blobs = self.blobs.lock();
        let Some(blob) = blobs.get_mut(name) else { return false };
        let mut bytes = blob.to_vec();
        let Some(byte) = bytes.get_mut(offset) else { return false };
        *byte ^= 1;
        *blob = bytes.into();
        true
    }

    /// Loses a name. Returns whether it was there.
    pub fn remove(&self, name: &str) -> bool {
        self.blobs.lock().remove(name).is_some()
    }

    /// Every stored name, ascending.
    pub fn names(&self) -> Vec<String> {
        self.blobs.lock().keys().cloned().collect()
    }

    fn find(&self, name: &str) -> Result<Bytes, SiteError> {
        check_name(name)?;
        self.blobs.lock().get(name).cloned().ok_or_else(|| SiteError::NotFound { name: name.to_owned() })
    }
}

/// The part of a blob that `range` names, or `Short`.
fn cut(name: &str, blob: &Bytes, range: Range<u64>) -> Result<Bytes, SiteError> {
    let short = || SiteError::Short { name: name.to_owned() };
    let start = usize::try_from(range.start).map_err(|_| short())?;
    let end = usize::try_from(range.end).map_err(|_| short())?;
    if start > end || end > blob.len() {
        return Err(short());
    }
    Ok(blob.slice(start..end))
}

#[async_trait]
impl Site for Memory {
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError> {
        check_name(name)?;
        self.blobs.lock().insert(name.to_owned(), body.concat().into());
        Ok(())
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError> {
        cut(name, &self.find(name)?, range)
    }

    async fn size(&self, name: &str) -> Result<u64, SiteError> {
        Ok(self.find(name)?.len() as u64)
    }

    async fn delete(&self, name: &str) -> Result<(), SiteError> {
        check_name(name)?;
        self.blobs.lock().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError> {
        check_prefix(prefix)?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let blobs = self.blobs.lock();
        let found = blobs.range::<str, _>((from, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(prefix));
        let entry =
            |(name, blob): (&String, &Bytes)| Entry { name: name.clone(), size: blob.len() as u64, modified_ms: 0 };
        Ok(found.take(limit).map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_suite() {
        let site = Memory::new();
        crate::conformance::suite(&site).await;
        crate::conformance::whole_name_order(&site).await;
    }

    #[tokio::test]
    async fn rots_and_loses_on_request() {
        let site = Memory::new();
        site.put("a", &[Bytes::from_static(b"xyz")]).await.unwrap();
        assert!(site.corrupt("a", 1) && !site.corrupt("a", 3) && !site.corrupt("b", 0));
        assert_eq!(site.get("a", 0..3).await.unwrap(), &b"xxz"[..]);
        assert_eq!(site.names(), ["a"]);
        assert!(site.remove("a") && !site.remove("a"));
    }
}
