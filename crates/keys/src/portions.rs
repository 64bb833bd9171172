//! Portions in the metadata: made, found, listed.

mod alias;
mod chosen;
mod grant;
mod receipts;
mod rewrap;
mod state;
mod tend;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AccountId, Doors, PortionId};
use meta::record::{
    AliasRecord, Begun, CutOff, Maker, PortionClass, PortionKeyRecord, PortionRecord, PortionState, Record, key,
};
use meta::{Batch, Check, CommitError, Engine, Range, Version, Write, each_row};
use release::{Language, NoLanguage};

use crate::Keyring;
use crate::audit::Auditor;
use crate::cache::Caches;
use crate::error::PortionError;
use crate::held::{Keepers, NoKeepers, Turns};
use crate::lease::{Owed, Parsers, Queues};
use crate::quorum::Quorum;
use crate::rules::PORTION_NAME_MAX;
use crate::site_lease::SiteLease;
use crate::wrap::KeyName;

pub use grant::{Constraints, EndGrant, GRANTS_MAX, GRANTS_OF_PRINCIPAL_MAX, Grant, NewGrant};
pub use rewrap::Pending;
pub(crate) use state::open_state;
pub use tend::Tended;

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
/// Versions of a key read at once.
const VERSIONS_PAGE: usize = 100;
/// Times a change is tried again after losing to another one.
pub(crate) const ATTEMPTS: usize = 20;
pub(crate) const DAY_MS: u64 = 24 * 3600 * 1000;

/// Portions of all tenants, and the versions of their keys. Cheap to clone.
#[derive(Clone)]
pub struct Portions {
    pub(crate) meta: Arc<dyn Engine>,
    pub(crate) doors: Doors,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) site_lease: Arc<SiteLease>,
    pub(crate) auditor: Option<Arc<dyn Auditor>>,
    /// The sites, where they hold shares of keys.
    pub(crate) quorum: Option<Arc<Quorum>>,
    /// In whose name changes are made; the server's own where none is known.
    pub(crate) actor: Option<Arc<str>>,
    /// What release policies are written in.
    pub(crate) language: Arc<dyn Language>,
    pub(crate) parsers: Arc<Parsers>,
    /// To whom keys are released; the server itself asks nobody.
    pub(crate) caller: Option<Arc<crate::lease::Caller>>,
    /// Who may hold halves of tenants' keys.
    pub(crate) keepers: Arc<dyn Keepers>,
    pub(crate) turns: Arc<Turns>,
    /// Of principals whose hour is counted in.
    pub(crate) queues: Arc<Queues>,
    pub(crate) owed: Arc<Owed>,
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
    /// Where the versions of its key are kept.
    pub class: PortionClass,
    /// Its key's policy, JSON that was found to be one; empty: the default one.
    pub policy: String,
    /// How long its key opens what is under it where the metadata are out of reach.
    pub cut_off: CutOff,
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
    /// What made it.
    pub begun: Begun,
    /// Where it is kept.
    pub class: PortionClass,
}

