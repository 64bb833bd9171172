//! What was taken while cut off is told: each becomes a version of its key. Where another one was written since by who did not know of it,
//! that one stays the newest, the told one comes beneath it, and a row says so until somebody has looked.
//!
//! A version is told under the body id that it was taken with, so that one which was told before the gateway died is found and not
//! told again.

use std::sync::Arc;

use async_trait::async_trait;
use base::limits::{CHUNK, SEALED_CHUNK};
use base::{BodyId, BucketId, Classify, ErrorKind};
use bytes::Bytes;
use envelope::{BodyHeader, Dek, Opener};
use keys::Caller;
use meta::record::{ConflictRecord, ObjectRecord, Record, Versioning, key};
use meta::{Batch, Check, Range, Write, after};
use policy::Values;
use release::Via;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::entry::{self, EntryId, Secret, Taken};
use super::{Island, Waiting};
use crate::api::{BodyError, BodyFacts, BodySource, NewObject, ObjectMeta, Right, VersionId, WriteCondition};
use crate::authorize::{Question, judge};
use crate::commit::ObjectGoal;
use crate::put::Given;
use crate::version::Stand;
use crate::{Cause, Error, Origin, Store};

/// Chunks that are read at once.
const READ_CHUNKS: usize = 16;
/// Orders that are tried to put a version between two others.
const PLACES: usize = 64;
/// Milliseconds until an entry that could not be told is tried again, at first and at most.
const AGAIN_MS: (u64, u64) = (3_000, 600_000);

/// What the commit has to know of a version that is told late.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    /// The bucket's name.
    pub(crate) bucket: String,
    /// The newest version's order as its writer's gateway knew it.
    pub(crate) base: Option<u64>,
    /// The body of the one that was taken before it.
    pub(crate) after: Option<BodyId>,
    pub(crate) id: EntryId,
}

impl Store {
    /// Tells what was taken while the metadata were out of reach, the oldest first. What cannot be told waits with the reason, and keeps
    /// nothing else waiting. Returns how many were told.
    ///
    /// # Errors
    /// The metadata, the sites or a key are not to be had now.
    pub async fn merge_island(&self) -> Result<u64, Error> {
        let Some(island) = &self.0.island else { return Ok(0) };
        let now = self.0.options.doors.clock.passed_ms();
        let due = |one: &Waiting| one.trouble.as_ref().is_none_or(|(_, _, again_ms)| now >= *again_ms);
        let ids: Vec<EntryId> =
            island.state.lock().waiting.iter().filter(|(_, one)| due(one)).map(|(id, _)| *id).collect();
        let (mut told, mut failed) = (0, None);
        for id in ids {
            if self.is_away() {
                break;
            }
            match self.tell_one(island, id, false).await {
                Ok(()) => told += 1,
                // Other tenants' keys, and other files, may be there.
                Err(error) => failed = failed.or(is_passing(&error).then_some(error)),
            }
        }
        failed.map_or(Ok(told), Err)
    }

    /// Tells one entry whoever wrote it, and whatever that one may do by now.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], or why it cannot be told.
    pub async fn tell_anyway(&self, id: &str) -> Result<(), Error> {
        let (island, id) = self.entry(id)?;
        self.tell_one(island, id, true).await
    }

    /// Forgets one entry. What was acknowledged is lost then.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], or the folder's.
    pub async fn drop_entry(&self, id: &str) -> Result<(), Error> {
        let (island, entry) = self.entry(id)?;
        let _one = island.telling.lock().await;
        // It may have been told while this waited.
        self.entry(id)?;
        tracing::warn!(%entry, "what was taken while the metadata were out of reach is dropped");
        island.remove(entry).await
    }

    fn entry(&self, id: &str) -> Result<(&Arc<Island>, EntryId), Error> {
        let unknown = || Error::NoSuchEntry(id.to_owned());
        let island = self.0.island.as_ref().ok_or_else(unknown)?;
        let id = id.parse().map_err(|_| unknown())?;
        if island.state.lock().waiting.contains_key(&id) { Ok((island, id)) } else { Err(unknown()) }
    }

    /// Tells one entry and forgets it; or remembers why not, and when to try again.
    async fn tell_one(&self, island: &Island, id: EntryId, anyway: bool) -> Result<(), Error> {
        let _one = island.telling.lock().await;
        if !island.state.lock().waiting.contains_key(&id) {
            // Told, or dropped, while this waited.
            return Ok(());
        }
        let error = match self.tell_entry(island, id, anyway).await {
            Ok(()) => return island.remove(id).await,
            Err(error) => error,
        };
        let why = error.to_string();
        if let Some(one) = island.state.lock().waiting.get_mut(&id) {
            let times = one.trouble.as_ref().map_or(0, |(_, times, _)| times + 1);
            if one.trouble.as_ref().is_none_or(|(before, ..)| *before != why) {
                tracing::error!(entry = %id, %error, "what was taken while the metadata were out of reach cannot be told; `holdfast island list`");
            }
            let pause_ms = AGAIN_MS.0.saturating_mul(1 << times.min(16)).min(AGAIN_MS.1);
            one.trouble = Some((why, times, self.0.options.doors.clock.passed_ms().saturating_add(pause_ms)));
        }
        Err(error)
    }

