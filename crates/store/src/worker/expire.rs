//! Lifecycle: removes what a bucket's rules say is old.

use base::BucketId;
use futures::StreamExt;
use lifecycle::{Facts, Rules, abort_date, expiry, judge_current, judge_lonely_marker, judge_noncurrent, judge_upload};
use meta::record::{BucketConfig, BucketState, Record, Versioning, key};

use crate::api::{ListRequest, ObjectInfo, RowSeen, Told, UploadInfo, VersionId, VersionInfo, VersionMarker};
use crate::delete::Judged;
use crate::outbox::{Cause, Origin};
use crate::{Error, Store};

/// Versions looked at in one step.
const PAGE: usize = 1000;
/// Keys, or uploads, whose removals are under way at once: clients' writes have the rest of the engine.
const AT_ONCE: usize = 16;

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

/// A version that is due.
struct Due {
    version: VersionInfo,
    verdict: Verdict,
    /// The row of the next newer version, and whether that one is due as well.
    newer: Option<(RowSeen, bool)>,
}

/// A version that was judged: to the next one of its key it is the next newer one.
struct Before {
    version: VersionInfo,
    /// Noncurrent versions of the key that are newer.
    count: u64,
    due: bool,
}

impl Expired {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.versions += other.versions;
        self.markers += other.markers;
        self.uploads += other.uploads;
        self.kept += other.kept;
    }
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
        let rows = self.recent_rows(&keys).await?;
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
        let rules = match self.lifecycle(bucket).await {
            Err(Error::NoSuchConfig(_) | Error::NoSuchBucket(_)) => return Ok(None),
            rules => rules?,
        };
        let due = abort_date(&rules, &upload.key, upload.created_ms, self.0.options.lifecycle_day);
        Ok(due.map(|(when_ms, rule)| (when_ms, rule.encoded_id())))
    }

    /// The rules that a bucket has now; `None` when it has none, and when the name is no longer this bucket's.
    async fn rules_now(&self, bucket: &str, id: BucketId) -> Result<Option<Rules>, Error> {
        match self.bucket_record(bucket).await {
            Ok(record) if record.id == id => {}
            Ok(_) | Err(Error::NoSuchBucket(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let found = self.record::<BucketConfig>(key::bucket_config_key(id, LIFECYCLE)).await?;
        found.map(|(config, _)| read_rules(&config)).transpose()
    }

    /// One pass over all buckets of all tenants that have rules. What stops one bucket stops no other.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn expire(&self) -> Result<Expired, Error> {
        self.0.workers.report("lifecycle", |report| report.state = "running".to_owned());
        let (mut done, mut failed) = (Expired::default(), None);
        for tenant in self.each_tenant().await? {
            for bucket in tenant.bucket_names().await? {
                if let Err(error) = tenant.expire_bucket(&bucket, &mut done).await {
                    let account = tenant.account();
                    tracing::error!(%bucket, %account, %error, "a bucket's lifecycle rules are not followed to their end");
                    failed = Some(format!("bucket {bucket}: {error}"));
                }
            }
        }
        self.0.workers.report("lifecycle", |report| {
            report.state = "idle".to_owned();
            report.done += done.objects + done.versions + done.markers + done.uploads;
            report.last_error = failed;
        });
        Ok(done)
    }

    async fn expire_bucket(&self, bucket: &str, done: &mut Expired) -> Result<(), Error> {
        let id = match self.bucket_record(bucket).await {
            Err(Error::NoSuchBucket(_)) => return Ok(()),
            record => record?.id,
        };
        if self.rules_now(bucket, id).await?.is_some() {
            self.expire_versions(bucket, id, done).await?;
            self.expire_uploads(bucket, id, done).await?;
        }
        Ok(())
    }

    async fn expire_versions(&self, bucket: &str, id: BucketId, done: &mut Expired) -> Result<(), Error> {
        let request = ListRequest { limit: PAGE, ..ListRequest::default() };
        let mut marker: Option<VersionMarker> = None;
        let mut before: Option<Before> = None;
        loop {
            let (page, _) = match self.readable_versions(bucket, &request, marker.as_ref()).await {
                Err(Error::NoSuchBucket(_)) => return Ok(()),
                page => page?,
            };
            // Read after the page: it is of the bucket that these rules are of.
            let Some(rules) = self.rules_now(bucket, id).await? else { return Ok(()) };
            let mut due = Vec::new();
            for version in page.versions {
                let newer = before.take_if(|before| before.version.info.key == version.info.key);
                due.extend(before.take().and_then(|last| self.judge_last(&rules, last)));
                let became = newer.as_ref().map(|newer| newer.version.info.modified_ms);
                let count = newer.as_ref().map_or(0, |newer| newer.count + u64::from(!newer.version.latest));
                let verdict = self.judge(&rules, &version, became, count);
                if verdict != Verdict::Keep {
                    let newer = newer.map(|newer| (newer.version.row, newer.due));
                    due.push(Due { version: version.clone(), verdict, newer });
                }
                before = Some(Before { version, count, due: verdict != Verdict::Keep });
            }
            if page.next.is_none() {
                due.extend(before.take().and_then(|last| self.judge_last(&rules, last)));
            }
            self.carry_out(bucket, &due, done).await?;
            match page.next {
                Some(next) => marker = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn judge(&self, rules: &Rules, version: &VersionInfo, became: Option<u64>, newer: u64) -> Verdict {
        let tags = tags_of(&version.info);
        let facts = facts_of(&version.info, &tags);
        let (now, day) = (self.now_ms(), self.0.options.lifecycle_day);
        match became {
            // Whatever made it an old one was not listed.
            None if version.marker || !version.latest => Verdict::Keep,
            None if judge_current(rules, &facts, now, day).is_some() => Verdict::Object,
            None => Verdict::Keep,
            Some(became) if judge_noncurrent(rules, &facts, became, newer, now, day) => Verdict::Version,
            Some(_) => Verdict::Keep,
        }
    }

    /// The last version of a key to be listed is due if it is a marker that hides nothing any more.
    fn judge_last(&self, rules: &Rules, last: Before) -> Option<Due> {
        let version = last.version;
        if !version.marker || !version.latest {
            return None;
        }
        let tags = tags_of(&version.info);
        judge_lonely_marker(rules, &facts_of(&version.info, &tags), self.now_ms(), self.0.options.lifecycle_day)?;
        Some(Due { version, verdict: Verdict::Marker, newer: None })
    }

    /// Removes what is due: of one key one after the other, the newest first, and of different keys at once.
    async fn carry_out(&self, bucket: &str, due: &[Due], done: &mut Expired) -> Result<(), Error> {
        let keys = due.chunk_by(|one, next| one.version.info.key == next.version.info.key);
        let removals: Vec<_> = keys.map(|due| self.carry_out_key(bucket, due)).collect();
        let mut outcomes = futures::stream::iter(removals).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            done.add(outcome?);
        }
        Ok(())
    }

    async fn carry_out_key(&self, bucket: &str, due: &[Due]) -> Result<Expired, Error> {
        let mut done = Expired::default();
        let by_rule = self.acting_for(Origin::itself(Cause::Lifecycle));
        for Due { version, verdict, newer } in due {
            let key = &version.info.key;
            let judged = Judged {
                row: &version.row,
                newer: newer.as_ref().map(|(row, _)| row),
                newer_goes: newer.as_ref().is_some_and(|(_, goes)| *goes),
            };
            // Only while it is what was judged: what was written or changed since is not old.
            let deleted = match verdict {
                Verdict::Object => by_rule.delete_if_current(bucket, key, &version.row).await,
                _ => by_rule.delete_version_if(bucket, key, version.info.version, &judged).await,
            };
            let counter = match verdict {
                Verdict::Object => &mut done.objects,
                Verdict::Marker => &mut done.markers,
                Verdict::Version | Verdict::Keep => &mut done.versions,
            };
            match deleted {
                Ok(deleted) if deleted.existed => *counter += 1,
                Ok(_)
                | Err(Error::Locked(_) | Error::PreconditionFailed | Error::NoSuchBucket(_) | Error::Contended) => {
                    done.kept += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    async fn expire_uploads(&self, bucket: &str, id: BucketId, done: &mut Expired) -> Result<(), Error> {
        let mut request = ListRequest { limit: PAGE, ..ListRequest::default() };
        let mut after = None;
        loop {
            let (page, _) = match self.readable_uploads(bucket, &request, after).await {
                Err(Error::NoSuchBucket(_)) => return Ok(()),
                page => page?,
            };
            let Some(rules) = self.rules_now(bucket, id).await? else { return Ok(()) };
            let (now, day) = (self.now_ms(), self.0.options.lifecycle_day);
            let due = page.uploads.iter().filter(|one| judge_upload(&rules, &one.key, one.created_ms, now, day));
            let removals: Vec<_> = due.map(|upload| self.abort_upload(bucket, &upload.key, upload.upload)).collect();
            let mut outcomes = futures::stream::iter(removals).buffer_unordered(AT_ONCE);
            while let Some(outcome) = outcomes.next().await {
                match outcome {
                    Ok(()) => done.uploads += 1,
                    Err(Error::NoSuchUpload | Error::NoSuchBucket(_) | Error::Contended) => done.kept += 1,
                    Err(error) => return Err(error),
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
