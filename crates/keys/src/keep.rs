//! Keys of portions for use: room under the newest version for what is sealed, any version for what
//! is opened. Neither asks the metadata while a lease runs.

use std::sync::Arc;

use base::{AccountId, PortionId};
use meta::record::{Begun, PortionKeyRecord, PortionRecord, Record, TenantKeyRecord, key};
use meta::{Batch, Check, CommitError, Version, Write};

use crate::cache::Slot;
use crate::error::PortionError;
use crate::portions::{DAY_MS, Portions, open_state, tenant_gone, tenant_lives};
use crate::tenant::TenantKey;
use crate::wrap::{KeyName, PortionKey};

/// Most parts under one version of a key.
pub const PARTS_MAX: u64 = 100_000;
/// Most bytes under one version of a key: 100 GiB.
pub const BYTES_MAX: u64 = 100 << 30;
/// Parts that a process takes room for at first, and at most at once. What it does not use is lost to the
/// version when it stops.
const BLOCK_PARTS: (u64, u64) = (16, 4_096);
/// Bytes taken room for with each part of a block.
const BLOCK_BYTES: u64 = 1 << 20;
/// Times room is asked for again after losing to another process.
const ATTEMPTS: usize = 100;

/// When a version of a key is too old for more, milliseconds since the Unix epoch.
fn until_ms(record: &PortionRecord, newest: &PortionKeyRecord) -> u64 {
    match record.rotation_days {
        0 => u64::MAX,
        days => newest.created_ms.saturating_add(u64::from(days) * DAY_MS),
    }
}

impl Portions {
    /// The account's key, made when it is first asked for.
    pub(crate) async fn tenant_key(&self, account: AccountId) -> Result<Arc<TenantKey>, PortionError> {
        Ok(self.tenant_row(account).await?.0)
    }

    /// The account's key, and the version of its row.
    ///
    /// # Errors
    /// [`PortionError::HalfRefused`], [`PortionError::HalfUnreachable`], or a metadata error.
    pub(crate) async fn tenant_row(&self, account: AccountId) -> Result<(Arc<TenantKey>, Version), PortionError> {
        let now = self.now_ms();
        if let Some(known) = self.caches.tenant(account, now) {
            return Ok(known);
        }
        if let Some((half, trouble)) = self.shut(account, now) {
            return Err(trouble.of(&half));
        }
        let seen = self.caches.generation(account);
        let (record, version) = self.tenant_record(account).await?;
        if record.held.is_some() {
            return self.ask_in_turn(account).await;
        }
        let key = Arc::new(self.ring.tenant_key_of(account, &record, None)?);
        self.caches.remember_tenant(account, key.clone(), version, now, seen);
        // Once for each: at an island it is too late.
        self.prepare_islands()?;
        Ok((key, version))
    }

