//! Moves parts to other keys: wraps are made anew, the sealed bytes stay; or, after a leak, the bytes are sealed anew
//! (`reseal`).
//!
//! For a key that was rotated, parts under older versions go to the newest. For data from before portions,
//! parts under buckets' keys go where the rules send them. A version of a key is destroyed [`RETIRE_MS`] after the rotation, by a
//! pass that begins then and finds nothing under it. Before that pass the version is closed: writes that began under it
//! cannot land from then on, since each names the version's rows in its batch.
//!
//! One walk serves all work of a tenant. A part that cannot be moved keeps the versions of its own key, and no other's; a
//! tenant where nothing more can be moved is left alone for a while, longer each time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use base::{AccountId, Classify, ErrorKind, PortionId};
use keys::{BUCKET_KEYS, Pending, PortionError, Wrap};
use meta::record::{DataRecord, Encryption, Record, key};
use meta::{Batch, Check, Write};
use parking_lot::Mutex;

use crate::encryption::{Place, Under, key_lives};
use crate::sealed::{Damaged, Sealed, TenantWalk, Walked};
use crate::{Error, Store};

/// How long the versions of a rotated key stay at least, milliseconds.
const RETIRE_MS: u64 = 24 * 3600 * 1000;
/// Rows in one flush.
const GROUP: usize = 256;
/// How long a tenant is left alone after a pass that moved nothing and left something, milliseconds: the first time, and
/// at most.
const REST_MS: (u64, u64) = (60_000, 3_600_000);

/// What a pass moves. Each has a loop of its own: wraps take seconds, bytes hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Wraps, to newer versions of keys.
    Rewrap,
    /// Bytes, which are sealed anew.
    Rekey,
}

impl Kind {
    /// The worker's name.
    pub(super) fn worker(self) -> &'static str {
        match self {
            Self::Rewrap => "rewrap",
            Self::Rekey => "rekey",
        }
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Parts moved.
    pub moved: u64,
    /// Parts that somebody else changed meanwhile: for the next pass.
    pub lost: u64,
    /// Parts and rows that could not be read, once for each key whose old versions they keep.
    pub unreadable: u64,
    /// Parts whose key is disabled, is to be shredded, or is out of reach.
    pub shut: u64,
    /// Work that is done.
    pub finished: u64,
    /// Parts to seal anew that only copies under way, or bodies that are not collected yet, refer to.
    pub held: u64,
    /// Tenants that were left alone, since the last pass could move nothing more.
    pub resting: u64,
}

/// What a pass found for one piece of work.
#[derive(Debug, Default)]
struct Tally {
    moved: u64,
    lost: u64,
    unreadable: u64,
    shut: u64,
    held: u64,
    /// The first part that cannot be moved, and why.
    first: Option<String>,
}

impl Tally {
    fn is_clean(&self) -> bool {
        self.moved + self.lost + self.left() == 0
    }

    /// What another pass would not move either.
    fn left(&self) -> u64 {
        self.unreadable + self.shut + self.held
    }
}

/// A piece of work that a pass does.
pub(super) struct Due {
    pending: Pending,
    /// Whether what is found empty now ends.
    ripe: bool,
    /// Its key cannot be had now: its parts wait.
    is_out_of_reach: bool,
    tally: Tally,
}

/// A pass over one tenant.
pub(super) struct Pass {
    kind: Kind,
    works: BTreeMap<PortionId, Due>,
}

impl Pass {
    /// A part was moved.
    pub(super) fn moved(&mut self, portion: PortionId) {
        if let Some(due) = self.works.get_mut(&portion) {
            due.tally.moved += 1;
        }
    }

    /// Counts what befell a part.
    ///
    /// # Errors
    /// What befalls all parts alike.
    pub(super) fn failed(&mut self, portion: PortionId, what: &str, error: Error) -> Result<(), Error> {
        self.failed_under(portion, true, what, error)
    }

    /// The same; `is_own`: the key that the part is to come under is that of the portion whose work it is.
    ///
    /// # Errors
    /// What befalls all parts alike.
    pub(super) fn failed_under(
        &mut self,
        portion: PortionId,
        is_own: bool,
        what: &str,
        error: Error,
    ) -> Result<(), Error> {
        let Some(due) = self.works.get_mut(&portion) else { return Ok(()) };
        match error {
            Error::Portion(error @ (PortionError::KeyUnavailable { .. } | PortionError::HalfUnreachable { .. })) => {
                // Its shares, or a half of the tenant's key, are out of reach: for the next pass.
                tracing::warn!(%portion, %error, "parts cannot be moved to another key now");
                due.is_out_of_reach |= is_own && portion != BUCKET_KEYS;
                due.tally.shut += 1;
            }
            // A key that opens nothing now moves nothing; others must not wait for it.
            Error::Portion(error) if error.kind() == ErrorKind::Denied => due.tally.shut += 1,
            Error::Contended | Error::Portion(PortionError::Contended) => due.tally.lost += 1,
            error if is_of_all(&error) => return Err(error),
            error => {
                let what = format!("{what}: {error}");
                tracing::error!("a part cannot be moved to another key: {what}");
                self.leave(portion, || what.clone());
            }
        }
        Ok(())
    }

