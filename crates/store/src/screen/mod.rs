//! What a bucket does about malware: what is looked at before it is stored, what is kept back from readers, and what they are told.
//!
//! The scan service writes what it knows of a content as a row; readers here need nothing else of it. A version's row says which content it has
//! ([`ScanMark`]); one without is not known to the service yet.

mod worker;

pub(crate) use worker::LastPass;
pub use worker::Rescanned;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use meta::MetaError;
use meta::record::{
    BucketRecord, BucketState, ContentId, ObjectRecord, ScanMark, ScanMode, ScanRules, Verdict, VerdictRecord, key,
};
use scan::{Asker, Intake, Pending, ScanError, Scanner};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::api::{BodyError, BodyFacts, BodySource, ObjectInfo, VersionId};
use crate::{Error, Store};

/// An upload waits so long for the scan service, all in all. Clients of S3 give up after 60 s; what they send again is known by then, or joins the scan
/// that goes on.
const WAIT: Duration = Duration::from_secs(50);
/// Of which so long until others have their verdicts.
const SHARE_WAIT: Duration = Duration::from_secs(25);
/// Bytes of a large body that are in memory at a time, about.
const LARGE_SHARE: u64 = 4 << 20;
/// So long an upload waits for room at the scan service.
const ROOM: Duration = Duration::from_secs(10);

/// What the scan service says of a version, as readers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanTold {
    /// `None`: it has said nothing yet.
    pub verdict: Option<Verdict>,
    /// Somebody who may said that it is given out all the same.
    pub released: bool,
}

impl ScanTold {
    /// `clean`, `infected`, `incomplete` or `pending`.
    pub fn word(&self) -> &'static str {
        self.verdict.as_ref().map_or("pending", Verdict::word)
    }
}

/// A body on its way into a bucket whose versions are looked at.
pub(crate) struct Screen<'a> {
    body: &'a mut dyn BodySource,
    rules: ScanRules,
    scanner: Option<Scanner>,
    /// Of what no intake has hashed.
    hasher: blake3::Hasher,
    len: u64,
    /// Where the scan service is in this process. What went wrong with it, otherwise.
    intake: Option<Result<Intake, ScanError>>,
    /// Its share of the store's memory: bodies that wait for an engine leave the other half to those that do not.
    _share: Option<OwnedSemaphorePermit>,
    /// What is left of the time that it may wait.
    patience: Duration,
    content: Option<ContentId>,
    /// It was to be judged, and could not be.
    deferred: bool,
    /// What the service has still to say something of.
    pending: Option<Pending>,
}

impl<'a> Screen<'a> {
    fn new(store: &Store, rules: ScanRules, share: Option<OwnedSemaphorePermit>, body: &'a mut dyn BodySource) -> Self {
        let tenant = store.account().to_string();
        let scanner = store.0.options.scanner.clone();
        let intake = scanner.as_ref().map(|scanner| Ok(scanner.intake(Asker::inline(&tenant))));
        let hasher = blake3::Hasher::new();
        Self {
            body,
            rules,
            scanner,
            hasher,
            len: 0,
            intake,
            _share: share,
            patience: WAIT,
            content: None,
            deferred: false,
            pending: None,
        }
    }

    async fn see(&mut self, bytes: &Bytes) {
        let before = self.len;
        self.len += bytes.len() as u64;
        let Some(Ok(intake)) = &mut self.intake else {
            self.hasher.update(bytes);
            return;
        };
        // A service that has no room keeps nobody waiting for long.
        let begun = Instant::now();
        let written = tokio::time::timeout(ROOM.min(self.patience), intake.write(bytes)).await;
        self.patience = self.patience.saturating_sub(begun.elapsed());
        if let Err(error) = written.unwrap_or(Err(ScanError::Busy { retry_after: ROOM })) {
            let taken = usize::try_from(intake.len() - before).unwrap_or(bytes.len());
            if let Some(Ok(intake)) = self.intake.replace(Err(error)) {
                // What it is goes on to be known by us.
                self.hasher = intake.give_up();
                self.hasher.update(&bytes[taken..]);
            }
        }
    }

