//! Denials: to whom nothing is released, whatever policies say.

use base::AccountId;
use meta::record::{DenialReason, DenialRecord, Record, key};
use meta::{Batch, Write, each_row};

use crate::error::PortionError;
use crate::lease::caller::{KUBERNETES, Who};
use crate::portions::{ATTEMPTS, Portions};

/// Bytes of a note.
const NOTE_MAX: usize = 1_024;

/// A denial, and whom it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The principal's unique id.
    pub principal: String,
    /// Why, since when, by whom.
    pub record: DenialRecord,
}

impl Portions {
    /// Releases nothing more to a principal: here at once, elsewhere when the lease is over. One that was quarantined
    /// can be revoked; a revocation stays.
    ///
    /// # Errors
    /// [`PortionError::Invalid`] for a long note, [`PortionError::Unrecorded`], or a metadata error.
    pub async fn deny(
        &self,
        account: AccountId,
        who: &Who,
        reason: DenialReason,
        note: &str,
    ) -> Result<DenialRecord, PortionError> {
        if note.len() > NOTE_MAX {
            return Err(PortionError::Invalid("a note has at most 1,024 bytes"));
        }
        let name = who.name.clone().unwrap_or_default();
        let by = self.actor.as_deref().unwrap_or_default().to_owned();
        let fresh = DenialRecord { reason, name, note: note.to_owned(), by, since_ms: self.now_ms() };
        let row_key = key::denial_key(account, &who.id);
        for _ in 0..ATTEMPTS {
            let found = self.record::<DenialRecord>(row_key.clone()).await?;
            if let Some((known, _)) = &found
                && (known.reason != DenialReason::Quarantined || reason == DenialReason::Quarantined)
            {
                // Denied by another gateway, or by a try that was cut off: it counts here at once all the same.
                self.caches.forget_leases(account);
                self.tell_denial(account, known, true).await;
                return Ok(known.clone());
            }
            let mut batch = Batch { checks: vec![], writes: vec![] };
            batch.replace(row_key.clone(), found.map(|(_, version)| version), fresh.encode());
            let denied = self.commit_once(batch).await;
            // Whatever became of it: who is denied has nothing to go on with.
            self.caches.forget_leases(account);
            match denied {
                Ok(()) => {
                    self.tell_denial(account, &fresh, false).await;
                    return Ok(fresh);
                }
                Err(PortionError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PortionError::Contended)
    }

    async fn tell_denial(&self, account: AccountId, denial: &DenialRecord, again: bool) {
        let event = self.event(account, "denial:put", format!("user/{}", denial.name));
        let reason = format!("{:?}", denial.reason).to_lowercase();
        let event = event.with("reason", reason).with("note", &denial.note);
        self.tell(if again { event.with("again", true) } else { event }).await;
    }

    /// Lifts a quarantine, or any denial of the plugin of Kubernetes.
    ///
    /// # Errors
    /// [`PortionError::Invalid`] for who is not denied, or for ever; [`PortionError::Unrecorded`], or a metadata error.
    pub async fn readmit(&self, account: AccountId, who: &Who) -> Result<(), PortionError> {
        let row_key = key::denial_key(account, &who.id);
        let found = self.record::<DenialRecord>(row_key.clone()).await?;
        let (known, version) = found.ok_or(PortionError::Invalid("that user is not denied"))?;
        // The plugin of Kubernetes cannot come back as another one.
        if known.reason != DenialReason::Quarantined && who.id != KUBERNETES {
            return Err(PortionError::Invalid(
                "that user is denied for ever; delete it, and create another one: it may have the same name",
            ));
        }
        let event = self.event(account, "denial:lift", format!("user/{}", known.name));
        self.announce(event).await?;
        let checks = vec![meta::Check::Is(row_key.clone(), version)];
        self.commit_once(Batch { checks, writes: vec![Write::Delete(row_key)] }).await?;
        self.caches.forget_leases(account);
        Ok(())
    }

    /// All denials of an account.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn denials(&self, account: AccountId) -> Result<Vec<Denial>, PortionError> {
        let mut all = Vec::new();
        each_row(self.meta.as_ref(), key::denials(account), |row_key, row| {
            let principal = String::from_utf8_lossy(key::after_account(row_key).unwrap_or_default()).into_owned();
            all.push(Denial { principal, record: DenialRecord::decode(&row.value)? });
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(all)
    }
}