    /// Something that keeps this portion's old versions, and cannot be moved.
    fn leave(&mut self, portion: PortionId, what: impl Fn() -> String) {
        if let Some(due) = self.works.get_mut(&portion) {
            due.tally.unreadable += 1;
            due.tally.first.get_or_insert_with(what);
        }
    }

    fn totals(&self) -> Tally {
        self.works.values().fold(Tally::default(), |mut all, Due { tally, .. }| {
            all.moved += tally.moved;
            all.lost += tally.lost;
            all.unreadable += tally.unreadable;
            all.shut += tally.shut;
            all.held += tally.held;
            all.first = all.first.or_else(|| tally.first.clone());
            all
        })
    }

    /// What the pass is about: when that is other than the last time, it is worth another walk.
    fn about(&self) -> Vec<(Pending, bool)> {
        self.works.values().map(|due| (due.pending, due.ripe)).collect()
    }

    /// The check that the work is still what the pass does. A DEK that leaked must not come under the new version of a
    /// rekey that began meanwhile.
    fn row_of(&self, account: AccountId, portion: PortionId) -> Option<Check> {
        let due = self.works.get(&portion)?;
        Some(Check::Is(key::rewrap_key(account, portion), due.pending.row))
    }

    /// Something that nothing visible refers to, and that is to be gone before the work is done.
    pub(super) fn hold(&mut self, portion: PortionId, what: impl Fn() -> String) {
        if let Some(due) = self.works.get_mut(&portion) {
            due.tally.held += 1;
            due.tally.first.get_or_insert_with(what);
        }
    }

    /// Something that keeps all old versions.
    pub(super) fn leave_all(&mut self, what: impl Fn() -> String) {
        for due in self.works.values_mut() {
            due.tally.unreadable += 1;
            due.tally.first.get_or_insert_with(&what);
        }
    }

    /// The portions whose work this is.
    pub(super) fn portions(&self) -> impl Iterator<Item = PortionId> {
        self.works.keys().copied()
    }

    /// Work that this pass has found nothing for so far.
    pub(super) fn clean(&self) -> impl Iterator<Item = PortionId> {
        self.works.values().filter(|due| due.tally.is_clean()).map(|due| due.pending.portion)
    }

    /// Works that a part is to be sealed anew for by what its data row says.
    pub(super) fn leaked(&self, data: &DataRecord) -> impl Iterator<Item = PortionId> {
        data.under.iter().filter_map(|(portion, oldest)| {
            let due = self.works.get(portion)?;
            (*oldest < due.pending.work.below).then_some(*portion)
        })
    }

    /// What is to become of a part, by its own wrap.
    pub(super) fn concern(&mut self, bucket: &Walked, sealed: &Sealed) -> Concern {
        let portion = match self.concerns(sealed) {
            Ok(Some(portion)) => portion,
            Ok(None) => return Concern::Stays,
            Err(error) => {
                let what = format!("{}: {error}", name_of(bucket, sealed));
                tracing::error!("a part cannot be moved to another key: {what}");
                self.leave_all(|| what.clone());
                return Concern::Waits;
            }
        };
        match self.works.get_mut(&portion) {
            Some(due) if due.is_out_of_reach => {
                due.tally.shut += 1;
                Concern::Waits
            }
            _ => Concern::Moves(portion),
        }
    }

    /// The work that a part is to be moved for by its own wrap.
    fn concerns(&self, sealed: &Sealed) -> Result<Option<PortionId>, Error> {
        let Some(part) = sealed.part() else { return Ok(None) };
        let portion = match Wrap::parse(&part.wrapped_dek)?.key() {
            Some(name) => self.works.get(&name.portion).filter(|due| name.version < due.pending.work.below),
            None if matches!(sealed.of.encryption, Encryption::Customer { .. }) => None,
            None => self.works.get(&BUCKET_KEYS),
        };
        Ok(portion.map(|due| due.pending.portion))
    }
}

