//! Halves of tenants' keys that somebody else holds: a tenant's key is made of one half under the root key and one that a
//! customer's own keeper gives, for as long as a lease runs. Why it is so: `docs/design/0017-customer-held-half.md`.
//!
//! No request waits for the keeper once its answer is known: a lease is renewed in the background when half of it is over
//! ([`Portions::look_after_halves`]), and what closed is asked for again there.

mod change;
mod settle;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base::{AccountId, PortionId, Stopwatch};
use envelope::Locked;
use meta::record::{HeldRecord, Record, TenantKeyRecord, TenantRecord, key};
use meta::{Version, each_row};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::PortionError;
use crate::portions::{Portions, open_state};
use crate::tenant::TenantKey;
use crate::{Keeper, KeeperError};

pub use change::{HalfState, Holding, NewHold};

/// How long a half counts once it was given if nobody says otherwise, milliseconds.
pub const HOLD_LEASE_MS: u64 = 300_000;
/// How long a half may count, milliseconds.
const LEASES: RangeInclusive<u64> = 1_000..=3_600_000;
/// Longest that a keeper is waited for.
const WITHIN: Duration = Duration::from_secs(5);
/// Pause before what was not given is asked for again, milliseconds: a quarter of the lease, within these.
const PAUSE_MS: (u64, u64) = (250, 5_000);
/// Longest time between two looks at the leases, milliseconds.
const LOOK_MS: u64 = 60_000;

/// Makes the keepers that may hold halves.
pub trait Keepers: Send + Sync {
    /// The keeper of this kind, reached so, for the half of an account's key. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`KeeperError::Failed`] for another kind, or options that are none.
    fn keeper(
        &self,
        account: AccountId,
        kind: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Keeper>, KeeperError>;
}

/// Nobody may hold a half.
pub struct NoKeepers;

impl Keepers for NoKeepers {
    fn keeper(&self, _: AccountId, kind: &str, _: &BTreeMap<String, String>) -> Result<Arc<dyn Keeper>, KeeperError> {
        Err(KeeperError::Failed(format!("there is no keeper of kind {kind} here")))
    }
}

/// Whose turn it is to ask for, or to change, a tenant's half.
#[derive(Default)]
pub(crate) struct Turns {
    of: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
    /// Whether somebody looks after the leases, so that no request has to.
    attended: AtomicBool,
    /// When halves were last looked for in the metadata, milliseconds since the Unix epoch.
    found_ms: AtomicU64,
    changed: Notify,
}

impl Turns {
    fn of(&self, account: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        self.of.lock().entry(account).or_default().clone()
    }
}

/// Why a half was not given when it was last asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its keeper says no.
    Refused(String),
    /// It does not answer, or not with what it kept.
    Unreachable(String),
}

impl Trouble {
    pub(crate) fn of(&self, half: &Half) -> PortionError {
        let (tenant, place) = (half.tenant.clone(), half.place.clone());
        match self {
            Self::Refused(_) => PortionError::HalfRefused { tenant, place },
            Self::Unreachable(_) => PortionError::HalfUnreachable { tenant, place },
        }
    }

    fn why(&self) -> &str {
        let (Self::Refused(why) | Self::Unreachable(why)) = self;
        why
    }
}

/// What a process knows of a half. Not the half itself: it is kept nowhere.
#[derive(Debug, Clone)]
pub(crate) struct Half {
    /// The tenant's name.
    pub(crate) tenant: String,
    pub(crate) place: String,
    pub(crate) lease_ms: u64,
    /// When it was last asked for; 0 for never.
    pub(crate) asked_ms: u64,
    /// When that was asked for which the lease counts from.
    pub(crate) given_ms: Option<u64>,
    /// What has passed since then, whatever clocks say.
    pub(crate) since: Stopwatch,
    pub(crate) trouble: Option<Trouble>,
}

impl Half {
    /// Whether the lease runs, by the clock and by what has passed: it ends at whichever is first. A clock that went back
    /// lengthens none, and ends one that it is behind.
    pub(crate) fn is_open(&self, now_ms: u64) -> bool {
        let age = self.given_ms.and_then(|at| now_ms.checked_sub(at));
        age.is_some_and(|age| age.max(self.since.ms()) < self.lease_ms)
    }