    /// The row of the account's key, made when it is first asked for.
    pub(crate) async fn tenant_record(&self, account: AccountId) -> Result<(TenantKeyRecord, Version), PortionError> {
        let row_key = key::tenant_key_key(account);
        if let Some(found) = self.record::<TenantKeyRecord>(row_key.clone()).await? {
            return Ok(found);
        }
        let (_, wrapped) = self.ring.new_tenant_key(account, self.doors.rng.as_ref())?;
        let record = TenantKeyRecord::first(self.now_ms(), wrapped);
        let batch = Batch {
            checks: std::iter::once(Check::Absent(row_key.clone())).chain(tenant_lives(account)).collect(),
            writes: vec![Write::Put(row_key.clone(), record.encode())],
        };
        match self.meta.commit(batch).await {
            Ok(()) | Err(CommitError::Failed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.record::<TenantKeyRecord>(row_key).await?.ok_or_else(|| tenant_gone(account))
    }

    /// The newest version of a portion's key, with room for one part of `bytes` plaintext bytes
    /// counted under it; the next version where a cap is reached.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, or a metadata error.
    pub async fn to_seal(
        &self,
        account: AccountId,
        id: PortionId,
        bytes: u64,
    ) -> Result<Arc<PortionKey>, PortionError> {
        for _ in 0..ATTEMPTS {
            self.on_lease().await?;
            if let Some(key) = self.caches.take_room(id, bytes, self.now_ms()) {
                return Ok(key);
            }
            match self.make_room(account, id, bytes).await {
                Ok(()) | Err(PortionError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PortionError::Contended)
    }

    async fn make_room(&self, account: AccountId, id: PortionId, bytes: u64) -> Result<(), PortionError> {
        let seen = self.caches.generation(account);
        let now = self.now_ms();
        let (record, version) = self.row(account, id).await?;
        open_state(&record)?;
        // What is left of the room is of no use where the tenant's keys are shut.
        self.tenant_key(account).await?;
        let name = KeyName { portion: id, version: record.version };
        let row_key = key::key_version_key(id, record.version);
        let found = self.record::<PortionKeyRecord>(row_key.clone()).await?;
        let (mut newest, newest_version) = found.ok_or(PortionError::Contended)?;
        // What this process has left of the same version is not lost when only its lease ran out.
        let rest = self.caches.room(id).filter(|(known, ..)| *known == name);
        let block = rest.map_or(BLOCK_PARTS.0, |(.., block)| (block * 2).min(BLOCK_PARTS.1));
        let until_ms = until_ms(&record, &newest);
        if let Some((_, parts, left, _)) = rest
            && parts > 0
            && left >= bytes
            && now < until_ms
        {
            // The key's own lease has run out as well: who holds shares is asked again with every one.
            self.key_of(account, name, &record.name, &newest, now, seen).await?;
            self.caches.renew(account, name, now, until_ms, seen);
            return Ok(());
        }
        let room = (PARTS_MAX.saturating_sub(newest.parts), BYTES_MAX.saturating_sub(newest.bytes));
        if room.0 == 0 || room.1 < bytes || now >= until_ms {
            return self.begin_version(account, id, record, version).await;
        }
        let parts = block.min(room.0);
        let taken = (block * BLOCK_BYTES).max(bytes).min(room.1);
        newest.parts += parts;
        newest.bytes += taken;
        self.key_of(account, name, &record.name, &newest, now, seen).await?;
        let batch = Batch {
            // The portion's row as well: none is sealed under a key that was disabled meanwhile.
            checks: vec![Check::Is(row_key.clone(), newest_version), Check::Is(key::portion_key(account, id), version)],
            writes: vec![Write::Put(row_key, newest.encode())],
        };
        self.commit_once(batch).await?;
        let slot = Slot { account, name, parts, bytes: taken, block, at_ms: now, until_ms };
        self.caches.remember_room(id, slot, seen);
        Ok(())
    }

    /// A cap of the newest version is reached: the next one.
    async fn begin_version(
        &self,
        account: AccountId,
        id: PortionId,
        record: PortionRecord,
        version: meta::Version,
    ) -> Result<(), PortionError> {
        let (next, batch) = self.next_version(account, id, record, version, Begun::Automatic).await?;
        match self.meta.commit(batch).await {
            Ok(()) => {}
            Err(CommitError::Failed { check }) => {
                self.lost_at(account, check).await?;
                return Err(PortionError::Contended);
            }
            Err(error) => return Err(error.into()),
        }
        self.tell(self.event_of(account, "portion:version", id, &next.name).with("version", next.version)).await;
        Ok(())
    }

    /// A version of a portion's key, to open what is under it.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], [`PortionError::NoSuchVersion`], the state that forbids it, or
    /// a metadata error.
    pub async fn to_open(&self, account: AccountId, name: KeyName) -> Result<Arc<PortionKey>, PortionError> {
        self.on_lease_to_open().await?;
        let now = self.now_ms();
        if let Some(key) = self.caches.key(account, name, now) {
            // Its record is read for it only where there is no lease.
            if !self.uses_on_lease(account, name.portion) {
                self.must_open_cut_off(account, name.portion, self.known(account, name.portion).await?.as_ref())?;
            }
            return Ok(key);
        }
        let seen = self.caches.generation(account);
        let keys = [key::portion_key(account, name.portion), key::key_version_key(name.portion, name.version)];
        let mut rows = self.meta.get(&keys).await?;
        let (version, portion) = (rows.pop().flatten(), rows.pop().flatten());
        let portion = portion.ok_or_else(|| PortionError::NoSuchPortion(name.portion.to_string()))?;
        let portion = PortionRecord::decode(&portion.value)?;
        open_state(&portion)?;
        self.must_open_cut_off(account, name.portion, &portion)?;
        let gone = || PortionError::NoSuchVersion { name: portion.name.clone(), version: name.version };
        let stored = PortionKeyRecord::decode(&version.ok_or_else(gone)?.value)?;
        self.key_of(account, name, &portion.name, &stored, now, seen).await
    }

    /// A version of a portion's key as it is remembered, or from its record, which was read at `now`. Each is in memory once,
    /// whatever it is for.
    async fn key_of(
        &self,
        account: AccountId,
        name: KeyName,
        portion: &str,
        stored: &PortionKeyRecord,
        now: u64,
        seen: u64,
    ) -> Result<Arc<PortionKey>, PortionError> {
        if let Some(key) = self.caches.key(account, name, now) {
            return Ok(key);
        }
        let key = self.opened(account, name, portion, stored).await?;
        Ok(self.caches.remember_key(account, key, now, seen))
    }

    /// Drops the keys that are not to be used any more without being asked for anew. To be called about once a
    /// [`LEASE_MS`](crate::LEASE_MS): it is how long a key that another process shredded stays in this one's memory.
    pub fn drop_stale_keys(&self) {
        self.caches.sweep(self.now_ms());
    }

    /// A version of a portion's key from its record and, where it is in shares, from the sites.
    async fn opened(
        &self,
        account: AccountId,
        name: KeyName,
        portion: &str,
        stored: &PortionKeyRecord,
    ) -> Result<Arc<PortionKey>, PortionError> {
        let tenant = self.tenant_key(account).await?;
        let Some(shares) = &stored.shares else {
            return Ok(Arc::new(match tenant.portion_key(name, &stored.wrapped) {
                // The tenant may have got another key since this one was asked for.
                Err(_) => self.tenant_key(account).await?.portion_key(name, &stored.wrapped)?,
                Ok(key) => key,
            }));
        };
        let quorum = self.quorum()?;
        let _one_at_a_time = quorum.queue(name, portion).await?;
        if let Some(key) = self.caches.key(account, name, self.now_ms()) {
            return Ok(key);
        }
        Ok(Arc::new(quorum.open(&tenant, name, portion, shares).await?))
    }

    /// The newest version of a portion's key, marked as one that seals what others keep.
    pub(crate) async fn to_give_out(&self, account: AccountId, id: PortionId) -> Result<Arc<PortionKey>, PortionError> {
        for _ in 0..ATTEMPTS {
            self.on_lease().await?;
            let now = self.now_ms();
            let seen = self.caches.generation(account);
            let version = match self.caches.newest(id, now) {
                Some(version) => version,
                None => {
                    let (record, row_version) = self.row(account, id).await?;
                    open_state(&record)?;
                    let version = record.version;
                    let newest = self.record::<PortionKeyRecord>(key::key_version_key(id, version)).await?;
                    if newest.is_some_and(|(newest, _)| now >= until_ms(&record, &newest)) {
                        match self.begin_version(account, id, record, row_version).await {
                            Ok(()) | Err(PortionError::Contended) => continue,
                            Err(error) => return Err(error),
                        }
                    }
                    self.caches.remember_newest(account, KeyName { portion: id, version }, now, seen);
                    version
                }
            };
            let name = KeyName { portion: id, version };
            if !self.caches.is_given_out(name) {
                let row_key = key::key_version_key(id, version);
                let found = self.record::<PortionKeyRecord>(row_key.clone()).await?;
                // Gone, so not the newest any more.
                let Some((mut record, row_version)) = found else {
                    self.caches.forget(account, id);
                    continue;
                };
                if !record.given_out {
                    record.given_out = true;
                    let mut checks = vec![Check::Is(row_key.clone(), row_version)];
                    let mut writes = vec![Write::Put(row_key, record.encode())];
                    if account != AccountId::DEFAULT {
                        // The tenant's row changes with it: who is about to delete the tenant, and found no such key, does not.
                        let tenant = key::tenant_key(account);
                        let found = self.meta.get(std::slice::from_ref(&tenant)).await?.pop().flatten();
                        let found = found.ok_or_else(|| tenant_gone(account))?;
                        checks.push(Check::Is(tenant.clone(), found.version));
                        writes.push(Write::Put(tenant, found.value));
                    }
                    match self.commit_once(Batch { checks, writes }).await {
                        Err(PortionError::Contended) => continue,
                        other => other?,
                    }
                }
                self.caches.remember_given_out(account, name, seen);
            }
            return self.to_open(account, name).await;
        }
        Err(PortionError::Contended)
    }
}
