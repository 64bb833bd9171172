//! Releases: whether a caller gets the key of a portion, decided once for each lease and not for each object.
//!
//! In this order: denials, which no policy outweighs; the tenant's release policies; people, where those ask for them;
//! the budget of the hour. What comes out is a [`Lease`] or a [`Refusal`], and counts for [`LEASE_MS`](crate::LEASE_MS).
//! That a principal had a portion is written down before the first lease of an hour is given.

mod approval;
mod caller;
mod denial;
mod ledger;
mod owed;
mod policies;
mod queue;
mod simulate;
mod spend;
mod standing;

use std::num::NonZeroU64;
use std::sync::Arc;

use base::{AccountId, PortionId};
use meta::record::{
    DenialReason, DenialRecord, Matter, PortionClass, PortionRecord, Record, ReleasedRecord, SpentRecord, TenantRecord,
    key,
};
use meta::{Batch, Check, Row, stale};
use release::{Action, Circumstances, Decision, Outcome, Policies, Portion as Asked, Question, Terms};

use crate::audit::AuditOutcome;
use crate::error::PortionError;
use crate::portions::{ATTEMPTS, Portions, dashed};

pub use approval::{Approval, Approver, Ruling};
pub use caller::{Caller, KUBERNETES, Who};
pub use denial::Denial;
pub use ledger::Holder;
pub(crate) use owed::Owed;
pub(crate) use policies::{Known, Parsers, Stamp, Unreadable};
pub(crate) use queue::Queues;
pub use simulate::{Answer, Ask};
pub(crate) use spend::{Room, Spent};
pub use standing::Standing;

/// The tenant whose name is no row.
const DEFAULT_TENANT: &str = "default";
const HOUR_MS: u64 = 3_600_000;

/// The beginning of an hour of the clock.
fn hour_of(now: u64) -> u64 {
    now - now % HOUR_MS
}

/// What was released, and how much of it may be used.
#[derive(Debug)]
pub struct Lease {
    /// Until when it counts at most, milliseconds since the Unix epoch.
    pub(crate) until_ms: u64,
    pub(crate) account: AccountId,
    /// The caller's unique id.
    pub(crate) principal: String,
    /// Its name.
    pub(crate) name: String,
    pub(crate) budget: release::Budget,
}

/// Why a portion is not released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A denial names the principal.
    #[error("nothing is released to {name}: {}; `holdfast release denials` tells more", told(*.reason))]
    Denied {
        /// Whom.
        name: String,
        /// Why.
        reason: DenialReason,
    },
    /// No release policy permits it, or one forbids it.
    #[error("portion {portion} is not released to {name}: {why}; `holdfast policy test` tells more")]
    NotPermitted {
        /// To whom.
        name: String,
        /// Which.
        portion: String,
        /// Whether one forbids it, or none permits it. Which one is nothing that clients are told.
        why: &'static str,
        /// The policies that forbid it, or failed.
        by: Vec<String>,
    },
    /// People, or time, have to release it.
    #[error("{matter} waits for approval: request {request}; `holdfast release approve {request}` by somebody else")]
    Pending {
        /// What waits.
        matter: String,
        /// The request's id.
        request: String,
    },
    /// Somebody refused it.
    #[error("{matter} was refused by {by}: request {request}")]
    Refused {
        /// What was refused.
        matter: String,
        /// The request's id.
        request: String,
        /// By whom.
        by: String,
    },
    /// The budget of the hour is spent.
    #[error("{name} may open no more {what} in this hour: the limit of {limit} is reached")]
    OverBudget {
        /// Who.
        name: String,
        /// `portions`, `objects` or `bytes`.
        what: &'static str,
        /// The limit.
        limit: NonZeroU64,
    },
}

fn told(reason: DenialReason) -> &'static str {
    match reason {
        DenialReason::Revoked => "it was revoked",
        DenialReason::Lost => "it was reported lost",
        DenialReason::Quarantined => "it is in quarantine",
    }
}

/// What a lease or a refusal is remembered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LeaseKey {
    pub(crate) account: AccountId,
    /// The caller and its circumstances.
    pub(crate) stamp: [u8; 16],
    pub(crate) portion: PortionId,
    pub(crate) action: Action,
}

/// What was read to decide.
struct Read {
    portion: PortionRecord,
    tenant: String,
    denial: Option<DenialRecord>,
}

impl Portions {
    /// The same portions, for somebody: what it opens and seals is released to it first.
    #[must_use]
    pub fn for_caller(&self, caller: Arc<Caller>) -> Self {
        Self { caller: Some(caller), ..self.clone() }
    }

