//! Multipart uploads.

use base::limits::{PART_SIZE_MIN, PARTS_MAX};
use base::{BodyId, UploadId};
use meta::record::{
    Body, BucketRecord, Checksum, ChecksumKind, DropRecord, ObjectRecord, PartRecord, PartRun, Record, RecordError,
    ScanMode, UploadRecord, key,
};
use meta::{Batch, Check, CommitError, Key, Range, Version, Write, after, each_row};
use notify::EventName;

use crate::api::{
    BodySource, CompletePart, CopySource, Encrypt, Expected, ListRequest, NewObject, NewPart, ObjectInfo, PartInfo,
    PartPage, ReadRange, UploadInfo, UploadPage, Verdict, VersionId, WriteCondition,
};
use crate::checksum::combine;
use crate::commit::{Goal, ObjectGoal, PartGoal, is};
use crate::encryption::{Place, encrypt_by_default};
use crate::list::{after_marker, common_prefix};
use crate::part::Target;
use crate::put::{check_name, info, opaque_etag};
use crate::read::part_info;
use crate::worker::readable;
use crate::{Error, Store};

/// Times a completion starts over because a part was overwritten meanwhile.
const COMPLETE_ATTEMPTS: usize = 20;
/// Unused parts released in one batch: each is up to two checks and three writes of at most a hundred.
const UNUSED_PER_BATCH: usize = 20;

fn upload_info(key: &str, upload: UploadId, record: UploadRecord) -> UploadInfo {
    UploadInfo {
        key: key.to_owned(),
        upload,
        created_ms: record.created_ms,
        owner: record.owner,
        checksum: record.checksum,
        encryption: record.encryption,
        headers: record.headers,
    }
}

