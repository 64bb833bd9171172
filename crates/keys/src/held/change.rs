//! A half is given away, and taken back; who holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::AccountId;
use envelope::Locked;
use meta::record::{HeldRecord, PortionRecord, Record, RewrapRecord, TenantKeyRecord, key};
use meta::{Batch, Check, Write, each_row};

use super::{Half, LEASES, Trouble, lease_of, on_a_thread};
use crate::error::PortionError;
use crate::portions::Portions;
use crate::wrap::BUCKET_KEYS;
use crate::{AuditEvent, KeeperError};

/// Keys of a tenant that may wait for what is under them to move.
const OLDER_MAX: usize = 16;
/// Bytes of what a keeper makes of a half.
const KEPT_MAX: usize = 1024;

/// A half to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// The keeper's kind, as `awskms`.
    pub kind: String,
    /// How it is reached, by what the kind knows. No secrets: they are told to whom may ask.
    pub options: BTreeMap<String, String>,
    /// How long the half counts once it was given, milliseconds: 1,000 to 3,600,000.
    pub lease_ms: u64,
}

/// How a tenant's keys stand that take a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfState {
    /// The lease runs.
    Open,
    /// Who holds the half says no.
    Refused,
    /// Who holds the half did not answer, or was not asked yet.
    Unreachable,
}

impl HalfState {
    pub(crate) const ALL: [Self; 3] = [Self::Open, Self::Refused, Self::Unreachable];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }

    pub(crate) fn of(half: &Half, now_ms: u64) -> Self {
        match half.trouble {
            _ if half.is_open(now_ms) => Self::Open,
            Some(Trouble::Refused(_)) => Self::Refused,
            Some(Trouble::Unreachable(_)) | None => Self::Unreachable,
        }
    }
}

/// Who holds the half of a tenant's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The keeper's kind.
    pub kind: String,
    /// How it is reached.
    pub options: BTreeMap<String, String>,
    /// Where the half is kept, for people.
    pub place: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How long the half counts once it was given, milliseconds.
    pub lease_ms: u64,
    /// How the keys stand in this process.
    pub state: HalfState,
    /// When it was last asked for, milliseconds since the Unix epoch.
    pub asked_ms: Option<u64>,
    /// When that was asked for by which the keys are open.
    pub given_ms: Option<u64>,
    /// Why it was not given when it was last asked for.
    pub trouble: Option<String>,
    /// Keys that were the tenant's before and that something is still under.
    pub older: usize,
    /// Whether parts may still be under buckets' keys, which take no half.
    pub migrating: bool,
}

