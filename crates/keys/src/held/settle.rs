//! What is under keys that were a tenant's before is wrapped anew under the one that is it now; then they go.

use base::limits::BATCH_OPS_MAX;
use base::{AccountId, PortionId};
use futures::future::join_all;
use meta::record::{PortionKeyRecord, Record, TenantKeyRecord, key};
use meta::{Batch, Check, CommitError, Version, Write, each_row};
use tokio::time::timeout;

use crate::error::PortionError;
use crate::portions::Portions;
use crate::quorum::{NEEDED, ShareName};
use crate::tenant::TenantKey;
use crate::wrap::KeyName;

/// Portions looked at in one step.
const STEP: usize = 1000;
/// Rows of one batch: each has a check and a write.
const BATCH_ROWS: usize = BATCH_OPS_MAX / 2;

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
    /// keep it, until their version ends. Which that is their version's row says, and no time does; where it does not, the
    /// shares are opened to see. Returns how many versions were wrapped anew; nothing is done while the tenant's
    /// keys are shut. It may be cut off anywhere: each row opens under one of the keys only, and says so by itself.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn settle_tenant_key(&self, account: AccountId) -> Result<u64, PortionError> {
        let row_key = key::tenant_key_key(account);
        let Some((record, version)) = self.record::<TenantKeyRecord>(row_key.clone()).await? else { return Ok(0) };
        if record.older.is_empty() {
            return Ok(0);
        }
        // By a key that was the tenant's before it would look as if nothing were under that one.
        if self.caches.tenant(account, self.now_ms()).is_some_and(|(_, known)| known != version) {
            self.lost_at(account, 0).await?;
        }
        let seen = self.caches.generation(account);
        let mut found = Found::default();
        let mut after = None;
        loop {
            let (portions, more) = self.list(account, after, STEP).await?;
            for portion in &portions {
                self.settle_portion(account, portion.id, version, &mut found).await?;
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
                    self.caches.set_tenant_version(account, version, seen);
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
        portion: PortionId,
        of_tenant: Version,
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
            let tenant = match self.tenant_row(account).await {
                Ok((tenant, row)) if row == of_tenant => tenant,
                Ok(_) | Err(PortionError::HalfRefused { .. } | PortionError::HalfUnreachable { .. }) => {
                    found.left += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let name = KeyName { portion, version };
            if let Some(shares) = &record.shares {
                let known = record.under;
                record.under = match known {
                    None => self.mark_of_shares(&tenant, ShareName { key: name, set: shares.set }).await,
                    known => known,
                };
                found.left += u64::from(record.under != Some(tenant.mark()?));
                if record.under != known {
                    let write = Write::Put(row_key.clone(), record.encode());
                    found.changes.push((Check::Is(row_key, row_version), write));
                }
                continue;
            }
            match tenant.rewrapped(name, &record.wrapped) {
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

    /// The mark of the tenant's key that all shares are under that can be had, if those are as many as it takes.
    async fn mark_of_shares(&self, tenant: &TenantKey, name: ShareName) -> Option<[u8; 16]> {
        let quorum = self.quorum.as_ref()?;
        let shares = quorum.holders.iter().map(|holder| timeout(quorum.bounds.within, holder.get(&name)));
        let shares = join_all(shares).await.into_iter().enumerate();
        let had = shares.filter_map(|(slot, share)| Some((slot as u8 + 1, share.ok()?.ok()?)));
        let marks = had.map(|(number, share)| tenant.mark_of_share(&name, number, &share).ok());
        let marks: Option<Vec<_>> = marks.collect();
        let marks = marks.filter(|marks| marks.len() >= NEEDED)?;
        marks.iter().all(|mark| *mark == marks[0]).then(|| marks[0])
    }

    async fn commit_settled(&self, found: &mut Found) -> Result<(), PortionError> {
        let changes = std::mem::take(&mut found.changes);
        // Room is taken in these rows all the time: one that changed must not keep others.
        let batches = changes.into_iter().map(|(check, write)| Batch { checks: vec![check], writes: vec![write] });
        for answer in self.meta.commit_group(batches.collect()).await {
            match answer {
                Ok(_) => found.moved += 1,
                Err(CommitError::Failed { .. }) => found.left += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