    /// Releases a portion to a caller, or not.
    ///
    /// # Errors
    /// [`PortionError::Release`], [`PortionError::NoSuchPortion`], [`PortionError::Unrecorded`] where it has to be
    /// recorded first, or a metadata error.
    pub async fn release(
        &self,
        caller: &Caller,
        account: AccountId,
        portion: PortionId,
        action: Action,
    ) -> Result<Arc<Lease>, PortionError> {
        match action {
            Action::Open => self.on_lease_to_open().await?,
            Action::Seal => self.on_lease().await?,
        };
        let lease_key = LeaseKey { account, stamp: caller.stamp, portion, action };
        let now = self.now_ms();
        if let Some(known) = self.caches.lease(&lease_key, now) {
            return known.map_err(PortionError::Release);
        }
        for _ in 0..ATTEMPTS {
            let seen = self.caches.generation(account);
            let rules = self.release_rules(account).await?;
            let policies = rules.policies.as_deref().map_err(|Unreadable| PortionError::UnreadablePolicies)?;
            let decided = match self.decide(caller, lease_key, policies, now).await {
                Ok(lease) => Ok(Arc::new(lease)),
                Err(PortionError::Release(refusal)) => Err(refusal),
                Err(PortionError::Contended) => continue,
                Err(error) => return Err(error),
            };
            // What was decided is as old as the policies that decided it: the two do not add up.
            self.caches.remember_lease(lease_key, decided.clone(), rules.at_ms, seen);
            return decided.map_err(PortionError::Release);
        }
        Err(PortionError::Contended)
    }

