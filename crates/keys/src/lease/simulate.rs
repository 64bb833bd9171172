//! What would be decided: nothing is asked for, counted or written down.

use base::{AccountId, PortionId};
use meta::record::DenialReason;
use release::{Action, Policies};

use super::{Caller, Unreadable, decision};
use crate::error::PortionError;
use crate::portions::Portions;

/// A question about what would be.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Who would ask.
    pub caller: &'a Caller,
    /// The portion.
    pub portion: PortionId,
    /// What for.
    pub action: Action,
    /// When, milliseconds since the Unix epoch; `None`: now.
    pub at_ms: Option<u64>,
}

/// What would be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A denial that comes before the policies.
    pub denied: Option<DenialReason>,
    /// What the policies say.
    pub decision: release::Decision,
}

impl Portions {
    /// What would be decided: by these policies, or by those in force.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], [`PortionError::Policies`], or a metadata error.
    pub async fn would_release(
        &self,
        account: AccountId,
        ask: &Ask<'_>,
        policies: Option<&dyn Policies>,
    ) -> Result<Answer, PortionError> {
        let Ask { caller, portion: id, action, at_ms } = ask;
        let read = self.read_for(caller, account, *id).await?;
        let at_ms = at_ms.unwrap_or_else(|| self.now_ms());
        let decision = match policies {
            Some(policies) => decision(policies, caller, *id, &read, *action, at_ms),
            None => {
                let known = self.release_rules(account).await?.policies;
                let known = match known {
                    Ok(known) => known,
                    // Who asks what would be is who can put the mistakes right.
                    Err(Unreadable) => self.parsed_anew(account).await?,
                };
                decision(known.as_ref(), caller, *id, &read, *action, at_ms)
            }
        };
        Ok(Answer { denied: read.denial.map(|denial| denial.reason), decision })
    }
}
