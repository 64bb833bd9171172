//! Which version of an object is current, and what a write or a delete does to the others.
//!
//! A key's `o/` row is its newest version when that is an object. Older versions and all delete
//! markers are `v/` rows, the newest first. Orders only rise, so that a version id names its row.

use meta::record::{BucketRecord, BucketState, ObjectRecord, Record, Retention, RetentionMode, Versioning, key};
use meta::{Batch, Check, Range, Row, Version, Write};
use notify::EventName;

use crate::api::{ObjectInfo, RowSeen, VersionId};
use crate::outbox::Happened;
use crate::put::info;
use crate::{Error, Store};

/// What stands under a key at the moment of a write.
pub(crate) struct Stand<'a> {
    bucket: &'a BucketRecord,
    name: &'a str,
    pub(crate) state: BucketState,
    /// The `o/` row. A record that cannot be read must not stop its own replacement.
    pub(crate) current: Option<Result<ObjectRecord, meta::record::RecordError>>,
    /// Which row that is.
    pub(crate) row: Option<RowSeen>,
    /// The newest `v/` row's order; none in a bucket that was never versioned.
    newest: Option<u64>,
}

impl Stand<'_> {
    /// The order of a version written now.
    pub(crate) fn next_order(&self, now_ms: u64) -> u64 {
        self.newest_order().map_or(now_ms, |order| now_ms.max(order.saturating_add(1)))
    }

    /// The order of the newest version; `None`: there is none.
    pub(crate) fn newest_order(&self) -> Option<u64> {
        let current = self.current.as_ref().and_then(|current| current.as_ref().ok()).map(|record| record.order);
        current.max(self.newest)
    }
}

/// A version found, and its row.
pub(crate) struct Found {
    pub(crate) row_key: meta::Key,
    pub(crate) record: ObjectRecord,
    pub(crate) version: Version,
}

/// Gives a new version the bucket's retention when its writer chose none.
pub(crate) fn lock_by_default(object: &mut ObjectRecord, state: &BucketState) -> Result<(), Error> {
    if !state.object_lock {
        if object.lock != meta::record::Lock::default() {
            return Err(Error::Invalid("Bucket is missing Object Lock Configuration"));
        }
        return Ok(());
    }
    if let (None, Some(default)) = (object.lock.retention, state.default_retention) {
        let until_ms = object.modified_ms.saturating_add(default.period.millis());
        object.lock.retention = Some(Retention { mode: default.mode, until_ms });
    }
    Ok(())
}

/// Whether a version may be deleted for good.
///
/// # Errors
/// [`Error::Locked`].
pub(crate) fn may_delete(record: &ObjectRecord, bypass_governance: bool, now_ms: u64) -> Result<(), Error> {
    if record.lock.hold {
        return Err(Error::Locked("a legal hold is set"));
    }
    match record.lock.retention {
        Some(retention) if retention.until_ms > now_ms => match retention.mode {
            RetentionMode::Compliance => Err(Error::Locked("its compliance retention has not ended")),
            RetentionMode::Governance if bypass_governance => Ok(()),
            RetentionMode::Governance => Err(Error::Locked("its governance retention has not ended")),
        },
        _ => Ok(()),
    }
}

/// The version in a row, if it is the one that `id` names.
fn matching(row_key: &meta::Key, row: Option<&Option<Row>>, id: Option<VersionId>) -> Result<Option<Found>, Error> {
    let Some(Some(row)) = row else { return Ok(None) };
    let record = ObjectRecord::decode(&row.value)?;
    let same = Some(VersionId::of(&record)) == id;
    Ok(same.then(|| Found { row_key: row_key.clone(), record, version: row.version }))
}

impl Store {
    /// The bucket's state as of now; `batch` will fail if it changes.
    pub(crate) async fn bucket_state_for(
        &self,
        bucket: &BucketRecord,
        name: &str,
        batch: &mut Batch,
    ) -> Result<BucketState, Error> {
        let state_key = key::bucket_state_key(bucket.id);
        let found = self.record::<BucketState>(state_key.clone()).await?;
        let (state, version) = found.ok_or_else(|| Error::NoSuchBucket(name.to_owned()))?;
        batch.checks.push(Check::Is(state_key, version));
        Ok(state)
    }

