//! Moves parts to other keys: wraps are made anew, the sealed bytes stay.
//!
//! For a key that was rotated, parts under older versions go to the newest. For data from before portions,
//! parts under buckets' keys go where the rules send them. A version of a key is destroyed [`RETIRE_MS`] after the rotation, by a
//! pass that begins then and finds nothing under it. Before that pass the version is closed: writes that began under it
//! cannot land from then on, since each names the version's rows in its batch.

use base::{AccountId, Classify, ErrorKind, PortionId};
use keys::{BUCKET_KEYS, PortionError, Wrap};
use meta::record::{Encryption, RewrapRecord, key};
use meta::{Batch, Check, Write};

use crate::encryption::{Place, Under, key_lives};
use crate::sealed::{Cursor, Sealed};
use crate::{Error, Store};

/// How long the versions of a rotated key stay at least, milliseconds.
const RETIRE_MS: u64 = 24 * 3600 * 1000;
/// Rows in one flush.
const GROUP: usize = 256;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Parts moved.
    pub moved: u64,
    /// Parts that somebody else changed meanwhile: for the next pass.
    pub lost: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// Parts whose key is disabled, or is to be shredded.
    pub shut: u64,
    /// Work that is done.
    pub finished: u64,
}

impl Rewrapped {
    /// Counts what befell a part, named by bucket and key.
    ///
    /// # Errors
    /// What befalls all parts alike.
    pub(crate) fn failed(&mut self, (bucket, key): (&str, &str), error: Error) -> Result<(), Error> {
        match error {
            // A key that opens nothing now moves nothing; others must not wait for it.
            Error::Portion(error) if error.kind() == ErrorKind::Denied => self.shut += 1,
            Error::Meta(_)
            | Error::Commit(_)
            | Error::Portion(PortionError::KeyUnavailable { .. } | PortionError::HalfUnreachable { .. }) => {
                return Err(error);
            }
            error => {
                tracing::error!(bucket, key = %key.escape_debug(), %error, "a part cannot be moved to another key");
                self.unreadable += 1;
            }
        }
        Ok(())
    }
}

impl Store {
    /// One pass over the work of all tenants, rekeys last.
    ///
    /// # Errors
    /// A metadata or key error; what was moved stays moved.
    pub async fn rewrap(&self) -> Result<Rewrapped, Error> {
        let mut done = self.shred_and_rewrap().await?;
        self.rekey_pass(&mut done).await?;
        Ok(done)
    }

    /// One pass over what is soon done: shreddings that are due, and wraps.
    pub(crate) async fn shred_and_rewrap(&self) -> Result<Rewrapped, Error> {
        let mut done = Rewrapped::default();
        let tenants = self.each_tenant().await?;
        let mut failed = None;
        for tenant in &tenants {
            failed = tenant.shred_due().await.err().or(failed);
        }
        for tenant in &tenants {
            let settled = self.0.portions.settle_tenant_key(tenant.account()).await;
            failed = settled.err().map(Error::Portion).or(failed);
            failed = tenant.rewrap_portions(&mut done, false).await.err().or(failed);
        }
        // What fails for one tenant keeps no other waiting.
        failed.map_or(Ok(done), Err)
    }