impl KeyVersion {
    fn of(row_key: &meta::Key, value: &[u8]) -> Result<Option<Self>, PortionError> {
        let Some(version) = key::key_version_of(row_key) else { return Ok(None) };
        let PortionKeyRecord { created_ms, parts, bytes, given_out, begun, shares, .. } =
            PortionKeyRecord::decode(value)?;
        let class = if shares.is_some() { PortionClass::Quorum } else { PortionClass::Sealed };
        Ok(Some(Self { version, created_ms, parts, bytes, given_out, begun, class }))
    }
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
        Self {
            meta,
            doors,
            ring,
            caches: Arc::default(),
            site_lease: Arc::default(),
            auditor: None,
            quorum: None,
            actor: None,
            caller: None,
            language: Arc::new(NoLanguage),
            parsers: Arc::default(),
            keepers: Arc::new(NoKeepers),
            turns: Arc::default(),
            queues: Arc::default(),
            owed: Arc::default(),
        }
    }

    /// The same, with who may hold halves of tenants' keys.
    #[must_use]
    pub fn with_keepers(self, keepers: Arc<dyn Keepers>) -> Self {
        Self { keepers, ..self }
    }

    /// The same, with what release policies are written in.
    #[must_use]
    pub fn speaking(self, language: Arc<dyn Language>) -> Self {
        Self { language, ..self }
    }

    /// The same, with sites that hold shares: keys of class quorum can be had.
    #[must_use]
    pub fn with_quorum(self, quorum: Arc<Quorum>) -> Self {
        Self { quorum: Some(quorum), ..self }
    }

    /// The sites that hold shares.
    ///
    /// # Errors
    /// [`PortionError::Invalid`] where none do.
    pub(crate) fn quorum(&self) -> Result<&Arc<Quorum>, PortionError> {
        self.quorum.as_ref().ok_or(PortionError::Invalid("there are no sites here that hold shares of keys"))
    }

    /// Whether keys of a class can be made here. Epoch keys of all five sites lie with one process: with several, each would have others,
    /// and sign that it destroyed what it never had.
    pub(crate) fn may_be_of(&self, class: PortionClass) -> Result<(), PortionError> {
        if class == PortionClass::Quorum && self.meta.is_shared() {
            return Err(PortionError::Invalid(
                "keys of class quorum cannot be made where several gateways share the metadata; take class sealed",
            ));
        }
        Ok(())
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
        self.may_be_of(new.class)?;
        let record = PortionRecord {
            name,
            created_ms: self.now_ms(),
            state: PortionState::Enabled,
            version: 1,
            made_by,
            description: new.description,
            tags: new.tags,
            policy: new.policy,
            rotation_days: ROTATION_DAYS,
            class: new.class,
            cut_off: new.cut_off,
        };
        match self.commit_first(account, id, &record).await {
            Ok(()) => {
                let made_by = if record.made_by == Maker::Rule { "rule" } else { "customer" };
                let event = self.event_of(account, "portion:create", id, &record.name);
                let event = event.with("made_by", made_by);
                self.tell(if new.class == PortionClass::Quorum {
                    event.with("class", new.class.name())
                } else {
                    event
                })
                .await;
                Ok(Portion { id, record })
            }
            Err(error) => Err(error),
        }
    }

    async fn commit_first(
        &self,
        account: AccountId,
        id: PortionId,
        record: &PortionRecord,
    ) -> Result<(), PortionError> {
        let name_key = key::portion_name_key(account, &record.name);
        for _ in 0..ATTEMPTS {
            let name = KeyName { portion: id, version: 1 };
            let (first, of_tenant) = self.fresh_key(account, name, record, Begun::First).await?;
            let checks = [of_tenant, Check::Absent(name_key.clone())];
            let batch = Batch {
                checks: checks.into_iter().chain(tenant_lives(account)).collect(),
                writes: vec![
                    Write::Put(name_key.clone(), key::portion_name_value(id)),
                    Write::Put(key::portion_key(account, id), record.encode()),
                    Write::Put(key::key_version_key(id, 1), first.encode()),
                ],
            };
            match self.meta.commit(batch).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed { check: 0 }) => self.lost_at(account, 0).await?,
                Err(CommitError::Failed { check: 1 }) => return Err(PortionError::Exists(record.name.clone())),
                Err(CommitError::Failed { .. }) => return Err(tenant_gone(account)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// A version of a key that is in no row yet, and what the batch that makes it one depends on: that the tenant's key
    /// is still the one that it is under.
    pub(crate) async fn fresh_key(
        &self,
        account: AccountId,
        name: KeyName,
        of: &PortionRecord,
        begun: Begun,
    ) -> Result<(PortionKeyRecord, Check), PortionError> {
        let (tenant, version) = self.tenant_row(account).await?;
        let rng = self.doors.rng.as_ref();
        let (wrapped, shares, under) = match of.class {
            PortionClass::Sealed => (tenant.new_portion_key(name, rng)?.1, None, None),
            PortionClass::Quorum => {
                let shares = self.quorum()?.make(&tenant, name, &of.name, rng).await?;
                (Vec::new(), Some(shares), Some(tenant.mark()?))
            }
        };
        let created_ms = self.now_ms();
        let record =
            PortionKeyRecord { created_ms, wrapped, parts: 0, bytes: 0, given_out: false, begun, shares, under };
        Ok((record, Check::Is(key::tenant_key_key(account), version)))
    }

    /// The portion of this name, made with a key of class sealed if there is none.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn named(&self, account: AccountId, name: &str) -> Result<PortionId, PortionError> {
        self.named_as(account, name, PortionClass::Sealed).await
    }

    /// The portion of this name, made with a key of this class if there is none.
    ///
    /// # Errors
    /// [`PortionError::KeyUnavailable`], or a metadata error.
    pub async fn named_as(
        &self,
        account: AccountId,
        name: &str,
        class: PortionClass,
    ) -> Result<PortionId, PortionError> {
        self.on_lease_to_open().await?;
        if let Some(id) = self.caches.named(account, name) {
            return Ok(id);
        }
        let seen = self.caches.generation(account);
        let id = match self.find_name(account, name).await? {
            Some(id) => id,
            None => {
                let new = NewPortion { name: Some(name.to_owned()), class, ..NewPortion::default() };
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

    /// A portion as it was a lease ago at most, for what is asked at each request.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], or a metadata error.
    pub async fn known(&self, account: AccountId, id: PortionId) -> Result<Arc<PortionRecord>, PortionError> {
        self.on_lease_to_open().await?;
        let now = self.now_ms();
        if let Some(known) = self.caches.record(account, id, now) {
            return Ok(known);
        }
        let seen = self.caches.generation(account);
        let (record, _) = self.row(account, id).await?;
        Ok(self.caches.remember_record(account, id, record, now, seen))
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
            versions.extend(KeyVersion::of(row_key, &row.value)?);
            Ok::<_, PortionError>(())
        })
        .await?;
        Ok(versions)
    }

    /// Some of them: at most `limit` after version `after`, and whether there are more.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn versions_after(
        &self,
        id: PortionId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<KeyVersion>, bool), PortionError> {
        let to = key::key_versions(id).1;
        let page = self.meta.range(Range { from: meta::after(&key::key_version_key(id, after)), to, limit }).await?;
        let mut versions = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            versions.extend(KeyVersion::of(row_key, &row.value)?);
        }
        Ok((versions, page.more))
    }

    /// One of them, while it is there.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn version(&self, id: PortionId, version: u32) -> Result<Option<KeyVersion>, PortionError> {
        let row_key = key::key_version_key(id, version);
        match self.meta.get(std::slice::from_ref(&row_key)).await?.pop().flatten() {
            Some(row) => KeyVersion::of(&row_key, &row.value),
            None => Ok(None),
        }
    }

    /// Whether any version of a portion's key is in shares.
    pub(crate) async fn has_shares(&self, id: PortionId) -> Result<bool, PortionError> {
        let mut after = 0;
        loop {
            let (versions, more) = self.versions_after(id, after, VERSIONS_PAGE).await?;
            if versions.iter().any(|version| version.class == PortionClass::Quorum) {
                return Ok(true);
            }
            match versions.last() {
                Some(last) if more => after = last.version,
                _ => return Ok(false),
            }
        }
    }

    pub(crate) async fn commit_once(&self, batch: Batch) -> Result<(), PortionError> {
        self.meta.commit(batch).await.map_err(|error| match error {
            CommitError::Failed { .. } => PortionError::Contended,
            error => error.into(),
        })
    }
}

/// A check that the tenant is still there, for what is made in it: no worker comes back to a tenant that was taken apart.
pub(crate) fn tenant_lives(account: AccountId) -> Option<Check> {
    (account != AccountId::DEFAULT).then(|| Check::Present(key::tenant_key(account)))
}

/// The tenant was deleted meanwhile.
pub(crate) fn tenant_gone(account: AccountId) -> PortionError {
    PortionError::NoSuchPortion(format!("of tenant {account}, which was deleted"))
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