impl Portions {
    /// Who holds the half of a tenant's key, if one is held.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn holding(&self, account: AccountId) -> Result<Option<Holding>, PortionError> {
        let Some((record, _)) = self.record::<TenantKeyRecord>(key::tenant_key_key(account)).await? else {
            return Ok(None);
        };
        let older = record.older.len();
        let Some(held) = record.held else { return Ok(None) };
        let migrating = self.record::<RewrapRecord>(key::rewrap_key(account, BUCKET_KEYS)).await?.is_some();
        let half = self.caches.half(account);
        Ok(Some(self.told(held, half, older, migrating)))
    }

    fn told(&self, held: HeldRecord, half: Option<Half>, older: usize, migrating: bool) -> Holding {
        let now = self.now_ms();
        let lease_ms = lease_of(&held);
        let HeldRecord { since_ms, kind, options, place, .. } = held;
        Holding {
            state: half.as_ref().map_or(HalfState::Unreachable, |half| HalfState::of(half, now)),
            asked_ms: half.as_ref().map(|half| half.asked_ms).filter(|at| *at > 0),
            given_ms: half.as_ref().and_then(|half| half.given_ms),
            trouble: half.and_then(|half| half.trouble).map(|trouble| trouble.why().to_owned()),
            kind,
            options,
            place,
            since_ms,
            lease_ms,
            older,
            migrating,
        }
    }

    /// Has a half of a tenant's key held: from then on nothing of the tenant opens without it. Counts at once in this
    /// process, and elsewhere within [`crate::LEASE_MS`]. Parts that are under buckets' keys begin to move to portions.
    /// A dry run tries the keeper, and changes nothing.
    ///
    /// # Errors
    /// [`PortionError::Held`], [`PortionError::Invalid`], [`PortionError::Keeper`], [`PortionError::Unrecorded`], or a
    /// metadata error.
    pub async fn hold(
        &self,
        account: AccountId,
        tenant: &str,
        new: &NewHold,
        dry_run: bool,
    ) -> Result<Holding, PortionError> {
        if !LEASES.contains(&new.lease_ms) {
            return Err(PortionError::Invalid("a half counts for 1 second to 1 hour once it was given"));
        }
        let turn = self.turns.of(account);
        let _turn = turn.lock().await;
        let row_key = key::tenant_key_key(account);
        let found = self.record::<TenantKeyRecord>(row_key.clone()).await?;
        if let Some(held) = found.as_ref().and_then(|(record, _)| record.held.as_ref()) {
            return Err(PortionError::Held { tenant: tenant.to_owned(), place: held.place.clone() });
        }
        if found.as_ref().is_some_and(|(record, _)| record.older.len() >= OLDER_MAX) {
            return Err(PortionError::Invalid(
                "too many keys of the tenant are in use still; rotate the keys of its portions of class quorum",
            ));
        }
        let keeper = self.keepers.keeper(account, &new.kind, &new.options)?;
        let place = keeper.place();
        let mut half = Locked::zeros();
        self.doors.rng.fill(half.bytes_mut());
        let (asked_ms, since) = (self.now_ms(), self.stopwatch());
        // A half that is not given again is lost with all that takes it.
        let (kept, half) = on_a_thread(move || {
            let kept = keeper.keep(half.bytes())?;
            let given = keeper.give(&kept)?;
            if kept.len() > KEPT_MAX || verify_slices_are_equal(&given, half.bytes()).is_err() {
                return Err(KeeperError::Failed("it does not give back what it was given to keep".to_owned()));
            }
            Ok((kept, half))
        })
        .await?;
        self.must_not_be_ours(&kept).await?;
        let held = HeldRecord {
            since_ms: self.now_ms(),
            kind: new.kind.clone(),
            options: new.options.clone(),
            place: place.clone(),
            kept,
            lease_ms: new.lease_ms,
            verifier: [0; 32],
        };
        let known = Half {
            tenant: tenant.to_owned(),
            place: place.clone(),
            lease_ms: new.lease_ms,
            asked_ms,
            given_ms: Some(asked_ms),
            since,
            trouble: None,
        };
        if dry_run {
            return Ok(self.told(held, Some(known), 0, false));
        }
        let event = |action| self.event_of_tenant(account, action, tenant, &held).with("lease_ms", new.lease_ms);
        self.announce(event("tenant:holding")).await?;
        let done = self.commit_hold(account, &half, held.clone()).await;
        self.caches.forget_tenant(account);
        self.tell_end(&done, event("tenant:hold")).await;
        done?;
        // Open from the start, by the half that is at hand.
        let (record, version) = self.tenant_record(account).await?;
        let tenant_key = Arc::new(self.ring.tenant_key_of(account, &record, Some(&half))?);
        self.caches.open_half(account, known.clone(), tenant_key, version);
        self.turns.changed.notify_one();
        Ok(self.told(held, Some(known), record.older.len(), true))
    }

    /// A half under a key of this installation would lie beside the other one, or, worse, be needed to open itself.
    async fn must_not_be_ours(&self, kept: &[u8]) -> Result<(), PortionError> {
        let Some((name, _)) = crate::key_of(kept) else { return Ok(()) };
        let mut accounts = Vec::new();
        each_row(self.meta.as_ref(), key::tenant_keys(), |row_key, _| {
            accounts.extend(key::tenant_key_of(row_key));
            Ok::<_, PortionError>(())
        })
        .await?;
        for account in accounts {
            if self.record::<PortionRecord>(key::portion_key(account, name.portion)).await?.is_some() {
                return Err(PortionError::Invalid(
                    "that key is one of this installation's own: a half that it keeps is of no use, and may be needed to \
                     open itself; give a key that the customer has elsewhere",
                ));
            }
        }
        Ok(())
    }

    async fn commit_hold(&self, account: AccountId, half: &Locked, held: HeldRecord) -> Result<(), PortionError> {
        let row_key = key::tenant_key_key(account);
        let (record, version) = self.tenant_record(account).await?;
        let tenant = self.ring.tenant_key_of(account, &record, None)?;
        let next = self.ring.held(&tenant, &record, half, held, self.doors.rng.as_ref())?;
        let mut writes = vec![Write::Put(row_key.clone(), next.encode())];
        let rewrap_key = key::rewrap_key(account, BUCKET_KEYS);
        if self.record::<RewrapRecord>(rewrap_key.clone()).await?.is_none() {
            let work = RewrapRecord { below: 0, since_ms: self.now_ms(), is_clean: false, reseal: false };
            writes.push(Write::Put(rewrap_key, work.encode()));
        }
        self.commit_once(Batch { checks: vec![Check::Is(row_key, version)], writes }).await
    }

    /// Takes the half of a tenant's key back: from then on the root key alone opens it. It takes the half one last time.
    /// A dry run only asks for it.
    ///
    /// # Errors
    /// [`PortionError::NotHeld`], [`PortionError::Keeper`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn release_half(&self, account: AccountId, tenant: &str, dry_run: bool) -> Result<(), PortionError> {
        let turn = self.turns.of(account);
        let _turn = turn.lock().await;
        let row_key = key::tenant_key_key(account);
        let found = self.record::<TenantKeyRecord>(row_key.clone()).await?;
        let not_held = || PortionError::NotHeld(tenant.to_owned());
        let (record, version) = found.ok_or_else(not_held)?;
        let held = record.held.clone().ok_or_else(not_held)?;
        let half = self.given(account, &held).await?;
        let tenant_key = self.ring.tenant_key_of(account, &record, Some(&half))?;
        if dry_run {
            return Ok(());
        }
        let event = |action| self.event_of_tenant(account, action, tenant, &held);
        self.announce(event("tenant:releasing")).await?;
        let next = self.ring.released(&tenant_key, &record)?;
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version)],
            writes: vec![Write::Put(row_key, next.encode())],
        };
        let done = self.commit_once(batch).await;
        self.caches.forget_tenant(account);
        if done.is_ok() {
            self.caches.forget_half(account);
        }
        self.tell_end(&done, event("tenant:release")).await;
        done
    }

    fn event_of_tenant(&self, account: AccountId, action: &'static str, tenant: &str, held: &HeldRecord) -> AuditEvent {
        let event = self.event(account, action, format!("tenant/{tenant}"));
        let event = event.with("key", &held.place).with("kind", &held.kind);
        held.options.iter().fold(event, |event, (name, value)| event.with(name, value))
    }
}
