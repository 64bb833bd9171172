//! Making a body visible: the batch that puts an object or a part, and releases what it replaces.

use base::{BodyId, PartId, UploadId};
use meta::record::{
    Body, BucketRecord, DataRecord, DropRecord, GarbageRecord, ObjectRecord, PartRecord, Record, SealedPart,
    UploadRecord, key,
};
use meta::{Batch, Check, CommitError, Version, Write};

use crate::api::WriteCondition;
use crate::{Error, Store};

/// Times a commit is tried again after losing to another writer of the same key. Fifty clients
/// on one key lose at most fifty times each; a client is told to come back after that.
const ATTEMPTS: usize = 100;

/// What becomes visible when a body's bytes are durable.
pub(crate) enum Goal {
    /// An object.
    Object(ObjectGoal),
    /// A part of an upload.
    Part(PartGoal),
}

/// An object to put.
pub(crate) struct ObjectGoal {
    pub(crate) bucket: BucketRecord,
    pub(crate) key: String,
    pub(crate) condition: WriteCondition,
    pub(crate) object: ObjectRecord,
}

/// A part to put.
pub(crate) struct PartGoal {
    pub(crate) bucket: BucketRecord,
    pub(crate) key: String,
    pub(crate) upload: UploadId,
    pub(crate) number: u16,
    pub(crate) part: PartRecord,
}

/// A batch, and what to answer when its check `i` fails.
pub(crate) struct Prepared {
    pub(crate) batch: Batch,
    /// Index of the check that says the bucket is gone.
    bucket_check: Option<usize>,
}

impl Prepared {
    /// Whether losing was a matter of timing (try again) or final.
    pub(crate) fn explain(&self, goal: &Goal, error: CommitError) -> Option<Error> {
        match error {
            CommitError::Failed { check } if Some(check) == self.bucket_check => {
                Some(Error::NoSuchBucket(match goal {
                    Goal::Object(goal) => goal.key.clone(),
                    Goal::Part(goal) => goal.key.clone(),
                }))
            }
            CommitError::Failed { .. } => None,
            other => Some(other.into()),
        }
    }
}

impl Store {
    /// The batch that reaches `goal` from the present state. `data` is the row of the goal's own
    /// part, when its bytes are new.
    pub(crate) async fn prepare(&self, goal: &Goal, data: Option<(PartId, &DataRecord)>) -> Result<Prepared, Error> {
        let mut batch = Batch::default();
        if let Some((part, data)) = data {
            batch.writes.push(Write::Put(key::data_key(part), data.encode()));
        }
        let bucket_check = match goal {
            Goal::Object(goal) => {
                batch.checks.push(Check::Present(key::bucket_live_key(goal.bucket.id)));
                self.prepare_object(goal, &mut batch).await?;
                Some(0)
            }
            Goal::Part(goal) => {
                self.prepare_part(goal, &mut batch).await?;
                None
            }
        };
        Ok(Prepared { batch, bucket_check })
    }

    pub(crate) async fn prepare_object(&self, goal: &ObjectGoal, batch: &mut Batch) -> Result<(), Error> {
        let row_key = key::object_key(goal.bucket.id, &goal.key);
        let row = self.row(row_key.clone()).await?;
        // A current record that cannot be read must not stop its own replacement.
        let current = row.as_ref().map(|row| (ObjectRecord::decode(&row.value), row.version));
        judge(&goal.condition, current.as_ref().map(|(record, _)| record.as_ref().map_or("", |r| &r.etag)))?;
        match current {
            None => batch.checks.push(Check::Absent(row_key.clone())),
            Some((record, version)) => {
                batch.checks.push(Check::Is(row_key.clone(), version));
                if let Ok(record) = record {
                    self.release(record.body_id, &record.body, batch).await?;
                }
            }
        }
        batch.writes.push(Write::Put(row_key, goal.object.encode()));
        Ok(())
    }

    async fn prepare_part(&self, goal: &PartGoal, batch: &mut Batch) -> Result<(), Error> {
        let upload_key = key::upload_key(goal.bucket.id, &goal.key, goal.upload);
        let found = self.record::<UploadRecord>(upload_key.clone()).await?;
        let (mut upload, version) = found.ok_or(Error::NoSuchUpload)?;
        batch.checks.push(Check::Is(upload_key.clone(), version));
        if upload.staging {
            // A completion has read the parts: this write makes it read them again.
            upload.staging = false;
            batch.writes.push(Write::Put(upload_key, upload.encode()));
        }
        let part_key = key::part_key(goal.upload, goal.number);
        match self.record::<PartRecord>(part_key.clone()).await? {
            None => batch.checks.push(Check::Absent(part_key.clone())),
            Some((old, version)) => {
                batch.checks.push(Check::Is(part_key.clone(), version));
                if let Some(sealed) = &old.sealed {
                    self.release_part(sealed, batch).await?;
                }
            }
        }
        batch.writes.push(Write::Put(part_key, goal.part.encode()));
        Ok(())
    }

