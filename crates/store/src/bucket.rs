//! Buckets.

use base::BucketId;
use meta::record::{BucketConfig, BucketRecord, BucketState, Record, Versioning, key};
use meta::{Batch, Check, CommitError, Range, Row, Write, after, each_row};

use crate::api::BucketInfo;
use crate::{Error, Store};

/// Bytes of a sub-resource's document: room in a row for the largest that S3 allows (lifecycle
/// rules, 1,000 of them) in practice.
pub(crate) const CONFIG_MAX: usize = 120 * 1024;

fn info(name: &str, record: BucketRecord) -> BucketInfo {
    BucketInfo { name: name.to_owned(), created_ms: record.created_ms, owner: record.owner }
}

impl Store {
    pub(crate) async fn bucket_record(&self, name: &str) -> Result<BucketRecord, Error> {
        let found = self.record(key::bucket_key(self.account(), name)).await?;
        found.map(|(record, _)| record).ok_or_else(|| Error::NoSuchBucket(name.to_owned()))
    }

    /// Makes a bucket with a key of its own. Object lock brings versioning with it.
    ///
    /// # Errors
    /// [`Error::BucketExists`], or a metadata error.
    pub async fn create_bucket(&self, name: &str, owner: &str, object_lock: bool) -> Result<BucketInfo, Error> {
        let versioning = if object_lock { Versioning::Enabled } else { Versioning::Off };
        let state = BucketState { versioning, object_lock, ..BucketState::default() };
        let rng = self.0.options.doors.rng.as_ref();
        let id = BucketId::random(rng);
        let record = BucketRecord {
            id,
            created_ms: self.now_ms(),
            owner: owner.to_owned(),
            wrapped_key: self.0.keys.new_bucket_key(id, rng)?,
        };
        let row_key = key::bucket_key(self.account(), name);
        let batch = Batch {
            checks: std::iter::once(Check::Absent(row_key.clone())).chain(self.tenant_lives()).collect(),
            writes: vec![Write::Put(row_key, record.encode()), Write::Put(key::bucket_state_key(id), state.encode())],
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

    /// What writes into the bucket depend on.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn bucket_state(&self, name: &str) -> Result<BucketState, Error> {
        let id = self.bucket_record(name).await?.id;
        let found = self.record(key::bucket_state_key(id)).await?;
        found.map(|(state, _)| state).ok_or_else(|| Error::NoSuchBucket(name.to_owned()))
    }

    /// Changes the bucket's state. Every write acknowledged after this follows it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], what `change` returns, or a metadata error.
    pub async fn change_bucket_state(
        &self,
        name: &str,
        change: impl Fn(&mut BucketState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let id = self.bucket_record(name).await?.id;
        let state_key = key::bucket_state_key(id);
        self.until_won(|| async {
            let found = self.record::<BucketState>(state_key.clone()).await?;
            let (mut state, version) = found.ok_or_else(|| Error::NoSuchBucket(name.to_owned()))?;
            change(&mut state)?;
            let writes = vec![Write::Put(state_key.clone(), state.encode())];
            Ok((Batch { checks: vec![Check::Is(state_key.clone(), version)], writes }, ()))
        })
        .await
    }

    /// Puts a sub-resource, or takes it away with `None`, and changes the bucket's state with it, in one
    /// batch. Every write acknowledged after this follows it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::TooLarge`], or a metadata error.
    pub async fn put_bucket_config_and_state(
        &self,
        bucket: &str,
        name: &'static str,
        document: Option<Vec<u8>>,
        change: impl Fn(&mut BucketState),
    ) -> Result<(), Error> {
        if document.as_ref().is_some_and(|document| document.len() > CONFIG_MAX) {
            return Err(Error::TooLarge { what: "the configuration", max: CONFIG_MAX as u64 });
        }
        let id = self.bucket_record(bucket).await?.id;
        let (state_key, config_key) = (key::bucket_state_key(id), key::bucket_config_key(id, name));
        let config = document.map(|document| BucketConfig { document, modified_ms: self.now_ms() }.encode());
        self.until_won(|| async {
            let found = self.record::<BucketState>(state_key.clone()).await?;
            let (mut state, version) = found.ok_or_else(|| Error::NoSuchBucket(bucket.to_owned()))?;
            change(&mut state);
            let config = match &config {
                Some(config) => Write::Put(config_key.clone(), config.clone()),
                None => Write::Delete(config_key.clone()),
            };
            let writes = vec![Write::Put(state_key.clone(), state.encode()), config];
            Ok((Batch { checks: vec![Check::Is(state_key.clone(), version)], writes }, ()))
        })
        .await
    }

    /// A sub-resource of the bucket, as it was put.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchConfig`], or a metadata error.
    pub async fn bucket_config(&self, bucket: &str, name: &'static str) -> Result<BucketConfig, Error> {
        let id = self.bucket_record(bucket).await?.id;
        let found = self.record(key::bucket_config_key(id, name)).await?;
        found.map(|(config, _)| config).ok_or(Error::NoSuchConfig(name))
    }

    /// Puts a sub-resource; the caller has validated the document.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::TooLarge`], or a metadata error.
    pub async fn put_bucket_config(&self, bucket: &str, name: &'static str, document: Vec<u8>) -> Result<(), Error> {
        if document.len() > CONFIG_MAX {
            return Err(Error::TooLarge { what: "the configuration", max: CONFIG_MAX as u64 });
        }
        let id = self.bucket_record(bucket).await?.id;
        let config = BucketConfig { document, modified_ms: self.now_ms() };
        let batch = Batch {
            checks: vec![Check::Present(key::bucket_state_key(id))],
            writes: vec![Write::Put(key::bucket_config_key(id, name), config.encode())],
        };
        match self.0.meta.commit(batch).await {
            Err(CommitError::Failed { .. }) => Err(Error::NoSuchBucket(bucket.to_owned())),
            other => Ok(other?),
        }
    }

    /// Removes a sub-resource; removing an absent one is no error.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn delete_bucket_config(&self, bucket: &str, name: &'static str) -> Result<(), Error> {
        let id = self.bucket_record(bucket).await?.id;
        let writes = vec![Write::Delete(key::bucket_config_key(id, name))];
        Ok(self.0.meta.commit(Batch { checks: vec![], writes }).await?)
    }

    /// All buckets of the tenant, by name.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        let mut buckets = Vec::new();
        each_row(self.0.meta.as_ref(), key::buckets(self.account()), |row_key, row| {
            if let Some(name) = key::bucket_name_of(self.account(), row_key) {
                buckets.push(info(name, BucketRecord::decode(&row.value)?));
            }
            Ok::<_, Error>(())
        })
        .await?;
        Ok(buckets)
    }