    /// Somebody has looked at a conflict: it is listed no more. Both versions stay.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], or a metadata error.
    pub async fn forget_conflict(&self, id: &str) -> Result<(), Error> {
        let unknown = || Error::NoSuchEntry(id.to_owned());
        let row_key = key::conflict_key(id.parse().map_err(|_| unknown())?);
        let found = self.record::<ConflictRecord>(row_key.clone()).await?;
        let (_, version) = found.filter(|(record, _)| record.account == self.account()).ok_or_else(unknown)?;
        let batch = Batch { checks: vec![Check::Is(row_key.clone(), version)], writes: vec![Write::Delete(row_key)] };
        Ok(self.0.meta.commit(batch).await?)
    }

    async fn tell_entry(&self, island: &Island, id: EntryId, anyway: bool) -> Result<(), Error> {
        let damaged = |error: &dyn std::fmt::Display| Error::Corrupt(format!("entry {id} of the island: {error}"));
        let bytes = tokio::fs::read(island.path(&id.entry_file())).await.map_err(|error| damaged(&error))?;
        let (account, sealed) = entry::in_file(&bytes).map_err(|error| damaged(&error))?;
        let context = entry::context(account, id.body);
        let opened = self.0.portions.open_of_island(account, &context, sealed).await?;
        let Secret { dek, header, taken } = Secret::decode(&opened).map_err(|error| damaged(&error))?;
        if let Some(one) = island.state.lock().waiting.get_mut(&id) {
            one.name = Some((taken.bucket, taken.bucket_name.clone(), taken.key.clone()));
        }
        let home = self.of(account);
        let bucket = home.bucket_record(&taken.bucket_name).await?;
        if bucket.id != taken.bucket {
            return Err(Error::NoSuchBucket(taken.bucket_name));
        }
        if home.order_of(bucket.id, &taken.key, taken.base, id.body).await?.is_some() {
            return Ok(());
        }
        let store = if anyway { home } else { home.acting_as_writer(&taken).await? };
        let opener = Opener::new(&Dek::from_bytes(*dek), &BodyHeader(header), &context);
        let opener = opener.map_err(|error| damaged(&error))?;
        let file = File::open(island.path(&id.body_file())).await.map_err(|error| damaged(&error))?;
        let facts = BodyFacts { md5_hex: taken.md5_hex, checksum: taken.checksum, content: None };
        let mut body = Lying { file, opener, next: 0, left: taken.size, facts };
        let Taken { headers, user_metadata, tags, .. } = taken;
        let new = NewObject::from(ObjectMeta { headers, user_metadata, tags, ..ObjectMeta::default() });
        let given = Given {
            body: id.body,
            late: Some(Late { bucket: taken.bucket_name.clone(), base: taken.base, after: taken.after, id }),
        };
        let names = (taken.bucket_name.as_str(), taken.key.as_str());
        let stored = store.put_given(names, new, taken.size, &WriteCondition::default(), &mut body, given).await?;
        metrics::counter!("holdfast_island_told_total").increment(1);
        tracing::info!(entry = %id, bucket = names.0, version = %stored.version, "what was taken while cut off is told");
        Ok(())
    }

