//! What is under keys that were a tenant's before is wrapped anew under the one that is it now; then they go.

use base::AccountId;
use base::limits::BATCH_OPS_MAX;
use meta::record::{PortionKeyRecord, Record, TenantKeyRecord, key};
use meta::{Batch, Check, CommitError, Write, each_row};

use crate::error::PortionError;
use crate::portions::Portions;
use crate::wrap::KeyName;

/// Portions looked at in one step.
const STEP: usize = 1000;
/// Rows of one batch: each has a check and a write.
const BATCH_ROWS: usize = BATCH_OPS_MAX / 2;
/// How long after a key was replaced shares are still taken to be under it, milliseconds: more than clocks are apart.
const LATE_MS: u64 = 24 * 3600 * 1000;

/// What a pass found.
#[derive(Default)]
struct Found {
    moved: u64,
    /// Rows that stay under an older key for now.
    left: u64,
    changes: Vec<(Check, Write)>,
}

impl Portions {
    /// One pass over the versions of a tenant's keys. Shares at the sites stay under the key that they were sealed under, and
    /// keep it, until their version ends. Returns how many versions were wrapped anew; nothing is done while the tenant's
    /// keys are shut. It may be cut off anywhere: each row opens under one of the keys only, and says so by itself.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn settle_tenant_key(&self, account: AccountId) -> Result<u64, PortionError> {
        let row_key = key::tenant_key_key(account);
        let Some((record, version)) = self.record::<TenantKeyRecord>(row_key.clone()).await? else { return Ok(0) };
        let Some(latest) = record.older.iter().map(|older| older.until_ms).max() else { return Ok(0) };
        let mut found = Found::default();
        let mut after = None;
        loop {
            let (portions, more) = self.list(account, after, STEP).await?;
            for portion in &portions {
                self.settle_portion(account, portion.id, latest.saturating_add(LATE_MS), &mut found).await?;
            }
            self.commit_settled(&mut found).await?;
            match portions.last() {
                Some(last) if more => after = Some(last.id),
                _ => break,
            }
        }
        if found.left > 0 {
            return Ok(found.moved);
        }
        // None came under an older key since: a batch that makes one names this row.
        let next = TenantKeyRecord { older: Vec::new(), ..record };
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version)],
            writes: vec![Write::Put(row_key.clone(), next.encode())],
        };
        match self.commit_once(batch).await {
            Ok(()) => {
                if let Some((now, version)) = self.record::<TenantKeyRecord>(row_key).await?
                    && now == next
                {
                    self.caches.set_tenant_version(account, version);
                }
            }
            Err(PortionError::Contended) => {}
            Err(error) => return Err(error),
        }
        Ok(found.moved)
    }

    async fn settle_portion(
        &self,
        account: AccountId,
        portion: base::PortionId,
        shares_from_ms: u64,
        found: &mut Found,
    ) -> Result<(), PortionError> {
        let mut rows = Vec::new();
        each_row(self.meta.as_ref(), key::key_versions(portion), |row_key, row| {
            if let Some(version) = key::key_version_of(row_key) {
                rows.push((row_key.clone(), row.version, version, PortionKeyRecord::decode(&row.value)?));
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        for (row_key, row_version, version, mut record) in rows {
            if record.shares.is_some() {
                found.left += u64::from(record.created_ms < shares_from_ms);
                continue;
            }
            let tenant = match self.tenant_key(account).await {
                Err(PortionError::HalfRefused { .. } | PortionError::HalfUnreachable { .. }) => {
                    found.left += 1;
                    continue;
                }
                tenant => tenant?,
            };
            match tenant.rewrapped(KeyName { portion, version }, &record.wrapped) {
                Ok(None) => {}
                Ok(Some(wrapped)) => {
                    record.wrapped = wrapped;
                    let write = Write::Put(row_key.clone(), record.encode());
                    found.changes.push((Check::Is(row_key, row_version), write));
                }
                Err(error) => {
                    tracing::error!(%portion, version, %error, "a version of a key opens under no key of its tenant");
                    found.left += 1;
                }
            }
            if found.changes.len() >= 20 * BATCH_ROWS {
                self.commit_settled(found).await?;
            }
        }
        Ok(())
    }

    async fn commit_settled(&self, found: &mut Found) -> Result<(), PortionError> {
        let changes = std::mem::take(&mut found.changes);
        // Room is taken in these rows all the time: one that changed must not keep others.
        let batches = changes.into_iter().map(|(check, write)| Batch { checks: vec![check], writes: vec![write] });
        for answer in self.meta.commit_group(batches.collect()).await {
            match answer {
                Ok(()) => found.moved += 1,
                Err(CommitError::Failed { .. }) => found.left += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
