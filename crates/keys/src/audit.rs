//! What is told of changes to portions, and to whom.
//!
//! A change is told once it is committed: what is told happened. What destroys keys or decides what new data is under is told
//! before as well (`portion:shred-scheduling`, `portion:shredding`, `portion:rules-changing`, `release-policy:putting`,
//! `release-policy:deleting`, `approval:approving`, `approval:refusing`, `tenant:holding`, `tenant:releasing`), or only before
//! (`denial:lift`, `budget:reset`), and not done when that fails.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::{AccountId, PortionId};
use meta::Batch;
use tokio::sync::OwnedMutexGuard;

use crate::error::PortionError;
use crate::portions::{Portions, dashed};

/// Who acts where nobody asked: rules, workers.
const ITSELF: &str = "holdfast";

/// Longest wait for a record before what needs it is refused: requests of one caller wait for each other, and a disk that hangs
/// must not hold them for ever.
const RECORD_WITHIN: Duration = Duration::from_secs(10);

/// Takes records of changes, durably.
#[async_trait]
pub trait Auditor: Send + Sync {
    /// Returns when the record is durable.
    ///
    /// # Errors
    /// [`PortionError::Unrecorded`].
    async fn record(&self, event: AuditEvent) -> Result<(), PortionError>;
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done; of an announcement, it is about to be.
    Done,
    /// It was announced, and then failed: the details tell why.
    Failed,
    /// It was not allowed.
    Denied,
}

/// A change of a portion, a grant, an alias, rules, policies or who holds a half of a tenant's key; a release, or a half, or
/// that it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whose portion it is.
    pub account: AccountId,
    /// The user's name; `holdfast` for the server itself.
    pub actor: String,
    /// Like `portion:rotate`.
    pub action: &'static str,
    /// `portion/NAME`, `alias/NAME`, `portion-rules`, `release-policy/NAME`, `approval/ID`, `user/NAME`,
    /// `tenant/NAME`, or `site/NAME`.
    pub resource: String,
    /// How it went.
    pub outcome: AuditOutcome,
    /// The key's `id`, and what else there is to tell; never a secret.
    pub details: BTreeMap<String, String>,
}

impl AuditEvent {
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn denied(self) -> Self {
        Self { outcome: AuditOutcome::Denied, ..self }
    }

    fn failed(self, error: &PortionError) -> Self {
        Self { outcome: AuditOutcome::Failed, ..self.with("error", error) }
    }
}

impl Portions {
    /// The same, with whom changes are told.
    #[must_use]
    pub fn audited(self, auditor: Option<Arc<dyn Auditor>>) -> Self {
        Self { auditor, ..self }
    }

    /// The same portions, changed in this one's name.
    #[must_use]
    pub fn by(&self, actor: &str) -> Self {
        Self { actor: Some(actor.into()), ..self.clone() }
    }

    pub(crate) fn event(&self, account: AccountId, action: &'static str, resource: String) -> AuditEvent {
        AuditEvent {
            time_ms: self.now_ms(),
            account,
            actor: self.actor.as_deref().unwrap_or(ITSELF).to_owned(),
            action,
            resource,
            outcome: AuditOutcome::Done,
            details: BTreeMap::new(),
        }
    }

    pub(crate) fn event_of(&self, account: AccountId, action: &'static str, id: PortionId, name: &str) -> AuditEvent {
        self.event(account, action, format!("portion/{name}")).with("id", dashed(id))
    }

    pub(crate) fn event_of_alias(&self, account: AccountId, action: &'static str, alias: &str) -> AuditEvent {
        self.event(account, action, format!("alias/{alias}"))
    }

    /// Before a change that must not happen unrecorded.
    pub(crate) async fn announce(&self, event: AuditEvent) -> Result<(), PortionError> {
        let Some(auditor) = &self.auditor else { return Ok(()) };
        let (action, resource) = (event.action, event.resource.clone());
        let recorded = tokio::time::timeout(RECORD_WITHIN, auditor.record(event)).await.unwrap_or_else(|_| {
            let reason = format!("it gave no answer in {} seconds", RECORD_WITHIN.as_secs());
            Err(PortionError::Unrecorded { log: "of this server".to_owned(), reason })
        });
        recorded.inspect_err(|error| unrecorded(action, &resource, error))
    }

    /// Commits and tells, both or neither: a client that hangs up ends its request, and not this. `turn` ends with the
    /// commit, since a log whose disk hangs must hold up nobody who waits for it.
    pub(crate) async fn commit_and_tell(
        &self,
        batch: Batch,
        event: AuditEvent,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(), PortionError> {
        let this = self.clone();
        let both = tokio::spawn(async move {
            let committed = this.commit_once(batch).await;
            drop(turn);
            committed?;
            this.tell(event).await;
            Ok(())
        });
        match both.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => Err(PortionError::Contended),
            },
        }
    }

    /// After a change, which stands whether or not it can be told.
    pub(crate) async fn tell(&self, event: AuditEvent) {
        let Some(auditor) = self.auditor.clone() else { return };
        let (action, resource) = (event.action, event.resource.clone());
        // A log that is slow gets it nevertheless; whom the change was for does not wait for that.
        let telling = tokio::spawn(async move {
            if let Err(error) = auditor.record(event).await {
                unrecorded(action, &resource, &error);
            }
        });
        if tokio::time::timeout(RECORD_WITHIN, telling).await.is_err() {
            tracing::error!(action, "the audit log has not taken a record in {} seconds", RECORD_WITHIN.as_secs());
        }
    }

    /// How an announced change ended.
    pub(crate) async fn tell_end<T>(&self, ended: &Result<T, PortionError>, event: AuditEvent) {
        match ended {
            Ok(_) => self.tell(event).await,
            Err(error) => self.tell(event.failed(error)).await,
        }
    }
}

fn unrecorded(action: &str, resource: &str, error: &PortionError) {
    metrics::counter!("holdfast_audit_failed_total").increment(1);
    tracing::error!(action, resource, %error, "the audit log took no record");
}