    /// All of it came: before it is stored, if that is the rule, it is judged.
    async fn end(&mut self) -> Result<(), Error> {
        self.content = Some(match &self.intake {
            Some(Ok(intake)) => intake.id(),
            _ => ContentId { blake3: *self.hasher.finalize().as_bytes(), len: self.len },
        });
        let none = || ScanError::Unavailable("this gateway has no scan service".to_owned());
        let is_first = self.rules.mode == ScanMode::Block;
        let mut intake = self.intake.take().unwrap_or_else(|| Err(none()));
        if let (true, Ok(intake)) = (is_first, &mut intake) {
            intake.answer_within(self.patience);
        }
        let pending = intake.and_then(Intake::end);
        if !is_first {
            self.pending = pending.ok();
            return Ok(());
        }
        match judge(self.scanner.as_ref(), pending).await {
            Ok(verdict) => may_pass(self.rules, Some(&verdict)),
            // Readers do not get it before somebody has looked at it.
            Err(error) if self.rules.defer => {
                tracing::warn!(%error, "an upload is stored unscanned, and kept back until it is scanned");
                metrics::counter!("holdfast_store_scan_deferred_total").increment(1);
                self.deferred = true;
                Ok(())
            }
            Err(ScanError::Unwritten(why)) => Err(Error::Meta(MetaError::Unavailable(why))),
            Err(error) => Err(Error::Unscanned(error.to_string())),
        }
    }

    /// That it is kept back, where it was to be judged first and could not be.
    pub(crate) fn deferred(&self) -> Option<ScanTold> {
        self.deferred.then_some(ScanTold { verdict: None, released: false })
    }

    /// What is to be judged once it is stored.
    pub(crate) fn pending(self) -> Option<Pending> {
        self.pending
    }
}

#[async_trait]
impl BodySource for Screen<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let next = self.body.chunk().await?;
        match &next {
            Some(bytes) => self.see(bytes).await,
            None if self.content.is_none() => self.end().await.map_err(|error| BodyError::Source(Box::new(error)))?,
            None => {}
        }
        Ok(next)
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts { content: self.content, ..self.body.finish()? })
    }
}

/// The verdict, which readers find from then on, at whatever gateway they are.
async fn judge(scanner: Option<&Scanner>, pending: Result<Pending, ScanError>) -> Result<Verdict, ScanError> {
    let judged = pending?.judge().await?;
    if let Some(scanner) = scanner {
        scanner.settle(judged.answer.content).await?;
    }
    Ok(judged.answer.verdict)
}

/// Whether a content may pass where it must be known to be clean. `None`: nothing is known.
fn may_pass(rules: ScanRules, verdict: Option<&Verdict>) -> Result<(), Error> {
    match verdict {
        None => Err(Error::Unscanned("it is kept back until it was scanned".to_owned())),
        Some(Verdict::Clean) => Ok(()),
        Some(Verdict::Incomplete(_)) if rules.allow_incomplete => Ok(()),
        Some(verdict) => Err(Error::Unclean(verdict.to_string())),
    }
}

