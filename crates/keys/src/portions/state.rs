//! States of a portion's key: described, switched, shredded.

use aws_lc_rs::digest::{SHA256, digest};
use base::{AccountId, PortionId};
use meta::record::{CutOff, PortionRecord, PortionState, Record, key};
use meta::{Batch, Check, CommitError, Range, Write};

use super::{
    ATTEMPTS, DAY_MS, Portion, Portions, ROTATION_DAYS_MAX, SHRED_DAYS_MAX, Switch, check_description, check_tags,
};
use crate::error::PortionError;

/// Versions deleted in one batch, which has two rows of each.
const PAGE: usize = 40;

impl Portions {
    /// Changes what is recorded of a portion, but neither its state nor its version and class.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], what `change` returns, or a metadata error.
    pub async fn describe(
        &self,
        account: AccountId,
        id: PortionId,
        change: impl Fn(&mut PortionRecord) -> Result<(), PortionError>,
    ) -> Result<Portion, PortionError> {
        let described = self.update(account, id, |record| {
            let (state, version, class) = (record.state, record.version, record.class);
            change(record)?;
            (record.state, record.version, record.class) = (state, version, class);
            check_description(&record.description)?;
            check_tags(&record.tags)?;
            if record.rotation_days > ROTATION_DAYS_MAX {
                return Err(PortionError::Invalid(
                    "a key gets a new version after 1 to 2,560 days, or with 0 never by age",
                ));
            }
            Ok(Batch::default())
        });
        let described = described.await;
        // Policies may ask about its tags.
        self.caches.forget(account, id);
        let described = described?;
        let event = self.event_of(account, "portion:describe", id, &described.record.name);
        self.tell(event.with("rotation_days", described.record.rotation_days)).await;
        Ok(described)
    }

    /// Says how long what is under the key is read on at a gateway that is cut off from the metadata.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], [`PortionError::Unrecorded`] where it is to be longer, or a metadata error.
    pub async fn set_cut_off(
        &self,
        account: AccountId,
        id: PortionId,
        cut_off: CutOff,
    ) -> Result<Portion, PortionError> {
        let before = self.row(account, id).await?.0;
        let event = |action| {
            let event = self.event_of(account, action, id, &before.name);
            event.with("from", before.cut_off.name()).with("to", cut_off.name())
        };
        if cut_off > before.cut_off {
            // Others may have it longer: nobody may have that unrecorded.
            self.announce(event("portion:cut-off-changing")).await?;
        }
        let set = self.update(account, id, |record| {
            record.cut_off = cut_off;
            Ok(Batch::default())
        });
        let set = set.await;
        self.caches.forget(account, id);
        self.tell_end(&set, event("portion:cut-off")).await;
        set
    }

    /// Gives the key another policy, JSON that was found to be one; an empty one is the default one. Counts at once in
    /// this process, and elsewhere when the lease there ends.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, or a metadata error.
    pub async fn put_key_policy(
        &self,
        account: AccountId,
        id: PortionId,
        policy: &str,
    ) -> Result<Portion, PortionError> {
        let put = self.update(account, id, |record| {
            if record.state != PortionState::Disabled {
                open_state(record)?;
            }
            policy.clone_into(&mut record.policy);
            Ok(Batch::default())
        });
        let put = put.await;
        self.caches.forget(account, id);
        let put = put?;
        // It may be longer than a record: its hash tells which one it was.
        let hash = hex::encode(digest(&SHA256, policy.as_bytes()));
        self.tell(self.event_of(account, "portion:key-policy", id, &put.record.name).with("sha256", hash)).await;
        Ok(put)
    }

    /// Enables, disables, or says when to shred. Counts at once in this process, and elsewhere
    /// when the lease there ends.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], [`PortionError::Invalid`], the state that forbids it,
    /// [`PortionError::Unrecorded`] before a shredding, or a metadata error.
    pub async fn switch(&self, account: AccountId, id: PortionId, switch: Switch) -> Result<Portion, PortionError> {
        let now = self.now_ms();
        let Switch::Shred { days } = switch else {
            let switched = self.update_state(account, id, switch, now).await?;
            let action = match switch {
                Switch::Enable => "portion:enable",
                Switch::Disable => "portion:disable",
                _ => "portion:kept",
            };
            self.tell(self.event_of(account, action, id, &switched.record.name)).await;
            return Ok(switched);
        };
        let record = self.row(account, id).await?.0;
        switched_state(&record, switch, now)?;
        let event = |action| self.event_of(account, action, id, &record.name).with("days", days);
        self.announce(event("portion:shred-scheduling")).await?;
        let switched = self.update_state(account, id, switch, now).await;
        self.tell_end(&switched, event("portion:shred-scheduled")).await;
        switched
    }

    async fn update_state(
        &self,
        account: AccountId,
        id: PortionId,
        switch: Switch,
        now: u64,
    ) -> Result<Portion, PortionError> {
        if switch == Switch::KeepAfterAll && self.is_dying(account, id).await? {
            // The look below would be lost each time.
            let record = self.row(account, id).await?.0;
            open_state(&record)?;
        }
        let switched = self.update(account, id, |record| {
            record.state = switched_state(record, switch, now)?;
            // Whatever the clock says: once keys begin to be destroyed there is no way back.
            let dying = (switch == Switch::KeepAfterAll).then(|| Check::Absent(key::dying_key(account, id)));
            Ok(Batch { checks: dying.into_iter().collect(), writes: Vec::new() })
        });
        let switched = switched.await;
        self.caches.forget(account, id);
        switched
    }