    fn pause_ms(&self) -> u64 {
        match (&self.trouble, self.given_ms) {
            (None, Some(_)) => self.lease_ms / 2,
            _ => (self.lease_ms / 4).clamp(PAUSE_MS.0, PAUSE_MS.1),
        }
    }

    /// Whether it is time to ask for it.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        now_ms.checked_sub(self.asked_ms).is_none_or(|age| age >= self.pause_ms())
    }

    /// Milliseconds until something is to be done about it.
    fn next_ms(&self, now_ms: u64) -> u64 {
        let due = self.asked_ms.saturating_add(self.pause_ms());
        let end = self.given_ms.map_or(u64::MAX, |at| at.saturating_add(self.lease_ms));
        let left = self.given_ms.map_or(u64::MAX, |_| self.lease_ms.saturating_sub(self.since.ms()));
        due.min(end).saturating_sub(now_ms).min(left)
    }
}

impl Portions {
    /// Whether what is the tenant's may be opened and sealed, for what is under none of its portions' keys.
    ///
    /// # Errors
    /// [`PortionError::HalfRefused`], [`PortionError::HalfUnreachable`], or a metadata error.
    pub async fn must_be_open(&self, account: AccountId) -> Result<(), PortionError> {
        self.tenant_must_be_open(account).await?;
        self.must_be_on_lease()
    }

    async fn tenant_must_be_open(&self, account: AccountId) -> Result<(), PortionError> {
        self.on_lease_to_open().await?;
        // Most tenants hold all of their keys here, and some have none.
        if self.caches.tenant(account, self.now_ms()).is_some()
            || self.record::<TenantKeyRecord>(key::tenant_key_key(account)).await?.is_none()
        {
            return Ok(());
        }
        self.tenant_row(account).await.map(drop)
    }

    /// Whether what was opened may be read on, and what was begun may be written: the tenant's keys are open, and the portion
    /// is, if it is under one. What is remembered counts: no more than a [`LEASE_MS`](crate::LEASE_MS) passes unnoticed.
    ///
    /// # Errors
    /// As [`Self::must_be_open`]; [`PortionError::NoSuchPortion`], or the state that forbids it.
    pub async fn must_stay_open(&self, account: AccountId, portion: Option<PortionId>) -> Result<(), PortionError> {
        self.tenant_must_be_open(account).await?;
        let Some(id) = portion else { return self.must_be_on_lease() };
        let known = self.known(account, id).await?;
        open_state(&known)?;
        self.must_open_cut_off(account, id, &known)
    }

    /// Asks for a half that nobody has here, once for all who want it.
    pub(crate) async fn ask_in_turn(&self, account: AccountId) -> Result<(Arc<TenantKey>, Version), PortionError> {
        let turn = self.turns.of(account);
        let _turn = turn.lock().await;
        let now = self.now_ms();
        if let Some(known) = self.caches.tenant(account, now) {
            return Ok(known);
        }
        if let Some((half, trouble)) = self.shut(account, now) {
            return Err(trouble.of(&half));
        }
        self.ask(account).await
    }

    /// Why a tenant's keys are shut, as far as that is known and needs no asking.
    pub(crate) fn shut(&self, account: AccountId, now_ms: u64) -> Option<(Half, Trouble)> {
        let half = self.caches.half(account)?;
        let is_known = self.turns.attended.load(Ordering::Relaxed) || !half.is_due(now_ms);
        let trouble = half.trouble.clone().filter(|_| is_known && !half.is_open(now_ms))?;
        Some((half, trouble))
    }

    /// Asks for a half, and opens or shuts the tenant's keys by the answer. The turn is the caller's.
    async fn ask(&self, account: AccountId) -> Result<(Arc<TenantKey>, Version), PortionError> {
        let answer = self.asked(account).await;
        self.turns.changed.notify_one();
        answer
    }

