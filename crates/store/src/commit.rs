//! Making a body visible: the batch that puts an object or a part, and releases what it replaces.

use std::sync::Arc;

use base::{AccountId, BodyId, PartId, UploadId};
use bytes::Bytes;
use meta::record::{
    Body, BucketRecord, DataRecord, DropRecord, GarbageRecord, ObjectRecord, PartRecord, Record, SealedPart,
    UploadRecord, Versioning, key,
};
use meta::{Batch, Check, CommitError, Key, Version, Write};
use notify::EventName;

use crate::api::{Encrypt, VersionId, WriteCondition};
use crate::encryption::{encrypt_by_default, key_lives};
use crate::island::{Late, Place};
use crate::outbox::{Happened, Origin};
use crate::version::lock_by_default;
use crate::{Error, Store};

/// Times a commit is tried again after losing to another writer of the same key. Fifty clients
/// on one key lose at most fifty times each; a client is told to come back after that.
const ATTEMPTS: usize = 100;

/// What becomes visible when a body's bytes are durable.
pub(crate) enum Goal {
    /// An object.
    Object(Box<ObjectGoal>),
    /// A part of an upload.
    Part(Box<PartGoal>),
    /// Other bytes for a part that is there.
    Reseal(Box<ResealGoal>),
    /// A part that nothing refers to before another batch does.
    Stage(Box<StageGoal>),
}

/// The object that a goal made, as it is written; `None` for a part.
pub(crate) type Done = Option<ObjectRecord>;

/// An object to put.
pub(crate) struct ObjectGoal {
    pub(crate) bucket: BucketRecord,
    pub(crate) key: String,
    pub(crate) condition: WriteCondition,
    pub(crate) object: ObjectRecord,
    /// Whose bucket it is: a pack commits the objects of all tenants.
    pub(crate) account: AccountId,
    /// What its writer asked for: the bucket says the rest when it is committed.
    pub(crate) encrypt: Encrypt,
    /// Who made it, and how.
    pub(crate) origin: Arc<Origin>,
    pub(crate) name: EventName,
    /// It was taken by a cut-off gateway, and is told late.
    pub(crate) late: Option<Late>,
    /// That the rows still stand by which its request was judged.
    pub(crate) gone_by: Vec<Check>,
}

/// A part to put.
pub(crate) struct PartGoal {
    pub(crate) bucket: BucketRecord,
    pub(crate) key: String,
    pub(crate) upload: UploadId,
    pub(crate) number: u16,
    pub(crate) part: PartRecord,
}

/// A part, of an object or an upload, that was sealed anew.
pub(crate) struct ResealGoal {
    pub(crate) row_key: Key,
    /// The row as it was when the part was read: what is another one since then stays.
    pub(crate) row_version: Version,
    /// The row with the new part in it.
    pub(crate) row: Bytes,
    /// The new part's.
    pub(crate) wrapped_dek: Vec<u8>,
    /// What it replaces.
    pub(crate) old: SealedPart,
}

/// A part of a body that is not visible yet.
pub(crate) struct StageGoal {
    /// The row that takes the body apart if it never is.
    pub(crate) drop_key: Key,
    /// Absent so far.
    pub(crate) row_key: Key,
    pub(crate) row: Bytes,
    /// The part's.
    pub(crate) wrapped_dek: Vec<u8>,
}

/// A part whose bytes are new.
#[derive(Clone, Copy)]
pub(crate) struct New<'a> {
    pub(crate) part: PartId,
    /// Where they are.
    pub(crate) data: &'a DataRecord,
    /// From before the first of them was written ([`Store::fence`]).
    pub(crate) fence: &'a [Check],
}

/// A batch, and what it makes.
pub(crate) struct Prepared {
    pub(crate) batch: Batch,
    /// The object as the batch writes it; `None` for a part.
    pub(crate) object: Option<ObjectRecord>,
}

