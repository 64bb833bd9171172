//! Tenants: accounts whose buckets, users and groups never meet.

use base::AccountId;
use meta::record::{DepartedRecord, NamedUser, Record, TenantRecord, UserRecord, key};
use meta::{Batch, Check, CommitError, Write, after, each_row};

use crate::api::TenantInfo;
use crate::credential::unique_id;
use crate::principal::ROOT;
use crate::user::contended;
use crate::{Error, Store};

/// The name of the tenant that holds all that none was named for.
pub const DEFAULT_TENANT: &str = "default";

fn check_name(name: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fine) || name == DEFAULT_TENANT {
        return Err(Error::Invalid("a tenant name has 1 to 63 characters of a-z 0-9 - and is not `default`"));
    }
    Ok(())
}

impl Store {
    /// The account whose buckets, users and groups this handle means.
    pub fn account(&self) -> AccountId {
        self.2
    }

    /// The same store for another account. What this handle names is looked for there and nowhere
    /// else.
    pub fn of(&self, account: AccountId) -> Self {
        Self(self.0.clone(), self.1.clone(), account)
    }

    /// A check that the tenant is still there, for what is made in it.
    pub(crate) fn tenant_lives(&self) -> Option<Check> {
        (self.account() != AccountId::DEFAULT).then(|| Check::Present(key::tenant_key(self.account())))
    }

    /// The store of the tenant with this name.
    ///
    /// # Errors
    /// [`Error::NoSuchTenant`], or a metadata error.
    pub async fn tenant(&self, name: &str) -> Result<Self, Error> {
        if name == DEFAULT_TENANT {
            return Ok(self.of(AccountId::DEFAULT));
        }
        let row = self.row(key::tenant_name_key(name)).await?;
        let row = row.ok_or_else(|| Error::NoSuchTenant(name.to_owned()))?;
        Ok(self.of(key::tenant_name_value(&row.value)?))
    }

    /// The tenant's name; `None` once it is gone.
    pub(crate) async fn tenant_name(&self) -> Result<Option<String>, Error> {
        if self.account() == AccountId::DEFAULT {
            return Ok(Some(DEFAULT_TENANT.to_owned()));
        }
        let found = self.record::<TenantRecord>(key::tenant_key(self.account())).await?;
        Ok(found.map(|(record, _)| record.name))
    }

    /// Makes a tenant and its administrator, the user `root` in it, who may do everything there
    /// and nothing elsewhere. Returns the administrator's access key and secret: it is told this
    /// once.
    ///
    /// # Errors
    /// [`Error::TenantExists`], [`Error::Invalid`], or a metadata error.
    pub async fn create_tenant(&self, name: &str) -> Result<(TenantInfo, String, String), Error> {
        check_name(name)?;
        let rng = self.0.options.doors.rng.as_ref();
        let account = AccountId::random(rng);
        let record = TenantRecord { name: name.to_owned(), created_ms: self.now_ms() };
        let administrator = self.of(account).new_key(ROOT, None)?;
        let root = UserRecord {
            id: unique_id("HFID", rng),
            created_ms: record.created_ms,
            keys: vec![administrator.entry.clone()],
            grants: Vec::new(),
            policies: Vec::new(),
            groups: Vec::new(),
        };
        let batch = Batch {
            checks: vec![
                Check::Absent(key::tenant_name_key(name)),
                Check::Absent(key::tenant_key(account)),
                Check::Absent(key::departed_key(account)),
                Check::Absent(administrator.row_key()),
            ],
            writes: vec![
                Write::Put(key::tenant_name_key(name), account.to_bytes().to_vec().into()),
                Write::Put(key::tenant_key(account), record.encode()),
                Write::Put(key::user_name_key(account, ROOT), root.encode()),
                administrator.write(),
            ],
        };
        match self.0.meta.commit(batch).await {
            Ok(()) => Ok((info(account, record), administrator.entry.access_key, administrator.secret)),
            Err(CommitError::Failed { check: 0 }) => Err(Error::TenantExists(name.to_owned())),
            Err(error) => Err(contended(error)),
        }
    }