    async fn asked(&self, account: AccountId) -> Result<(Arc<TenantKey>, Version), PortionError> {
        let seen = self.caches.generation(account);
        let (asked_ms, asked) = (self.now_ms(), self.stopwatch());
        let Some((record, version)) = self.record::<TenantKeyRecord>(key::tenant_key_key(account)).await? else {
            self.caches.forget_half(account);
            self.caches.forget_tenant(account);
            return Err(PortionError::Contended);
        };
        let Some(held) = &record.held else {
            // Another process released it.
            self.caches.forget_half(account);
            let key = Arc::new(self.ring.tenant_key_of(account, &record, None)?);
            self.caches.remember_tenant(account, key.clone(), version, asked_ms, seen);
            return Ok((key, version));
        };
        let known = self.caches.asking(account, asked_ms);
        let tenant = match &known {
            Some(known) => known.tenant.clone(),
            None => self.tenant_name(account).await?,
        };
        let before = known.as_ref().and_then(|known| known.trouble.clone());
        let given_ms = known.as_ref().and_then(|known| known.given_ms);
        let since = known.map_or_else(|| asked.clone(), |known| known.since);
        let (place, lease_ms) = (held.place.clone(), lease_of(held));
        let mut half = Half { tenant, place, lease_ms, asked_ms, given_ms, since, trouble: None };
        let given = self.given(account, held).await.and_then(|given| {
            self.ring.tenant_key_of(account, &record, Some(&given)).map_err(|_| {
                KeeperError::Failed(
                    "what it gives is not the half that it kept, or the root key is another one".to_owned(),
                )
            })
        });
        let trouble = match given {
            Ok(key) => {
                metrics::counter!("holdfast_tenant_halves_asked_total", "answer" => "given").increment(1);
                let key = Arc::new(key);
                (half.given_ms, half.since) = (Some(asked_ms), asked);
                self.caches.open_half(account, half.clone(), key.clone(), version);
                if before.is_some() {
                    tracing::info!(tenant = %half.tenant, key = %half.place, "the customer's key gives its half again");
                }
                if matches!(before, Some(Trouble::Refused(_))) {
                    self.tell(self.event_of_half(account, "tenant:half-given", &half)).await;
                }
                return Ok((key, version));
            }
            Err(KeeperError::Refused(why)) => {
                metrics::counter!("holdfast_tenant_halves_asked_total", "answer" => "refused").increment(1);
                half.given_ms = None;
                Trouble::Refused(why)
            }
            Err(KeeperError::Unreachable(why) | KeeperError::Failed(why)) => {
                metrics::counter!("holdfast_tenant_halves_asked_total", "answer" => "unreachable").increment(1);
                Trouble::Unreachable(why)
            }
        };
        half.trouble = Some(trouble.clone());
        self.caches.remember_half(account, half.clone(), self.now_ms());
        match (&trouble, &before) {
            (Trouble::Refused(_), Some(Trouble::Refused(_)))
            | (Trouble::Unreachable(_), Some(Trouble::Unreachable(_))) => {}
            (Trouble::Refused(why), _) => {
                tracing::error!(tenant = %half.tenant, key = %half.place, %why, "the customer's key refuses its half: the tenant's keys are shut");
                let event = self.event_of_half(account, "tenant:half-refused", &half).with("why", why);
                self.tell(event.denied()).await;
            }
            (Trouble::Unreachable(why), _) => {
                tracing::warn!(tenant = %half.tenant, key = %half.place, %why, "the customer's key does not answer: the tenant's keys are open until the lease ends");
            }
        }
        Err(trouble.of(&half))
    }

    /// The half, from who holds it.
    async fn given(&self, account: AccountId, held: &HeldRecord) -> Result<Locked, KeeperError> {
        let keeper = self.keepers.keeper(account, &held.kind, &held.options)?;
        let kept = held.kept.clone();
        on_a_thread(move || locked(&keeper.give(&kept)?)).await
    }

    fn stopwatch(&self) -> Stopwatch {
        Stopwatch::start(self.doors.clock.clone())
    }

    fn event_of_half(&self, account: AccountId, action: &'static str, half: &Half) -> crate::AuditEvent {
        self.event(account, action, format!("tenant/{}", half.tenant)).with("key", &half.place)
    }

    async fn tenant_name(&self, account: AccountId) -> Result<String, PortionError> {
        if account == AccountId::DEFAULT {
            return Ok("default".to_owned());
        }
        let found = self.record::<TenantRecord>(key::tenant_key(account)).await?;
        Ok(found.map_or_else(|| account.to_string(), |(record, _)| record.name))
    }

