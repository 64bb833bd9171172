//! Releases that could not be written down when they were made: the metadata were out of reach, and what was released says that reading
//! goes on then. The audit log has each at once; the rows get them when they are in reach again.

use std::collections::VecDeque;

use base::{AccountId, Classify, ErrorKind, PortionId};
use meta::record::{CutOff, PortionRecord, ReleasedRecord, key};
use meta::{Batch, Check};
use parking_lot::Mutex;
use release::{Budget, Decision, Terms};

use super::{Caller, LeaseKey, hour_of, versioned};
use crate::error::PortionError;
use crate::portions::Portions;

/// Most that are remembered; the audit log has them all.
const OWED_MAX: usize = 10_000;
/// Most that are written down in one go: other work waits for it.
const AT_ONCE: usize = 100;

/// Releases that no row tells of yet.
#[derive(Default)]
pub(crate) struct Owed(Mutex<VecDeque<One>>);

#[derive(Clone, PartialEq, Eq)]
struct One {
    account: AccountId,
    portion: PortionId,
    principal: String,
    name: String,
    hour_ms: u64,
}

impl Portions {
    /// Releases a portion without a row that says so.
    ///
    /// # Errors
    /// [`PortionError::CutOff`] where it has to be counted, or to be written down first.
    pub(super) async fn enter_cut_off(
        &self,
        caller: &Caller,
        lease_key: LeaseKey,
        portion: &PortionRecord,
        (terms, budget): (&Terms, &Budget),
        decision: &Decision,
    ) -> Result<(), PortionError> {
        let LeaseKey { account, portion: id, .. } = lease_key;
        let refused = |why| Err(PortionError::CutOff { portion: portion.name.clone(), why });
        if portion.cut_off == CutOff::Strict {
            return refused(CutOff::Strict.name());
        }
        if budget.is_limited() {
            return refused("what is opened of it is counted");
        }
        if terms.record_first || portion.class == meta::record::PortionClass::Quorum || self.has_shares(id).await? {
            return refused("its release has to be written down first");
        }
        let one = One {
            account,
            portion: id,
            principal: caller.id().to_owned(),
            name: caller.name().to_owned(),
            hour_ms: hour_of(self.now_ms()),
        };
        {
            let owed = self.owed.0.lock();
            if owed.contains(&one) {
                return Ok(());
            }
            if owed.len() >= OWED_MAX {
                return refused("too many releases are not written down yet");
            }
        }
        let event = self.by(caller.name()).event_of(account, "release:open", id, &portion.name);
        let event = event.with("via", caller.circumstances().via.name()).with("policies", decision.by.join(" "));
        // The log is all that there is until then.
        self.announce(event.with("cut_off", portion.cut_off.name())).await?;
        self.owed.0.lock().push_back(one);
        Ok(())
    }

    /// Writes down some of what was released meanwhile, to be called every few seconds. What fails for now is tried again by the next call.
    pub async fn write_down_owed(&self) {
        for _ in 0..AT_ONCE {
            let Some(one) = self.owed.0.lock().front().cloned() else { return };
            let done = self.write_down(&one).await;
            let later = |error: &PortionError| {
                matches!(
                    error.kind(),
                    ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Conflict | ErrorKind::Full
                )
            };
            if done.as_ref().is_err_and(later) {
                return;
            }
            if let Err(error) = done {
                tracing::warn!(%error, principal = one.name, "that it had a portion while this gateway was cut off says the audit log only");
            }
            self.owed.0.lock().pop_front();
        }
    }

    async fn write_down(&self, one: &One) -> Result<(), PortionError> {
        let row_key = key::released_key(one.account, one.portion, &one.principal);
        let mut rows = self.meta.get(&[row_key.clone(), key::portion_key(one.account, one.portion)]).await?;
        let (portion, row) = (rows.pop().flatten(), rows.pop().flatten());
        if portion.is_none() {
            // The tenant was deleted, and its log with it.
            return Ok(());
        }
        let known: Option<(ReleasedRecord, meta::Version)> = versioned(row)?;
        let first = ReleasedRecord { name: String::new(), first_ms: one.hour_ms, last_hour_ms: 0, hours: 0 };
        let (mut record, version) = known.map_or((first, None), |(record, version)| (record, Some(version)));
        if record.last_hour_ms >= one.hour_ms && version.is_some() {
            return Ok(());
        }
        record.hours += 1;
        (record.name, record.last_hour_ms) = (one.name.clone(), one.hour_ms);
        let mut batch =
            Batch { checks: vec![Check::Present(key::portion_key(one.account, one.portion))], writes: vec![] };
        batch.replace(row_key, version, meta::record::Record::encode(&record));
        self.commit_once(batch).await
    }
}
