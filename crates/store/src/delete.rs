//! DeleteObject, with and without a version.

use base::BodyId;
use meta::record::{Body, BucketRecord, ObjectRecord, Record, Versioning, key};
use meta::{Batch, Check, Range, Write, after};
use notify::EventName;

use crate::api::{DeleteRequest, Deleted, EtagSet, RowSeen, VersionId};
use crate::outbox::Happened;
use crate::version::{Found, may_delete};
use crate::{Error, Store};

/// What a version was judged by: it is removed while that still stands.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    /// Its row.
    pub(crate) row: &'a RowSeen,
    /// The row of the next newer version, which made it an old one; `None`: nothing else is under the key.
    pub(crate) newer: Option<&'a RowSeen>,
    /// Whether that one was to be removed as well: then it may be gone.
    pub(crate) newer_goes: bool,
}

impl Store {
    /// Removes an object, or hides it by a delete marker where versions are kept, or removes one
    /// version for good. Bytes are collected after the grace period.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::Locked`], [`Error::PreconditionFailed`],
    /// [`Error::ConditionOnAbsent`], [`Error::Contended`], or a metadata error.
    pub async fn delete(&self, bucket: &str, key: &str, request: &DeleteRequest) -> Result<Deleted, Error> {
        let bucket = self.bucket_record(bucket).await?;
        self.until_won(|| async {
            match request.version {
                Some(id) => self.delete_version(&bucket, key, id, request, None).await,
                None => self.delete_current(&bucket, key, request.etag_is.as_ref(), None).await,
            }
        })
        .await
    }

    /// Removes or hides the object if its row is still this one.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when it is not, and as [`Self::delete`].
    pub(crate) async fn delete_if_current(&self, bucket: &str, key: &str, row: &RowSeen) -> Result<Deleted, Error> {
        let bucket = self.bucket_record(bucket).await?;
        self.until_won(|| self.delete_current(&bucket, key, None, Some(row))).await
    }

