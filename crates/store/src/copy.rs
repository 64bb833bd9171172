//! CopyObject: the new object shares the old one's sealed bytes; only the 40-byte key wraps are
//! made anew.
//!
//! A part that is shared keeps its DEK, and its data row says under which portions' keys that came so: a rekey of one of them
//! finds it wherever it is (`docs/design/0014-rekey.md`). Where the store could not seal a copy anew later, because one side is
//! under a customer's key, the copy gets bytes of its own at once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use base::{BodyId, PartId, UploadId};
use keys::{BucketKey, Wrap};
use meta::record::UNDER_MAX;
use meta::record::{
    Body, DataRecord, DropRecord, Encryption, ObjectRecord, PartRecord, PartRun, Record, ScanMark, ScanMode,
    SealedPart, Versioning, key,
};
use meta::{Batch, Check, Key, Version, Write};
use notify::EventName;
use parking_lot::Mutex;

use crate::api::{CopyChanges, CopySource, NEVER_COPIED, ObjectInfo, ObjectMeta, Verdict, VersionId, WriteCondition};
use crate::commit::{Goal, ObjectGoal, StageGoal, is};
use crate::copy_body::CopyBody;
use crate::encryption::{Place, Under, encrypt_by_default, key_lives};
use crate::outbox::Happened;
use crate::part::Target;
use crate::pin::Held;
use crate::put::{check_name, info};
use crate::version::{Found, lock_by_default};
use crate::{Error, Store};

/// Largest object that one copy makes, bytes (S3: 5 GiB).
const COPY_SIZE_MAX: u64 = 5 << 30;
/// Parts re-wrapped in one batch: each is four checks and two writes of at most a hundred.
const PARTS_PER_BATCH: usize = 16;
/// Versions of a key that the parts of one copy come under: rotations while it is staged.
const VERSIONS_MAX: usize = 8;
/// A staged copy that is not committed within this is taken apart.
const STAGING_MS: u64 = 24 * 3600 * 1000;

