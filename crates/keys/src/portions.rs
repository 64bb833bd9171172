//! Portions in the metadata: made, found, changed, and the versions of their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base::{AccountId, Doors, PortionId};
use meta::record::{
    AliasRecord, Maker, PortionKeyRecord, PortionRecord, PortionState, Record, RewrapRecord, RulesRecord, key,
};
use meta::{Batch, Check, CommitError, Engine, Range, Version, Write, each_row};

use crate::audit::Auditor;
use crate::cache::Caches;
use crate::error::PortionError;
use crate::rules::{PORTION_NAME_MAX, Rules};
use crate::wrap::{BUCKET_KEYS, KeyName};
use crate::{KeyError, Keyring};

/// Days after which a key gets a new version though no cap is reached.
pub const ROTATION_DAYS: u32 = 30;
/// Most days between (AWS KMS: 90 to 2,560).
pub const ROTATION_DAYS_MAX: u32 = 2_560;
/// Bytes of a description (AWS KMS).
const DESCRIPTION_MAX: usize = 8_192;
/// Most tags (AWS KMS).
const TAGS_MAX: usize = 50;
/// Bytes of an alias (AWS KMS).
const ALIAS_MAX: usize = 256;
/// Longest wait before a portion is shredded, days.
pub const SHRED_DAYS_MAX: u32 = 30;
/// Times a change is tried again after losing to another one.
const ATTEMPTS: usize = 20;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Portions of all tenants, and the versions of their keys. Cheap to clone.
#[derive(Clone)]
pub struct Portions {
    pub(crate) meta: Arc<dyn Engine>,
    pub(crate) doors: Doors,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) auditor: Option<Arc<dyn Auditor>>,
    /// In whose name changes are made; the server's own where none is known.
    pub(crate) actor: Option<Arc<str>>,
}

/// A portion, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// Its key's id, too.
    pub id: PortionId,
    /// What is recorded of it.
    pub record: PortionRecord,
}

impl Portion {
    /// Whether its key opens anything.
    pub fn is_enabled(&self) -> bool {
        self.record.state == PortionState::Enabled
    }
}

/// A portion to make.
#[derive(Debug, Clone, Default)]
pub struct NewPortion {
    /// Unique in the account; without one it is called by its id.
    pub name: Option<String>,
    /// What it is for.
    pub description: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A version of a portion's key, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// From 1.
    pub version: u32,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Parts, at most, that are or were under it.
    pub parts: u64,
    /// Bytes, at most, that are or were under it.
    pub bytes: u64,
    /// Whether something sealed under it is kept by callers of the KMS API.
    pub given_out: bool,
}

/// A name for a portion's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Without `alias/`.
    pub name: String,
    /// What it names, and since when.
    pub record: AliasRecord,
}

/// What `change` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The key opens again.
    Enable,
    /// The key opens nothing.
    Disable,
    /// After so many days the portion is shredded; until then its key opens nothing.
    Shred {
        /// 0 to [`SHRED_DAYS_MAX`].
        days: u32,
    },
    /// It is not shredded; its key stays disabled.
    KeepAfterAll,
}

impl Portions {
    /// Portions over an engine, their keys under a keyring's root.
    pub fn new(meta: Arc<dyn Engine>, ring: Arc<Keyring>, doors: Doors) -> Self {
        Self { meta, doors, ring, caches: Arc::default(), auditor: None, actor: None }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.doors.clock.now_ms()
    }

    pub(crate) async fn record<R: Record>(&self, row_key: meta::Key) -> Result<Option<(R, Version)>, PortionError> {
        let Some(row) = self.meta.get(&[row_key]).await?.pop().flatten() else { return Ok(None) };
        Ok(Some((R::decode(&row.value)?, row.version)))
    }

