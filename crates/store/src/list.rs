//! ListObjects: pages in time proportional to the page, not to the bucket.

use meta::record::{ObjectRecord, Record, key};
use meta::{Key, Range, prefix_end};

use crate::api::{ListPage, ListRequest};
use crate::bucket::after;
use crate::put::info;
use crate::{Error, Store};

/// Rows read at a time when a delimiter may skip most of them.
const ROWS_WITH_DELIMITER: usize = 64;

impl Store {
    /// Lists a bucket's objects.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn list(&self, bucket: &str, request: &ListRequest) -> Result<ListPage, Error> {
        let id = self.bucket_record(bucket).await?.id;
        let (mut from, to) = key::objects(id, &request.prefix);
        if let Some(marker) = &request.after {
            from = from.max(after_marker(request, marker, |name| key::objects_from(id, name)));
        }
        let mut page = ListPage::default();
        let mut last = None;
        if request.limit == 0 {
            return Ok(page);
        }
        loop {
            let room = request.limit - page.objects.len() - page.common_prefixes.len();
            let limit = if request.delimiter.is_some() { ROWS_WITH_DELIMITER } else { room + 1 };
            let rows = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit }).await?;
            let mut seek: Option<Key> = None;
            for (row_key, row) in &rows.rows {
                let name = key::object_name_of(row_key)?;
                if page.objects.len() + page.common_prefixes.len() == request.limit {
                    page.next = last;
                    return Ok(page);
                }
                match common_prefix(request, name) {
                    Some(common) => {
                        seek = Some(prefix_end(&key::objects_from(id, common.as_bytes())));
                        page.common_prefixes.push(common.to_owned());
                        last = Some(common.to_owned());
                        break;
                    }
                    None => {
                        page.objects.push(info(id, name, ObjectRecord::decode(&row.value)?));
                        last = Some(name.to_owned());
                    }
                }
            }
            from = match (seek, rows.rows.last()) {
                (Some(seek), _) => seek,
                (None, Some((last, _))) if rows.more => after(last),
                _ => return Ok(page),
            };
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