impl Store {
    /// Copies an object within the store. A lock is never copied.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] for the source, [`Error::PreconditionFailed`] for either side's
    /// conditions, and as [`Self::put`].
    pub async fn copy(
        &self,
        from: &CopySource,
        bucket: &str,
        key: &str,
        changes: &CopyChanges,
        condition: &WriteCondition,
    ) -> Result<ObjectInfo, Error> {
        check_name(key, changes.meta.as_ref().unwrap_or(&ObjectMeta::default()))?;
        let bucket_name = bucket;
        let from_bucket = self.bucket_record(&from.bucket).await?;
        let bucket = self.bucket_record(bucket).await?;
        let held = Mutex::new(Vec::new());
        let paid = Mutex::new(HashSet::new());
        let copied = self.until_won(|| async {
            let Found { row_key: from_key, record: source, version } =
                self.find(&from_bucket, &from.key, from.version).await?;
            if source.is_marker() {
                return Err(Error::Invalid(
                    "The source of a copy request may not specifically refer to a delete marker by version id.",
                ));
            }
            if from.judged.as_ref().is_some_and(|judged| (judged.0, &judged.1) != (source.body_id, &source.encryption))
            {
                return Err(Error::SourceChanged);
            }
            if from.condition.judge(&source.etag, source.modified_ms) != Verdict::Proceed {
                return Err(Error::PreconditionFailed);
            }
            if source.size > COPY_SIZE_MAX {
                return Err(Error::TooLarge { what: "the source of a copy", max: COPY_SIZE_MAX });
            }
            let mut batch = Batch::default();
            let body_id = BodyId::random(self.0.options.doors.rng.as_ref());
            // What is kept back is not copied to where it is not.
            if let (_, Some(kept_back)) = self.scanned(&from_bucket, &source).await? {
                return Err(kept_back);
            }
            let scan = source.scan.map(|mark| ScanMark { released: false, ..mark });
            let mut object = ObjectRecord { body_id, modified_ms: self.now_ms(), scan, ..source.clone() };
            match &changes.meta {
                Some(meta) => {
                    object.headers.clone_from(&meta.headers);
                    object.user_metadata.clone_from(&meta.user_metadata);
                }
                None => {
                    object.headers.retain(|name, _| !NEVER_COPIED.contains(&name.as_str()));
                    object.headers.extend(changes.own_headers.clone());
                }
            }
            if let Some(tags) = &changes.tags {
                object.tags.clone_from(tags);
            }
            object.lock = changes.lock;
            object.acl.clone_from(&changes.acl);
            let from_place = Place { bucket: &from_bucket, name: &from.bucket, key: &from.key, body: source.body_id };
            let from_under = self.key_to_read(&from_place, &source.encryption, from.customer.as_deref())?;
            let place = Place { bucket: &bucket, name: bucket_name, key, body: body_id };
            let under;
            (under, object.encryption) =
                self.key_to_write(&place, &changes.encrypt, &object.headers, &object.tags).await?;
            let same = from_key == key::object_key(bucket.id, key);
            let state = self.bucket_state_for(&bucket, key, &mut batch).await?;
            if same && state.versioning == Versioning::Off && self.is_under(&source, &under).await? {
                // In place: only metadata changes, and the body must keep its wraps' identity.
                object.body_id = source.body_id;
                lock_by_default(&mut object, &state)?;
                encrypt_by_default(&mut object.encryption, &changes.encrypt, &state);
                crate::commit::judge(condition, Some(&source.etag))?;
                batch.checks.push(is(from_key.clone(), version));
                batch.writes.push(Write::Put(from_key.clone(), object.encode()));
                let happened = Happened {
                    bucket: &bucket,
                    state: &state,
                    origin: &self.1,
                    name: EventName::Copy,
                    key,
                    version: Some(VersionId::of(&object)),
                    stored: Some(&object),
                    order: object.order,
                };
                self.tell(&happened, &mut batch).await?;
                return Ok((batch, info(bucket.id, key, object)));
            }
            // Also of a copy onto itself: what was written since must not be hidden by what was there before.
            batch.checks.push(is(from_key.clone(), version));
            // Held until the commit: neither side's part rows are taken apart under the copy.
            held.lock().extend([source.body_id, body_id].map(|body| self.0.pins.hold(Held::Body(body))));
            let is_customers = matches!(source.encryption, Encryption::Customer { .. });
            let counted = counted_part(&source.body);
            let old = Source { place: from_place, under: from_under, is_customers, counted, paid: &paid };
            let new = Destination { place, under };
            let shared = match &source.body {
                Body::Empty | Body::Marker => Ok(Body::Empty),
                Body::Single(part) => self.copy_single(&old, &new, part, &mut batch).await.map(Body::Single),
                Body::Multipart(runs) => self.stage_parts(&old, &new, runs, &mut batch).await,
            };
            object.body = match shared {
                Ok(body) => body,
                // Replaced under us: a batch that its checks refuse, so that all of it is made anew.
                Err(Error::Corrupt(_) | Error::NoSuchKey)
                    if self.row(from_key.clone()).await?.is_none_or(|row| row.version != version) =>
                {
                    let checks = vec![is(from_key, version)];
                    let writes = vec![Write::Delete(key::drop_key(body_id))];
                    return Ok((Batch { checks, writes }, info(bucket.id, key, object.clone())));
                }
                Err(error) => return Err(error),
            };
            let (bucket, condition, encrypt) = (bucket.clone(), condition.clone(), changes.encrypt.clone());
            let (account, origin, name) = (self.account(), self.1.clone(), EventName::Copy);
            let goal = ObjectGoal {
                bucket,
                key: key.to_owned(),
                condition,
                object,
                account,
                encrypt,
                origin,
                name,
                late: None,
                gone_by: Vec::new(),
            };
            let object = self.prepare_object(&goal, &mut batch).await?;
            Ok((batch, info(goal.bucket.id, key, object)))
        });
        let copied = copied.await?;
        if self.scan_rules(&bucket).await.is_ok_and(|rules| rules.mode != ScanMode::Off) {
            // It may come from where nothing is looked at.
            self.scan_soon(bucket_name, key, copied.version, copied.body_id);
        }
        Ok(copied)
    }

    /// The only part of a body, shared or with bytes of its own.
    async fn copy_single(
        &self,
        old: &Source<'_>,
        new: &Destination<'_>,
        part: &SealedPart,
        batch: &mut Batch,
    ) -> Result<SealedPart, Error> {
        if let Some(shared) = self.share_part(old, new, 0, part, batch).await? {
            return Ok(shared);
        }
        let drop_key = self.begin_staging(new.place.body).await?;
        let (sealed, row_key, row_version) = self.copy_bytes(old, new, 0, part, None).await?;
        batch.checks.extend([Check::Present(drop_key.clone()), is(row_key.clone(), row_version)]);
        batch.writes.extend([Write::Delete(drop_key), Write::Delete(row_key)]);
        Ok(sealed)
    }