impl Prepared {
    /// Whether losing was a matter of timing (`None`: try again) or final. The checks of `fence` are the batch's first, and after them
    /// what the goal's request went by.
    pub(crate) fn explain(error: CommitError, fence: &[Check], store: &Store, goal: Option<&Goal>) -> Option<Error> {
        let gone_by = match goal {
            Some(Goal::Object(goal)) => goal.gone_by.as_slice(),
            _ => &[],
        };
        match error {
            CommitError::Failed { check } if check < fence.len() => Some(Error::Expelled),
            CommitError::Failed { check } if check < fence.len() + gone_by.len() => Some(store.overtaken(gone_by)),
            CommitError::Failed { .. } => None,
            other => Some(other.into()),
        }
    }
}

impl Store {
    /// The batch that reaches `goal` from the state as far as it is remembered: its checks find out whether that is so. What would be refused
    /// by it is looked at again.
    pub(crate) async fn prepare_by_memory(&self, goal: &Goal, new: Option<New<'_>>) -> Result<Prepared, Error> {
        if let Goal::Object(object) = goal
            && object.condition == WriteCondition::default()
            && object.late.is_none()
            && let Some(Ok(prepared)) = self.by_memory(self.prepare(goal, new)).await
        {
            return Ok(prepared);
        }
        self.strongly(self.prepare(goal, new)).await
    }

    /// The batch that reaches `goal` from the present state. `new` is the goal's own
    /// part, when its bytes are new.
    pub(crate) async fn prepare(&self, goal: &Goal, new: Option<New<'_>>) -> Result<Prepared, Error> {
        let mut batch = Batch::default();
        if let Some(New { part, data, fence }) = new {
            batch.checks.extend_from_slice(fence);
            batch.writes.push(Write::Put(key::data_key(part), data.encode()));
        }
        let object = match goal {
            Goal::Object(goal) => Some(self.prepare_object(goal, &mut batch).await?),
            Goal::Part(goal) => {
                self.prepare_part(goal, &mut batch).await?;
                None
            }
            Goal::Reseal(goal) => {
                self.prepare_reseal(goal, &mut batch).await?;
                None
            }
            Goal::Stage(goal) => {
                batch.checks.extend([Check::Present(goal.drop_key.clone()), Check::Absent(goal.row_key.clone())]);
                batch.checks.extend(key_lives(&goal.wrapped_dek));
                batch.writes.push(Write::Put(goal.row_key.clone(), goal.row.clone()));
                None
            }
        };
        Ok(Prepared { batch, object })
    }

    /// Adds to `batch` what makes the goal's object the newest version; returns it as it is
    /// written. What it replaces is released, or kept as an older version.
    pub(crate) async fn prepare_object(&self, goal: &ObjectGoal, batch: &mut Batch) -> Result<ObjectRecord, Error> {
        batch.checks.extend_from_slice(&goal.gone_by);
        let stand = self.stand(&goal.bucket, &goal.key, batch).await?;
        let etag = stand.current.as_ref().map(|current| current.as_ref().map_or("", |record| &record.etag));
        judge(&goal.condition, etag)?;
        let mut object = goal.object.clone();
        object.order = stand.next_order(self.now_ms());
        object.null = stand.state.versioning != Versioning::Enabled;
        if let (true, Some(Ok(current))) = (self.0.meta.is_shared(), &stand.current) {
            object.modified_ms = later_than(current.modified_ms, object.modified_ms);
        }
        lock_by_default(&mut object, &stand.state)?;
        encrypt_by_default(&mut object.encryption, &goal.encrypt, &stand.state);
        if let Body::Single(part) = &object.body {
            batch.checks.extend(key_lives(&part.wrapped_dek));
        }
        let place = match &goal.late {
            Some(late) => self.place_of(goal, late, &stand).await?,
            None => Place::Newest,
        };
        if let Place::Beneath(order) = place {
            object.order = order;
            let row_key = key::version_key(goal.bucket.id, &goal.key, order);
            batch.checks.push(Check::Absent(row_key.clone()));
            batch.writes.push(Write::Put(row_key, object.encode()));
        } else {
            self.make_room(&stand, batch).await?;
            batch.writes.push(Write::Put(key::object_key(goal.bucket.id, &goal.key), object.encode()));
        }
        if let (Some(late), Place::Beneath(_) | Place::Over) = (&goal.late, place) {
            self.list_conflict(goal, late, &stand, &object, batch);
        }
        let happened = Happened {
            bucket: &goal.bucket,
            state: &stand.state,
            origin: &goal.origin,
            name: goal.name,
            key: &goal.key,
            version: Some(VersionId::of(&object)),
            stored: Some(&object),
            order: object.order,
        };
        self.of(goal.account).tell(&happened, batch).await?;
        Ok(object)
    }

