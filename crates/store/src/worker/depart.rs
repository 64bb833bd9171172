//! Takes deleted tenants apart: their keys are destroyed as by a shredding, and recorded, then their rows go.

use base::PortionId;
use base::limits::COLUMNS;
use keys::quorum::NEEDED;
use keys::{PortionError, Switch};
use meta::record::{DepartedRecord, PortionRecord, PortionState, key};
use meta::{Batch, Range, Write, each_row};

use super::readable;
use crate::{Error, Store};

/// Rows deleted in one step.
const STEP: usize = 100;

impl Store {
    /// Takes up all tenants that were deleted. What fails is left for the next pass: a tenant's row goes last.
    ///
    /// # Errors
    /// The first error, after all tenants had their turn.
    pub async fn take_tenants_apart(&self) -> Result<(), Error> {
        let mut departed = Vec::new();
        each_row(self.0.meta.as_ref(), key::departed(), |row_key, row| {
            // Its name is only told: without it the tenant is taken apart all the same.
            let name = readable::<DepartedRecord>(row_key, &row.value).map_or_else(String::new, |record| record.name);
            departed.extend(key::departed_of(row_key).map(|account| (account, name)));
            Ok::<_, Error>(())
        })
        .await?;
        let mut failed = None;
        for (account, name) in departed {
            match self.of(account).take_tenant_apart().await {
                Ok(()) => tracing::warn!(tenant = %name, %account, "the keys of a deleted tenant are destroyed"),
                Err(error) => {
                    tracing::warn!(tenant = %name, %account, %error, "the keys of a deleted tenant are not all destroyed yet");
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn take_tenant_apart(&self) -> Result<(), Error> {
        let account = self.account();
        let (mut left, mut failed) = (Vec::new(), None);
        each_row(self.0.meta.as_ref(), key::portions(account), |row_key, row| {
            match (key::portion_of(row_key), readable::<PortionRecord>(row_key, &row.value)) {
                (_, Some(record)) if matches!(record.state, PortionState::Shredded(_)) => {}
                (Some(id), Some(record)) => left.push((id, record.state)),
                // Its row stays, and the tenant's: by them its keys are found.
                _ => failed = Some(Error::Corrupt(format!("a portion of tenant {account} cannot be read"))),
            }
            Ok::<_, Error>(())
        })
        .await?;
        // One that waits for sites keeps no other alive.
        for (id, state) in left {
            failed = self.destroy_portion(id, state).await.err().or(failed);
        }
        if let Some(error) = failed {
            return Err(error);
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
        let writes = vec![Write::Delete(key::departed_key(account))];
        Ok(self.0.meta.commit(Batch { checks: vec![], writes }).await?)
    }

    async fn destroy_portion(&self, id: PortionId, state: PortionState) -> Result<(), Error> {
        let (account, portions) = (self.account(), &self.0.portions);
        let at_once = Switch::Shred { days: 0 };
        match state {
            PortionState::Shredded(_) => return Ok(()),
            // It is due, or has begun: then nothing takes it back, whatever the clock says.
            PortionState::PendingShred(_) if portions.shred(account, id).await? => return Ok(()),
            // It may wait for days; the tenant does not come back.
            PortionState::PendingShred(_) => {
                portions.switch(account, id, Switch::KeepAfterAll).await?;
                portions.switch(account, id, at_once).await?;
            }
            PortionState::Enabled | PortionState::Disabled => drop(portions.switch(account, id, at_once).await?),
        }
        if !portions.shred(account, id).await? {
            return Err(Error::Portion(PortionError::Contended));
        }
        Ok(())
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