    /// Counts one more reference to a part, and wraps its DEK for the new place. `None`: it cannot be shared.
    async fn share_part(
        &self,
        old: &Source<'_>,
        new: &Destination<'_>,
        number: u16,
        part: &SealedPart,
        batch: &mut Batch,
    ) -> Result<Option<SealedPart>, Error> {
        // The store can seal nothing anew that is under a customer's key: such a DEK is never under a portion's as well.
        if old.is_customers != matches!(new.under, Under::Customer(_)) {
            return Ok(None);
        }
        let data_key = key::data_key(part.id);
        let found = self.record::<DataRecord>(data_key.clone()).await?;
        let (mut data, version) = found.ok_or_else(|| Error::Corrupt("a part's data record is gone".to_owned()))?;
        data.refs = data.refs.checked_add(1).ok_or(Error::Contended)?;
        // Before anything is spent: a part that cannot be shared is read, which counts it.
        if let Under::Portion(portion) = new.under
            && data.under.len() + 2 > UNDER_MAX
            && !data.under.iter().any(|(known, _)| *known == portion)
        {
            return Ok(None);
        }
        let (dek, released) = self.unwrap_dek(&old.under, &old.place.dek(number, part.id), part).await?;
        let wrapped_dek = self.wrap_dek(&new.under, &new.place.dek(number, part.id), part.size, &dek).await?;
        let names = [Wrap::parse(&part.wrapped_dek)?.key(), Wrap::parse(&wrapped_dek)?.key()];
        if names[0] != names[1] {
            for name in names.into_iter().flatten() {
                if !data.note_under(name.portion, name.version) {
                    return Err(Error::Contended);
                }
            }
        }
        // The copy may be read on other terms. A batch that lost is made anew, and was paid for.
        if !old.paid.lock().contains(&part.id) {
            self.spend(&released, old.objects(number), part.size).await?;
            old.paid.lock().insert(part.id);
        }
        batch.checks.push(is(data_key.clone(), version));
        batch.writes.push(Write::Put(data_key, data.encode()));
        Ok(Some(SealedPart { wrapped_dek, ..part.clone() }))
    }

    /// A part of several, shared or with bytes of its own; whether its row is there already.
    async fn copy_one(
        &self,
        old: &Source<'_>,
        new: &Destination<'_>,
        number: u16,
        (part, row): (&SealedPart, &PartRecord),
        batch: &mut Batch,
    ) -> Result<(SealedPart, bool), Error> {
        if let Some(shared) = self.share_part(old, new, number, part, batch).await? {
            return Ok((shared, false));
        }
        // Written by an attempt whose batch lost.
        let row_key = key::part_key(UploadId::from(new.place.body), number);
        if let Some((PartRecord { sealed: Some(sealed), .. }, _)) = self.record::<PartRecord>(row_key).await? {
            return Ok((sealed, true));
        }
        Ok((self.copy_bytes(old, new, number, part, Some(row)).await?.0, true))
    }

    /// Seals a part's bytes anew for the new place, in a part row of the new body; returns where that is.
    /// `like`: what the row says besides.
    async fn copy_bytes(
        &self,
        old: &Source<'_>,
        new: &Destination<'_>,
        number: u16,
        part: &SealedPart,
        like: Option<&PartRecord>,
    ) -> Result<(SealedPart, Key, Version), Error> {
        let row_key = key::part_key(UploadId::from(new.place.body), number);
        let gone = || Error::Corrupt("a part's data record is gone".to_owned());
        let reader = self.open_part(&old.place, &old.under, number, part).await?.ok_or_else(gone)?;
        let mut body = CopyBody(reader.read(0..part.size, old.objects(number)).await?);
        let Place { bucket, name, key, body: id } = new.place;
        let target = Target { place: Place { bucket, name, key, body: id }, number, under: new.under.clone() };
        let (drop_key, staged) = (key::drop_key(id), row_key.clone());
        let nothing = || PartRecord { sealed: None, etag: String::new(), modified_ms: self.now_ms(), checksum: None };
        let row = like.cloned().unwrap_or_else(nothing);
        let goal = move |sealed: Option<SealedPart>, _| {
            let sealed = sealed.ok_or(Error::Invalid("a part without bytes has no key"))?;
            let wrapped_dek = sealed.wrapped_dek.clone();
            let row = PartRecord { sealed: Some(sealed), ..row }.encode();
            Ok(Goal::Stage(Box::new(StageGoal { drop_key, row_key: staged, row, wrapped_dek })))
        };
        self.store_body(target, part.size, &mut body, goal).await?;
        let (row, version) = self.record::<PartRecord>(row_key.clone()).await?.ok_or(Error::Contended)?;
        Ok((row.sealed.ok_or(Error::Contended)?, row_key, version))
    }