    /// All tenants but the default one, by account.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn tenants(&self) -> Result<Vec<TenantInfo>, Error> {
        let mut tenants = Vec::new();
        each_row(self.0.meta.as_ref(), key::tenants(), |row_key, row| {
            if let Some(account) = key::tenant_of(row_key) {
                tenants.push(info(account, TenantRecord::decode(&row.value)?));
            }
            Ok::<_, Error>(())
        })
        .await?;
        Ok(tenants)
    }

    /// Removes a tenant that has no buckets, no groups, no user but its administrator, and no key that sealed what others
    /// keep. The keys of its portions are destroyed by the next pass of a worker.
    ///
    /// # Errors
    /// [`Error::NoSuchTenant`], [`Error::TenantNotEmpty`], [`Error::TenantHasKeys`], or a metadata error.
    pub async fn delete_tenant(&self, name: &str) -> Result<(), Error> {
        if name == DEFAULT_TENANT {
            return Err(Error::Invalid("the default tenant is always there"));
        }
        let home = self.tenant(name).await?;
        let account = home.account();
        // As it is before the look at its keys: a key that seals something for others from then on changes it.
        let tenant = self.row(key::tenant_key(account)).await?.ok_or_else(|| Error::NoSuchTenant(name.to_owned()))?;
        if let Some(portion) = home.key_given_out().await? {
            return Err(Error::TenantHasKeys { tenant: name.to_owned(), portion });
        }
        let root_key = key::user_name_key(account, ROOT);
        let root = self.row(root_key.clone()).await?.ok_or_else(|| Error::NoSuchTenant(name.to_owned()))?;
        let NamedUser::User(administrator) = NamedUser::decode(&root.value)? else {
            return Err(Error::Corrupt(format!("the administrator of tenant {name} cannot be read")));
        };
        let ((buckets, buckets_end), (groups, groups_end)) = (key::buckets(account), key::groups(account));
        let (users, users_end) = key::users(account);
        let checks = vec![
            Check::Is(root_key.clone(), root.version),
            Check::Empty(buckets, buckets_end),
            Check::Empty(groups, groups_end),
            Check::Empty(users, root_key.clone()),
            Check::Empty(after(&root_key), users_end),
            Check::Is(key::tenant_key(account), tenant.version),
        ];
        let mut writes: Vec<Write> =
            administrator.keys.iter().map(|entry| Write::Delete(key::access_key_key(&entry.access_key))).collect();
        let rows = [root_key, key::tenant_key(account), key::tenant_name_key(name)];
        writes.extend(rows.into_iter().map(Write::Delete));
        let departed = DepartedRecord { name: name.to_owned(), since_ms: self.now_ms() };
        writes.push(Write::Put(key::departed_key(account), departed.encode()));
        match self.0.meta.commit(Batch { checks, writes }).await {
            Ok(()) => {
                self.wake_rewrap();
                Ok(())
            }
            Err(CommitError::Failed { check: 1..=4 }) => Err(Error::TenantNotEmpty(name.to_owned())),
            Err(error) => Err(contended(error)),
        }
    }

    /// The name of a portion whose key sealed what others keep, and is not destroyed.
    async fn key_given_out(&self) -> Result<Option<String>, Error> {
        let mut after = None;
        loop {
            let (found, more) = self.0.portions.list(self.account(), after, 1000).await?;
            after = found.last().filter(|_| more).map(|last| last.id);
            for portion in found {
                let versions = self.0.portions.versions(portion.id).await?;
                if versions.iter().any(|version| version.given_out) {
                    return Ok(Some(portion.record.name));
                }
            }
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    /// A store for each tenant that there is, the default one first: for workers, which serve all.
    pub(crate) async fn each_tenant(&self) -> Result<Vec<Self>, Error> {
        let mut tenants = vec![self.of(AccountId::DEFAULT)];
        each_row(self.0.meta.as_ref(), key::tenants(), |row_key, _| {
            tenants.extend(key::tenant_of(row_key).map(|account| self.of(account)));
            Ok::<_, Error>(())
        })
        .await?;
        Ok(tenants)
    }
}

fn info(account: AccountId, record: TenantRecord) -> TenantInfo {
    TenantInfo { name: record.name, account, created_ms: record.created_ms }
}
