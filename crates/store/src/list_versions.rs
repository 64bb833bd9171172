//! ListObjectVersions: current and older versions and delete markers, merged by key.

use base::BucketId;
use meta::prefix_end;
use meta::record::{ObjectRecord, Record, key};

use crate::api::{ListRequest, VersionId, VersionInfo, VersionMarker, VersionPage};
use crate::bucket::after;
use crate::list::{after_marker, common_prefix};
use crate::put::info;
use crate::walk::Walk;
use crate::{Error, Store};

impl Store {
    /// Lists a bucket's versions. `request.after` is not used; `marker` says where to go on.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn list_versions(
        &self,
        bucket: &str,
        request: &ListRequest,
        marker: Option<&VersionMarker>,
    ) -> Result<VersionPage, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let id = bucket.id;
        let skips = request.delimiter.is_some();
        let mut current = Walk::new(self, key::objects(id, &request.prefix), skips);
        let mut older = Walk::new(self, key::versions(id, &request.prefix), skips);
        let mut seen = None;
        if let Some(marker) = marker {
            current.seek(after_marker(request, &marker.key, |name| key::objects_from(id, name)));
            let order = match marker.version {
                Some(VersionId::Of { order, .. }) => Some(order),
                Some(VersionId::Null) => {
                    self.find(&bucket, &marker.key, marker.version).await.ok().map(|f| f.record.order)
                }
                None => None,
            };
            match order {
                Some(order) => {
                    older.seek(after(&key::version_key(id, &marker.key, order)));
                    seen = Some(marker.key.clone());
                }
                None if common_prefix(request, &marker.key) == Some(&marker.key) => {
                    older.seek(prefix_end(&key::versions_from(id, marker.key.as_bytes())));
                }
                None => older.seek(key::versions_of_key(id, &marker.key).1),
            }
        }
        let mut page = VersionPage::default();
        let mut last = None;
        loop {
            let told = page.versions.len() + page.common_prefixes.len();
            current.fill(request.limit + 1 - told.min(request.limit)).await?;
            older.fill(request.limit + 1 - told.min(request.limit)).await?;
            let Some((name, is_current)) = nearest(&current, &older)? else { return Ok(page) };
            if told >= request.limit {
                page.next = last;
                return Ok(page);
            }
            if let Some(common) = common_prefix(request, &name) {
                let common = common.to_owned();
                skip(&mut current, &mut older, id, &common);
                last = Some(VersionMarker { key: common.clone(), version: None });
                page.common_prefixes.push(common);
                continue;
            }
            let walk = if is_current { &mut current } else { &mut older };
            let Some((_, row)) = walk.take() else { continue };
            let record = ObjectRecord::decode(&row.value)?;
            let marker = record.is_marker();
            let info = info(bucket.id, &name, record);
            last = Some(VersionMarker { key: name.clone(), version: Some(info.version) });
            let latest = is_current || seen.as_ref() != Some(&name);
            seen = Some(name);
            page.versions.push(VersionInfo { info, marker, latest });
        }
    }
}

/// The next key, and whether its current version comes next: that one is newer than the others.
fn nearest(current: &Walk<'_>, older: &Walk<'_>) -> Result<Option<(String, bool)>, Error> {
    let current = current.next().map(|(row_key, _)| key::object_name_of(row_key)).transpose()?;
    let older = older.next().map(|(row_key, _)| key::version_of(row_key)).transpose()?;
    Ok(match (current, older) {
        (None, None) => None,
        (Some(current), Some((older, _))) if older.as_str() < current => Some((older, false)),
        (Some(current), _) => Some((current.to_owned(), true)),
        (None, Some((older, _))) => Some((older, false)),
    })
}

fn skip(current: &mut Walk<'_>, older: &mut Walk<'_>, id: BucketId, common: &str) {
    current.seek(prefix_end(&key::objects_from(id, common.as_bytes())));
    older.seek(prefix_end(&key::versions_from(id, common.as_bytes())));
}