    /// Destroys the keys of a portion whose time has come; `false` when it has not.
    ///
    /// # Errors
    /// [`PortionError::Unrecorded`] before anything is destroyed, [`PortionError::SharesLeft`], or a metadata error.
    pub async fn shred(&self, account: AccountId, id: PortionId) -> Result<bool, PortionError> {
        let now = self.now_ms();
        let (record, version) = self.row(account, id).await?;
        let PortionState::PendingShred(at_ms) = record.state else { return Ok(false) };
        // What has begun goes on, whatever the clock says by now.
        let has_begun = self.is_dying(account, id).await?;
        if at_ms > now && !has_begun {
            return Ok(false);
        }
        let event = |action| self.event_of(account, action, id, &record.name);
        // Once, however often sites must be waited for.
        if !has_begun {
            self.announce(event("portion:shredding")).await?;
        }
        let told = event("portion:shredded").with("versions", record.version);
        self.begin_dying(account, id, record.version, version).await?;
        self.destroy_shares(account, id, &record.name).await?;
        // The key rows first, then grants and aliases, in steps, since there may be many; the state last, so that a
        // crash half-way is a portion that is still to be shredded.
        loop {
            let (from, to) = key::key_versions(id);
            let page = self.meta.range(Range { from, to, limit: PAGE }).await?;
            if page.rows.is_empty() {
                break;
            }
            let mut writes = Vec::new();
            for (row_key, _) in page.rows {
                // That it was closed counts no more.
                let closed = key::key_version_of(&row_key).map(|version| key::closed_version_key(id, version));
                writes.extend(closed.map(Write::Delete));
                writes.push(Write::Delete(row_key));
            }
            let checks = vec![Check::Is(key::portion_key(account, id), version)];
            self.commit_once(Batch { checks, writes }).await?;
        }
        self.shred_grants(account, id, version).await?;
        self.shred_aliases(account, id, version).await?;
        let name = record.name.clone();
        let shredded = PortionRecord { state: PortionState::Shredded(now), ..record };
        let row_key = key::portion_key(account, id);
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version)],
            writes: vec![
                Write::Delete(key::portion_name_key(account, &shredded.name)),
                Write::Delete(key::rewrap_key(account, id)),
                Write::Put(row_key, shredded.encode()),
            ],
        };
        self.commit_once(batch).await?;
        self.caches.forget(account, id);
        self.caches.forget_names(account);
        self.tell(told).await;
        if let Some(quorum) = &self.quorum {
            // It is done; what is left to sign is written down, and the next pass over shares comes back to it.
            let signed = self.attest_rows(account, id, &name).await;
            if !signed.as_ref().is_ok_and(Vec::is_empty) {
                tracing::warn!(portion = %name, ?signed, "not all sites have signed for a shredding yet");
            }
            if self.is_dying(account, id).await.unwrap_or(true) {
                quorum.wake();
            }
        }
        Ok(true)
    }

    async fn update(
        &self,
        account: AccountId,
        id: PortionId,
        change: impl Fn(&mut PortionRecord) -> Result<Batch, PortionError>,
    ) -> Result<Portion, PortionError> {
        let row_key = key::portion_key(account, id);
        for _ in 0..ATTEMPTS {
            let (mut record, version) = self.row(account, id).await?;
            let mut batch = change(&mut record)?;
            batch.checks.push(Check::Is(row_key.clone(), version));
            batch.writes.push(Write::Put(row_key.clone(), record.encode()));
            match self.meta.commit(batch).await {
                Ok(()) => return Ok(Portion { id, record }),
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }
}

/// Whether a portion's key may open anything, and if not, why.
pub(crate) fn open_state(record: &PortionRecord) -> Result<(), PortionError> {
    let name = || record.name.clone();
    match record.state {
        PortionState::Enabled => Ok(()),
        PortionState::Disabled => Err(PortionError::Disabled(name())),
        PortionState::PendingShred(at_ms) => Err(PortionError::PendingShred { name: name(), at_ms }),
        PortionState::Shredded(_) => Err(PortionError::Shredded(name())),
    }
}

/// The state after a switch, or why it stays.
fn switched_state(record: &PortionRecord, switch: Switch, now: u64) -> Result<PortionState, PortionError> {
    Ok(match (switch, record.state) {
        (_, PortionState::Shredded(_)) => return Err(PortionError::Shredded(record.name.clone())),
        // From then on its keys may be half gone.
        (Switch::KeepAfterAll, PortionState::PendingShred(at_ms)) if at_ms > now => PortionState::Disabled,
        (Switch::KeepAfterAll, PortionState::PendingShred(at_ms)) => {
            return Err(PortionError::PendingShred { name: record.name.clone(), at_ms });
        }
        (Switch::KeepAfterAll, _) => return Err(PortionError::NotPending(record.name.clone())),
        (_, PortionState::PendingShred(at_ms)) => {
            return Err(PortionError::PendingShred { name: record.name.clone(), at_ms });
        }
        (Switch::Enable, _) => PortionState::Enabled,
        (Switch::Disable, _) => PortionState::Disabled,
        // At once is at once by everybody's clock: one that is fast would put it off.
        (Switch::Shred { days: 0 }, _) => PortionState::PendingShred(0),
        (Switch::Shred { days }, _) if days <= SHRED_DAYS_MAX => {
            PortionState::PendingShred(now + u64::from(days) * DAY_MS)
        }
        (Switch::Shred { .. }, _) => return Err(PortionError::Invalid("a portion is shredded after 0 to 30 days")),
    })
}