    /// The order of the key's version with this body, among those newer than `base`.
    async fn order_of(
        &self,
        bucket: BucketId,
        name: &str,
        base: Option<u64>,
        body: BodyId,
    ) -> Result<Option<u64>, Error> {
        let current = self.record::<ObjectRecord>(key::object_key(bucket, name)).await?;
        if let Some((record, _)) = current.filter(|(record, _)| record.body_id == body) {
            return Ok(Some(record.order));
        }
        let (mut from, to) = key::versions_of_key(bucket, name);
        loop {
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: 100 }).await?;
            for (row_key, row) in &page.rows {
                let (_, order) = key::version_of(row_key)?;
                if base.is_some_and(|base| order <= base) {
                    return Ok(None);
                }
                if ObjectRecord::decode(&row.value)?.body_id == body {
                    return Ok(Some(order));
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(None),
            }
        }
    }

    /// The store on behalf of who wrote it, if that one still may.
    ///
    /// # Errors
    /// [`Error::KeyGone`], [`Error::NotAllowed`].
    async fn acting_as_writer(&self, taken: &Taken) -> Result<Self, Error> {
        let found = match &taken.access_key {
            Some(access_key) => self.authenticate(access_key).await?.map(|(_, principal)| principal),
            None => Some(self.root_of_account()),
        };
        let principal = found.filter(|who| who.id() == taken.principal_id).ok_or(Error::KeyGone)?;
        let policy = self.bucket_policy(&taken.bucket_name).await?;
        let question = Question {
            action: "s3:PutObject",
            right: Some((Right::Write, &taken.bucket_name)),
            listed: false,
            resource: &format!("arn:aws:s3:::{}/{}", taken.bucket_name, taken.key),
            // Of the request's circumstances only who asked is known any more.
            context: &Values::default(),
        };
        if !judge(Some(&principal), policy.as_deref(), &question).is_allowed() {
            return Err(Error::NotAllowed { who: taken.principal.clone(), bucket: taken.bucket_name.clone() });
        }
        let caller = Caller::new(self.account(), principal.who(), Via::S3, false, None);
        Ok(self.acting_for(Origin {
            principal: taken.principal.clone(),
            address: None,
            request: taken.request.clone(),
            cause: Cause::Request,
            caller: Some(Arc::new(caller)),
            access_key: taken.access_key.as_deref().map(Into::into),
        }))
    }

    /// Where a version that is told late goes.
    ///
    /// # Errors
    /// [`Error::BucketState`] where the bucket keeps no versions any more.
    pub(crate) async fn place_of(&self, goal: &ObjectGoal, late: &Late, stand: &Stand<'_>) -> Result<Place, Error> {
        if stand.state.versioning != Versioning::Enabled {
            return Err(Error::BucketState(
                "the bucket keeps no versions any more, so what is told late would overwrite",
            ));
        }
        let Some(newest) = stand.newest_order().filter(|newest| Some(*newest) > late.base) else {
            return Ok(Place::Newest);
        };
        let before = match late.after {
            Some(body) => self.order_of(goal.bucket.id, &goal.key, late.base, body).await?,
            None => None,
        };
        if before == Some(newest) {
            // Nobody else wrote since.
            return Ok(Place::Newest);
        }
        for order in places(late.base.max(before), newest) {
            let row_key = key::version_key(goal.bucket.id, &goal.key, order);
            if self.row(row_key).await?.is_none() {
                return Ok(Place::Beneath(order));
            }
        }
        Ok(Place::Over)
    }

    /// Adds to `batch` that two versions were written by who did not know of each other. `object` is the one that is told late.
    pub(crate) fn list_conflict(
        &self,
        goal: &ObjectGoal,
        late: &Late,
        stand: &Stand<'_>,
        object: &ObjectRecord,
        batch: &mut Batch,
    ) {
        let current = stand.current.as_ref().and_then(|current| current.as_ref().ok());
        let conflict = ConflictRecord {
            account: goal.account,
            bucket: late.bucket.clone(),
            key: goal.key.clone(),
            version: VersionId::of(object).to_string(),
            other: current.map(|record| VersionId::of(record).to_string()).unwrap_or_default(),
            principal: goal.origin.principal.clone(),
            gateway: self.0.options.gateway.clone(),
            taken_ms: late.id.taken_ms,
            told_ms: self.now_ms(),
        };
        batch.writes.push(Write::Put(key::conflict_key(late.id.body), conflict.encode()));
    }
}

/// Where a version that is told late goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody wrote since: it is the newest.
    Newest,
    /// Somebody did who did not know of it, and stays the newest; it has this order.
    Beneath(u64),
    /// Somebody did, and there is no order between: it is the newest, and the other is kept beneath it.
    Over,
}

/// Orders that a version may have between two others: the first ones after the lower, so that those which come after it have room.
fn places(lower: Option<u64>, newest: u64) -> impl Iterator<Item = u64> {
    (lower.map_or(1, |lower| lower.saturating_add(1))..newest).take(PLACES)
}

/// Whether it may be told a little later.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full)
}

/// A body as it lies in its file.
struct Lying {
    file: File,
    opener: Opener,
    /// The chunk that comes next.
    next: u64,
    /// Plaintext bytes to come.
    left: u64,
    facts: BodyFacts,
}

#[async_trait]
impl BodySource for Lying {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.left == 0 {
            return Ok(None);
        }
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| BodyError::Refused(error);
        let plain = usize::try_from(self.left).unwrap_or(usize::MAX).min(READ_CHUNKS * CHUNK);
        let chunks = plain.div_ceil(CHUNK);
        let mut sealed = vec![0; plain + chunks * (SEALED_CHUNK - CHUNK)];
        self.file.read_exact(&mut sealed).await.map_err(|error| broken(error.into()))?;
        let mut out = vec![0; plain];
        for (sealed, out) in sealed.chunks(SEALED_CHUNK).zip(out.chunks_mut(CHUNK)) {
            // A body of whole chunks ends with an empty one, which holds nothing that is told.
            let is_last = out.len() < CHUNK;
            self.opener.open_chunk(self.next, is_last, sealed, out).map_err(|error| broken(error.into()))?;
            self.next += 1;
        }
        self.left -= plain as u64;
        Ok(Some(out.into()))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(self.facts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_between_what_was_known_and_what_stands() {
        for (lower, newest, expected) in [
            (Some(10), 14, vec![11, 12, 13]),
            (None, 4, vec![1, 2, 3]),
            (Some(10), 11, vec![]),
            (Some(10), 10, vec![]),
            (Some(u64::MAX), 3, vec![]),
        ] {
            assert_eq!(places(lower, newest).collect::<Vec<_>>(), expected, "{lower:?} {newest}");
        }
    }
}