    /// What stands under a key; `batch` will fail if that changes.
    pub(crate) async fn stand<'a>(
        &self,
        bucket: &'a BucketRecord,
        name: &'a str,
        batch: &mut Batch,
    ) -> Result<Stand<'a>, Error> {
        let state = self.bucket_state_for(bucket, name, batch).await?;
        let row_key = key::object_key(bucket.id, name);
        let row = self.row_to_replace(row_key.clone()).await?;
        batch.checks.push(Check::unchanged(row_key.clone(), row.as_ref().map(|row| row.version)));
        let seen = row.as_ref().map(|row| (row_key, row.version));
        let current = row.map(|row| ObjectRecord::decode(&row.value));
        let newest = match state.versioning {
            Versioning::Off => None,
            Versioning::Enabled | Versioning::Suspended => {
                let (from, to) = key::versions_of_key(bucket.id, name);
                let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1 }).await?;
                let newest = page.rows.into_iter().next().map(|(row_key, _)| row_key);
                let order = newest.as_ref().map(|row_key| key::version_of(row_key)).transpose()?;
                batch.checks.push(Check::Empty(from, newest.unwrap_or(to)));
                order.map(|(_, order)| order)
            }
        };
        Ok(Stand { bucket, name, state, current, row: seen, newest })
    }

    /// Adds to `batch` what takes the current version out of the way of a newer one: it is kept
    /// where versions are kept, and released elsewhere. The `o/` row itself is the caller's.
    pub(crate) async fn make_room(&self, stand: &Stand<'_>, batch: &mut Batch) -> Result<(), Error> {
        let Stand { bucket, name, .. } = stand;
        let replaces_null = stand.state.versioning != Versioning::Enabled;
        if let Some(Ok(current)) = &stand.current {
            if replaces_null && current.null {
                self.release(current.body_id, &current.body, batch).await?;
            } else {
                let row_key = key::version_key(bucket.id, name, current.order);
                batch.writes.push(Write::Put(row_key, current.encode()));
                if current.null {
                    let pointer = key::null_version_key(bucket.id, name);
                    batch.writes.push(Write::Put(pointer, key::null_version_value(current.order)));
                }
            }
        }
        if stand.state.versioning == Versioning::Suspended {
            self.drop_older_null(bucket, name, batch).await?;
        }
        Ok(())
    }

    /// Adds to `batch` what removes the `null` version among the older ones.
    async fn drop_older_null(&self, bucket: &BucketRecord, name: &str, batch: &mut Batch) -> Result<(), Error> {
        let pointer = key::null_version_key(bucket.id, name);
        let Some(row) = self.row(pointer.clone()).await? else {
            batch.checks.push(Check::Absent(pointer));
            return Ok(());
        };
        batch.checks.push(Check::Is(pointer.clone(), row.version));
        batch.writes.push(Write::Delete(pointer));
        let row_key = key::version_key(bucket.id, name, key::null_version_of(&row.value)?);
        if let Some((record, version)) = self.record::<ObjectRecord>(row_key.clone()).await? {
            batch.checks.push(Check::Is(row_key.clone(), version));
            batch.writes.push(Write::Delete(row_key));
            self.release(record.body_id, &record.body, batch).await?;
        }
        Ok(())
    }

    /// Finds a version; without an id the current one.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`], [`Error::NoSuchVersion`], [`Error::DeleteMarker`] when the object is
    /// deleted and no id was given, or a metadata error. A marker that is named is found.
    pub(crate) async fn find(&self, bucket: &BucketRecord, name: &str, id: Option<VersionId>) -> Result<Found, Error> {
        let found = self.find_any(bucket, name, id).await?;
        self.must_tell_found(&found.record).await?;
        Ok(found)
    }

    async fn find_any(&self, bucket: &BucketRecord, name: &str, id: Option<VersionId>) -> Result<Found, Error> {
        let current = key::object_key(bucket.id, name);
        let order = match id {
            None => {
                return match self.record(current.clone()).await? {
                    Some((record, version)) => Ok(Found { row_key: current, record, version }),
                    None => Err(self.newest_marker(bucket, name).await?.unwrap_or(Error::NoSuchKey)),
                };
            }
            Some(VersionId::Of { order, .. }) => order,
            Some(VersionId::Null) => {
                // One snapshot: it is current, or the pointer is there.
                let pointer = key::null_version_key(bucket.id, name);
                let rows = self.0.meta.get(&[current.clone(), pointer]).await?;
                if let Some(found) = matching(&current, rows.first(), id)? {
                    return Ok(found);
                }
                let pointer = rows.into_iter().nth(1).flatten().ok_or(Error::NoSuchVersion)?;
                key::null_version_of(&pointer.value)?
            }
        };
        // One snapshot here as well: a version that becomes current meanwhile is at either place.
        let keys = [current, key::version_key(bucket.id, name, order)];
        let rows = self.0.meta.get(&keys).await?;
        for (row_key, row) in keys.iter().zip(&rows) {
            if let Some(found) = matching(row_key, Some(row), id)? {
                return Ok(found);
            }
        }
        Err(Error::NoSuchVersion)
    }

    /// Finds a version that is an object; without an id the current one.
    ///
    /// # Errors
    /// As [`Self::find`], and [`Error::DeleteMarker`] also for a marker that is named.
    pub(crate) async fn object(
        &self,
        bucket: &BucketRecord,
        name: &str,
        id: Option<VersionId>,
    ) -> Result<Found, Error> {
        let found = self.find(bucket, name, id).await?;
        if found.record.is_marker() {
            return Err(Error::DeleteMarker { version: VersionId::of(&found.record), named: true });
        }
        Ok(found)
    }

    /// The error that says that a key's newest version is a delete marker.
    async fn newest_marker(&self, bucket: &BucketRecord, name: &str) -> Result<Option<Error>, Error> {
        let (from, to) = key::versions_of_key(bucket.id, name);
        let page = self.0.meta.range(Range { from, to, limit: 1 }).await?;
        let Some((_, row)) = page.rows.first() else { return Ok(None) };
        let record = ObjectRecord::decode(&row.value)?;
        Ok(record.is_marker().then(|| Error::DeleteMarker { version: VersionId::of(&record), named: false }))
    }

    /// Changes a version where it lies: its tags or its lock.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::NoSuchVersion`],
    /// [`Error::DeleteMarker`], what `change` returns, or a metadata error.
    pub async fn change_object(
        &self,
        bucket: &str,
        name: &str,
        id: Option<VersionId>,
        change: impl Fn(&mut Change<'_>) -> Result<(), Error>,
    ) -> Result<ObjectInfo, Error> {
        let bucket = self.bucket_record(bucket).await?;
        self.until_won(|| async {
            let mut batch = Batch::default();
            let state = self.bucket_state_for(&bucket, name, &mut batch).await?;
            let Found { row_key, mut record, version } = self.object(&bucket, name, id).await?;
            let mut asked = Change {
                tags: &mut record.tags,
                lock: &mut record.lock,
                acl: &mut record.acl,
                scan: &mut record.scan,
                body_id: record.body_id,
                now_ms: self.now_ms(),
                told: None,
            };
            change(&mut asked)?;
            let told = asked.told;
            batch.checks.push(Check::Is(row_key.clone(), version));
            batch.writes.push(Write::Put(row_key, record.encode()));
            if let Some(told) = told {
                let happened = Happened {
                    bucket: &bucket,
                    state: &state,
                    origin: &self.1,
                    name: told,
                    key: name,
                    version: Some(VersionId::of(&record)),
                    stored: Some(&record),
                    order: record.order,
                };
                self.tell(&happened, &mut batch).await?;
            }
            Ok((batch, info(bucket.id, name, record)))
        })
        .await
    }
}

/// What of a version may be changed.
pub struct Change<'a> {
    /// Its tags.
    pub tags: &'a mut std::collections::BTreeMap<String, String>,
    /// Its lock.
    pub lock: &'a mut meta::record::Lock,
    /// Its ACL.
    pub acl: &'a mut Option<meta::record::Acl>,
    /// What its content is known by.
    pub(crate) scan: &'a mut Option<meta::record::ScanMark>,
    /// Which body it is.
    pub(crate) body_id: base::BodyId,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The event that tells the change; `None`: nobody asks for it.
    pub told: Option<EventName>,
}