    /// Makes a portion with the first version of its key.
    ///
    /// # Errors
    /// [`PortionError::Exists`], [`PortionError::Invalid`], or a metadata error.
    pub async fn create(&self, account: AccountId, new: NewPortion, made_by: Maker) -> Result<Portion, PortionError> {
        let id = PortionId::ordered(self.now_ms(), self.doors.rng.as_ref());
        if let Some(name) = &new.name {
            check_name(name)?;
        }
        let name = new.name.unwrap_or_else(|| id.to_string());
        check_description(&new.description)?;
        check_tags(&new.tags)?;
        let record = PortionRecord {
            name,
            created_ms: self.now_ms(),
            state: PortionState::Enabled,
            version: 1,
            made_by,
            description: new.description,
            tags: new.tags,
            rotation_days: ROTATION_DAYS,
        };
        let first = self.fresh_key(account, KeyName { portion: id, version: 1 }).await?;
        let name_key = key::portion_name_key(account, &record.name);
        let batch = Batch {
            checks: vec![Check::Absent(name_key.clone())],
            writes: vec![
                Write::Put(name_key, key::portion_name_value(id)),
                Write::Put(key::portion_key(account, id), record.encode()),
                Write::Put(key::key_version_key(id, 1), first.encode()),
            ],
        };
        match self.meta.commit(batch).await {
            Ok(()) => {
                let made_by = if record.made_by == Maker::Rule { "rule" } else { "customer" };
                let event = self.event_of(account, "portion:create", id, &record.name);
                self.tell(event.with("made_by", made_by)).await;
                Ok(Portion { id, record })
            }
            Err(CommitError::Failed { .. }) => Err(PortionError::Exists(record.name)),
            Err(error) => Err(error.into()),
        }
    }

    /// A version of a key that is in no row yet.
    pub(crate) async fn fresh_key(&self, account: AccountId, name: KeyName) -> Result<PortionKeyRecord, PortionError> {
        let tenant = self.tenant_key(account).await?;
        let (_, wrapped) = tenant.new_portion_key(name, self.doors.rng.as_ref())?;
        Ok(PortionKeyRecord { created_ms: self.now_ms(), wrapped, parts: 0, bytes: 0, given_out: false })
    }

    /// The portion of this name, made if there is none.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn named(&self, account: AccountId, name: &str) -> Result<PortionId, PortionError> {
        if let Some(id) = self.caches.named(account, name) {
            return Ok(id);
        }
        let seen = self.caches.generation();
        let id = match self.find_name(account, name).await? {
            Some(id) => id,
            None => {
                let new = NewPortion { name: Some(name.to_owned()), ..NewPortion::default() };
                match self.create(account, new, Maker::Rule).await {
                    Ok(portion) => portion.id,
                    Err(PortionError::Exists(_)) => {
                        let found = self.find_name(account, name).await?;
                        found.ok_or_else(|| PortionError::NoSuchPortion(name.to_owned()))?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.caches.remember_name(account, name, id, seen);
        Ok(id)
    }

    async fn find_name(&self, account: AccountId, name: &str) -> Result<Option<PortionId>, PortionError> {
        let row = self.meta.get(&[key::portion_name_key(account, name)]).await?.pop().flatten();
        Ok(row.and_then(|row| key::portion_named(&row.value)))
    }

    /// A portion by its id, its name, or an alias (`alias/...`).
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn find(&self, account: AccountId, name: &str) -> Result<Portion, PortionError> {
        let gone = || PortionError::NoSuchPortion(name.to_owned());
        let id = match name.strip_prefix("alias/") {
            Some(alias) => {
                self.record::<AliasRecord>(key::alias_key(account, alias)).await?.ok_or_else(gone)?.0.portion
            }
            // Nobody else's name looks like an id.
            None => match parse_id(name) {
                Some(id) => id,
                None => self.find_name(account, name).await?.ok_or_else(gone)?,
            },
        };
        self.get(account, id).await
    }

    /// A portion.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn get(&self, account: AccountId, id: PortionId) -> Result<Portion, PortionError> {
        Ok(Portion { id, record: self.row(account, id).await?.0 })
    }

    pub(crate) async fn row(
        &self,
        account: AccountId,
        id: PortionId,
    ) -> Result<(PortionRecord, Version), PortionError> {
        let found = self.record(key::portion_key(account, id)).await?;
        found.ok_or_else(|| PortionError::NoSuchPortion(id.to_string()))
    }

    /// Portions of an account by id, which is by age: at most `limit` after `after`, and whether
    /// there are more.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn list(
        &self,
        account: AccountId,
        after: Option<PortionId>,
        limit: usize,
    ) -> Result<(Vec<Portion>, bool), PortionError> {
        let (mut from, to) = key::portions(account);
        if let Some(id) = after {
            from = meta::after(&key::portion_key(account, id));
        }
        let page = self.meta.range(Range { from, to, limit }).await?;
        let mut portions = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            if let Some(id) = key::portion_of(row_key) {
                portions.push(Portion { id, record: PortionRecord::decode(&row.value)? });
            }
        }
        Ok((portions, page.more))
    }

