//! Versions of a portion's key: begun, emptied by re-wrapping, closed, ended.

use base::{AccountId, PortionId};
use meta::record::{Begun, PortionClass, PortionKeyRecord, PortionRecord, Record, RewrapRecord, TenantKeyRecord, key};
use meta::{Batch, Check, CommitError, Version, Write, each_row};

use super::state::open_state;
use super::{ATTEMPTS, Portion, Portions};
use crate::KeyError;
use crate::error::PortionError;
use crate::wrap::{BUCKET_KEYS, KeyName};

/// Work that moves parts of a portion to newer versions of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The portion; [`BUCKET_KEYS`] for parts under buckets' keys.
    pub portion: PortionId,
    /// What is to be done.
    pub work: RewrapRecord,
    /// The version of the row that says so: what moves a part names it.
    pub row: Version,
}

impl Portions {
    /// Gives the key a new version; with `rewrap`, parts under the versions before move to it.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, or a metadata error.
    pub async fn rotate(&self, account: AccountId, id: PortionId, rewrap: bool) -> Result<Portion, PortionError> {
        self.rotate_as(account, id, rewrap, None).await
    }

    /// As [`Self::rotate`], and all parts under older versions are sealed anew under fresh DEKs: what a leak of the old
    /// versions gave away opens nothing of what is kept from then on.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub async fn rekey(&self, account: AccountId, id: PortionId) -> Result<Portion, PortionError> {
        self.begin(account, id, true, None, true).await
    }

    /// The same, with versions of another class from the new one on.
    ///
    /// # Errors
    /// As [`Self::rotate`]; [`PortionError::KeyUnavailable`].
    pub async fn rotate_as(
        &self,
        account: AccountId,
        id: PortionId,
        rewrap: bool,
        class: Option<PortionClass>,
    ) -> Result<Portion, PortionError> {
        self.begin(account, id, rewrap, class, false).await
    }

    async fn begin(
        &self,
        account: AccountId,
        id: PortionId,
        rewrap: bool,
        class: Option<PortionClass>,
        reseal: bool,
    ) -> Result<Portion, PortionError> {
        for _ in 0..ATTEMPTS {
            let (mut record, version) = self.row(account, id).await?;
            open_state(&record)?;
            if let Some(class) = class.filter(|class| *class != record.class) {
                self.may_be_of(class)?;
                record.class = class;
            }
            let (record, mut batch) = self.next_version(account, id, record, version, Begun::OnDemand).await?;
            if rewrap {
                let row_key = key::rewrap_key(account, id);
                let found = self.record::<RewrapRecord>(row_key.clone()).await?;
                // A rotation does not take back that bytes are to be sealed anew.
                let reseal = reseal || found.as_ref().is_some_and(|(known, _)| known.reseal);
                let (below, since_ms) = (record.version, self.now_ms());
                let work = RewrapRecord { below, since_ms, is_clean: false, reseal };
                batch.replace(row_key, found.map(|(_, version)| version), work.encode());
            }
            match self.meta.commit(batch).await {
                Ok(()) => {
                    self.caches.forget(account, id);
                    let action = if reseal { "portion:rekey" } else { "portion:rotate" };
                    let event = self.event_of(account, action, id, &record.name);
                    let event = event.with("version", record.version).with("rewrap", rewrap);
                    self.tell(match class {
                        Some(class) => event.with("class", class.name()),
                        None => event,
                    })
                    .await;
                    return Ok(Portion { id, record });
                }
                Err(CommitError::Failed { check }) => self.lost_at(account, check).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// A batch with a fresh version of a key lost at this check: at the first one, the row of the tenant's key is another one
    /// by now. Where the key is not, it is kept: who holds a half of it may not answer now.
    pub(crate) async fn lost_at(&self, account: AccountId, check: usize) -> Result<(), PortionError> {
        if check != 0 {
            return Ok(());
        }
        let seen = self.caches.generation(account);
        let known = self.caches.tenant(account, self.now_ms());
        let found = self.record::<TenantKeyRecord>(key::tenant_key_key(account)).await?;
        match (known, found) {
            (Some((key, _)), Some((record, version))) if key.is_of(&record) => {
                self.caches.set_tenant_version(account, version, seen);
            }
            _ => self.caches.forget_tenant(account),
        }
        Ok(())
    }

    /// The portion with the next version of its key, and the batch that begins it.
    pub(crate) async fn next_version(
        &self,
        account: AccountId,
        id: PortionId,
        record: PortionRecord,
        version: Version,
        begun: Begun,
    ) -> Result<(PortionRecord, Batch), PortionError> {
        let next = record.version.checked_add(1).ok_or(KeyError::Wrong(envelope::EnvelopeError::Refused))?;
        let record = PortionRecord { version: next, ..record };
        let name = KeyName { portion: id, version: next };
        let (fresh, of_tenant) = self.fresh_key(account, name, &record, begun).await?;
        let (row_key, next_key) = (key::portion_key(account, id), key::key_version_key(id, next));
        let batch = Batch {
            checks: vec![of_tenant, Check::Is(row_key.clone(), version), Check::Absent(next_key.clone())],
            writes: vec![Write::Put(row_key, record.encode()), Write::Put(next_key, fresh.encode())],
        };
        Ok((record, batch))
    }

    /// Asks for the parts that are under buckets' keys to be moved to portions.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn migrate(&self, account: AccountId) -> Result<(), PortionError> {
        let work = RewrapRecord { below: 0, since_ms: self.now_ms(), is_clean: false, reseal: false };
        let writes = vec![Write::Put(key::rewrap_key(account, BUCKET_KEYS), work.encode())];
        self.commit_once(Batch { checks: vec![], writes }).await
    }

    /// Portions with parts to move, and below which version. A row that cannot be read is told in the log and passed
    /// over: other portions do not wait for it.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn rewraps(&self, account: AccountId) -> Result<Vec<(PortionId, RewrapRecord)>, PortionError> {
        Ok(self.pending(account).await?.into_iter().map(|pending| (pending.portion, pending.work)).collect())
    }

    /// The same, with the versions of their rows.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn pending(&self, account: AccountId) -> Result<Vec<Pending>, PortionError> {
        let mut work = Vec::new();
        each_row(self.meta.as_ref(), key::rewraps(account), |row_key, row| {
            match (key::portion_of(row_key), RewrapRecord::decode(&row.value)) {
                (Some(portion), Ok(found)) => work.push(Pending { portion, work: found, row: row.version }),
                (_, Err(error)) => {
                    tracing::error!(row = %row_key.escape_ascii(), %error, "work on keys cannot be read; it is not done");
                }
                (None, Ok(_)) => {}
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(work)
    }

    /// A pass found nothing to move.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn found_clean(
        &self,
        account: AccountId,
        id: PortionId,
        work: &RewrapRecord,
    ) -> Result<(), PortionError> {
        let row_key = key::rewrap_key(account, id);
        let Some((now, version)) = self.record::<RewrapRecord>(row_key.clone()).await? else { return Ok(()) };
        if now != *work {
            return Ok(());
        }
        let clean = RewrapRecord { is_clean: true, ..now };
        let checks = vec![Check::Is(row_key.clone(), version)];
        self.commit_once(Batch { checks, writes: vec![Write::Put(row_key, clean.encode())] }).await?;
        if clean.reseal {
            let name = self.row(account, id).await?.0.name;
            self.tell(self.event_of(account, "portion:rekeyed", id, &name).with("below", clean.below)).await;
        }
        Ok(())
    }

    /// Lets nothing more become visible under the versions that `work` empties: what is found under none of them
    /// from then on, is under none of them.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn close(&self, id: PortionId, work: &RewrapRecord) -> Result<(), PortionError> {
        let versions = self.versions(id).await?;
        let old: Vec<u32> = versions.iter().map(|old| old.version).filter(|old| *old < work.below).collect();
        for some in old.chunks(50) {
            let close = |version: &u32| Write::Put(key::closed_version_key(id, *version), vec![0].into());
            self.commit_once(Batch { checks: vec![], writes: some.iter().map(close).collect() }).await?;
        }
        Ok(())
    }

    /// All parts were moved: the versions of the key below `work`'s are gone, but those that seal
    /// what others keep.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn rewrapped(&self, account: AccountId, id: PortionId, work: &RewrapRecord) -> Result<(), PortionError> {
        let row_key = key::rewrap_key(account, id);
        let Some((now, version)) = self.record::<RewrapRecord>(row_key.clone()).await? else { return Ok(()) };
        if now != *work {
            return Ok(());
        }
        let old: Vec<u32> = self
            .versions(id)
            .await?
            .into_iter()
            .filter(|old| old.version < work.below && !old.given_out)
            .map(|old| old.version)
            .collect();
        let name = if old.is_empty() { String::new() } else { self.row(account, id).await?.0.name };
        for number in old {
            let row_key = key::key_version_key(id, number);
            let event = self.event_of(account, "portion:version-destroyed", id, &name);
            let Some((record, version)) = self.record::<PortionKeyRecord>(row_key.clone()).await? else { continue };
            // A message may have been sealed under it meanwhile.
            if !record.given_out {
                let checks = vec![Check::Is(row_key.clone(), version)];
                let writes = vec![Write::Delete(row_key), Write::Delete(key::closed_version_key(id, number))];
                match self.commit_once(Batch { checks, writes }).await {
                    Ok(()) => self.tell(event.with("version", number)).await,
                    Err(PortionError::Contended) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // Shares of what is gone are to go as well.
        if let Some(quorum) = &self.quorum {
            quorum.wake();
        }
        // Last: what a crash left undone before it is taken up again.
        let row_key = key::rewrap_key(account, id);
        let batch = Batch { checks: vec![Check::Is(row_key.clone(), version)], writes: vec![Write::Delete(row_key)] };
        self.commit_once(batch).await?;
        self.caches.forget(account, id);
        Ok(())
    }
}
