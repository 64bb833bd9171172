//! Looks at what nobody has looked at by the newest definitions: uploads in parts, what was there before its bucket's rules, what a gateway left when
//! it ended, and all else once there are other definitions. What is known is not read.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use base::BodyId;
use futures::StreamExt;
use meta::record::{ContentId, ScanMode, VerdictRecord, key};
use scan::{Asker, Lane, ScanError, Scanner};

use crate::api::{ListRequest, ReadRange, VersionId, VersionMarker};
use crate::version::Found;
use crate::{Error, Store};

/// Versions that are looked at at once since somebody waits for them.
const SOON_MAX: usize = 32;
/// Versions looked at in one step.
const PAGE: usize = 1000;
/// A content that is waited for by nobody may take so long.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Versions that are put off, at most.
const LATER_MAX: usize = 10_000;

/// How much is known of a content.
enum Known {
    /// What the newest definitions say.
    Newest,
    /// What older ones said: readers get it meanwhile.
    Older,
    /// Nothing: readers do not get it.
    Nothing,
}

/// A version that is to be looked at.
struct Waiting {
    tenant: Store,
    bucket: String,
    name: String,
    id: VersionId,
}

impl Waiting {
    async fn scan(&self, scanner: &Scanner, pass: &mut Pass) {
        match self.tenant.scan_version(scanner, &self.bucket, &self.name, self.id, Lane::Rescan).await {
            Ok(read) => pass.done.read += u64::from(read),
            // Only who has its key can show it: it stays kept back.
            Err(Error::CustomerKeyMissing) => pass.done.sealed += 1,
            Err(error) if is_gone(&error) => {}
            Err(error) => pass.failed(format!("{}/{}: {error}", self.bucket, self.name)),
        }
    }
}

/// Whether a content is known by the newest definitions, where others read it as well: it may have been in this process only.
async fn is_settled(scanner: &Scanner, content: ContentId) -> Result<bool, Error> {
    let is_known = scanner.is_known(content).await;
    if is_known {
        scanner.settle(content).await.map_err(|error| Error::Unscanned(error.to_string()))?;
    }
    Ok(is_known)
}

/// Gone, or another one by now.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::NoSuchKey | Error::NoSuchVersion | Error::NoSuchBucket(_) | Error::Contended)
}

/// A pass that is under way.
#[derive(Default)]
struct Pass {
    done: Rescanned,
    /// Why the last one that failed did.
    why: Option<String>,
    /// What is to be looked at when all that is more urgent was: the newest first, then as they were found.
    later: BTreeMap<(Reverse<u64>, u64), Waiting>,
}

impl Pass {
    fn add(&mut self, modified_ms: u64, waiting: Waiting) {
        self.later.insert((Reverse(modified_ms), self.done.versions), waiting);
    }

