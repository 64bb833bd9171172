//! Lifecycle: removes what a bucket's rules say is old.

use lifecycle::{Facts, Rules, abort_date, expiry, judge_current, judge_lonely_marker, judge_noncurrent, judge_upload};
use meta::record::{BucketConfig, BucketState, Record, Versioning, key};

use crate::api::{DeleteRequest, ListRequest, ObjectInfo, Told, UploadInfo, VersionId, VersionInfo, VersionMarker};
use crate::outbox::{Cause, Origin};
use crate::{Error, Store};

/// Versions looked at in one step.
const PAGE: usize = 1000;

/// The name of the rules among a bucket's sub-resources.
pub const LIFECYCLE: &str = "lifecycle";

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Current versions removed, or hidden by a delete marker.
    pub objects: u64,
    /// Older versions removed.
    pub versions: u64,
    /// Delete markers removed that hid nothing any more.
    pub markers: u64,
    /// Uploads given up.
    pub uploads: u64,
    /// What a lock, or a newer write, kept.
    pub kept: u64,
}

/// What the rules say of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Object,
    Version,
    Marker,
}

impl Store {
    /// A bucket's lifecycle rules.
    ///
    /// # Errors
    /// [`Error::NoSuchConfig`], [`Error::NoSuchBucket`], or a metadata error.
    pub async fn lifecycle(&self, bucket: &str) -> Result<Rules, Error> {
        let config = self.bucket_config(bucket, LIFECYCLE).await?;
        read_rules(&config)
    }

    /// Puts lifecycle rules that were found valid.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::TooLarge`], or a metadata error.
    pub async fn put_lifecycle(&self, bucket: &str, rules: &Rules) -> Result<(), Error> {
        let document = postcard::to_allocvec(rules);
        let document = document.map_err(|_| Error::Invalid("the lifecycle rules cannot be written"))?;
        self.put_bucket_config(bucket, LIFECYCLE, document).await
    }

    /// What clients are told of an object beside itself; `newest`: it is known to be the newest of
    /// its key.
    ///
    /// # Errors
    /// A metadata error, or a record that cannot be read.
    pub async fn told(&self, info: &ObjectInfo, newest: bool) -> Result<Told, Error> {
        let keys = [key::bucket_state_key(info.bucket), key::bucket_config_key(info.bucket, LIFECYCLE)];
        let rows = self.0.meta.get(&keys).await?;
        let [state, rules] = &rows[..] else { return Ok(Told::default()) };
        // The bucket may have been deleted since.
        let state = state.as_ref().map(|row| BucketState::decode(&row.value)).transpose()?.unwrap_or_default();
        let versioned = state.versioning != Versioning::Off || info.version != VersionId::Null;
        let mut told = Told { version: versioned.then_some(info.version), expiration: None };
        if let Some(row) = rules.as_ref().filter(|_| newest) {
            let rules = read_rules(&BucketConfig::decode(&row.value)?)?;
            let tags = tags_of(info);
            let due = expiry(&rules, &facts_of(info, &tags), self.0.options.lifecycle_day);
            told.expiration = due.map(|(when_ms, rule)| lifecycle::expiration_header(when_ms, rule));
        }
        Ok(told)
    }

    /// When the rules give an upload up (milliseconds since the Unix epoch), and the id of the rule.
    ///
    /// # Errors
    /// As [`Self::told`].
    pub async fn abort_date(&self, bucket: &str, upload: &UploadInfo) -> Result<Option<(u64, String)>, Error> {
        let Some(rules) = self.rules(bucket).await? else { return Ok(None) };
        let due = abort_date(&rules, &upload.key, upload.created_ms, self.0.options.lifecycle_day);
        Ok(due.map(|(when_ms, rule)| (when_ms, rule.encoded_id())))
    }

