//! Shares at the sites, put right: what is missing is made anew from three others, what is of no version any more is destroyed.
//!
//! A pass compares what the metadata want with what the sites list and needs no memory of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use base::limits::COLUMNS;
use base::{AccountId, PortionId};
use futures::future::join_all;
use meta::each_row;
use meta::record::{DyingRecord, PortionKeyRecord, PortionRecord, PortionState, Record, SharesRecord, key};
use tokio::time::timeout;

use super::Portions;
use super::receipts::has_set;
use crate::error::PortionError;
use crate::quorum::{HolderError, NEEDED, Quorum, ShareName, drawer_of};
use crate::tenant::TenantKey;

/// Names in a drawer that nobody wants, looked up in one pass, each for every tenant: a site may make them up. The next pass takes others.
const UNWANTED_MAX: usize = 10_000;

/// What a pass did and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tended {
    /// Shares made anew.
    pub made: u64,
    /// Shares of versions that are gone, destroyed.
    pub destroyed: u64,
    /// Receipts of shreddings that were still to come.
    pub receipts: u64,
    /// Versions that lack shares still.
    pub lacking: u64,
    /// Of those, versions that have fewer than three shares within reach.
    pub unavailable: u64,
    /// Sites that did not tell what they have, and those that have still to destroy something.
    pub waiting: u64,
    /// Shares that the metadata know nothing of. They stay.
    pub unknown: u64,
}

/// A version of a key that should be in five shares.
struct Wanted {
    account: AccountId,
    portion: String,
    name: ShareName,
    shares: SharesRecord,
}

/// What the sites have in a drawer; of those that do not tell, nothing is known.
type Listed = [Option<HashSet<ShareName>>; COLUMNS];

impl Portions {
    /// One pass over the shares of all tenants.
    ///
    /// # Errors
    /// A metadata or key error. What sites do not do now is counted, and left to the next pass.
    pub async fn tend(&self, accounts: &[AccountId]) -> Result<Tended, PortionError> {
        let mut tended = Tended::default();
        let Some(quorum) = self.quorum.clone() else { return Ok(tended) };
        for account in accounts {
            self.finish_destroying(*account, &mut tended).await?;
        }
        // Most installations have no key in shares, and a million of others.
        if quorum.is_empty() {
            return Ok(tended);
        }
        let _upkeep = quorum.upkeep.lock().await;
        let mut wanted: BTreeMap<u8, Vec<Wanted>> = BTreeMap::new();
        for account in accounts {
            self.want(*account, &mut wanted).await?;
        }
        let mut drawers: BTreeSet<u8> = wanted.keys().copied().collect();
        drawers.extend(quorum.holders.iter().flat_map(|holder| holder.drawers()));
        let mut silent: HashSet<usize> = HashSet::new();
        for drawer in drawers {
            let here = wanted.remove(&drawer).unwrap_or_default();
            let mut listed = list(&quorum, drawer).await;
            silent.extend((0..COLUMNS).filter(|slot| listed[*slot].is_none()));
            self.bury(&quorum, accounts, drawer, &here, &mut listed, &mut tended).await?;
            let names: Vec<ShareName> = here.iter().map(|version| version.name).collect();
            for version in here {
                self.complete(&quorum, &version, &names, &listed, &mut tended).await?;
            }
        }
        tended.waiting += silent.len() as u64;
        Ok(tended)
    }