    /// Writes the row that takes a body's part rows apart if this process dies before anything refers to them.
    async fn begin_staging(&self, body: BodyId) -> Result<Key, Error> {
        let drop = DropRecord { dropped_ms: self.now_ms() + STAGING_MS };
        let drop_key = key::drop_key(body);
        let staged = Batch { checks: vec![], writes: vec![Write::Put(drop_key.clone(), drop.encode())] };
        self.0.meta.commit(staged).await?;
        Ok(drop_key)
    }

    /// Makes part rows for the new body, in batches, before anything refers to them. A drop
    /// record goes first: if this process dies half-way, the collector takes the rows apart.
    async fn stage_parts(
        &self,
        old: &Source<'_>,
        new: &Destination<'_>,
        runs: &[PartRun],
        batch: &mut Batch,
    ) -> Result<Body, Error> {
        let drop_key = self.begin_staging(new.place.body).await?;
        let wraps = Mutex::new(BTreeMap::new());
        let numbers: Vec<u16> =
            runs.iter().flat_map(|run| (0..run.count).map(|i| run.first.saturating_add(i))).collect();
        for numbers in numbers.chunks(PARTS_PER_BATCH) {
            self.until_won(|| async {
                let mut batch = Batch::default();
                for &number in numbers {
                    let from = key::part_key(UploadId::from(old.place.body), number);
                    let found = self.record::<PartRecord>(from.clone()).await?;
                    // The source was replaced and taken apart under us.
                    let (mut part, version) = found.ok_or(Error::NoSuchKey)?;
                    let to = key::part_key(UploadId::from(new.place.body), number);
                    if let Some(sealed) = &part.sealed {
                        let copied = self.copy_one(old, new, number, (sealed, &part), &mut batch).await;
                        let (sealed, is_there) = match copied {
                            // It was sealed anew under us: a batch that its check refuses, so that all of it is made anew.
                            Err(Error::Corrupt(_))
                                if self.row(from.clone()).await?.is_some_and(|row| row.version != version) =>
                            {
                                let writes = vec![Write::Put(to, part.encode())];
                                return Ok((Batch { checks: vec![is(from, version)], writes }, ()));
                            }
                            copied => copied?,
                        };
                        if let Some(name) = Wrap::parse(&sealed.wrapped_dek)?.key() {
                            wraps.lock().insert(name, sealed.wrapped_dek.clone());
                        }
                        if is_there {
                            continue;
                        }
                        batch.checks.extend(key_lives(&sealed.wrapped_dek));
                        // What is under a bucket's key may come under a portion's meanwhile, which its data row must say.
                        batch.checks.push(is(from, version));
                        part.sealed = Some(sealed);
                    }
                    batch.writes.push(Write::Put(to, part.encode()));
                }
                Ok((batch, ()))
            })
            .await?;
        }
        batch.checks.push(Check::Present(drop_key.clone()));
        batch.writes.push(Write::Delete(drop_key));
        // Staged under a version that is closed since: a walk that looked for what is under it has not seen these parts.
        let wraps = wraps.into_inner();
        if wraps.len() > VERSIONS_MAX {
            return Err(Error::Contended);
        }
        batch.checks.extend(wraps.values().flat_map(|wrapped| key_lives(wrapped)));
        Ok(Body::Multipart(runs.to_vec()))
    }
}

/// What is copied.
struct Source<'a> {
    place: Place<'a>,
    /// The bucket's key, or that and the customer's.
    under: Arc<BucketKey>,
    /// Whether it is under a customer's key.
    is_customers: bool,
    /// The part that the object is counted with.
    counted: u16,
    /// Parts that were counted by an attempt before.
    paid: &'a Mutex<HashSet<PartId>>,
}

impl Source<'_> {
    /// How many objects the reading of a part counts for.
    fn objects(&self, number: u16) -> u64 {
        u64::from(number == self.counted)
    }
}

/// The number of the first part of a body that has bytes; 0 is all of a body of one part.
fn counted_part(body: &Body) -> u16 {
    match body {
        Body::Multipart(runs) => runs.iter().find(|run| run.size > 0).map_or(0, |run| run.first),
        _ => 0,
    }
}

/// What is made.
struct Destination<'a> {
    place: Place<'a>,
    under: Under,
}