/// What is to become of a part.
pub(super) enum Concern {
    Stays,
    /// It is counted: its key cannot be had now, or it cannot be read.
    Waits,
    /// For the work on this portion.
    Moves(PortionId),
}

/// Tenants that are left alone for a while.
#[derive(Default)]
pub(crate) struct Rests(Mutex<BTreeMap<(Kind, AccountId), Rest>>);

struct Rest {
    until_ms: u64,
    pause_ms: u64,
    about: Vec<(Pending, bool)>,
    left: u64,
    first: Option<String>,
}

impl Rests {
    /// Somebody asks for a pass now.
    pub(crate) fn end(&self) {
        self.0.lock().values_mut().for_each(|rest| rest.until_ms = 0);
    }

    fn is_resting(&self, account: AccountId, pass: &Pass, now_ms: u64) -> bool {
        self.0
            .lock()
            .get(&(pass.kind, account))
            .is_some_and(|rest| now_ms < rest.until_ms && rest.about == pass.about())
    }

    /// After a pass.
    fn settle(&self, account: AccountId, pass: &Pass, now_ms: u64) {
        let totals = pass.totals();
        let mut rests = self.0.lock();
        if totals.left() == 0 {
            rests.remove(&(pass.kind, account));
            return;
        }
        let about = pass.about();
        let before =
            rests.get(&(pass.kind, account)).filter(|rest| rest.about == about && totals.moved + totals.lost == 0);
        let pause_ms = match before {
            Some(rest) => (rest.pause_ms * 2).clamp(REST_MS.0, REST_MS.1),
            None if totals.moved + totals.lost == 0 => REST_MS.0,
            None => 0,
        };
        let rest = Rest { until_ms: now_ms + pause_ms, pause_ms, about, left: totals.left(), first: totals.first };
        rests.insert((pass.kind, account), rest);
    }

    fn forget(&self, kind: Kind, account: AccountId) {
        self.0.lock().remove(&(kind, account));
    }

