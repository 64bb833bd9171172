//! DeleteObject.

use meta::record::{ObjectRecord, Record, key};
use meta::{Batch, Check, Write};

use crate::api::{Deleted, EtagSet};
use crate::{Error, Store};

impl Store {
    /// Removes an object. Its bytes are collected after the grace period.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::PreconditionFailed`], [`Error::ConditionOnAbsent`],
    /// [`Error::Contended`], or a metadata error.
    pub async fn delete(&self, bucket: &str, key: &str, etag_is: Option<&EtagSet>) -> Result<Deleted, Error> {
        let bucket = self.bucket_record(bucket).await?;
        let row_key = key::object_key(bucket.id, key);
        self.until_won(|| async {
            let mut batch = Batch::default();
            let Some(row) = self.row(row_key.clone()).await? else {
                return match etag_is {
                    Some(_) => Err(Error::ConditionOnAbsent),
                    None => Ok((batch, Deleted::Absent)),
                };
            };
            batch.checks.push(Check::Is(row_key.clone(), row.version));
            batch.writes.push(Write::Delete(row_key.clone()));
            // A damaged record must not make its object undeletable.
            let record = ObjectRecord::decode(&row.value).ok();
            let etag = record.as_ref().map_or("", |record| &record.etag);
            if etag_is.is_some_and(|set| !set.contains(etag)) {
                return Err(Error::PreconditionFailed);
            }
            if let Some(record) = record {
                self.release(record.body_id, &record.body, &mut batch).await?;
            }
            Ok((batch, Deleted::Yes))
        })
        .await
    }
}