    /// Resolves when something became known of a half since the last call: it is time to look again.
    pub async fn halves_changed(&self) {
        self.turns.changed.notified().await;
    }

    /// Learns of all halves that are held, once a minute. What is new is asked for by the next look.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn find_halves(&self) -> Result<(), PortionError> {
        let now = self.now_ms();
        let last = self.turns.found_ms.load(Ordering::Relaxed);
        if last > 0 && now.checked_sub(last).is_some_and(|age| age < LOOK_MS) {
            return Ok(());
        }
        let mut found = Vec::new();
        each_row(self.meta.as_ref(), key::tenant_keys(), |row_key, row| {
            if let (Some(account), Some(held)) =
                (key::tenant_key_of(row_key), TenantKeyRecord::decode(&row.value)?.held)
            {
                found.push((account, held));
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        for (account, held) in found {
            if self.caches.half(account).is_none() {
                let (tenant, lease_ms, since) = (self.tenant_name(account).await?, lease_of(&held), self.stopwatch());
                let place = held.place;
                let half = Half { tenant, place, lease_ms, asked_ms: 0, given_ms: None, since, trouble: None };
                self.caches.expect_half(account, half);
            }
        }
        self.turns.found_ms.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// Drops the keys of tenants whose leases have ended. Returns the tenants to call [`Self::renew_half`] for, and
    /// after how many milliseconds to look again. From the first look on, no request asks for what is known to be shut.
    pub fn look_after_halves(&self) -> (Vec<AccountId>, u64) {
        self.turns.attended.store(true, Ordering::Relaxed);
        let now = self.now_ms();
        let (mut due, mut next) = (Vec::new(), LOOK_MS);
        let mut states = [0_u32; 3];
        for (account, half) in self.caches.halves() {
            if half.given_ms.is_some() && !half.is_open(now) {
                let Half { tenant, place, .. } = &half;
                tracing::error!(%tenant, key = %place, "the lease of a customer's half has ended: the tenant's keys are shut");
                self.caches.shut_half(account, now);
            }
            states[HalfState::of(&half, now) as usize] += 1;
            if half.is_due(now) {
                due.push(account);
            }
            next = next.min(half.next_ms(now));
        }
        for (state, count) in HalfState::ALL.iter().zip(states) {
            metrics::gauge!("holdfast_tenant_halves", "state" => state.name()).set(count);
        }
        (due, next)
    }

    /// Asks for a half whose lease is to go on, unless somebody does.
    pub async fn renew_half(&self, account: AccountId) {
        let turn = self.turns.of(account);
        let Ok(_turn) = turn.try_lock() else { return };
        // A half that was released meanwhile, or was just given to somebody else.
        if self.caches.half(account).is_none_or(|half| !half.is_due(self.now_ms())) {
            return;
        }
        match self.ask(account).await {
            // It was told where it was found.
            Ok(_) | Err(PortionError::HalfRefused { .. } | PortionError::HalfUnreachable { .. }) => {}
            Err(error) => tracing::warn!(%account, %error, "a customer's half could not be asked for"),
        }
    }
}

/// How long a half counts by its row. Whoever writes rows, and has no keys, may write anything.
fn lease_of(held: &HeldRecord) -> u64 {
    held.lease_ms.clamp(*LEASES.start(), *LEASES.end())
}

/// A keeper waits for others, and is not to be waited for by what serves requests.
async fn on_a_thread<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, KeeperError> + Send + 'static,
) -> Result<T, KeeperError> {
    match tokio::time::timeout(WITHIN, tokio::task::spawn_blocking(ask)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(KeeperError::Failed(error.to_string())),
        Err(_) => Err(KeeperError::Unreachable(format!("there was no answer in {} seconds", WITHIN.as_secs()))),
    }
}

fn locked(given: &[u8]) -> Result<Locked, KeeperError> {
    let given = given.try_into().map_err(|_| KeeperError::Failed(format!("it gave {} bytes, not 32", given.len())))?;
    Ok(Locked::copy_of(given))
}