    /// Adds to `batch` what gives up a body's bytes.
    pub(crate) async fn release(&self, body_id: BodyId, body: &Body, batch: &mut Batch) -> Result<(), Error> {
        match body {
            Body::Empty => {}
            Body::Single(part) => self.release_part(part, batch).await?,
            Body::Multipart(_) => {
                let drop = DropRecord { dropped_ms: self.now_ms() };
                batch.writes.push(Write::Put(key::drop_key(body_id), drop.encode()));
            }
        }
        Ok(())
    }

    /// Adds to `batch` what gives up one reference to a part.
    pub(crate) async fn release_part(&self, part: &SealedPart, batch: &mut Batch) -> Result<(), Error> {
        let data_key = key::data_key(part.id);
        // A copy over an earlier copy of the same source counts the part up and down in one batch.
        if let Some(counted) = pending(batch, &data_key) {
            let mut data = DataRecord::decode(counted)?;
            data.refs -= 1;
            *counted = data.encode();
            return Ok(());
        }
        // Without a row there is nothing left to give up; deleting must never need old bytes.
        let found = match self.record::<DataRecord>(data_key.clone()).await {
            Err(Error::Record(_)) => None,
            other => other?,
        };
        let Some((mut data, version)) = found else { return Ok(()) };
        batch.checks.push(Check::Is(data_key.clone(), version));
        if data.refs > 1 {
            data.refs -= 1;
            batch.writes.push(Write::Put(data_key, data.encode()));
        } else {
            let garbage = GarbageRecord { since_ms: self.now_ms(), blob: data.blob };
            batch.writes.push(Write::Delete(data_key));
            batch.writes.push(Write::Put(key::garbage_key(part.id), garbage.encode()));
        }
        Ok(())
    }

    /// Commits `goal`, again and again while others win.
    pub(crate) async fn commit_goal(&self, goal: &Goal, data: Option<(PartId, &DataRecord)>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let prepared = self.prepare(goal, data).await?;
            match self.0.meta.commit(prepared.batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if let Some(error) = prepared.explain(goal, error) {
                        return Err(error);
                    }
                }
            }
        }
        Err(Error::Contended)
    }

    /// Runs `step` until it does not lose to another writer.
    pub(crate) async fn until_won<T, F>(&self, mut step: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<(Batch, T), Error>>,
    {
        for _ in 0..ATTEMPTS {
            let (batch, answer) = step().await?;
            if batch.writes.is_empty() {
                return Ok(answer);
            }
            match self.0.meta.commit(batch).await {
                Ok(()) => return Ok(answer),
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended)
    }
}

/// Judges a write's condition against the ETag that stands (`None`: nothing stands).
pub(crate) fn judge(condition: &WriteCondition, etag: Option<&str>) -> Result<(), Error> {
    match (condition.absent, &condition.etag_is, etag) {
        (true, _, Some(_)) => Err(Error::PreconditionFailed),
        (_, Some(_), None) => Err(Error::ConditionOnAbsent),
        (_, Some(set), Some(etag)) if !set.contains(etag) => Err(Error::PreconditionFailed),
        _ => Ok(()),
    }
}

/// The value that a batch is about to put under a key.
fn pending<'a>(batch: &'a mut Batch, key: &[u8]) -> Option<&'a mut bytes::Bytes> {
    batch.writes.iter_mut().find_map(|write| match write {
        Write::Put(put, value) if put == key => Some(value),
        _ => None,
    })
}

/// Names a row's version for a later batch.
pub(crate) fn is(key: meta::Key, version: Version) -> Check {
    Check::Is(key, version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EtagSet;

    #[test]
    fn write_conditions() {
        let set = |tags: &[&str]| Some(EtagSet::Of(tags.iter().map(|t| (*t).to_owned()).collect()));
        let any = Some(EtagSet::Any);
        // (absent, if-match, what stands) -> outcome
        let table = [
            (false, None, None, "ok"),
            (false, None, Some("a"), "ok"),
            (true, None, None, "ok"),
            (true, None, Some("a"), "failed"),
            (false, set(&["a"]), Some("a"), "ok"),
            (false, set(&["b", "a"]), Some("a"), "ok"),
            (false, set(&["b"]), Some("a"), "failed"),
            (false, set(&["a"]), None, "absent"),
            (false, any.clone(), Some("a"), "ok"),
            (false, any, None, "absent"),
        ];
        for (absent, etag_is, stands, expected) in table {
            let condition = WriteCondition { absent, etag_is };
            let got = match judge(&condition, stands) {
                Ok(()) => "ok",
                Err(Error::PreconditionFailed) => "failed",
                Err(Error::ConditionOnAbsent) => "absent",
                Err(_) => "other",
            };
            assert_eq!(got, expected, "{condition:?} {stands:?}");
        }
    }
}