impl Store {
    /// A body that is looked at as the bucket's rules say. `is_late`: it was taken while this gateway was cut off.
    pub(crate) async fn screen<'a>(
        &self,
        bucket: &BucketRecord,
        (size, is_late): (u64, bool),
        body: &'a mut dyn BodySource,
    ) -> Result<Result<Screen<'a>, &'a mut dyn BodySource>, Error> {
        let mut rules = self.scan_rules(bucket).await?;
        if is_late && rules.mode == ScanMode::Block {
            // It was acknowledged: whatever it is, it is stored, and kept back.
            rules.mode = ScanMode::Quarantine;
        }
        if rules.mode == ScanMode::Off {
            return Ok(Err(body));
        }
        let begun = Instant::now();
        let share = match rules.mode {
            ScanMode::Block => Some(self.screening_share(size).await),
            _ => None,
        };
        match share.transpose() {
            Ok(share) => {
                let patience = WAIT.saturating_sub(begun.elapsed());
                Ok(Ok(Screen { patience, ..Screen::new(self, rules, share, body) }))
            }
            Err(busy) if rules.defer => {
                Ok(Ok(Screen { intake: Some(Err(busy)), ..Screen::new(self, rules, None, body) }))
            }
            Err(busy) => Err(Error::Unscanned(busy.to_string())),
        }
    }

    /// Waits until the bodies that are judged before they are stored have no more than half of the memory for bodies, this one with them.
    async fn screening_share(&self, size: u64) -> Result<OwnedSemaphorePermit, ScanError> {
        let all = (self.0.options.buffer_bytes / 2048).max(1) as u64;
        // What a body has in memory: sealed, in shards, some pieces at a time.
        let kib = (size.min(LARGE_SHARE) * 8 / 3 / 1024 + 1).min(all);
        let share = self.0.screening.clone().acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
        let share = tokio::time::timeout(SHARE_WAIT, share).await.map_err(|_| ScanError::Busy { retry_after: ROOM })?;
        share.map_err(|_| ScanError::Unavailable("the store is shutting down".to_owned()))
    }

    pub(crate) async fn scan_rules(&self, bucket: &BucketRecord) -> Result<ScanRules, Error> {
        // One that was deleted meanwhile has none.
        let state = self.record::<BucketState>(key::bucket_state_key(bucket.id)).await?;
        Ok(state.map(|(state, _)| state.scan).unwrap_or_default())
    }

    /// What is told of a version to who asks for it. `None`: its bucket's versions are not looked at.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn scan_told(&self, rules: ScanRules, record: &ObjectRecord) -> Result<Option<ScanTold>, Error> {
        if rules.mode == ScanMode::Off {
            return Ok(None);
        }
        let released = record.scan.is_some_and(|mark| mark.released);
        let verdict = match record.scan {
            None => None,
            Some(mark) => self.record::<VerdictRecord>(key::verdict_key(mark.content)).await?,
        };
        let verdict = verdict.and_then(|(known, _)| known.verdict());
        Ok(Some(ScanTold { verdict, released }))
    }

    /// The same, and why its bytes are not given out, if they are not.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn scanned(
        &self,
        bucket: &BucketRecord,
        record: &ObjectRecord,
    ) -> Result<(Option<ScanTold>, Option<Error>), Error> {
        let rules = self.scan_rules(bucket).await?;
        let told = self.scan_told(rules, record).await?;
        let is_judged = |told: &&ScanTold| rules.mode != ScanMode::Advise && !told.released;
        let judged = told.as_ref().filter(is_judged).map(|told| may_pass(rules, told.verdict.as_ref()));
        Ok((told, judged.and_then(Result::err)))
    }

    /// Judges what was stored, in the background.
    pub(crate) fn judge_later(&self, pending: Option<Pending>) {
        let Some(pending) = pending else { return };
        let (store, stop) = (self.clone(), self.0.stop.clone());
        self.0.tasks.spawn(async move {
            // Its verdict is a row once it is known; without one who reads it has it looked at.
            let judged = tokio::select! {
                judged = pending.judge() => judged.map(drop),
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = judged {
                tracing::warn!(%error, "what was stored is not scanned yet");
                store.scan_anew();
            }
        });
    }

    /// Sets a bucket's rules. They hold for what it has as well.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or a metadata error.
    pub async fn set_scan_rules(&self, bucket: &str, rules: ScanRules) -> Result<(), Error> {
        self.change_bucket_state(bucket, |state| {
            state.scan = rules;
            Ok(())
        })
        .await?;
        self.0.workers.wake_scan.notify_one();
        Ok(())
    }

    /// Gives a version out whatever is found in it, or no more.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] and its like; [`Error::Unscanned`] for one that is not known to the scan service: nobody knows what it is.
    pub async fn release_unclean(
        &self,
        bucket: &str,
        name: &str,
        id: Option<VersionId>,
        released: bool,
    ) -> Result<ObjectInfo, Error> {
        let info = self.change_object(bucket, name, id, |change| match change.scan {
            Some(mark) => {
                mark.released = released;
                Ok(())
            }
            None => Err(Error::Unscanned("its content is not known yet".to_owned())),
        });
        let info = info.await?;
        tracing::warn!(account = %self.account(), bucket, name, version = %info.version, released, "what the scan found is overruled");
        Ok(info)
    }

    /// Writes down which content a version has.
    async fn mark(
        &self,
        bucket: &str,
        name: &str,
        id: VersionId,
        of: base::BodyId,
        content: ContentId,
    ) -> Result<(), Error> {
        self.change_object(bucket, name, Some(id), |change| {
            if change.body_id != of {
                return Err(Error::Contended);
            }
            if change.scan.is_none_or(|mark| mark.content != content) {
                *change.scan = Some(ScanMark { content, released: false });
            }
            Ok(())
        })
        .await
        .map(drop)
    }
}