    /// How much is left of one kind of work, and the first of it.
    fn left(&self, kind: Kind) -> (u64, Option<String>) {
        let rests = self.0.lock();
        let of = || rests.iter().filter(|((of, _), _)| *of == kind).map(|(_, rest)| rest);
        (of().map(|rest| rest.left).sum(), of().find_map(|rest| rest.first.clone()))
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
            failed = tenant.rewrap_portions(&mut done, Kind::Rewrap).await.err().or(failed);
        }
        self.tell_left(Kind::Rewrap);
        // What fails for one tenant keeps no other waiting.
        failed.map_or(Ok(done), Err)
    }

    /// One pass over what takes hours: bytes that are sealed anew.
    pub(crate) async fn rekey_pass(&self, done: &mut Rewrapped) -> Result<(), Error> {
        let mut failed = None;
        for tenant in &self.each_tenant().await? {
            failed = tenant.rewrap_portions(done, Kind::Rekey).await.err().or(failed);
        }
        self.0.workers.rekeying.store(false, Ordering::Relaxed);
        self.tell_left(Kind::Rekey);
        failed.map_or(Ok(()), Err)
    }

    /// Tells operators what another pass would not move either.
    fn tell_left(&self, kind: Kind) {
        let (left, first) = self.0.workers.rests.left(kind);
        metrics::gauge!("holdfast_rewrap_left", "worker" => kind.worker()).set(left as f64);
        self.0.workers.report(kind.worker(), |report| {
            report.state = "idle".to_owned();
            report.queue = left;
            report.last_error = (left > 0).then(|| {
                let first = first.unwrap_or_else(|| "their keys are disabled, or out of reach".to_owned());
                format!("{left} parts or rows keep old versions of keys: {first}; the log tells all")
            });
        });
    }

    async fn rewrap_portions(&self, done: &mut Rewrapped, kind: Kind) -> Result<(), Error> {
        let account = self.account();
        let mut pass = self.due_work(kind).await?;
        if pass.works.is_empty() {
            self.0.workers.rests.forget(kind, account);
            return Ok(());
        }
        if self.0.workers.rests.is_resting(account, &pass, self.now_ms()) {
            done.resting += 1;
            return Ok(());
        }
        self.0.workers.report(kind.worker(), |report| report.state = "running".to_owned());
        if kind == Kind::Rekey {
            self.0.workers.rekeying.store(true, Ordering::Relaxed);
            self.begin_progress(&pass);
        }
        for due in pass.works.values().filter(|due| due.ripe && due.pending.portion != BUCKET_KEYS) {
            self.0.portions.close(due.pending.portion, &due.pending.work).await?;
        }
        let walked = self.move_parts(&mut pass).await;
        let walked = if walked.is_ok() && kind == Kind::Rekey { self.look_for_held(&mut pass).await } else { walked };
        let totals = pass.totals();
        done.moved += totals.moved;
        done.lost += totals.lost;
        done.unreadable += totals.unreadable;
        done.shut += totals.shut;
        done.held += totals.held;
        walked?;
        for due in pass.works.values().filter(|due| due.tally.is_clean()) {
            let Pending { portion, work, .. } = &due.pending;
            if due.ripe {
                self.0.portions.rewrapped(account, *portion, work).await?;
                self.0.workers.rekeys.lock().remove(portion);
                done.finished += 1;
            } else {
                self.0.portions.found_clean(account, *portion, work).await?;
            }
        }
        self.0.workers.rests.settle(account, &pass, self.now_ms());
        Ok(())
    }

    /// What is to be done now. What was found clean waits until its versions may end, and a key that opens nothing until
    /// it does again.
    async fn due_work(&self, kind: Kind) -> Result<Pass, Error> {
        let account = self.account();
        let mut pass = Pass { kind, works: BTreeMap::new() };
        for pending in self.0.portions.pending(account).await? {
            let Pending { portion, work, .. } = pending;
            if work.reseal != (kind == Kind::Rekey) {
                continue;
            }
            let ripe = portion == BUCKET_KEYS || self.now_ms() >= work.since_ms.saturating_add(RETIRE_MS);
            if work.is_clean && !ripe {
                continue;
            }
            if portion != BUCKET_KEYS {
                match self.0.portions.get(account, portion).await {
                    Ok(found) if found.is_enabled() => {}
                    Ok(_) => continue,
                    Err(error @ (PortionError::Meta(_) | PortionError::Commit(_))) => return Err(error.into()),
                    Err(error) => {
                        tracing::error!(%portion, %error, "a portion cannot be read; its parts are not moved to another key");
                        continue;
                    }
                }
            }
            pass.works.insert(portion, Due { pending, ripe, is_out_of_reach: false, tally: Tally::default() });
        }
        Ok(pass)
    }

    async fn move_parts(&self, pass: &mut Pass) -> Result<(), Error> {
        let mut walk = TenantWalk::new(self);
        while let Some((bucket, step)) = walk.next().await? {
            for damaged in &step.damaged {
                self.blame(damaged, pass).await?;
            }
            let Some(bucket) = bucket else { continue };
            if pass.kind == Kind::Rekey {
                let leaked = self.leaked_of(&bucket, step.parts, pass).await?;
                self.reseal(&bucket, leaked, pass).await?;
                continue;
            }
            let mut group = Vec::new();
            for sealed in step.parts {
                let Concern::Moves(portion) = pass.concern(&bucket, &sealed) else { continue };
                match self.rewrapped_as(&bucket, sealed, portion).await {
                    Ok(mut batch) => {
                        batch.checks.extend(pass.row_of(self.account(), portion));
                        group.push((portion, batch));
                    }
                    Err((what, error)) => pass.failed(portion, &what, error)?,
                }
                if group.len() >= GROUP {
                    self.commit_rewrapped(std::mem::take(&mut group), pass).await?;
                }
            }
            self.commit_rewrapped(group, pass).await?;
        }
        Ok(())
    }

    /// A row that cannot be read keeps the versions that it names. One that names none may be of many parts: it keeps all.
    async fn blame(&self, damaged: &Damaged, pass: &mut Pass) -> Result<(), Error> {
        let what = || format!("the row {} ({})", damaged.row_key.escape_ascii(), damaged.error);
        match self.wraps_in(damaged).await? {
            None => pass.leave_all(what),
            Some(names) => {
                let old = |portion: &PortionId, due: &Due| {
                    names.iter().any(|name| name.portion == *portion && name.version < due.pending.work.below)
                };
                let kept: Vec<PortionId> =
                    pass.works.iter().filter(|(portion, due)| old(portion, due)).map(|(portion, _)| *portion).collect();
                kept.into_iter().for_each(|portion| pass.leave(portion, what));
            }
        }
        Ok(())
    }

    /// The batch that wraps a part anew; or which part that is, and why not.
    async fn rewrapped_as(
        &self,
        bucket: &Walked,
        sealed: Sealed,
        portion: PortionId,
    ) -> Result<Batch, (String, Error)> {
        let wrapped =
            self.wrap_of(bucket, &sealed, portion).await.map_err(|error| (name_of(bucket, &sealed), error))?;
        let mut batch = Batch { checks: key_lives(&wrapped), writes: vec![] };
        if portion == BUCKET_KEYS {
            let noted = self.note_migrated(&sealed, &wrapped, &mut batch).await;
            noted.map_err(|error| (name_of(bucket, &sealed), error))?;
        }
        let (row_key, row_version, row) = sealed.rewrapped(wrapped);
        batch.checks.push(Check::Is(row_key.clone(), row_version));
        batch.writes.push(Write::Put(row_key, row));
        Ok(batch)
    }

    /// Copies from before portions share parts, and rules may send each to another portion: the data row says so.
    async fn note_migrated(&self, sealed: &Sealed, wrapped: &[u8], batch: &mut Batch) -> Result<(), Error> {
        let (Some(part), Some(name)) = (sealed.part(), Wrap::parse(wrapped)?.key()) else { return Ok(()) };
        let data_key = key::data_key(part.id);
        let Some((mut data, version)) = self.record::<DataRecord>(data_key.clone()).await? else { return Ok(()) };
        batch.checks.push(Check::Is(data_key.clone(), version));
        if data.refs > 1 || !data.under.is_empty() {
            if !data.note_under(name.portion, name.version) {
                return Err(Error::Invalid("copies share the part between too many portions: copy it onto itself"));
            }
            batch.writes.push(Write::Put(data_key, data.encode()));
        }
        Ok(())
    }

    /// The wrap that a part is to have.
    async fn wrap_of(&self, bucket: &Walked, sealed: &Sealed, portion: PortionId) -> Result<Vec<u8>, Error> {
        let part = sealed.part().ok_or(Error::Invalid("a part without bytes has no key"))?;
        let of = &sealed.of;
        let place = Place { bucket: &bucket.record, name: &bucket.name, key: &of.name, body: of.body };
        let under = match portion {
            BUCKET_KEYS => self.key_to_go_on(&place, &of.encryption, None, &of.headers, &of.tags).await?,
            portion => Under::Portion(portion),
        };
        let key = self.0.keys.bucket_key(bucket.record.id, &bucket.record.wrapped_key)?;
        let at = place.dek(sealed.number, part.id);
        let (dek, _) = self.unwrap_dek(&key, &at, part).await?;
        self.wrap_dek(&under, &at, part.size, &dek).await
    }

    async fn commit_rewrapped(&self, group: Vec<(PortionId, Batch)>, pass: &mut Pass) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        let (portions, batches): (Vec<PortionId>, Vec<Batch>) = group.into_iter().unzip();
        let mut moved = 0;
        for (portion, answer) in portions.into_iter().zip(self.0.meta.commit_group(batches).await) {
            match answer {
                Ok(_) => {
                    pass.moved(portion);
                    moved += 1;
                }
                Err(meta::CommitError::Failed { .. }) => pass.failed(portion, "", Error::Contended)?,
                Err(error) => return Err(error.into()),
            }
        }
        self.0.workers.report(pass.kind.worker(), |report| report.done += moved);
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

