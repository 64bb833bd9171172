//! Takes deleted tenants apart: their keys are destroyed as by a shredding, and recorded, then their rows go.

use base::limits::COLUMNS;
use keys::quorum::NEEDED;
use keys::{PortionError, Switch};
use meta::record::{DepartedRecord, PortionState, Record, key};
use meta::{Batch, Range, Write};

use crate::{Error, Store};

/// Portions, or rows, looked at in one step.
const STEP: usize = 100;

impl Store {
    /// Takes up all tenants that were deleted. What fails is left for the next pass: a tenant's row goes last.
    ///
    /// # Errors
    /// The first error, after all tenants had their turn.
    pub async fn take_tenants_apart(&self) -> Result<(), Error> {
        let mut failed = None;
        let (from, to) = key::departed();
        let page = self.0.meta.range(Range { from, to, limit: STEP }).await?;
        for (row_key, row) in &page.rows {
            let (Some(account), name) = (key::departed_of(row_key), DepartedRecord::decode(&row.value)?.name) else {
                continue;
            };
            match self.of(account).take_tenant_apart().await {
                Ok(()) => tracing::warn!(tenant = %name, %account, "the keys of a deleted tenant are destroyed"),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn take_tenant_apart(&self) -> Result<(), Error> {
        let (account, portions) = (self.account(), &self.0.portions);
        let mut after = None;
        loop {
            let (found, more) = portions.list(account, after, STEP).await?;
            after = found.last().filter(|_| more).map(|last| last.id);
            for portion in found {
                match portion.record.state {
                    PortionState::Shredded(_) => continue,
                    PortionState::PendingShred(at_ms) if at_ms <= self.now_ms() => {}
                    // It may wait for days; the tenant does not come back.
                    PortionState::PendingShred(_) => {
                        portions.switch(account, portion.id, Switch::KeepAfterAll).await?;
                        portions.switch(account, portion.id, Switch::Shred { days: 0 }).await?;
                    }
                    PortionState::Enabled | PortionState::Disabled => {
                        portions.switch(account, portion.id, Switch::Shred { days: 0 }).await?;
                    }
                }
                if !portions.shred(account, portion.id).await? {
                    return Err(Error::Portion(PortionError::Contended));
                }
            }
            if after.is_none() {
                break;
            }
        }
        // Sites that were away have still to destroy shares; what those are of lies in the tenant's rows.
        if self.count(key::dying(account)).await? > 0 {
            return Err(Error::Portion(PortionError::SharesLeft {
                name: format!("of tenant {account}"),
                have: NEEDED,
                need: COLUMNS,
                why: "the others were away".to_owned(),
            }));
        }
        for range in key::of_tenant(account) {
            self.delete_rows(range).await?;
        }
        // Its row stays until the last site has destroyed the last share: what looks after shares goes by it.
        let (from, to) = key::dying(account);
        if !self.0.meta.range(Range { from, to, limit: 1 }).await?.rows.is_empty() {
            return Ok(());
        }
        let writes = vec![Write::Delete(key::departed_key(account))];
        Ok(self.0.meta.commit(Batch { checks: vec![], writes }).await?)
    }

    async fn delete_rows(&self, (from, to): (meta::Key, meta::Key)) -> Result<(), Error> {
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: STEP }).await?;
            if page.rows.is_empty() {
                return Ok(());
            }
            let writes = page.rows.into_iter().map(|(row_key, _)| Write::Delete(row_key)).collect();
            self.0.meta.commit(Batch { checks: vec![], writes }).await?;
        }
    }
}