    /// A bucket's rules; `None` for one without, and for one that was deleted meanwhile.
    async fn rules(&self, bucket: &str) -> Result<Option<Rules>, Error> {
        match self.lifecycle(bucket).await {
            Ok(rules) => Ok(Some(rules)),
            Err(Error::NoSuchConfig(_) | Error::NoSuchBucket(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One pass over all buckets of all tenants that have rules.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn expire(&self) -> Result<Expired, Error> {
        self.0.workers.report("lifecycle", |report| report.state = "running".to_owned());
        let mut done = Expired::default();
        for tenant in self.each_tenant().await? {
            tenant.expire_buckets(&mut done).await?;
        }
        self.0.workers.report("lifecycle", |report| {
            report.state = "idle".to_owned();
            report.done += done.objects + done.versions + done.markers + done.uploads;
            report.last_error = None;
        });
        Ok(done)
    }

    async fn expire_buckets(&self, done: &mut Expired) -> Result<(), Error> {
        for bucket in self.buckets().await? {
            if let Some(rules) = self.rules(&bucket.name).await? {
                self.expire_versions(&bucket.name, &rules, done).await?;
                self.expire_uploads(&bucket.name, &rules, done).await?;
            }
        }
        Ok(())
    }

    async fn expire_versions(&self, bucket: &str, rules: &Rules, done: &mut Expired) -> Result<(), Error> {
        let request = ListRequest { limit: PAGE, ..ListRequest::default() };
        let mut marker: Option<VersionMarker> = None;
        // The version before in the list: of the same key it is the next newer one.
        let mut newer: Option<(VersionInfo, u64)> = None;
        loop {
            let page = match self.list_versions(bucket, &request, marker.as_ref()).await {
                Err(Error::NoSuchBucket(_)) => return Ok(()),
                page => page?,
            };
            for version in page.versions {
                let same = newer.as_ref().filter(|(newer, _)| newer.info.key == version.info.key);
                let became = same.map(|(newer, _)| newer.info.modified_ms);
                let count = same.map_or(0, |(newer, count)| count + u64::from(!newer.latest));
                if became.is_none() {
                    self.expire_lonely(bucket, rules, newer.as_ref(), done).await?;
                }
                let verdict = self.judge(rules, &version, became, count);
                self.carry_out(bucket, &version, verdict, done).await?;
                newer = Some((version, count));
            }
            match page.next {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        self.expire_lonely(bucket, rules, newer.as_ref(), done).await
    }

    fn judge(&self, rules: &Rules, version: &VersionInfo, became: Option<u64>, newer: u64) -> Verdict {
        let tags = tags_of(&version.info);
        let facts = facts_of(&version.info, &tags);
        let (now, day) = (self.now_ms(), self.0.options.lifecycle_day);
        match became {
            None if version.marker => Verdict::Keep,
            None if judge_current(rules, &facts, now, day).is_some() => Verdict::Object,
            None => Verdict::Keep,
            Some(became) if judge_noncurrent(rules, &facts, became, newer, now, day) => Verdict::Version,
            Some(_) => Verdict::Keep,
        }
    }

    /// Removes the marker that was the last of its key to be listed, if nothing was below it.
    async fn expire_lonely(
        &self,
        bucket: &str,
        rules: &Rules,
        last: Option<&(VersionInfo, u64)>,
        done: &mut Expired,
    ) -> Result<(), Error> {
        let Some((version, _)) = last.filter(|(version, _)| version.marker && version.latest) else { return Ok(()) };
        let tags = tags_of(&version.info);
        let facts = facts_of(&version.info, &tags);
        let verdict = match judge_lonely_marker(rules, &facts, self.now_ms(), self.0.options.lifecycle_day) {
            Some(_) => Verdict::Marker,
            None => Verdict::Keep,
        };
        self.carry_out(bucket, version, verdict, done).await
    }

    async fn carry_out(
        &self,
        bucket: &str,
        version: &VersionInfo,
        verdict: Verdict,
        done: &mut Expired,
    ) -> Result<(), Error> {
        let counter = match verdict {
            Verdict::Keep => return Ok(()),
            Verdict::Object => &mut done.objects,
            Verdict::Version => &mut done.versions,
            Verdict::Marker => &mut done.markers,
        };
        let key = &version.info.key;
        let by_rule = self.acting_for(Origin::itself(Cause::Lifecycle));
        let deleted = match verdict {
            // Only while it is still the newest: what was written since is not old.
            Verdict::Object => by_rule.delete_if_current(bucket, key, version.info.body_id).await,
            _ => {
                let request = DeleteRequest { version: Some(version.info.version), ..DeleteRequest::default() };
                by_rule.delete(bucket, key, &request).await
            }
        };
        match deleted {
            Ok(deleted) if deleted.existed => *counter += 1,
            Ok(_) | Err(Error::Locked(_) | Error::PreconditionFailed | Error::NoSuchBucket(_) | Error::Contended) => {
                done.kept += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn expire_uploads(&self, bucket: &str, rules: &Rules, done: &mut Expired) -> Result<(), Error> {
        let mut request = ListRequest { limit: PAGE, ..ListRequest::default() };
        let mut after = None;
        loop {
            let page = match self.uploads(bucket, &request, after).await {
                Err(Error::NoSuchBucket(_)) => return Ok(()),
                page => page?,
            };
            for upload in page.uploads {
                let day = self.0.options.lifecycle_day;
                if judge_upload(rules, &upload.key, upload.created_ms, self.now_ms(), day) {
                    match self.abort_upload(bucket, &upload.key, upload.upload).await {
                        Ok(()) => done.uploads += 1,
                        Err(Error::NoSuchUpload | Error::NoSuchBucket(_) | Error::Contended) => done.kept += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
            let Some((key, upload)) = page.next else { return Ok(()) };
            (request.after, after) = (Some(key), upload);
        }
    }
}

fn read_rules(config: &BucketConfig) -> Result<Rules, Error> {
    let rules = postcard::from_bytes(&config.document);
    rules.map_err(|_| Error::Corrupt("the stored lifecycle rules cannot be read".to_owned()))
}

fn tags_of(info: &ObjectInfo) -> Vec<(String, String)> {
    info.meta.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn facts_of<'a>(info: &'a ObjectInfo, tags: &'a [(String, String)]) -> Facts<'a> {
    Facts { key: &info.key, size: info.size, tags, modified_ms: info.modified_ms }
}