    /// Sites that were away when a portion was shredded, or could not sign.
    async fn finish_destroying(&self, account: AccountId, tended: &mut Tended) -> Result<(), PortionError> {
        let mut work = Vec::new();
        each_row(self.meta.as_ref(), key::dying(account), |row_key, row| {
            if let Some(id) = key::portion_of(row_key) {
                let dying = DyingRecord::decode(&row.value)?;
                work.push((id, dying.slots.len() + dying.unsigned.len()));
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        for (id, before) in work {
            let record = self.row(account, id).await?.0;
            // Until its rows are gone, who shreds it does this.
            if !matches!(record.state, PortionState::Shredded(_)) {
                continue;
            }
            let mut left = self.destroy_at(account, id, &record.name).await?.0.len();
            left += self.attest_rows(account, id, &record.name).await?.len();
            tended.receipts += (before - left.min(before)) as u64;
            tended.waiting += u64::from(left > 0);
        }
        Ok(())
    }

    /// The shares that the metadata want in one drawer, of all tenants. A row that cannot be read is passed over: what it is of lives
    /// or dies by what the sites list, and a shredding does not wait for it.
    pub(crate) async fn wanted_in(&self, drawer: u8) -> Result<Vec<ShareName>, PortionError> {
        let mut accounts = vec![AccountId::DEFAULT];
        each_row(self.meta.as_ref(), key::tenants(), |row_key, _| {
            accounts.extend(key::tenant_of(row_key));
            Ok::<_, PortionError>(())
        })
        .await?;
        let mut wanted = BTreeMap::new();
        for account in accounts {
            self.want_in(account, Some(drawer), &mut wanted).await?;
        }
        Ok(wanted.remove(&drawer).unwrap_or_default().into_iter().map(|version| version.name).collect())
    }

    /// All versions of an account's keys that should be in shares, by drawer. Not those that are being destroyed.
    async fn want(&self, account: AccountId, wanted: &mut BTreeMap<u8, Vec<Wanted>>) -> Result<(), PortionError> {
        self.want_in(account, None, wanted).await
    }

    async fn want_in(
        &self,
        account: AccountId,
        drawer: Option<u8>,
        wanted: &mut BTreeMap<u8, Vec<Wanted>>,
    ) -> Result<(), PortionError> {
        let mut portions = Vec::new();
        each_row(self.meta.as_ref(), key::portions(account), |row_key, row| {
            let Some(id) = key::portion_of(row_key) else { return Ok(()) };
            // Ids lie in drawers by chance: of a million rows, four thousand are read further.
            if drawer.is_some_and(|drawer| drawer != drawer_of(id)) {
                return Ok(());
            }
            let record = match PortionRecord::decode(&row.value) {
                Err(error) if drawer.is_some() => {
                    tracing::error!(portion = %id, %error, "a portion cannot be read");
                    return Ok(());
                }
                record => record?,
            };
            if !matches!(record.state, PortionState::Shredded(_)) {
                portions.push((id, record.name));
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        for (id, portion) in portions {
            let mut versions = Vec::new();
            each_row(self.meta.as_ref(), key::key_versions(id), |row_key, row| {
                let shares = match PortionKeyRecord::decode(&row.value) {
                    Err(error) if drawer.is_some() => {
                        tracing::error!(portion = %id, %error, "a version of a key cannot be read");
                        None
                    }
                    record => record?.shares,
                };
                versions.extend(key::key_version_of(row_key).zip(shares));
                Ok::<_, PortionError>(())
            })
            .await?;
            if versions.is_empty() || self.is_dying(account, id).await? {
                continue;
            }
            for (version, shares) in versions {
                let name = ShareName { key: crate::KeyName { portion: id, version }, set: shares.set };
                let version = Wanted { account, portion: portion.clone(), name, shares };
                wanted.entry(name.drawer()).or_default().push(version);
            }
        }
        Ok(())
    }

    /// Destroys what is of no version any more.
    async fn bury(
        &self,
        quorum: &Quorum,
        accounts: &[AccountId],
        drawer: u8,
        wanted: &[Wanted],
        listed: &mut Listed,
        tended: &mut Tended,
    ) -> Result<(), PortionError> {
        let lives: Vec<ShareName> = wanted.iter().map(|version| version.name).collect();
        let wanted: HashSet<ShareName> = lives.iter().copied().collect();
        let unwanted: HashSet<ShareName> =
            listed.iter().flatten().flatten().filter(|name| !wanted.contains(name)).copied().collect();
        let mut dead: HashSet<ShareName> = HashSet::new();
        tended.waiting += u64::from(unwanted.len() > UNWANTED_MAX);
        for name in unwanted.into_iter().take(UNWANTED_MAX) {
            match self.is_dead(accounts, &name).await? {
                Some(true) => drop(dead.insert(name)),
                Some(false) => {}
                None => tended.unknown += 1,
            }
        }
        for (slot, told) in listed.iter_mut().enumerate() {
            if told.as_ref().is_none_or(|has| has.is_disjoint(&dead)) {
                continue;
            }
            let is_dead = |name: &ShareName| dead.contains(name);
            match timeout(quorum.bounds.destroy, quorum.holders[slot].destroy(drawer, &is_dead, &lives)).await {
                Ok(Ok(done)) => {
                    tended.destroyed += done.names.len() as u64;
                    told.iter_mut().for_each(|has| has.retain(|name| !dead.contains(name)));
                }
                failed => {
                    tracing::warn!(site = %quorum.site(slot), ?failed, "dead shares stay at a site for now");
                    tended.waiting += 1;
                    *told = None;
                }
            }
        }
        Ok(())
    }

    /// Whether the metadata say that a share's version is gone; `None`: they do not know its portion, or not yet
    /// its version.
    async fn is_dead(&self, accounts: &[AccountId], name: &ShareName) -> Result<Option<bool>, PortionError> {
        let (id, version): (PortionId, u32) = (name.key.portion, name.key.version);
        for account in accounts {
            let keys = [key::portion_key(*account, id), key::key_version_key(id, version)];
            let mut rows = self.meta.get(&keys).await?;
            let (row, portion) = (rows.pop().flatten(), rows.pop().flatten());
            let Some(portion) = portion else { continue };
            let portion = PortionRecord::decode(&portion.value)?;
            if matches!(portion.state, PortionState::Shredded(_)) {
                return Ok(Some(true));
            }
            let row = row.map(|row| PortionKeyRecord::decode(&row.value)).transpose()?;
            let lives = row.is_some_and(|row| has_set(&row, name.set));
            // One that is only being made is newer than the portion's newest.
            return Ok(if lives || version <= portion.version { Some(!lives) } else { None });
        }
        Ok(None)
    }

    /// Makes the shares of a version that sites lack, or have false.
    async fn complete(
        &self,
        quorum: &Quorum,
        version: &Wanted,
        names: &[ShareName],
        listed: &Listed,
        tended: &mut Tended,
    ) -> Result<(), PortionError> {
        let Wanted { account, portion, name, shares } = version;
        let told = (0..COLUMNS).filter_map(|slot| listed[slot].as_ref().map(|has| (slot, has.contains(name))));
        let (has, lacks): (Vec<_>, Vec<_>) = told.partition(|(_, has)| *has);
        let suspects: Vec<usize> =
            has.iter().map(|(slot, _)| *slot).filter(|slot| quorum.suspects(*slot, name)).collect();
        let mut lacking = has.len() + lacks.len() < COLUMNS;
        if lacks.is_empty() && suspects.is_empty() && has.len() < NEEDED {
            // Too few tell anything: nobody is asked for shares, and it is as bad as if they had said no.
            tended.unavailable += 1;
        }
        if !lacks.is_empty() || !suspects.is_empty() {
            let Some(tenant) = self.open_tenant(*account).await? else {
                tended.lacking += 1;
                return Ok(());
            };
            let joined = match quorum.gather(&tenant, name.key, portion, shares).await.0 {
                Ok(joined) => joined,
                Err(PortionError::KeyUnavailable { why, .. }) => {
                    let version = name.key.version;
                    tracing::error!(%portion, version, %why, "a key has fewer than three shares within reach");
                    (tended.lacking, tended.unavailable) = (tended.lacking + 1, tended.unavailable + 1);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for slot in suspects.into_iter().chain(lacks.into_iter().map(|(slot, _)| slot)) {
                let point = joined.point(slot as u8 + 1);
                let share = tenant.seal_share(name, &point, self.doors.rng.as_ref())?;
                match quorum.replace(slot, &tenant, name, &point, &share, names).await {
                    Ok(made) => tended.made += u64::from(made),
                    Err(error) => {
                        tracing::warn!(site = %quorum.site(slot), %portion, %error, "a share cannot be made anew now");
                        lacking = true;
                    }
                }
            }
        }
        tended.lacking += u64::from(lacking);
        Ok(())
    }

    /// The tenant's key; `None` where its keys are shut: others' shares must not wait for that.
    async fn open_tenant(&self, account: AccountId) -> Result<Option<Arc<TenantKey>>, PortionError> {
        match self.tenant_key(account).await {
            Ok(tenant) => Ok(Some(tenant)),
            Err(PortionError::HalfRefused { .. } | PortionError::HalfUnreachable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Versions of keys that fewer than three sites but this one have a share of, as far as they tell: without its epoch keys
    /// those are lost. A site that does not tell, or without its epoch keys, has none; nor does one that gave a false share.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn resting_on(&self, accounts: &[AccountId], slot: u8) -> Result<u64, PortionError> {
        let Some(quorum) = self.quorum.clone() else { return Ok(0) };
        if quorum.is_empty() {
            return Ok(0);
        }
        let mut wanted = BTreeMap::new();
        for account in accounts {
            self.want(*account, &mut wanted).await?;
        }
        let mut resting = 0;
        for (drawer, versions) in wanted {
            let listed = list(&quorum, drawer).await;
            let elsewhere = |name: &ShareName| {
                let has = |(at, told): &(usize, &Option<HashSet<ShareName>>)| {
                    *at != usize::from(slot)
                        && told.as_ref().is_some_and(|told| told.contains(name))
                        && !quorum.suspects(*at, name)
                };
                listed.iter().enumerate().filter(has).count()
            };
            resting += versions.iter().filter(|version| elsewhere(&version.name) < NEEDED).count() as u64;
        }
        Ok(resting)
    }

    /// Reads every share, so that rot is found before the share is needed: those that do not open are made anew by the next pass.
    /// Returns how many were read, and how many of them did not open.
    ///
    /// # Errors
    /// A metadata or key error. Sites that are away are passed over, and tenants whose keys are shut.
    pub async fn read_shares(&self, accounts: &[AccountId]) -> Result<(u64, u64), PortionError> {
        let Some(quorum) = self.quorum.clone() else { return Ok((0, 0)) };
        if quorum.is_empty() {
            return Ok((0, 0));
        }
        let mut wanted = BTreeMap::new();
        for account in accounts {
            self.want(*account, &mut wanted).await?;
        }
        let (mut read, mut rotten) = (0, 0);
        // Asked once: each no, and each silence, costs time.
        let mut shut: HashSet<AccountId> = HashSet::new();
        for version in wanted.into_values().flatten() {
            if shut.contains(&version.account) {
                continue;
            }
            let Some(tenant) = self.open_tenant(version.account).await? else {
                tracing::warn!(account = %version.account, "a tenant's keys are shut; its shares are not read");
                shut.insert(version.account);
                continue;
            };
            let reads = (0..COLUMNS).map(|slot| quorum.read(slot, &tenant, &version.name));
            for (slot, found) in join_all(reads).await.into_iter().enumerate() {
                read += u64::from(matches!(found, Ok(_) | Err(HolderError::Damaged)));
                if found.is_err_and(|error| error == HolderError::Damaged) {
                    rotten += 1;
                    quorum.suspect(slot, version.name);
                }
            }
        }
        Ok((read, rotten))
    }

    /// How many sites have a share of each version of a portion's key, as far as they tell.
    ///
    /// # Errors
    /// [`PortionError::Invalid`] where no sites hold shares.
    pub async fn shares_held(&self, id: PortionId) -> Result<BTreeMap<u32, usize>, PortionError> {
        let quorum = self.quorum()?;
        let listed = list(quorum, drawer_of(id)).await;
        let mut held: BTreeMap<u32, usize> = BTreeMap::new();
        for has in listed.iter().flatten() {
            let versions = has.iter().filter(|name| name.key.portion == id).map(|name| name.key.version);
            for version in versions.collect::<BTreeSet<u32>>() {
                *held.entry(version).or_default() += 1;
            }
        }
        Ok(held)
    }
}

async fn list(quorum: &Quorum, drawer: u8) -> Listed {
    let lists = quorum.holders.iter().map(|holder| timeout(quorum.bounds.within, holder.list(drawer)));
    let mut listed: Listed = Default::default();
    for (slot, told) in join_all(lists).await.into_iter().enumerate() {
        match told {
            Ok(Ok(names)) => listed[slot] = Some(names.into_iter().collect()),
            told => tracing::debug!(slot, ?told, "a site does not tell its shares"),
        }
    }
    listed
}