    /// Removes a version for good if it still is what it was judged to be.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when it is not, and as [`Self::delete`].
    pub(crate) async fn delete_version_if(
        &self,
        bucket: &str,
        key: &str,
        id: VersionId,
        judged: &Judged<'_>,
    ) -> Result<Deleted, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let request = DeleteRequest::default();
        self.until_won(|| self.delete_version(&bucket, key, id, &request, Some(judged))).await
    }

    async fn delete_current(
        &self,
        bucket: &BucketRecord,
        name: &str,
        etag_is: Option<&EtagSet>,
        row_is: Option<&RowSeen>,
    ) -> Result<(Batch, Deleted), Error> {
        let mut batch = Batch::default();
        let stand = self.stand(bucket, name, &mut batch).await?;
        if row_is.is_some() && stand.row.as_ref() != row_is {
            return Err(Error::PreconditionFailed);
        }
        let existed = stand.current.is_some();
        match (&stand.current, etag_is) {
            (None, Some(_)) => return Err(Error::ConditionOnAbsent),
            // A damaged record must not make its object undeletable.
            (Some(current), Some(set)) if !set.contains(current.as_ref().map_or("", |record| &record.etag)) => {
                return Err(Error::PreconditionFailed);
            }
            _ => {}
        }
        let versioned = stand.state.versioning != Versioning::Off;
        if !existed && !versioned {
            return Ok((Batch::default(), Deleted { existed, marker: false, version: None }));
        }
        self.make_room(&stand, &mut batch).await?;
        if existed {
            batch.writes.push(Write::Delete(key::object_key(bucket.id, name)));
        }
        let mut happened = Happened {
            bucket,
            state: &stand.state,
            origin: &self.1,
            name: EventName::Delete,
            key: name,
            version: None,
            stored: None,
            order: stand.next_order(self.now_ms()),
        };
        if !versioned {
            self.tell(&happened, &mut batch).await?;
            return Ok((batch, Deleted { existed, marker: false, version: None }));
        }
        let order = stand.next_order(self.now_ms());
        let null = stand.state.versioning == Versioning::Suspended;
        let marker = self.delete_marker(order, null);
        if null {
            let pointer = key::null_version_key(bucket.id, name);
            // The pointer to an older one was put on the list of deletes: one write a key.
            batch.writes.retain(|write| !matches!(write, Write::Delete(deleted) if *deleted == pointer));
            batch.writes.push(Write::Put(pointer, key::null_version_value(order)));
        }
        batch.writes.push(Write::Put(key::version_key(bucket.id, name, order), marker.encode()));
        let version = Some(VersionId::of(&marker));
        (happened.name, happened.version) = (EventName::DeleteMarkerCreated, version);
        self.tell(&happened, &mut batch).await?;
        Ok((batch, Deleted { existed, marker: true, version }))
    }

    fn delete_marker(&self, order: u64, null: bool) -> ObjectRecord {
        ObjectRecord {
            body_id: BodyId::random(self.0.options.doors.rng.as_ref()),
            order,
            null,
            modified_ms: self.now_ms(),
            size: 0,
            etag: String::new(),
            headers: Default::default(),
            user_metadata: Default::default(),
            checksum: None,
            tags: Default::default(),
            lock: Default::default(),
            body: Body::Marker,
            encryption: Default::default(),
            acl: None,
            scan: None,
        }
    }

    async fn delete_version(
        &self,
        bucket: &BucketRecord,
        name: &str,
        id: VersionId,
        request: &DeleteRequest,
        judged: Option<&Judged<'_>>,
    ) -> Result<(Batch, Deleted), Error> {
        let mut batch = Batch::default();
        let state = self.bucket_state_for(bucket, name, &mut batch).await?;
        let absent = Deleted { existed: false, marker: false, version: Some(id) };
        let Found { row_key, record, version } = match self.find(bucket, name, Some(id)).await {
            Ok(found) => found,
            Err(Error::NoSuchVersion) if request.etag_is.is_some() => return Err(Error::ConditionOnAbsent),
            Err(Error::NoSuchVersion) => return Ok((Batch::default(), absent)),
            Err(error) => return Err(error),
        };
        if request.etag_is.as_ref().is_some_and(|set| !set.contains(&record.etag)) {
            return Err(Error::PreconditionFailed);
        }
        // A lock that has ended has ended by some clock.
        let now_ms = if record.lock.retention.is_some() { self.undisputed_ms()? } else { self.now_ms() };
        may_delete(&record, request.bypass_governance, now_ms)?;
        if let Some(judged) = judged {
            if *judged.row != (row_key.clone(), version) {
                return Err(Error::PreconditionFailed);
            }
            self.check_above(bucket, name, judged, &mut batch).await?;
        }
        batch.checks.push(Check::Is(row_key.clone(), version));
        batch.writes.push(Write::Delete(row_key.clone()));
        self.release(record.body_id, &record.body, &mut batch).await?;
        let current_key = key::object_key(bucket.id, name);
        let is_current = row_key == current_key;
        if !is_current && record.null {
            batch.writes.push(Write::Delete(key::null_version_key(bucket.id, name)));
        }
        self.promote(bucket, name, &record, is_current, &mut batch).await?;
        let happened = Happened {
            bucket,
            state: &state,
            origin: &self.1,
            name: EventName::Delete,
            key: name,
            version: Some(id),
            stored: None,
            order: record.order,
        };
        self.tell(&happened, &mut batch).await?;
        Ok((batch, Deleted { existed: true, marker: record.is_marker(), version: Some(id) }))
    }

    /// Adds to `batch` checks of what stood beside a version when it was judged.
    async fn check_above(
        &self,
        bucket: &BucketRecord,
        name: &str,
        judged: &Judged<'_>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if let Some((newer_key, version)) = judged.newer {
            batch.checks.push(match self.row(newer_key.clone()).await? {
                Some(row) if row.version == *version => Check::Is(newer_key.clone(), *version),
                None if judged.newer_goes => Check::Absent(newer_key.clone()),
                _ => return Err(Error::PreconditionFailed),
            });
            return Ok(());
        }
        let current = key::object_key(bucket.id, name);
        let (from, to) = key::versions_of_key(bucket.id, name);
        let others = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 2 }).await?;
        if others.rows.len() != 1 || self.row(current.clone()).await?.is_some() {
            return Err(Error::PreconditionFailed);
        }
        let (row_key, _) = judged.row;
        let around = [Check::Empty(from, row_key.clone()), Check::Empty(after(row_key), to)];
        batch.checks.extend(around.into_iter().chain([Check::Absent(current)]));
        Ok(())
    }

    /// When the newest version goes and the one below it is an object, that one becomes current.
    async fn promote(
        &self,
        bucket: &BucketRecord,
        name: &str,
        gone: &ObjectRecord,
        was_current: bool,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let current_key = key::object_key(bucket.id, name);
        if !was_current {
            if let Some(row) = self.row(current_key.clone()).await? {
                batch.checks.push(Check::Is(current_key, row.version));
                return Ok(());
            }
            batch.checks.push(Check::Absent(current_key.clone()));
        }
        let (from, to) = key::versions_of_key(bucket.id, name);
        let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 2 }).await?;
        let mut rows = page.rows.into_iter().peekable();
        let mut from = from;
        if !was_current {
            let gone_key = key::version_key(bucket.id, name, gone.order);
            match rows.peek() {
                Some((row_key, _)) if *row_key == gone_key => {}
                // A newer marker stays the newest.
                _ => return Ok(()),
            }
            batch.checks.push(Check::Empty(from, gone_key.clone()));
            rows.next();
            from = after(&gone_key);
        }
        let Some((row_key, row)) = rows.next() else {
            batch.checks.push(Check::Empty(from, to));
            return Ok(());
        };
        batch.checks.push(Check::Empty(from, row_key.clone()));
        batch.checks.push(Check::Is(row_key.clone(), row.version));
        let heir = ObjectRecord::decode(&row.value)?;
        if heir.is_marker() {
            return Ok(());
        }
        batch.writes.retain(|write| !matches!(write, Write::Delete(deleted) if *deleted == current_key));
        batch.writes.push(Write::Delete(row_key));
        if heir.null {
            batch.writes.push(Write::Delete(key::null_version_key(bucket.id, name)));
        }
        batch.writes.push(Write::Put(current_key, row.value));
        Ok(())
    }
}