    /// The names of all buckets of the tenant, also of one whose record cannot be read.
    pub(crate) async fn bucket_names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        each_row(self.0.meta.as_ref(), key::buckets(self.account()), |row_key, _| {
            names.extend(key::bucket_name_of(self.account(), row_key).map(str::to_owned));
            Ok::<_, Error>(())
        })
        .await?;
        Ok(names)
    }

    /// The first bucket of the tenant whose name does not sort before `name`.
    pub(crate) async fn bucket_from(&self, name: &str) -> Result<Option<(String, BucketRecord)>, Error> {
        let Some((name, row)) = self.bucket_row_from(name).await? else { return Ok(None) };
        Ok(Some((name, BucketRecord::decode(&row.value)?)))
    }

    /// The same, as it is stored.
    pub(crate) async fn bucket_row_from(&self, name: &str) -> Result<Option<(String, Row)>, Error> {
        let (_, to) = key::buckets(self.account());
        let mut from = key::bucket_key(self.account(), name);
        loop {
            let page = self.0.meta.range(meta::Range { from, to: to.clone(), limit: 1 }).await?;
            let Some((row_key, row)) = page.rows.into_iter().next() else { return Ok(None) };
            match key::bucket_name_of(self.account(), &row_key) {
                Some(name) => return Ok(Some((name.to_owned(), row))),
                None => from = after(&row_key),
            }
        }
    }

    /// Removes an empty bucket; its key is gone with it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketNotEmpty`], or a metadata error.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        let row_key = key::bucket_key(self.account(), name);
        let found = self.record::<BucketRecord>(row_key.clone()).await?;
        let (record, version) = found.ok_or_else(|| Error::NoSuchBucket(name.to_owned()))?;
        let (objects_from, objects_to) = key::objects(record.id, "");
        let (uploads_from, uploads_to) = key::uploads(record.id, "");
        let (versions_from, versions_to) = key::versions(record.id, "");
        let mut batch = Batch {
            checks: vec![
                Check::Is(row_key.clone(), version),
                Check::Empty(objects_from, objects_to),
                Check::Empty(versions_from, versions_to),
                Check::Empty(uploads_from, uploads_to),
            ],
            writes: vec![Write::Delete(row_key), Write::Delete(key::bucket_state_key(record.id))],
        };
        // One put meanwhile stays behind and means nothing: the id is never used again.
        let (from, to) = key::bucket_configs(record.id);
        let configs = self.0.meta.range(Range { from, to, limit: 50 }).await?;
        batch.writes.extend(configs.rows.into_iter().map(|(row_key, _)| Write::Delete(row_key)));
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