    async fn prepare_reseal(&self, goal: &ResealGoal, batch: &mut Batch) -> Result<(), Error> {
        if self.row(goal.row_key.clone()).await?.is_none_or(|row| row.version != goal.row_version) {
            return Err(Error::Contended);
        }
        batch.checks.push(Check::Is(goal.row_key.clone(), goal.row_version));
        batch.checks.extend(key_lives(&goal.wrapped_dek));
        self.release_part_as(&goal.old, true, batch).await?;
        batch.writes.push(Write::Put(goal.row_key.clone(), goal.row.clone()));
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
        batch.checks.extend(goal.part.sealed.iter().flat_map(|part| key_lives(&part.wrapped_dek)));
        batch.writes.push(Write::Put(part_key, goal.part.encode()));
        Ok(())
    }

    /// Adds to `batch` what gives up a body's bytes.
    pub(crate) async fn release(&self, body_id: BodyId, body: &Body, batch: &mut Batch) -> Result<(), Error> {
        match body {
            Body::Empty | Body::Marker => {}
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
        self.release_part_as(part, false, batch).await
    }

    /// The same; `leaked`: somebody may have the part's DEK.
    async fn release_part_as(&self, part: &SealedPart, leaked: bool, batch: &mut Batch) -> Result<(), Error> {
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
        data.leaked |= leaked;
        if data.refs > 1 {
            data.refs -= 1;
            batch.writes.push(Write::Put(data_key, data.encode()));
        } else {
            let garbage = GarbageRecord { since_ms: self.now_ms(), blob: data.blob, leaked: data.leaked };
            batch.writes.push(Write::Delete(data_key));
            batch.writes.push(Write::Put(key::garbage_key(part.id), garbage.encode()));
        }
        Ok(())
    }

    /// Commits `goal`, again and again while others win.
    pub(crate) async fn commit_goal(&self, goal: &Goal, new: Option<New<'_>>) -> Result<Done, Error> {
        for attempt in 0..ATTEMPTS {
            // Where there are bytes, this is not the first.
            let prepared = match (attempt, new) {
                (0, None) => self.prepare_by_memory(goal, new).await?,
                _ => self.strongly(self.prepare(goal, new)).await?,
            };
            match self.0.meta.commit(prepared.batch).await {
                Ok(()) => return Ok(prepared.object),
                Err(error) => {
                    if let Some(error) = Prepared::explain(error, new.map_or(&[], |new| new.fence), self, Some(goal)) {
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

/// When something newer was modified, though the clock of another gateway was ahead when the older one was: caches ask whether it is newer,
/// by the second. A key that is written many times a second goes no further ahead of the time than that.
fn later_than(older_ms: u64, now_ms: u64) -> u64 {
    const AHEAD_MS: u64 = 5_000;
    if older_ms / 1000 < now_ms / 1000 {
        return now_ms;
    }
    older_ms.saturating_add(1000).min(now_ms.saturating_add(AHEAD_MS)).max(now_ms)
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

/// The row that tells where the bytes of an object's row are.
pub(crate) fn data_of(row: &meta::Row) -> Option<Key> {
    match ObjectRecord::decode(&row.value).ok()?.body {
        Body::Single(part) => Some(key::data_key(part.id)),
        _ => None,
    }
}

impl Goal {
    /// The row that it replaces.
    pub(crate) fn replaces(&self) -> Option<Key> {
        match self {
            Self::Object(goal) => Some(key::object_key(goal.bucket.id, &goal.key)),
            _ => None,
        }
    }
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
    fn newer_is_later() {
        for (older, now, expected) in [
            (10_000, 12_000, 12_000),
            (10_000, 11_000, 11_000),
            (12_500, 11_000, 13_500),
            (11_200, 11_900, 12_200),
            // An hour ahead.
            (3_611_000, 11_000, 16_000),
        ] {
            assert_eq!(later_than(older, now), expected, "{older} {now}");
        }
    }

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