    /// One pass over what takes hours: bytes that are sealed anew.
    pub(crate) async fn rekey_pass(&self, done: &mut Rewrapped) -> Result<(), Error> {
        let mut failed = None;
        for tenant in &self.each_tenant().await? {
            failed = tenant.rewrap_portions(done, true).await.err().or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn rewrap_portions(&self, done: &mut Rewrapped, reseal: bool) -> Result<(), Error> {
        let account = self.account();
        let works = self.0.portions.rewraps(account).await?;
        for (portion, work) in works.into_iter().filter(|(_, work)| work.reseal == reseal) {
            let begun = self.now_ms();
            if work.is_clean && begun < work.since_ms.saturating_add(RETIRE_MS) {
                continue;
            }
            // Taken up when its key opens again.
            if portion != BUCKET_KEYS && !self.0.portions.get(account, portion).await?.is_enabled() {
                continue;
            }
            self.0.workers.report("rewrap", |report| report.state = "running".to_owned());
            let before = (done.moved, done.lost, done.unreadable, done.shut);
            let ripe = begun >= work.since_ms.saturating_add(RETIRE_MS) || portion == BUCKET_KEYS;
            if ripe && portion != BUCKET_KEYS {
                self.0.portions.close(portion, &work).await?;
            }
            match self.rewrap_portion(portion, &work, done).await {
                // Its shares, or a half of the tenant's key, are out of reach: for the next pass, and no reason that
                // others wait.
                Err(Error::Portion(
                    error @ (PortionError::KeyUnavailable { .. } | PortionError::HalfUnreachable { .. }),
                )) => {
                    tracing::warn!(%portion, %error, "parts cannot be moved to another key now");
                    done.shut += 1;
                }
                moved => moved?,
            }
            let clean = before == (done.moved, done.lost, done.unreadable, done.shut);
            if clean && ripe {
                self.0.portions.rewrapped(account, portion, &work).await?;
                done.finished += 1;
            } else if clean {
                self.0.portions.found_clean(account, portion, &work).await?;
            }
            self.0.workers.report("rewrap", |report| {
                report.state = "idle".to_owned();
                report.done = done.moved;
                report.last_error = None;
            });
        }
        Ok(())
    }

    async fn rewrap_portion(&self, portion: PortionId, work: &RewrapRecord, done: &mut Rewrapped) -> Result<(), Error> {
        let account = self.account();
        let Some(version) = self.0.portions.work_stands(account, portion, work).await? else {
            done.lost += 1;
            return Ok(());
        };
        let stands = Check::Is(key::rewrap_key(account, portion), version);
        let mut from = String::new();
        while let Some((name, bucket)) = self.bucket_from(&from).await? {
            let mut cursor = Some(Cursor::START);
            while let Some(at) = cursor {
                let (found, next) = self.sealed_parts(&bucket, &at, Cursor::LAST, &mut done.unreadable).await?;
                if work.reseal {
                    self.reseal((&name, &bucket), found, portion, work, done).await?;
                    cursor = next;
                    continue;
                }
                let mut group = Vec::new();
                for sealed in found {
                    let place = Place { bucket: &bucket, name: &name, key: &sealed.of.name, body: sealed.of.body };
                    let moved = match self.moved(&place, &sealed, portion, work).await {
                        Err(error) => {
                            done.failed((&name, &sealed.of.name), error)?;
                            None
                        }
                        Ok(moved) => moved,
                    };
                    if let Some((wrapped, under)) = moved {
                        let (row_key, row_version, row) = sealed.rewrapped(wrapped);
                        // Not for a rekey that began meanwhile: a DEK that leaked must not come under the new version.
                        let mut checks = vec![Check::Is(row_key.clone(), row_version), stands.clone()];
                        checks.extend(under);
                        group.push(Batch { checks, writes: vec![Write::Put(row_key, row)] });
                    }
                    if group.len() >= GROUP {
                        self.commit_rewrapped(std::mem::take(&mut group), done).await?;
                    }
                }
                self.commit_rewrapped(group, done).await?;
                cursor = next;
            }
            from = format!("{name}\0");
        }
        Ok(())
    }

    /// The wrap that a part is to have, if it is one to move, and what its batch depends on.
    async fn moved(
        &self,
        place: &Place<'_>,
        sealed: &Sealed,
        portion: PortionId,
        work: &RewrapRecord,
    ) -> Result<Option<(Vec<u8>, Vec<Check>)>, Error> {
        let Some(part) = sealed.part() else { return Ok(None) };
        let under = match Wrap::parse(&part.wrapped_dek)?.key() {
            Some(name) if name.portion == portion && name.version < work.below => Under::Portion(portion),
            None if portion == BUCKET_KEYS && !matches!(sealed.of.encryption, Encryption::Customer { .. }) => {
                let of = &sealed.of;
                self.key_to_go_on(place, &of.encryption, None, &of.headers, &of.tags).await?
            }
            _ => return Ok(None),
        };
        let bucket = self.0.keys.bucket_key(place.bucket.id, &place.bucket.wrapped_key)?;
        let at = place.dek(sealed.number, part.id);
        let (dek, _) = self.unwrap_dek(&bucket, &at, part).await?;
        let wrapped = self.wrap_dek(&under, &at, part.size, &dek).await?;
        let check = key_lives(&wrapped);
        Ok(Some((wrapped, check)))
    }

    async fn commit_rewrapped(&self, group: Vec<Batch>, done: &mut Rewrapped) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        for answer in self.0.meta.commit_group(group).await {
            match answer {
                Ok(()) => done.moved += 1,
                Err(meta::CommitError::Failed { .. }) => done.lost += 1,
                Err(error) => return Err(error.into()),
            }
        }
        self.0.workers.report("rewrap", |report| report.done = done.moved);
        Ok(())
    }

    /// Destroys the keys of portions whose time has come.
    async fn shred_due(&self) -> Result<(), Error> {
        let account: AccountId = self.account();
        let mut after = None;
        loop {
            let (portions, more) = self.0.portions.list(account, after, 1000).await?;
            for portion in &portions {
                let shredded = match self.0.portions.shred(account, portion.id).await {
                    // Told where it happened, and tried again by the next pass: the rest must not wait for the audit log.
                    Err(PortionError::Unrecorded { .. }) => false,
                    Err(error @ PortionError::SharesLeft { .. }) => {
                        tracing::warn!(%error, "a shredding waits for sites");
                        false
                    }
                    shredded => shredded?,
                };
                if shredded {
                    tracing::warn!(portion = %portion.record.name, id = %portion.id, "a portion was shredded");
                }
            }
            match portions.last() {
                Some(last) if more => after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }
}
