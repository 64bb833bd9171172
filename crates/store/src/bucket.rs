//! Buckets.

use base::BucketId;
use meta::record::{BucketRecord, Record, key};
use meta::{Batch, Check, CommitError, Range, Write};

use crate::api::BucketInfo;
use crate::{Error, Store};

fn info(name: &str, record: BucketRecord) -> BucketInfo {
    BucketInfo { name: name.to_owned(), created_ms: record.created_ms, owner: record.owner }
}

impl Store {
    pub(crate) async fn bucket_record(&self, name: &str) -> Result<BucketRecord, Error> {
        let found = self.record(key::bucket_key(name)).await?;
        found.map(|(record, _)| record).ok_or_else(|| Error::NoSuchBucket(name.to_owned()))
    }

    /// Makes a bucket with a key of its own.
    ///
    /// # Errors
    /// [`Error::BucketExists`], or a metadata error.
    pub async fn create_bucket(&self, name: &str, owner: &str) -> Result<BucketInfo, Error> {
        let rng = self.0.options.doors.rng.as_ref();
        let id = BucketId::random(rng);
        let record = BucketRecord {
            id,
            created_ms: self.now_ms(),
            owner: owner.to_owned(),
            wrapped_key: self.0.keys.new_bucket_key(id, rng)?,
        };
        let batch = Batch {
            checks: vec![Check::Absent(key::bucket_key(name))],
            writes: vec![
                Write::Put(key::bucket_key(name), record.encode()),
                Write::Put(key::bucket_live_key(id), bytes::Bytes::new()),
            ],
        };
        match self.0.meta.commit(batch).await {
            Ok(()) => Ok(info(name, record)),
            Err(CommitError::Failed { .. }) => {
                let owner = self.bucket_record(name).await?.owner;
                Err(Error::BucketExists { name: name.to_owned(), owner })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A bucket by name.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn bucket(&self, name: &str) -> Result<BucketInfo, Error> {
        Ok(info(name, self.bucket_record(name).await?))
    }

    /// All buckets, by name.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        let mut buckets = Vec::new();
        let (mut from, to) = key::buckets();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            for (key, row) in &page.rows {
                if let Some(name) = key::bucket_name_of(key) {
                    buckets.push(info(name, BucketRecord::decode(&row.value)?));
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(buckets),
            }
        }
    }

    /// Removes an empty bucket; its key is gone with it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketNotEmpty`], or a metadata error.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        let found = self.record::<BucketRecord>(key::bucket_key(name)).await?;
        let (record, version) = found.ok_or_else(|| Error::NoSuchBucket(name.to_owned()))?;
        let (objects_from, objects_to) = key::objects(record.id, "");
        let (uploads_from, uploads_to) = key::uploads(record.id, "");
        let batch = Batch {
            checks: vec![
                Check::Is(key::bucket_key(name), version),
                Check::Empty(objects_from, objects_to),
                Check::Empty(uploads_from, uploads_to),
            ],
            writes: vec![Write::Delete(key::bucket_key(name)), Write::Delete(key::bucket_live_key(record.id))],
        };
        match self.0.meta.commit(batch).await {
            Ok(()) => {
                self.0.keys.forget_bucket(record.id);
                Ok(())
            }
            Err(CommitError::Failed { check: 0 }) => Err(Error::NoSuchBucket(name.to_owned())),
            Err(CommitError::Failed { .. }) => Err(Error::BucketNotEmpty(name.to_owned())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The key right after `key`: where a paged walk goes on.
pub(crate) fn after(key: &[u8]) -> meta::Key {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