    async fn decide(
        &self,
        caller: &Caller,
        lease_key: LeaseKey,
        policies: &dyn Policies,
        now: u64,
    ) -> Result<Lease, PortionError> {
        let LeaseKey { account, portion: id, action, .. } = lease_key;
        let read = self.read_for(caller, account, id).await?;
        let name = caller.name().to_owned();
        let refuse = async |action: &'static str, refusal: Refusal| {
            self.tell_refusal(caller, lease_key, &read.portion.name, action, &refusal).await;
            Err(PortionError::Release(refusal))
        };
        if let Some(denial) = &read.denial {
            return refuse("release:denied", Refusal::Denied { name, reason: denial.reason }).await;
        }
        let decision = decision(policies, caller, id, &read, action, now);
        let terms = match &decision.outcome {
            Outcome::Release(terms) => terms.clone(),
            Outcome::Deny => {
                let (why, by) = why(&decision);
                let refusal = Refusal::NotPermitted { name, portion: read.portion.name.clone(), why, by };
                return refuse("release:not-permitted", refusal).await;
            }
        };
        let mut until_ms = u64::MAX;
        if let Some(pend) = &terms.pend {
            let matter = if action == Action::Open { Matter::Open(id) } else { Matter::Seal(id) };
            match self.settled(caller, account, matter, &read.portion.name, pend).await {
                Ok(granted_until_ms) => until_ms = granted_until_ms,
                Err(PortionError::Release(refusal)) => return refuse("release:pending", refusal).await,
                Err(error) => return Err(error),
            }
        }
        let budget = match self.stepped_up(caller, account, &terms).await? {
            true => release::Budget::default(),
            false => terms.budget,
        };
        if action == Action::Open {
            match self.enter(caller, lease_key, &read.portion, &terms, budget, &decision).await {
                Err(PortionError::Release(over)) => match self.asks_to_step_up(caller, account, &terms).await {
                    // Granted since it was looked at.
                    Ok(true) => return Err(PortionError::Contended),
                    Ok(false) => return refuse("release:over-budget", over).await,
                    Err(PortionError::Release(pending)) => return refuse("release:pending", pending).await,
                    Err(error) => return Err(error),
                },
                other => other?,
            }
        }
        Ok(Lease { until_ms, account, principal: caller.id().to_owned(), name, budget })
    }

    async fn read_for(&self, caller: &Caller, account: AccountId, id: PortionId) -> Result<Read, PortionError> {
        let keys = [key::portion_key(account, id), key::tenant_key(account), key::denial_key(account, caller.id())];
        let mut rows = self.meta.get(&keys).await?.into_iter();
        let mut next = || rows.next().flatten();
        let portion = next().ok_or_else(|| PortionError::NoSuchPortion(dashed(id)))?;
        let tenant = match (account == AccountId::DEFAULT, next()) {
            (false, Some(row)) => TenantRecord::decode(&row.value)?.name,
            (true, _) => DEFAULT_TENANT.to_owned(),
            // It is being deleted. No policy can name it by chance: there is no such name.
            (false, None) => String::new(),
        };
        let denial = next().map(|row| DenialRecord::decode(&row.value)).transpose()?;
        Ok(Read { portion: PortionRecord::decode(&portion.value)?, tenant, denial })
    }

    /// Writes down that the caller has the portion from now on, and counts it, once in an hour.
    async fn enter(
        &self,
        caller: &Caller,
        lease_key: LeaseKey,
        portion: &PortionRecord,
        terms: &Terms,
        budget: release::Budget,
        decision: &Decision,
    ) -> Result<(), PortionError> {
        let LeaseKey { account, portion: id, .. } = lease_key;
        let (released_key, spent_key) =
            (key::released_key(account, id, caller.id()), key::spent_key(account, caller.id()));
        // Written down in this hour, and nothing to count: nobody waits for anybody. Another clock may have begun the next one.
        let is_told = |released: &Option<(ReleasedRecord, meta::Version)>, now: u64| {
            let hours = [0, HOUR_MS].map(|ahead| hour_of(now) + ahead);
            released.as_ref().is_some_and(|(known, _)| hours.contains(&known.last_hour_ms))
        };
        if budget.portions.is_none() && is_told(&self.record(released_key.clone()).await?, self.now_ms()) {
            return Ok(());
        }
        if stale::age_ms().is_some() {
            return self.enter_cut_off(caller, lease_key, portion, (terms, &budget), decision).await;
        }
        let turn = self.queues.turn(account, caller.id()).await;
        let mut rows = self.meta.get(&[released_key.clone(), spent_key.clone()]).await?.into_iter();
        let released: Option<(ReleasedRecord, meta::Version)> = versioned(rows.next().flatten())?;
        let spent: Option<(SpentRecord, meta::Version)> = versioned(rows.next().flatten())?;
        let now = self.now_ms();
        let last_ms = released.as_ref().map(|(known, _)| known.last_hour_ms);
        let mut batch = Batch { checks: vec![Check::Present(key::portion_key(account, id))], writes: vec![] };
        let hour_ms = match budget.portions {
            Some(limit) => {
                let who = (caller.id(), caller.name());
                let mut of_hour = self.of_hour(account, who, spent.as_ref().map(|(spent, _)| spent), now);
                let hour_ms = of_hour.hour_ms;
                // It was counted in the hour that it was last released in, and in no other.
                if last_ms == Some(hour_ms) {
                    return Ok(());
                }
                if of_hour.portions >= limit.get() {
                    return Err(Refusal::OverBudget { name: caller.name().to_owned(), what: "portions", limit }.into());
                }
                of_hour.portions += 1;
                batch.replace(spent_key, spent.map(|(_, version)| version), of_hour.encode());
                hour_ms
            }
            None if is_told(&released, now) => return Ok(()),
            None => hour_of(now),
        };
        let first = ReleasedRecord { name: String::new(), first_ms: now, last_hour_ms: 0, hours: 0 };
        let mut row = released.as_ref().map_or(first, |(known, _)| known.clone());
        // An hour that is gone back to was told.
        row.hours += u64::from(row.last_hour_ms < hour_ms);
        (row.name, row.last_hour_ms) = (caller.name().to_owned(), hour_ms);
        batch.replace(released_key, released.map(|(_, version)| version), row.encode());
        let event = self
            .by(caller.name())
            .event_of(account, "release:open", id, &portion.name)
            .with("via", caller.circumstances().via.name())
            .with("policies", decision.by.join(" "));
        let event = match caller.circumstances().address {
            Some(address) => event.with("address", address),
            None => event,
        };
        // What is in shares is what nobody may have unrecorded. The class says what the next version will be.
        if terms.record_first || portion.class == PortionClass::Quorum || self.has_shares(id).await? {
            self.announce(event).await?;
            return self.commit_once(batch).await;
        }
        self.commit_and_tell(batch, event, turn).await
    }

    /// Tells a refusal, the first one of its kind in an hour: a caller that tries again and again fills no log.
    async fn tell_refusal(
        &self,
        caller: &Caller,
        lease_key: LeaseKey,
        portion: &str,
        action: &'static str,
        refusal: &Refusal,
    ) {
        metrics::counter!("holdfast_release_refused_total", "reason" => action).increment(1);
        let hour = self.now_ms() / HOUR_MS;
        // From whatever address: there are more of them than the log has room for.
        let anywhere = LeaseKey { stamp: caller.stamp_anywhere(lease_key.account), ..lease_key };
        if !self.caches.first_in_hour(anywhere, action, hour) {
            return;
        }
        if matches!(refusal, Refusal::OverBudget { .. }) {
            tracing::warn!(principal = caller.name(), portion, "{refusal}");
        }
        let LeaseKey { account, portion: id, .. } = lease_key;
        let mut event = self.by(caller.name()).event_of(account, action, id, portion).with("why", refusal);
        if let Refusal::NotPermitted { by, .. } = refusal
            && !by.is_empty()
        {
            event = event.with("policies", by.join(" "));
        }
        event.outcome = AuditOutcome::Denied;
        self.tell(event).await;
    }
}

fn decision(
    policies: &dyn Policies,
    caller: &Caller,
    id: PortionId,
    read: &Read,
    action: Action,
    now_ms: u64,
) -> Decision {
    let record = &read.portion;
    let portion = Asked { name: &record.name, key: &dashed(id), class: record.class.name(), tags: &record.tags };
    let circumstances = Circumstances { now_ms, ..caller.circumstances() };
    policies.decide(&Question { tenant: &read.tenant, principal: caller.principal(), action, portion, circumstances })
}

/// A row that was there, decoded, with its version.
fn versioned<R: Record>(row: Option<Row>) -> Result<Option<(R, meta::Version)>, PortionError> {
    Ok(match row {
        Some(row) => Some((R::decode(&row.value)?, row.version)),
        None => None,
    })
}

fn why(decision: &Decision) -> (&'static str, Vec<String>) {
    match (decision.by.as_slice(), decision.failed.as_slice()) {
        ([], []) => ("no release policy permits it", Vec::new()),
        (_, [_, ..]) => ("a release policy failed", decision.failed.clone()),
        (by, []) => ("a release policy forbids it", by.to_vec()),
    }
}