    fn failed(&mut self, why: String) {
        self.done.failed += 1;
        self.why = Some(why);
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescanned {
    /// Versions that there are in buckets with rules.
    pub versions: u64,
    /// Of those, read, since their content was not known by the newest definitions.
    pub read: u64,
    /// Of those, not read for some reason.
    pub failed: u64,
    /// Of those, under keys that customers keep (SSE-C).
    pub sealed: u64,
}

/// What passes went by, and when the last one found nothing left to do.
#[derive(Debug, Default)]
pub(crate) struct LastPass(Option<([u8; 32], u64)>);

/// Without anything new a pass is made so often all the same: for what a gateway left when it ended.
const ANYWAY_MS: u64 = 3_600_000;

impl Store {
    /// Makes a pass if there are other definitions, or other rules, than when the last one found nothing left to do.
    pub(crate) async fn scan_what_is_new(&self) -> Result<(), Error> {
        let Some(scanner) = &self.0.options.scanner else { return Ok(()) };
        let (basis, now) = (self.scan_basis(scanner).await?, self.0.options.doors.clock.passed_ms());
        let is_done = |last: &([u8; 32], u64)| last.0 == basis && now.saturating_sub(last.1) < ANYWAY_MS;
        if self.0.workers.last_scan.lock().0.as_ref().is_some_and(is_done) {
            return Ok(());
        }
        let done = self.scan_stored().await?;
        *self.0.workers.last_scan.lock() = LastPass((done.read == 0 && done.failed == 0).then_some((basis, now)));
        Ok(())
    }

    /// Changes with what a pass goes by.
    async fn scan_basis(&self, scanner: &Scanner) -> Result<[u8; 32], Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(scanner.epoch_tag().as_bytes());
        for tenant in self.each_tenant().await? {
            for bucket in tenant.bucket_names().await? {
                match tenant.bucket_state(&bucket).await {
                    Err(Error::NoSuchBucket(_)) => {}
                    state if state.as_ref().is_ok_and(|state| state.scan.mode == ScanMode::Off) => {}
                    state => {
                        hasher.update(&tenant.account().to_bytes()).update(bucket.as_bytes()).update(&[0]);
                        hasher.update(format!("{:?}", state?.scan).as_bytes());
                    }
                }
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// One pass over all buckets of all tenants that have rules: what is kept back from readers is looked at as soon as it is found, then what is newest
    /// of all else. Without a scan service in this process nothing is done.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn scan_stored(&self) -> Result<Rescanned, Error> {
        let mut pass = Pass::default();
        let Some(scanner) = self.0.options.scanner.clone() else { return Ok(pass.done) };
        self.0.workers.report("scan", |report| report.state = "running".to_owned());
        for tenant in self.each_tenant().await? {
            for bucket in tenant.bucket_names().await? {
                if let Err(error) = tenant.scan_bucket(&scanner, &bucket, &mut pass).await {
                    pass.failed(format!("bucket {bucket}: {error}"));
                }
            }
        }
        self.scan_later(&scanner, &mut pass).await;
        self.0.workers.report("scan", |report| {
            report.state = "idle".to_owned();
            report.queue = 0;
            report.done += pass.done.read;
            report.last_error = pass.why;
        });
        Ok(pass.done)
    }

    /// Finds what a bucket has that is not known by the newest definitions.
    async fn scan_bucket(&self, scanner: &Scanner, bucket: &str, pass: &mut Pass) -> Result<(), Error> {
        let state = match self.bucket_state(bucket).await {
            Err(Error::NoSuchBucket(_)) => return Ok(()),
            state => state?,
        };
        if state.scan.mode == ScanMode::Off {
            return Ok(());
        }
        let mut after: Option<VersionMarker> = None;
        loop {
            let request = ListRequest { limit: PAGE, ..ListRequest::default() };
            let (page, _) = self.readable_versions(bucket, &request, after.as_ref()).await?;
            for version in page.versions.iter().filter(|version| !version.marker) {
                pass.done.versions += 1;
                let (name, id) = (version.info.key.clone(), version.info.version);
                let known = self.is_known(scanner, bucket, &name, id).await;
                let waiting = Waiting { tenant: self.clone(), bucket: bucket.to_owned(), name, id };
                match known {
                    Ok(Known::Newest) => {}
                    Ok(Known::Older) => pass.add(version.info.modified_ms, waiting),
                    Ok(Known::Nothing) => waiting.scan(scanner, pass).await,
                    Err(error) if is_gone(&error) => {}
                    Err(error) => pass.failed(format!("{bucket}/{}: {error}", waiting.name)),
                }
                if pass.later.len() >= LATER_MAX {
                    self.scan_later(scanner, pass).await;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Looks at what was put off.
    async fn scan_later(&self, scanner: &Scanner, pass: &mut Pass) {
        while let Some((_, waiting)) = pass.later.pop_first() {
            self.0.workers.report("scan", |report| report.queue = pass.later.len() as u64);
            waiting.scan(scanner, pass).await;
        }
    }

    /// What the scan service knows of a version.
    async fn is_known(&self, scanner: &Scanner, bucket: &str, name: &str, id: VersionId) -> Result<Known, Error> {
        let record = self.bucket_record(bucket).await?;
        let Found { record, .. } = self.object(&record, name, Some(id)).await?;
        let Some(mark) = record.scan else { return Ok(Known::Nothing) };
        if is_settled(scanner, mark.content).await? {
            return Ok(Known::Newest);
        }
        let known = self.record::<VerdictRecord>(key::verdict_key(mark.content)).await?;
        let verdict = known.and_then(|(known, _)| known.verdict());
        Ok(verdict.map_or(Known::Nothing, |_| Known::Older))
    }

    /// Has the worker make a pass though neither definitions nor rules changed: something was stored that nobody has looked at.
    pub(crate) fn scan_anew(&self) {
        *self.0.workers.last_scan.lock() = LastPass::default();
        self.0.workers.wake_scan.notify_one();
    }

    /// Looks at a version now, in the background, since somebody waits for it. Without a scan service in this process nothing is done.
    pub(crate) fn scan_soon(&self, bucket: &str, name: &str, id: VersionId, body: BodyId) {
        let Some(scanner) = self.0.options.scanner.clone() else { return };
        {
            let mut scanning = self.0.workers.scanning.lock();
            // More are left to the worker.
            if scanning.len() >= SOON_MAX || !scanning.insert(body) {
                return;
            }
        }
        let (store, bucket, name) = (self.clone(), bucket.to_owned(), name.to_owned());
        self.0.tasks.spawn(async move {
            let stop = store.0.stop.clone();
            let scanned = tokio::select! {
                scanned = store.scan_version(&scanner, &bucket, &name, id, Lane::Inline) => scanned.map(drop),
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = scanned {
                tracing::warn!(bucket, name, %error, "a version is not scanned yet");
            }
            store.0.workers.scanning.lock().remove(&body);
        });
    }

    /// Whether it had to be read.
    async fn scan_version(
        &self,
        scanner: &Scanner,
        bucket: &str,
        name: &str,
        id: VersionId,
        lane: Lane,
    ) -> Result<bool, Error> {
        let record = self.bucket_record(bucket).await?;
        let Found { record, .. } = self.object(&record, name, Some(id)).await?;
        if let Some(mark) = record.scan
            && is_settled(scanner, mark.content).await?
        {
            return Ok(false);
        }
        let content = self.read_to_scan(scanner, bucket, name, id, lane).await?;
        if record.scan.is_none_or(|mark| mark.content != content) {
            self.mark(bucket, name, id, record.body_id, content).await?;
        }
        Ok(true)
    }

    async fn read_to_scan(
        &self,
        scanner: &Scanner,
        bucket: &str,
        name: &str,
        id: VersionId,
        lane: Lane,
    ) -> Result<ContentId, Error> {
        let unscanned = |error: ScanError| Error::Unscanned(error.to_string());
        let asker = Asker { lane, tenant: self.account().to_string(), deadline: DEADLINE };
        let mut intake = scanner.intake(asker);
        let reader = self.open_object(bucket, name, Some(id), None).await?;
        let mut bytes = reader.read_unscreened(ReadRange::All).await?;
        while let Some(piece) = bytes.next().await {
            intake.write(&piece?).await.map_err(unscanned)?;
        }
        let pending = intake.end().map_err(unscanned)?;
        let content = pending.id();
        pending.judge().await.map_err(unscanned)?;
        scanner.settle(content).await.map_err(unscanned)?;
        Ok(content)
    }
}
