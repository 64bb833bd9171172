//! PutObject.

use base::limits::{KEY_LEN_MAX, USER_METADATA_MAX};
use base::{BodyId, BucketId};
use meta::record::{Body, ObjectRecord, ScanMark};
use notify::EventName;

use crate::api::{BodySource, NewObject, ObjectInfo, ObjectMeta, VersionId, WriteCondition};
use crate::commit::{Goal, ObjectGoal, judge};
use crate::encryption::Place;
use crate::island::Late;
use crate::part::Target;
use crate::{Error, Store};

/// An opaque ETag. The dash tells clients that it is no MD5, as with multipart and SSE-KMS.
pub(crate) fn opaque_etag(body: BodyId, parts: usize) -> String {
    format!("{body}-{parts}")
}

pub(crate) fn check_name(key: &str, meta: &ObjectMeta) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("an object key must not be empty"));
    }
    if key.len() > KEY_LEN_MAX {
        return Err(Error::TooLarge { what: "the object key", max: KEY_LEN_MAX as u64 });
    }
    let metadata: usize = meta.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata > USER_METADATA_MAX {
        return Err(Error::TooLarge { what: "user metadata", max: USER_METADATA_MAX as u64 });
    }
    Ok(())
}

pub(crate) fn info(bucket: BucketId, key: &str, record: ObjectRecord) -> ObjectInfo {
    let parts_count = match &record.body {
        Body::Multipart(runs) => Some(runs.iter().map(|run| run.count).sum()),
        _ => None,
    };
    ObjectInfo {
        bucket,
        key: key.to_owned(),
        body_id: record.body_id,
        version: VersionId::of(&record),
        size: record.size,
        modified_ms: record.modified_ms,
        etag: record.etag,
        meta: ObjectMeta {
            headers: record.headers,
            user_metadata: record.user_metadata,
            tags: record.tags,
            lock: record.lock,
        },
        checksum: record.checksum,
        parts_count,
        encryption: record.encryption,
        acl: record.acl,
        scan: None,
    }
}

/// What is known of a new version before it is written.
pub(crate) struct Given {
    pub(crate) body: BodyId,
    /// It was taken by a cut-off gateway, and is told late.
    pub(crate) late: Option<Late>,
}

impl Store {
    /// Stores an object of `size` bytes. `Ok` means: five shards are durable and the object is
    /// visible. Dropping the future stores nothing, or the whole object.
    ///
    /// # Errors
    /// See [`Error`]; on any of them the object that stood before stands still, except
    /// after an error of kind `Unknown`, where either may stand.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        new: impl Into<NewObject>,
        size: u64,
        condition: &WriteCondition,
        body: &mut dyn BodySource,
    ) -> Result<ObjectInfo, Error> {
        let given = Given { body: BodyId::random(self.0.options.doors.rng.as_ref()), late: None };
        self.put_given((bucket, key), new.into(), size, condition, body, given).await
    }

    /// The same, with what else is known of the version.
    pub(crate) async fn put_given(
        &self,
        (bucket_name, key): (&str, &str),
        new: NewObject,
        size: u64,
        condition: &WriteCondition,
        body: &mut dyn BodySource,
        Given { body: body_id, late }: Given,
    ) -> Result<ObjectInfo, Error> {
        let NewObject { meta, encrypt, acl } = new;
        check_name(key, &meta)?;
        let bucket = self.bucket_record(bucket_name).await?;
        self.judge_early(&bucket, key, condition).await?;
        let place = Place { bucket: &bucket, name: bucket_name, key, body: body_id };
        let (under, encryption) = self.key_to_write(&place, &encrypt, &meta.headers, &meta.tags).await?;
        let target = Target { place, number: 0, under };
        let is_late = late.is_some();
        let goal = |part: Option<meta::record::SealedPart>, facts: crate::api::BodyFacts| {
            let object = ObjectRecord {
                body_id,
                // Given by the commit.
                order: 0,
                null: true,
                modified_ms: self.now_ms(),
                size,
                etag: facts.md5_hex.unwrap_or_else(|| opaque_etag(body_id, 1)),
                headers: meta.headers,
                user_metadata: meta.user_metadata,
                checksum: facts.checksum,
                tags: meta.tags,
                lock: meta.lock,
                body: part.map_or(Body::Empty, Body::Single),
                encryption,
                acl,
                scan: facts.content.map(|content| ScanMark { content, released: false }),
            };
            let (bucket, condition) = (bucket.clone(), condition.clone());
            let (account, origin, name) = (self.account(), self.1.clone(), EventName::Put);
            let key = key.to_owned();
            let gone_by = self.gone_by()?;
            let goal = ObjectGoal { bucket, key, condition, object, account, encrypt, origin, name, late, gone_by };
            Ok(Goal::Object(Box::new(goal)))
        };
        let (stored, scan) = match self.screen(&bucket, (size, is_late), body).await? {
            Err(body) => (self.store_body(target, size, body, goal).await?, None),
            Ok(mut screen) => {
                let stored = self.store_body(target, size, &mut screen, goal).await?;
                let scan = screen.deferred();
                if scan.is_some() {
                    self.scan_anew();
                }
                self.judge_later(screen.pending());
                (stored, scan)
            }
        };
        let stored = stored.ok_or(Error::Invalid("a body without an end"))?;
        Ok(ObjectInfo { scan, ..info(bucket.id, key, stored) })
    }

    /// Refuses a write whose condition fails already, before its body is read. The commit judges
    /// again.
    pub(crate) async fn judge_early(
        &self,
        bucket: &meta::record::BucketRecord,
        key: &str,
        condition: &WriteCondition,
    ) -> Result<(), Error> {
        if *condition == WriteCondition::default() {
            return Ok(());
        }
        let row_key = meta::record::key::object_key(bucket.id, key);
        // Read, not remembered: others write the same key, and who comes late is to be told so.
        let found = self.strongly(self.record::<ObjectRecord>(row_key)).await?;
        judge(condition, found.as_ref().map(|(record, _)| record.etag.as_str()))
    }
}
