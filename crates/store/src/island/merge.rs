//! What was taken while cut off is told: each becomes a version of its key. Where another one was written since by who did not know of it,
//! that one stays the newest, the told one comes beneath it, and a row says so until somebody has looked.
//!
//! A version is told under the body id that it was taken with, so that one which was told before the gateway died is found and not
//! told again.

use std::sync::Arc;

use async_trait::async_trait;
use base::limits::{CHUNK, SEALED_CHUNK};
use base::{BucketId, Classify, ErrorKind};
use bytes::Bytes;
use envelope::{BodyHeader, Dek, Opener};
use keys::Caller;
use meta::record::{ConflictRecord, ObjectRecord, Record, key};
use meta::{Batch, Check, Range, Write, after};
use policy::Values;
use release::Via;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::entry::{self, EntryId, Secret, Taken};
use super::{Island, io};
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

/// What the commit has to know of a version that is told late.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    /// The bucket's name.
    pub(crate) bucket: String,
    /// The newest version's order as its writer's gateway knew it.
    pub(crate) base: Option<u64>,
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
        if self.is_away() {
            return Ok(0);
        }
        let ids: Vec<EntryId> = island.waiting.lock().keys().copied().collect();
        let mut told = 0;
        for id in ids {
            match self.tell_entry(island, id, false).await {
                Ok(()) => {
                    island.remove(id).await?;
                    told += 1;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full) => {
                    return Err(error);
                }
                Err(error) => self.cannot_tell(island, id, &error),
            }
        }
        Ok(told)
    }

    fn cannot_tell(&self, island: &Island, id: EntryId, error: &Error) {
        let trouble = error.to_string();
        if let Some(one) = island.waiting.lock().get_mut(&id)
            && one.trouble.as_ref() != Some(&trouble)
        {
            tracing::error!(entry = %id, %error, "what was taken while the metadata were out of reach cannot be told; `holdfast island list`");
            one.trouble = Some(trouble);
        }
    }

    /// Tells one entry whoever wrote it, and whatever that one may do by now.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], or why it cannot be told.
    pub async fn tell_anyway(&self, id: &str) -> Result<(), Error> {
        let (island, id) = self.entry(id)?;
        if let Err(error) = self.tell_entry(island, id, true).await {
            self.cannot_tell(island, id, &error);
            return Err(error);
        }
        island.remove(id).await
    }

    /// Forgets one entry. What was acknowledged is lost then.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], or the folder's.
    pub async fn drop_entry(&self, id: &str) -> Result<(), Error> {
        let (island, id) = self.entry(id)?;
        tracing::warn!(entry = %id, "what was taken while the metadata were out of reach is dropped");
        island.remove(id).await
    }

    fn entry(&self, id: &str) -> Result<(&Island, EntryId), Error> {
        let unknown = || Error::NoSuchEntry(id.to_owned());
        let island = self.0.island.as_ref().ok_or_else(unknown)?;
        let id = id.parse().map_err(|_| unknown())?;
        if island.waiting.lock().contains_key(&id) { Ok((island, id)) } else { Err(unknown()) }
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
        let bytes = tokio::fs::read(island.path(&id.entry_file())).await.map_err(io("an entry"))?;
        let (account, sealed) = entry::in_file(&bytes).map_err(|error| damaged(&error))?;
        let context = id.context(account);
        let opened = self.0.portions.open_of_island(account, &context, sealed).await?;
        let Secret { dek, header, taken } = Secret::decode(&opened).map_err(|error| damaged(&error))?;
        if let Some(one) = island.waiting.lock().get_mut(&id) {
            one.name = Some((taken.bucket, taken.bucket_name.clone(), taken.key.clone()));
        }
        let home = self.of(account);
        let bucket = home.bucket_record(&taken.bucket_name).await?;
        if bucket.id != taken.bucket {
            return Err(Error::NoSuchBucket(taken.bucket_name));
        }
        if home.has_body(bucket.id, &taken, id).await? {
            return Ok(());
        }
        let store = if anyway { home } else { home.acting_as_writer(&taken).await? };
        let opener = Opener::new(&Dek::from_bytes(*dek), &BodyHeader(header), &context);
        let opener = opener.map_err(|error| damaged(&error))?;
        let file = File::open(island.path(&id.body_file())).await.map_err(io("a body"))?;
        let facts = BodyFacts { md5_hex: taken.md5_hex, checksum: taken.checksum };
        let mut body = Lying { file, opener, next: 0, left: taken.size, facts };
        let Taken { headers, user_metadata, tags, .. } = taken;
        let new = NewObject::from(ObjectMeta { headers, user_metadata, tags, ..ObjectMeta::default() });
        let given =
            Given { body: id.body, late: Some(Late { bucket: taken.bucket_name.clone(), base: taken.base, id }) };
        let names = (taken.bucket_name.as_str(), taken.key.as_str());
        let stored = store.put_given(names, new, taken.size, &WriteCondition::default(), &mut body, given).await?;
        metrics::counter!("holdfast_island_told_total").increment(1);
        tracing::info!(entry = %id, bucket = names.0, version = %stored.version, "what was taken while cut off is told");
        Ok(())
    }

    /// Whether the key has a version with this entry's body.
    async fn has_body(&self, bucket: BucketId, taken: &Taken, id: EntryId) -> Result<bool, Error> {
        let current = self.record::<ObjectRecord>(key::object_key(bucket, &taken.key)).await?;
        if current.is_some_and(|(record, _)| record.body_id == id.body) {
            return Ok(true);
        }
        let (mut from, to) = key::versions_of_key(bucket, &taken.key);
        loop {
            let page = self.0.meta.range(Range { from, to: to.clone(), limit: 100 }).await?;
            for (row_key, row) in &page.rows {
                let (_, order) = key::version_of(row_key)?;
                if taken.base.is_some_and(|base| order <= base) {
                    return Ok(false);
                }
                if ObjectRecord::decode(&row.value)?.body_id == id.body {
                    return Ok(true);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(false),
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

    /// Adds to `batch` what puts a version beneath the newest one, about where its time is, and tells that there are two.
    pub(crate) async fn put_beneath(
        &self,
        goal: &ObjectGoal,
        late: &Late,
        stand: &Stand<'_>,
        object: &mut ObjectRecord,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let mut orders = late.places(stand.newest_order().unwrap_or(u64::MAX));
        let row_key = loop {
            object.order = orders.next().ok_or(Error::Contended)?;
            let row_key = key::version_key(goal.bucket.id, &goal.key, object.order);
            if self.row(row_key.clone()).await?.is_none() {
                break row_key;
            }
        };
        object.modified_ms = late.id.taken_ms;
        batch.checks.push(Check::Absent(row_key.clone()));
        batch.writes.push(Write::Put(row_key, object.encode()));
        let current = stand.current.as_ref().and_then(|current| current.as_ref().ok());
        let conflict = ConflictRecord {
            account: goal.account,
            bucket: late.bucket.clone(),
            key: goal.key.clone(),
            version: VersionId::of(object).to_string(),
            newest: current.map(|record| VersionId::of(record).to_string()).unwrap_or_default(),
            principal: goal.origin.principal.clone(),
            gateway: self.0.options.gateway.clone(),
            taken_ms: late.id.taken_ms,
            told_ms: self.now_ms(),
        };
        batch.writes.push(Write::Put(key::conflict_key(late.id.body), conflict.encode()));
        Ok(())
    }
}

impl Late {
    /// Whether it comes beneath what stands: somebody wrote since who did not know of it.
    pub(crate) fn is_beneath(&self, stand: &Stand<'_>) -> bool {
        stand.newest_order() > self.base
    }

    /// Orders that it may have beneath `newest`: the one of its time first, where that is between the two, then those next to it.
    fn places(&self, newest: u64) -> impl Iterator<Item = u64> + use<> {
        let lowest = self.base.map_or(1, |base| base.saturating_add(1));
        let highest = newest.saturating_sub(1);
        let wanted = self.id.taken_ms.min(highest).max(lowest);
        (lowest..=wanted.min(highest)).rev().chain(wanted.saturating_add(1)..=highest).take(PLACES)
    }
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
    use base::{BodyId, SeededRng};

    use super::*;

    #[test]
    fn places_are_between_what_was_known_and_what_stands() {
        let body = BodyId::random(&SeededRng::new(1));
        for (base, taken_ms, newest, expected) in [
            (Some(10), 15, 20, vec![15, 14, 13, 12, 11, 16, 17, 18, 19]),
            // Clocks that are off.
            (Some(10), 5, 14, vec![11, 12, 13]),
            (Some(10), 99, 14, vec![13, 12, 11]),
            (None, 3, 5, vec![3, 2, 1, 4]),
            (Some(10), 10, 11, vec![]),
        ] {
            let late = Late { bucket: String::new(), base, id: EntryId { taken_ms, body } };
            assert_eq!(late.places(newest).collect::<Vec<_>>(), expected, "{base:?} {taken_ms} {newest}");
        }
    }
}
