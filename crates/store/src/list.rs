//! ListObjects: pages in time proportional to the page, not to the bucket.

use meta::record::{ObjectRecord, Record, key};
use meta::{Key, after, prefix_end};

use crate::api::{ListPage, ListRequest};
use crate::put::info;
use crate::walk::Walk;
use crate::{Error, Store};

impl Store {
    /// Lists a bucket's objects.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn list(&self, bucket: &str, request: &ListRequest) -> Result<ListPage, Error> {
        let id = self.bucket_record(bucket).await?.id;
        let mut walk = Walk::new(self, key::objects(id, &request.prefix), request.delimiter.is_some());
        if let Some(marker) = &request.after {
            walk.seek(after_marker(request, marker, |name| key::objects_from(id, name)));
        }
        let mut page = ListPage::default();
        let mut last = None;
        if request.limit == 0 {
            return Ok(page);
        }
        loop {
            let room = request.limit - page.objects.len() - page.common_prefixes.len();
            walk.fill(room + 1).await?;
            let Some((row_key, row)) = walk.next() else { return Ok(page) };
            if room == 0 {
                page.next = last;
                return Ok(page);
            }
            let name = key::object_name_of(row_key)?;
            if let Some(common) = common_prefix(request, name) {
                let common = common.to_owned();
                walk.seek(prefix_end(&key::objects_from(id, common.as_bytes())));
                last = Some(common.clone());
                page.common_prefixes.push(common);
            } else {
                last = Some(name.to_owned());
                let record = ObjectRecord::decode(&row.value)?;
                self.must_tell_found(&record).await?;
                page.objects.push(info(id, name, record));
                walk.take();
            }
        }
    }
}

/// Where a listing goes on after `marker`: behind the key, or behind all keys of a common prefix.
pub(crate) fn after_marker(request: &ListRequest, marker: &str, key_of: impl Fn(&[u8]) -> Key) -> Key {
    let is_common = common_prefix(request, marker) == Some(marker);
    if is_common { prefix_end(&key_of(marker.as_bytes())) } else { after(&key_of(marker.as_bytes())) }
}

/// The common prefix that rolls `name` up, if any.
pub(crate) fn common_prefix<'a>(request: &ListRequest, name: &'a str) -> Option<&'a str> {
    let delimiter = request.delimiter.as_deref().filter(|d| !d.is_empty())?;
    let rest = name.strip_prefix(request.prefix.as_str())?;
    let end = rest.find(delimiter)? + delimiter.len();
    name.get(..request.prefix.len() + end)
}
