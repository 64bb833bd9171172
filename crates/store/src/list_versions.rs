//! ListObjectVersions: current and older versions and delete markers, merged by key.

use base::BucketId;
use meta::record::{ObjectRecord, Record, RecordError, key};
use meta::{after, prefix_end};

use crate::api::{ListRequest, VersionId, VersionInfo, VersionMarker, VersionPage};
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
        match self.readable_versions(bucket, request, marker).await? {
            (page, None) => Ok(page),
            (_, Some(damage)) => Err(damage.into()),
        }
    }

    /// As [`Self::list_versions`], but rows that cannot be read are told and passed over: the last one's
    /// error is given beside the others.
    pub(crate) async fn readable_versions(
        &self,
        bucket: &str,
        request: &ListRequest,
        marker: Option<&VersionMarker>,
    ) -> Result<(VersionPage, Option<RecordError>), Error> {
        let bucket = self.bucket_record(bucket).await?;
        let id = bucket.id;
        let skips = request.delimiter.is_some();
        let mut current = Walk::new(self, key::objects(id, &request.prefix), skips);
        let mut older = Walk::new(self, key::versions(id, &request.prefix), skips);
        // The version before in the list: its key and order.
        let mut seen: Option<(String, u64)> = None;
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
                    seen = Some((marker.key.clone(), order));
                }
                None if common_prefix(request, &marker.key) == Some(&marker.key) => {
                    older.seek(prefix_end(&key::versions_from(id, marker.key.as_bytes())));
                }
                None => older.seek(key::versions_of_key(id, &marker.key).1),
            }
        }
        let mut page = VersionPage::default();
        let (mut last, mut damage) = (None, None);
        loop {
            let told = page.versions.len() + page.common_prefixes.len();
            current.fill(request.limit + 1 - told.min(request.limit)).await?;
            older.fill(request.limit + 1 - told.min(request.limit)).await?;
            let Some((name, is_current)) = nearest(&current, &older)? else { return Ok((page, damage)) };
            if told >= request.limit {
                page.next = last;
                return Ok((page, damage));
            }
            if let Some(common) = common_prefix(request, &name) {
                let common = common.to_owned();
                skip(&mut current, &mut older, id, &common);
                last = Some(VersionMarker { key: common.clone(), version: None });
                page.common_prefixes.push(common);
                continue;
            }
            let walk = if is_current { &mut current } else { &mut older };
            let Some((row_key, row)) = walk.take() else { continue };
            let above = seen.take_if(|(above, _)| *above == name).map(|(_, order)| order);
            let record = match ObjectRecord::decode(&row.value) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(row = %row_key.escape_ascii(), %error, "a version cannot be read");
                    damage = Some(error);
                    seen = Some((name, above.unwrap_or(u64::MAX)));
                    continue;
                }
            };
            self.must_tell_found(&record).await?;
            // The two walks are two snapshots: a version that was current in the first and is an older one in
            // the second was told, and those above it are newer than what the first saw.
            if let Some(above) = above.filter(|above| record.order >= *above) {
                seen = Some((name, above));
                continue;
            }
            seen = Some((name.clone(), record.order));
            let marker = record.is_marker();
            let info = info(bucket.id, &name, record);
            last = Some(VersionMarker { key: name, version: Some(info.version) });
            // An object that is the newest of its key is the current one.
            let latest = is_current || (marker && above.is_none());
            page.versions.push(VersionInfo { info, marker, latest, row: (row_key, row.version) });
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