    /// The versions of a portion's key, oldest first.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn versions(&self, id: PortionId) -> Result<Vec<KeyVersion>, PortionError> {
        let mut versions = Vec::new();
        each_row(self.meta.as_ref(), key::key_versions(id), |row_key, row| {
            let Some(version) = key::key_version_of(row_key) else { return Ok(()) };
            let PortionKeyRecord { created_ms, parts, bytes, given_out, .. } = PortionKeyRecord::decode(&row.value)?;
            versions.push(KeyVersion { version, created_ms, parts, bytes, given_out });
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(versions)
    }

    /// Changes what is recorded of a portion, but neither its state nor its version.
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
            let (state, version) = (record.state, record.version);
            change(record)?;
            (record.state, record.version) = (state, version);
            check_description(&record.description)?;
            check_tags(&record.tags)?;
            if record.rotation_days > ROTATION_DAYS_MAX {
                return Err(PortionError::Invalid(
                    "a key gets a new version after 1 to 2,560 days, or with 0 never by age",
                ));
            }
            Ok(Batch::default())
        });
        let described = described.await?;
        let event = self.event_of(account, "portion:describe", id, &described.record.name);
        self.tell(event.with("rotation_days", described.record.rotation_days)).await;
        Ok(described)
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
        let switched = self.update(account, id, |record| {
            record.state = switched_state(record, switch, now)?;
            Ok(Batch::default())
        });
        let switched = switched.await;
        self.caches.forget(id);
        switched
    }

    /// Destroys the keys of a portion whose time has come; `false` when it has not.
    ///
    /// # Errors
    /// [`PortionError::Unrecorded`] before anything is destroyed, or a metadata error.
    pub async fn shred(&self, account: AccountId, id: PortionId) -> Result<bool, PortionError> {
        let now = self.now_ms();
        let (record, version) = self.row(account, id).await?;
        match record.state {
            PortionState::PendingShred(at_ms) if at_ms <= now => {}
            _ => return Ok(false),
        }
        let event = |action| self.event_of(account, action, id, &record.name);
        self.announce(event("portion:shredding")).await?;
        let told = event("portion:shredded").with("versions", record.version);
        // The key rows first, in steps, since there may be many; the state last, so that a crash
        // half-way is a portion that is still to be shredded.
        loop {
            let (from, to) = key::key_versions(id);
            let page = self.meta.range(Range { from, to, limit: 50 }).await?;
            if page.rows.is_empty() {
                break;
            }
            let writes = page.rows.into_iter().map(|(row_key, _)| Write::Delete(row_key)).collect();
            let checks = vec![Check::Is(key::portion_key(account, id), version)];
            self.commit_once(Batch { checks, writes }).await?;
        }
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
        self.caches.forget(id);
        self.caches.forget_names();
        self.tell(told).await;
        Ok(true)
    }

    pub(crate) async fn commit_once(&self, batch: Batch) -> Result<(), PortionError> {
        self.meta.commit(batch).await.map_err(|error| match error {
            CommitError::Failed { .. } => PortionError::Contended,
            error => error.into(),
        })
    }

    /// Gives the key a new version; with `rewrap`, parts under the versions before move to it.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, or a metadata error.
    pub async fn rotate(&self, account: AccountId, id: PortionId, rewrap: bool) -> Result<Portion, PortionError> {
        for _ in 0..ATTEMPTS {
            let (record, version) = self.row(account, id).await?;
            open_state(&record)?;
            let (record, mut batch) = self.next_version(account, id, record, version).await?;
            if rewrap {
                let work = RewrapRecord { below: record.version, since_ms: self.now_ms(), is_clean: false };
                batch.writes.push(Write::Put(key::rewrap_key(account, id), work.encode()));
            }
            match self.meta.commit(batch).await {
                Ok(()) => {
                    self.caches.forget(id);
                    let event = self.event_of(account, "portion:rotate", id, &record.name);
                    self.tell(event.with("version", record.version).with("rewrap", rewrap)).await;
                    return Ok(Portion { id, record });
                }
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// The portion with the next version of its key, and the batch that begins it.
    pub(crate) async fn next_version(
        &self,
        account: AccountId,
        id: PortionId,
        record: PortionRecord,
        version: Version,
    ) -> Result<(PortionRecord, Batch), PortionError> {
        let next = record.version.checked_add(1).ok_or(KeyError::Wrong(envelope::EnvelopeError::Refused))?;
        let record = PortionRecord { version: next, ..record };
        let fresh = self.fresh_key(account, KeyName { portion: id, version: next }).await?;
        let (row_key, next_key) = (key::portion_key(account, id), key::key_version_key(id, next));
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version), Check::Absent(next_key.clone())],
            writes: vec![Write::Put(row_key, record.encode()), Write::Put(next_key, fresh.encode())],
        };
        Ok((record, batch))
    }

    /// Asks for the parts that are under buckets' keys to be moved to portions.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn migrate(&self, account: AccountId) -> Result<(), PortionError> {
        let work = RewrapRecord { below: 0, since_ms: self.now_ms(), is_clean: false };
        let writes = vec![Write::Put(key::rewrap_key(account, BUCKET_KEYS), work.encode())];
        self.commit_once(Batch { checks: vec![], writes }).await
    }

    /// Portions with parts to move, and below which version.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn rewraps(&self, account: AccountId) -> Result<Vec<(PortionId, RewrapRecord)>, PortionError> {
        let (from, to) = key::rewraps(account);
        let page = self.meta.range(Range { from, to, limit: 1000 }).await?;
        let mut work = Vec::new();
        for (row_key, row) in &page.rows {
            if let Some(id) = key::portion_of(row_key) {
                work.push((id, RewrapRecord::decode(&row.value)?));
            }
        }
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
        self.commit_once(Batch { checks, writes: vec![Write::Put(row_key, clean.encode())] }).await
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
        // Last: what a crash left undone before it is taken up again.
        let row_key = key::rewrap_key(account, id);
        let batch = Batch { checks: vec![Check::Is(row_key.clone(), version)], writes: vec![Write::Delete(row_key)] };
        self.commit_once(batch).await?;
        self.caches.forget(id);
        Ok(())
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

    /// The rules of an account, and the document that was put; none were: `None`.
    ///
    /// # Errors
    /// [`PortionError::Rules`] for a stored document that holds none, or a metadata error.
    pub async fn rules(&self, account: AccountId) -> Result<Option<String>, PortionError> {
        let found = self.record::<RulesRecord>(key::portion_rules_key(account)).await?;
        Ok(found.map(|(record, _)| record.document))
    }

    /// Puts the rules of an account in place of those that were.
    ///
    /// # Errors
    /// [`PortionError::Rules`], [`PortionError::Unrecorded`], or a metadata error.
    pub async fn put_rules(&self, account: AccountId, document: &str) -> Result<(), PortionError> {
        Rules::parse(document)?;
        let record = RulesRecord { document: document.to_owned(), modified_ms: self.now_ms() };
        let writes = vec![Write::Put(key::portion_rules_key(account), record.encode())];
        // The document may be longer than a record: its hash tells which one it was.
        let hash = hex::encode(digest(&SHA256, document.as_bytes()));
        let event = |action| self.event(account, action, "portion-rules".to_owned()).with("sha256", &hash);
        self.announce(event("portion:rules-changing")).await?;
        let put = self.commit_once(Batch { checks: vec![], writes }).await;
        self.caches.forget_rules(account);
        self.tell_end(&put, event("portion:rules")).await;
        put
    }

    /// The rules of an account, parsed.
    ///
    /// # Errors
    /// As [`Self::rules`].
    pub async fn chosen_by(&self, account: AccountId) -> Result<Arc<Rules>, PortionError> {
        let now = self.now_ms();
        if let Some(rules) = self.caches.rules(account, now) {
            return Ok(rules);
        }
        let seen = self.caches.generation();
        let rules = match self.rules(account).await? {
            Some(document) => Rules::parse(&document)?,
            None => Rules::default(),
        };
        Ok(self.caches.remember_rules(account, rules, now, seen))
    }

    /// Names a portion's key.
    ///
    /// # Errors
    /// [`PortionError::AliasExists`], [`PortionError::NoSuchPortion`], [`PortionError::Invalid`], or
    /// a metadata error.
    pub async fn create_alias(&self, account: AccountId, alias: &str, id: PortionId) -> Result<(), PortionError> {
        check_alias(alias)?;
        let now = self.now_ms();
        let record = AliasRecord { portion: id, created_ms: now, updated_ms: now };
        let row_key = key::alias_key(account, alias);
        let batch = Batch {
            checks: vec![Check::Absent(row_key.clone()), Check::Present(key::portion_key(account, id))],
            writes: vec![Write::Put(row_key, record.encode())],
        };
        match self.meta.commit(batch).await {
            Ok(()) => {
                self.tell(self.event_of_alias(account, "alias:create", alias).with("id", dashed(id))).await;
                Ok(())
            }
            Err(CommitError::Failed { check: 0 }) => Err(PortionError::AliasExists(alias.to_owned())),
            Err(CommitError::Failed { .. }) => Err(PortionError::NoSuchPortion(id.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets an alias name another portion's key.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`] also for the alias, or a metadata error.
    pub async fn update_alias(&self, account: AccountId, alias: &str, id: PortionId) -> Result<(), PortionError> {
        let row_key = key::alias_key(account, alias);
        let found = self.record::<AliasRecord>(row_key.clone()).await?;
        let (mut record, version) = found.ok_or_else(|| PortionError::NoSuchPortion(format!("alias/{alias}")))?;
        let event = self.event_of_alias(account, "alias:update", alias).with("from", dashed(record.portion));
        (record.portion, record.updated_ms) = (id, self.now_ms());
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version), Check::Present(key::portion_key(account, id))],
            writes: vec![Write::Put(row_key, record.encode())],
        };
        self.commit_once(batch).await?;
        self.tell(event.with("id", dashed(id))).await;
        Ok(())
    }

    /// Takes an alias away.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`] for the alias, or a metadata error.
    pub async fn delete_alias(&self, account: AccountId, alias: &str) -> Result<(), PortionError> {
        let row_key = key::alias_key(account, alias);
        let batch = Batch { checks: vec![Check::Present(row_key.clone())], writes: vec![Write::Delete(row_key)] };
        match self.meta.commit(batch).await {
            Ok(()) => {
                self.tell(self.event_of_alias(account, "alias:delete", alias)).await;
                Ok(())
            }
            Err(CommitError::Failed { .. }) => Err(PortionError::NoSuchPortion(format!("alias/{alias}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Aliases of an account by name: at most `limit` after `after`, and whether there are more.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn aliases(
        &self,
        account: AccountId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Alias>, bool), PortionError> {
        let (mut from, to) = key::aliases(account);
        if let Some(name) = after {
            from = meta::after(&key::alias_key(account, name));
        }
        let page = self.meta.range(Range { from, to, limit }).await?;
        let mut aliases = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            if let Some(name) = key::alias_of(row_key) {
                aliases.push(Alias { name: name.to_owned(), record: AliasRecord::decode(&row.value)? });
            }
        }
        Ok((aliases, page.more))
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
        (Switch::Shred { days }, _) if days <= SHRED_DAYS_MAX => {
            PortionState::PendingShred(now + u64::from(days) * DAY_MS)
        }
        (Switch::Shred { .. }, _) => return Err(PortionError::Invalid("a portion is shredded after 0 to 30 days")),
    })
}

/// The id of a key as text: 32 digits, or as AWS KMS writes it, with dashes.
pub fn parse_id(text: &str) -> Option<PortionId> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let dashed = text.len() == 36 && text.match_indices('-').map(|(at, _)| at).eq([8, 13, 18, 23]);
    (dashed || !text.contains('-')).then(|| digits.parse().ok())?
}

/// A key's id as AWS KMS writes it: with dashes.
pub fn dashed(id: PortionId) -> String {
    let digits = id.to_string();
    let pieces = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    pieces.join("-")
}

/// Whether a name would be taken for a key's id or an alias.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("alias/") || parse_id(name).is_some()
}

fn check_name(name: &str) -> Result<(), PortionError> {
    if name.is_empty() || name.len() > PORTION_NAME_MAX || is_reserved(name) {
        return Err(PortionError::Invalid(
            "a portion's name has 1 to 256 bytes, is no key id, and does not begin with alias/",
        ));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<(), PortionError> {
    if text.len() > DESCRIPTION_MAX {
        return Err(PortionError::Invalid("a description has at most 8,192 bytes"));
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), PortionError> {
    let fine = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256 && !key.starts_with("aws:")
    };
    if tags.len() > TAGS_MAX || !tags.iter().all(fine) {
        return Err(PortionError::Invalid("at most 50 tags, of 1 to 128 characters and a value of at most 256"));
    }
    Ok(())
}

fn check_alias(alias: &str) -> Result<(), PortionError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if alias.is_empty() || alias.len() > ALIAS_MAX || !alias.bytes().all(fine) || alias.starts_with("aws/") {
        return Err(PortionError::Invalid("an alias has A-Z a-z 0-9 / _ - and does not begin with aws/"));
    }
    Ok(())
}