impl Store {
    /// Opens an upload.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        new: impl Into<NewObject>,
        checksum: Option<(String, ChecksumKind)>,
        owner: &str,
    ) -> Result<UploadInfo, Error> {
        let NewObject { meta, encrypt, acl } = new.into();
        check_name(key, &meta)?;
        let record = self.bucket_record(bucket).await?;
        let upload = UploadId::random(self.0.options.doors.rng.as_ref());
        let place = Place { bucket: &record, name: bucket, key, body: BodyId::from(upload) };
        let (_, mut encryption) = self.key_to_write(&place, &encrypt, &meta.headers, &meta.tags).await?;
        let state = self.bucket_state(bucket).await?;
        encrypt_by_default(&mut encryption, &encrypt, &state);
        let row = UploadRecord {
            created_ms: self.now_ms(),
            owner: owner.to_owned(),
            headers: meta.headers,
            user_metadata: meta.user_metadata,
            checksum,
            tags: meta.tags,
            lock: meta.lock,
            staging: false,
            encryption,
            acl,
        };
        let batch = Batch {
            checks: vec![Check::Present(key::bucket_state_key(record.id))],
            writes: vec![Write::Put(key::upload_key(record.id, key, upload), row.encode())],
        };
        match self.0.meta.commit(batch).await {
            Ok(()) => Ok(upload_info(key, upload, row)),
            Err(CommitError::Failed { .. }) => Err(Error::NoSuchBucket(bucket.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    async fn upload_row(
        &self,
        bucket: &BucketRecord,
        key: &str,
        upload: UploadId,
    ) -> Result<(UploadRecord, Version), Error> {
        let found = self.record(key::upload_key(bucket.id, key, upload)).await?;
        found.ok_or(Error::NoSuchUpload)
    }

    /// An open upload.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`], or a metadata error.
    pub async fn upload(&self, bucket: &str, key: &str, upload: UploadId) -> Result<UploadInfo, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let (record, _) = self.upload_row(&bucket, key, upload).await?;
        Ok(upload_info(key, upload, record))
    }

    /// Stores a part of `size` bytes; an earlier part with the number is replaced.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`], and as [`Self::put`].
    pub async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        new: &NewPart,
        size: u64,
        body: &mut dyn BodySource,
    ) -> Result<PartInfo, Error> {
        let NewPart { upload, number, customer } = new;
        let (upload, number) = (*upload, *number);
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(Error::Invalid("a part number is between 1 and 10,000"));
        }
        let name = bucket;
        let bucket = self.bucket_record(bucket).await?;
        let (row, _) = self.upload_row(&bucket, key, upload).await?;
        let mut stored = None;
        let place = Place { bucket: &bucket, name, key, body: BodyId::from(upload) };
        let under = self.key_to_go_on(&place, &row.encryption, customer.as_deref(), &row.headers, &row.tags).await;
        let under = match under {
            Err(Error::CustomerKeyMissing | Error::CustomerKeyWrong | Error::NoCustomerKey) => {
                return Err(Error::OtherEncryption);
            }
            under => under?,
        };
        let target = Target { place, number, under };
        let tag = BodyId::random(self.0.options.doors.rng.as_ref());
        let goal = |sealed: Option<meta::record::SealedPart>, facts: crate::api::BodyFacts| {
            let part = PartRecord {
                sealed,
                etag: facts.md5_hex.unwrap_or_else(|| opaque_etag(tag, 1)),
                modified_ms: self.now_ms(),
                checksum: facts.checksum,
            };
            stored = Some(part_info(number, part.clone()));
            let bucket = bucket.clone();
            Ok(Goal::Part(Box::new(PartGoal { bucket, key: key.to_owned(), upload, number, part })))
        };
        self.store_body(target, size, body, goal).await?;
        stored.ok_or(Error::Invalid("a body without an end"))
    }

    /// Stores a range of an object as a part.
    ///
    /// # Errors
    /// As [`Self::copy`] and [`Self::put_part`].
    pub async fn copy_part(
        &self,
        from: &CopySource,
        range: ReadRange,
        bucket: &str,
        key: &str,
        new: &NewPart,
    ) -> Result<PartInfo, Error> {
        let source = self.open_object(&from.bucket, &from.key, from.version, from.customer.as_deref()).await?;
        let found = (source.info.body_id, &source.info.encryption);
        if from.judged.as_ref().is_some_and(|judged| (judged.0, &judged.1) != found) {
            return Err(Error::SourceChanged);
        }
        if from.condition.judge(&source.info.etag, source.info.modified_ms) != Verdict::Proceed {
            return Err(Error::PreconditionFailed);
        }
        let size = match &range {
            ReadRange::All => source.info.size,
            ReadRange::Bytes(range) if range.end <= source.info.size && !range.is_empty() => range.end - range.start,
            ReadRange::Bytes(_) => return Err(Error::Invalid("the range to copy is outside the source object")),
        };
        let mut body = crate::copy_body::CopyBody(source.read(range).await?);
        self.put_part(bucket, key, new, size, &mut body).await
    }

    /// Lists an upload's parts with numbers above `after_number`.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`], or a metadata error.
    pub async fn parts(
        &self,
        bucket: &str,
        key: &str,
        upload: UploadId,
        after_number: u16,
        limit: usize,
    ) -> Result<PartPage, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let (record, _) = self.upload_row(&bucket, key, upload).await?;
        let (_, to) = key::parts(upload);
        let from = key::part_key(upload, after_number.saturating_add(1));
        let page = self.0.meta.range(Range { from, to, limit: limit.min(1000) }).await?;
        let mut parts = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            parts.push(part_info(key::part_number_of(row_key)?, PartRecord::decode(&row.value)?));
        }
        let next = if page.more { parts.last().map(|part| part.number) } else { None };
        Ok(PartPage { upload: upload_info(key, upload, record), parts, next })
    }

    /// Lists a bucket's open uploads. `request.after` is the key marker, `after_upload` the
    /// upload marker under that key.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn uploads(
        &self,
        bucket: &str,
        request: &ListRequest,
        after_upload: Option<UploadId>,
    ) -> Result<UploadPage, Error> {
        match self.readable_uploads(bucket, request, after_upload).await? {
            (page, None) => Ok(page),
            (_, Some(damage)) => Err(damage.into()),
        }
    }

    /// As [`Self::uploads`], but rows that cannot be read are told and passed over: the last one's error is
    /// given beside the others.
    pub(crate) async fn readable_uploads(
        &self,
        bucket: &str,
        request: &ListRequest,
        after_upload: Option<UploadId>,
    ) -> Result<(UploadPage, Option<RecordError>), Error> {
        let id = self.bucket_record(bucket).await?.id;
        let (mut from, to) = key::uploads(id, &request.prefix);
        if let Some(marker) = &request.after {
            let start = match after_upload {
                Some(upload) => after(&key::upload_key(id, marker, upload)),
                // Behind all uploads of the marker's key, or behind its common prefix.
                None if common_prefix(request, marker) == Some(marker) => {
                    after_marker(request, marker, |name| key::uploads(id, &String::from_utf8_lossy(name)).0)
                }
                None => key::uploads_of_key(id, marker).1,
            };
            from = from.max(start);
        }
        let mut page = UploadPage::default();
        let (mut last, mut damage) = (None, None);
        if request.limit == 0 {
            return Ok((page, damage));
        }
        loop {
            let rows = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 64 }).await?;
            let mut seek = None;
            for (row_key, row) in &rows.rows {
                if page.uploads.len() + page.common_prefixes.len() == request.limit {
                    page.next = last;
                    return Ok((page, damage));
                }
                let (name, upload) = key::upload_of(row_key)?;
                if let Some(common) = common_prefix(request, &name) {
                    page.common_prefixes.push(common.to_owned());
                    last = Some((common.to_owned(), None));
                    seek = Some(key::uploads(id, common).1);
                    break;
                }
                match UploadRecord::decode(&row.value) {
                    Ok(record) => page.uploads.push(upload_info(&name, upload, record)),
                    Err(error) => {
                        tracing::error!(row = %row_key.escape_ascii(), %error, "an upload cannot be read");
                        damage = Some(error);
                        continue;
                    }
                }
                last = Some((name, Some(upload)));
            }
            from = match (seek, rows.rows.last()) {
                (Some(seek), _) => seek,
                (None, Some((last, _))) if rows.more => after(last),
                _ => return Ok((page, damage)),
            };
        }
    }

    /// Gives an upload up; its parts are collected.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`], or a metadata error.
    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: UploadId) -> Result<(), Error> {
        let bucket = self.bucket_record(bucket).await?;
        let row_key = key::upload_key(bucket.id, key, upload);
        self.until_won(|| async {
            let (_, version) = self.upload_row(&bucket, key, upload).await?;
            let drop = DropRecord { dropped_ms: self.now_ms() };
            let batch = Batch {
                checks: vec![is(row_key.clone(), version)],
                writes: vec![
                    Write::Delete(row_key.clone()),
                    Write::Put(key::drop_key(BodyId::from(upload)), drop.encode()),
                ],
            };
            Ok((batch, ()))
        })
        .await
    }

    /// Makes an upload's parts the object.
    ///
    /// # Errors
    /// [`Error::InvalidPart`], [`Error::InvalidPartOrder`], [`Error::PartTooSmall`],
    /// [`Error::BadDigest`], [`Error::OtherSize`], [`Error::NoSuchUpload`], a condition's error, or a metadata error.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: UploadId,
        parts: &[CompletePart],
        expected: &Expected,
        condition: &WriteCondition,
    ) -> Result<ObjectInfo, Error> {
        if parts.is_empty() {
            return Err(Error::Invalid("a completion names at least one part"));
        }
        if !parts.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Error::InvalidPartOrder);
        }
        let bucket_name = bucket;
        let bucket = self.bucket_record(bucket).await?;
        let upload_key = key::upload_key(bucket.id, key, upload);
        for _ in 0..COMPLETE_ATTEMPTS {
            // Mark the upload, so that a part stored from here on changes its row: the final
            // batch then fails, and what was read here is read again.
            let (mut row, version) = match self.upload_row(&bucket, key, upload).await {
                // A client that lost our answer asks again: the object may be there already.
                Err(Error::NoSuchUpload) => {
                    let done = self.completed(&bucket, key, upload).await?;
                    expected.check_size(done.size)?;
                    return Ok(done);
                }
                found => found?,
            };
            row.staging = true;
            let mark = Batch {
                checks: vec![is(upload_key.clone(), version)],
                writes: vec![Write::Put(upload_key.clone(), row.encode())],
            };
            match self.0.meta.commit(mark).await {
                Ok(()) => {}
                Err(CommitError::Failed { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            let (row, version) = match self.upload_row(&bucket, key, upload).await {
                // Another completion won in between: what it made is found like one from before.
                Err(Error::NoSuchUpload) => continue,
                found => found?,
            };
            if !row.staging {
                continue;
            }
            let stored = self.all_parts(upload).await?;
            let chosen = choose(parts, &stored)?;
            let size = chosen.iter().map(|(_, part)| part.size()).sum();
            expected.check_size(size)?;
            let checksum = whole_checksum(&row, &chosen, expected)?;
            let object = ObjectRecord {
                body_id: BodyId::from(upload),
                order: 0,
                null: true,
                modified_ms: self.now_ms(),
                size,
                etag: opaque_etag(BodyId::from(upload), chosen.len()),
                headers: row.headers,
                user_metadata: row.user_metadata,
                checksum,
                tags: row.tags,
                lock: row.lock,
                body: Body::Multipart(runs(&chosen)),
                encryption: row.encryption,
                acl: row.acl,
                // The worker reads it.
                scan: None,
            };
            let (bucket, condition) = (bucket.clone(), condition.clone());
            // The bucket's own encryption was decided on when the upload was created.
            let encrypt = Encrypt::Bucket;
            let (account, origin, name) = (self.account(), self.1.clone(), EventName::CompleteMultipartUpload);
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
            let mut batch = Batch {
                checks: vec![is(upload_key.clone(), version)],
                writes: vec![Write::Delete(upload_key.clone())],
            };
            let object = self.prepare_object(&goal, &mut batch).await?;
            match self.0.meta.commit(batch).await {
                Ok(()) => {
                    self.release_unused(upload, parts, &stored);
                    if self.scan_rules(&goal.bucket).await.is_ok_and(|rules| rules.mode != ScanMode::Off) {
                        self.scan_soon(bucket_name, key, VersionId::of(&object), object.body_id);
                    }
                    return Ok(info(goal.bucket.id, key, object));
                }
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended)
    }

    /// What an earlier completion of the upload made, while it still stands.
    async fn completed(&self, bucket: &BucketRecord, key: &str, upload: UploadId) -> Result<ObjectInfo, Error> {
        match self.record::<ObjectRecord>(key::object_key(bucket.id, key)).await? {
            Some((record, _)) if record.body_id == BodyId::from(upload) => Ok(info(bucket.id, key, record)),
            _ => Err(Error::NoSuchUpload),
        }
    }

    pub(crate) async fn all_parts(&self, upload: UploadId) -> Result<Vec<(u16, PartRecord)>, Error> {
        let mut parts = Vec::new();
        each_row(self.0.meta.as_ref(), key::parts(upload), |row_key, row| {
            parts.push((key::part_number_of(row_key)?, PartRecord::decode(&row.value)?));
            Ok::<_, Error>(())
        })
        .await?;
        Ok(parts)
    }

    /// Parts that the completion did not name go in the background: its client does not wait for them.
    /// Whatever of this fails is done when the object itself is dropped, since its rows carry the same
    /// upload id.
    fn release_unused(&self, upload: UploadId, used: &[CompletePart], stored: &[(u16, PartRecord)]) {
        let is_unused = |number: &u16| used.binary_search_by_key(number, |part| part.number).is_err();
        let unused: Vec<Key> = stored
            .iter()
            .filter(|(number, _)| is_unused(number))
            .map(|(number, _)| key::part_key(upload, *number))
            .collect();
        if unused.is_empty() {
            return;
        }
        let store = self.clone();
        self.0.tasks.spawn(async move {
            for rows in unused.chunks(UNUSED_PER_BATCH) {
                if let Err(error) = store.until_won(|| store.release_rows(rows)).await {
                    tracing::debug!(%error, "unused parts stay until their object goes");
                }
            }
        });
    }

    /// The batch that removes those of these part rows that are there, and releases what they refer to.
    async fn release_rows(&self, row_keys: &[Key]) -> Result<(Batch, ()), Error> {
        let mut batch = Batch::default();
        for (row_key, row) in row_keys.iter().zip(self.0.meta.get(row_keys).await?) {
            let Some(row) = row else { continue };
            batch.checks.push(is(row_key.clone(), row.version));
            batch.writes.push(Write::Delete(row_key.clone()));
            let part = readable::<PartRecord>(row_key, &row.value);
            if let Some(sealed) = part.as_ref().and_then(|part| part.sealed.as_ref()) {
                self.release_part(sealed, &mut batch).await?;
            }
        }
        Ok((batch, ()))
    }
}

/// The stored parts that a completion names, checked.
fn choose<'a>(named: &[CompletePart], stored: &'a [(u16, PartRecord)]) -> Result<Vec<(u16, &'a PartRecord)>, Error> {
    let mut chosen = Vec::with_capacity(named.len());
    for (position, part) in named.iter().enumerate() {
        let found = stored.binary_search_by_key(&part.number, |(number, _)| *number);
        let record = found.ok().and_then(|at| stored.get(at)).map(|(_, record)| record);
        let record = record.filter(|record| record.etag == part.etag).ok_or(Error::InvalidPart(part.number))?;
        if let (Some(expected), stored) = (&part.checksum, &record.checksum)
            && stored.as_ref().is_none_or(|stored| stored.value != *expected)
        {
            return Err(Error::InvalidPart(part.number));
        }
        if record.size() < PART_SIZE_MIN && position + 1 < named.len() {
            return Err(Error::PartTooSmall { number: part.number, size: record.size() });
        }
        chosen.push((part.number, record));
    }
    Ok(chosen)
}

fn runs(parts: &[(u16, &PartRecord)]) -> Vec<PartRun> {
    let mut runs: Vec<PartRun> = Vec::new();
    for (number, part) in parts {
        match runs.last_mut() {
            Some(run) if run.size == part.size() && run.first.checked_add(run.count) == Some(*number) => run.count += 1,
            _ => runs.push(PartRun { first: *number, count: 1, size: part.size() }),
        }
    }
    runs
}

/// The checksum of the whole from its parts', and whether it is what the client expects.
fn whole_checksum(
    row: &UploadRecord,
    parts: &[(u16, &PartRecord)],
    expected: &Expected,
) -> Result<Option<Checksum>, Error> {
    if row.checksum.as_ref().zip(expected.kind).is_some_and(|((_, asked), expected)| *asked != expected) {
        return Err(Error::BadDigest);
    }
    let expected = expected.checksum.as_ref();
    let asked = row.checksum.clone().or_else(|| expected.map(|sum| (sum.algorithm.clone(), sum.kind)));
    let Some((algorithm, kind)) = asked else { return Ok(None) };
    let sums = parts.iter().map(|(_, part)| part.checksum.as_ref().map(|sum| (sum, part.size())));
    let whole = combine(&algorithm, kind, sums);
    match (whole, expected) {
        (Some(whole), Some(expected)) if !same_sum(&whole.value, &expected.value) => Err(Error::BadDigest),
        (None, Some(_)) => Err(Error::BadDigest),
        (whole, _) => Ok(whole),
    }
}

/// Clients send a composite checksum with or without its `-<parts>`.
fn same_sum(ours: &str, theirs: &str) -> bool {
    ours == theirs || ours.split_once('-').is_some_and(|(sum, _)| sum == theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{PartId, SeededRng};
    use meta::record::SealedPart;

    fn part(size: u64, etag: &str) -> PartRecord {
        let id = PartId::random(&SeededRng::new(size));
        let sealed = SealedPart { id, size, wrapped_dek: vec![], header: vec![] };
        PartRecord { sealed: Some(sealed), etag: etag.to_owned(), modified_ms: 0, checksum: None }
    }

    fn named(number: u16, etag: &str) -> CompletePart {
        CompletePart { number, etag: etag.to_owned(), checksum: None }
    }

    #[test]
    fn choosing_parts() {
        let stored = [(1, part(PART_SIZE_MIN, "a")), (2, part(10, "b")), (4, part(PART_SIZE_MIN, "d"))];
        let ok = |named: &[CompletePart]| choose(named, &stored).map(|chosen| chosen.len());
        assert_eq!(ok(&[named(1, "a"), named(2, "b")]).unwrap(), 2);
        assert_eq!(ok(&[named(2, "b")]).unwrap(), 1);
        assert!(matches!(ok(&[named(1, "x")]), Err(Error::InvalidPart(1))));
        assert!(matches!(ok(&[named(3, "c")]), Err(Error::InvalidPart(3))));
        assert!(matches!(ok(&[named(2, "b"), named(4, "d")]), Err(Error::PartTooSmall { number: 2, size: 10 })));
    }

    #[test]
    fn runs_stay_small() {
        let (five, six) = (part(5, ""), part(6, ""));
        let parts = [(1, &five), (2, &five), (4, &five), (5, &six)];
        let told: Vec<_> = runs(&parts).iter().map(|run| (run.first, run.count, run.size)).collect();
        assert_eq!(told, [(1, 2, 5), (4, 1, 5), (5, 1, 6)]);
    }
}