/// A part as it is told to people.
pub(super) fn name_of(bucket: &Walked, sealed: &Sealed) -> String {
    let version = sealed.of.version.map_or_else(|| "an upload".to_owned(), |version| version.to_string());
    format!("s3://{}/{} (version {version}, part {})", bucket.name, sealed.of.name.escape_debug(), sealed.number)
}

/// Whether the metadata or the sites fail, and not one part.
fn is_of_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Meta(_)
            | Error::Commit(_)
            | Error::Portion(PortionError::Meta(_) | PortionError::Commit(_))
            | Error::Full(_)
            | Error::TooFewSites { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::Version;
    use meta::record::RewrapRecord;

    #[test]
    fn a_key_that_is_out_of_reach_stays_so_for_the_pass() {
        let portion = PortionId::from_bytes([7; 16]);
        let work = RewrapRecord { below: 2, since_ms: 1, is_clean: false, reseal: true };
        let pending = Pending { portion, work, row: Version(1) };
        let due = Due { pending, ripe: false, is_out_of_reach: false, tally: Tally::default() };
        let mut pass = Pass { kind: Kind::Rekey, works: BTreeMap::from([(portion, due)]) };
        let silent = || {
            Error::Portion(PortionError::HalfUnreachable {
                tenant: "default".to_owned(),
                place: "customer/1".to_owned(),
            })
        };
        // Whether the key that is silent is the portion's own, and whether its other parts are tried from then on.
        for (is_own, expected) in [(false, false), (true, true), (false, true)] {
            pass.failed_under(portion, is_own, "a part", silent()).unwrap();
            assert_eq!(pass.works[&portion].is_out_of_reach, expected, "{is_own}");
        }
        assert_eq!(pass.totals().shut, 3);
    }
}
