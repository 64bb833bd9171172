//! Users: their rights, their keys, their groups.

use meta::record::{AccessKeyRecord, DenialReason, KeyEntry, Membership, NamedUser, Record, Right, UserRecord, key};
use meta::{Batch, Check, CommitError, Range, Version, Write, after};

use crate::api::UserInfo;
use crate::attach;
use crate::credential::{self, unique_id};
use crate::principal::ROOT;
use crate::{Error, Store};

/// Most users: they are read whole to list them.
const USERS_MAX: usize = 10_000;
/// Most access keys of a user: one in use, one to change to, and room for what forgets its own.
const KEYS_MAX: usize = 5;
/// Most groups of a user (IAM: 10): all are read to judge its requests.
const GROUPS_MAX: usize = 10;

/// A name of a user or group.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) || name == ROOT {
        return Err(Error::Invalid("a name has 1 to 64 characters of A-Z a-z 0-9 . _ @ + - and is not `root`"));
    }
    Ok(())
}

/// A tenant's administrator has all rights already; what hangs on it would only seem to matter.
fn no_administrator(name: &str) -> Result<(), Error> {
    if name == ROOT {
        return Err(Error::Invalid("root may do everything in its tenant; make a user to give rights to"));
    }
    Ok(())
}

impl Store {
    /// Makes a user without rights, with one access key; makes up credentials where none are
    /// given. Returns the secret: it is told this once.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Error::Invalid`], or a metadata error.
    pub async fn create_user(
        &self,
        name: &str,
        credentials: Option<(String, String)>,
    ) -> Result<(KeyEntry, String), Error> {
        check_name(name)?;
        if name == keys::KUBERNETES {
            return Err(Error::Invalid("release policies call the plugin of Kubernetes so; take another name"));
        }
        let fresh = self.new_key(name, credentials)?;
        let record = UserRecord {
            id: unique_id("HFID", self.0.options.doors.rng.as_ref()),
            created_ms: self.now_ms(),
            keys: vec![fresh.entry.clone()],
            grants: Vec::new(),
            policies: Vec::new(),
            groups: Vec::new(),
        };
        let name_key = key::user_name_key(self.account(), name);
        let mut checks = vec![Check::Absent(fresh.row_key()), Check::Absent(name_key.clone())];
        checks.extend(self.tenant_lives());
        let writes = vec![fresh.write(), Write::Put(name_key, record.encode())];
        match self.0.meta.commit(Batch { checks, writes }).await {
            Ok(()) => Ok((fresh.entry, fresh.secret)),
            Err(CommitError::Failed { check: 0 }) => Err(Error::UserExists(fresh.entry.access_key)),
            Err(CommitError::Failed { check: 1 }) => Err(Error::UserExists(name.to_owned())),
            Err(error) => Err(contended(error)),
        }
    }

    /// All users of the tenant, by name.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn users(&self) -> Result<Vec<UserInfo>, Error> {
        let mut users = Vec::new();
        let (mut from, to) = key::users(self.account());
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            for (row_key, row) in &page.rows {
                let Some(name) = key::user_name_of(self.account(), row_key) else { continue };
                if let Some(record) = self.user_in(&row.value).await? {
                    users.push(self.info(name, record).await?);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more && users.len() < USERS_MAX => from = after(last),
                _ => return Ok(users),
            }
        }
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], or a metadata error.
    pub async fn user(&self, name: &str) -> Result<UserInfo, Error> {
        self.info(name, self.found_user(name).await?.0).await
    }

    /// A user as it is told: without groups that are gone, whose names others may have by now.
    async fn info(&self, name: &str, record: UserRecord) -> Result<UserInfo, Error> {
        let groups = self.groups_of(&record.groups, &mut Vec::new()).await?;
        Ok(UserInfo {
            name: name.to_owned(),
            id: record.id,
            created_ms: record.created_ms,
            keys: record.keys,
            grants: record.grants,
            policies: record.policies.into_iter().map(|policy| policy.name).collect(),
            groups: groups.into_iter().map(|(group, _)| group).collect(),
        })
    }

    /// The user that the row of a name holds, or leads to.
    pub(crate) async fn user_in(&self, row: &[u8]) -> Result<Option<UserRecord>, Error> {
        let access_key = match NamedUser::decode(row)? {
            NamedUser::User(record) => return Ok(Some(record)),
            NamedUser::Version1(access_key) => access_key,
        };
        let old = self.row(key::access_key_key(&access_key)).await?;
        Ok(old.map(|old| UserRecord::of_version_1(&access_key, &old.value)).transpose()?)
    }

    /// The record, and the version of the row of its name.
    pub(crate) async fn found_user(&self, name: &str) -> Result<(UserRecord, Version), Error> {
        let row = self.row(key::user_name_key(self.account(), name)).await?;
        let row = row.ok_or_else(|| Error::NoSuchUser(name.to_owned()))?;
        let record = self.user_in(&row.value).await?;
        Ok((record.ok_or_else(|| Error::NoSuchUser(name.to_owned()))?, row.version))
    }

    /// Changes a user and, in the same batch, what `change` adds to it.
    async fn change_user(
        &self,
        name: &str,
        change: impl Fn(&mut UserRecord) -> Result<Batch, Error>,
    ) -> Result<UserInfo, Error> {
        let name_key = key::user_name_key(self.account(), name);
        self.until_won(|| async {
            let (mut record, version) = self.found_user(name).await?;
            let mut batch = change(&mut record)?;
            batch.checks.push(Check::Is(name_key.clone(), version));
            batch.writes.push(Write::Put(name_key.clone(), record.encode()));
            Ok((batch, self.info(name, record).await?))
        })
        .await
    }

    /// Removes a user: the next request with one of its keys is refused.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], or a metadata error.
    pub async fn delete_user(&self, name: &str) -> Result<(), Error> {
        no_administrator(name)?;
        let name_key = key::user_name_key(self.account(), name);
        self.until_won(|| async {
            let (record, version) = self.found_user(name).await?;
            let mut writes: Vec<Write> =
                record.keys.iter().map(|entry| Write::Delete(key::access_key_key(&entry.access_key))).collect();
            writes.push(Write::Delete(name_key.clone()));
            Ok((Batch { checks: vec![Check::Is(name_key.clone(), version)], writes }, ()))
        })
        .await
    }

    /// Takes everything from a user, for ever: nothing is released to it any more at any gateway, and its access keys work no more. Its
    /// name can be given to a new one once it is deleted.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::Invalid`] for an administrator, or a metadata error.
    pub async fn revoke_user(&self, name: &str, by: &str, note: &str) -> Result<UserInfo, Error> {
        no_administrator(name)?;
        let who = self.principal_of(name).await?.who();
        // First, since it ends what is under way.
        self.portions().by(by).deny(self.account(), &who, DenialReason::Revoked, note).await?;
        self.change_user(name, |user| {
            user.keys.iter_mut().for_each(|entry| entry.enabled = false);
            Ok(Batch::default())
        })
        .await
    }

    /// Sets a user's right on a bucket (`*` for all); `None` takes it away.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::Invalid`], [`Error::Contended`], or a metadata error.
    pub async fn grant(&self, name: &str, bucket: &str, right: Option<Right>) -> Result<UserInfo, Error> {
        no_administrator(name)?;
        self.change_user(name, |user| {
            attach::set_grant(&mut user.grants, bucket, right)?;
            Ok(Batch::default())
        })
        .await
    }

    /// Puts an inline policy of a user.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::Policy`], [`Error::Invalid`], or a metadata error.
    pub async fn put_user_policy(&self, name: &str, policy: &str, document: &str) -> Result<UserInfo, Error> {
        no_administrator(name)?;
        self.change_user(name, |user| {
            attach::put_policy(&mut user.policies, policy, document)?;
            Ok(Batch::default())
        })
        .await
    }

    /// An inline policy of a user, as it was put.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchPolicy`], or a metadata error.
    pub async fn user_policy(&self, name: &str, policy: &str) -> Result<String, Error> {
        attach::find_policy(&self.found_user(name).await?.0.policies, policy)
    }

    /// Takes an inline policy of a user away.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchPolicy`], or a metadata error.
    pub async fn delete_user_policy(&self, name: &str, policy: &str) -> Result<UserInfo, Error> {
        self.change_user(name, |user| {
            attach::delete_policy(&mut user.policies, policy)?;
            Ok(Batch::default())
        })
        .await
    }

    /// Gives a user one more access key. Returns the secret: it is told this once.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::UserExists`] for an access key that is taken,
    /// [`Error::Invalid`] for a sixth one, or a metadata error.
    pub async fn create_access_key(
        &self,
        name: &str,
        credentials: Option<(String, String)>,
    ) -> Result<(KeyEntry, String), Error> {
        let fresh = self.new_key(name, credentials)?;
        let name_key = key::user_name_key(self.account(), name);
        self.until_won(|| async {
            // With each try: one that another user has got meanwhile is never won.
            if self.row(fresh.row_key()).await?.is_some() {
                return Err(Error::UserExists(fresh.entry.access_key.clone()));
            }
            let (mut user, version) = self.found_user(name).await?;
            user.keys.push(fresh.entry.clone());
            if user.keys.len() > KEYS_MAX {
                return Err(Error::Invalid("a user has at most 5 access keys; delete one first"));
            }
            let checks = vec![Check::Is(name_key.clone(), version), Check::Absent(fresh.row_key())];
            let writes = vec![Write::Put(name_key.clone(), user.encode()), fresh.write()];
            Ok((Batch { checks, writes }, ()))
        })
        .await?;
        Ok((fresh.entry, fresh.secret))
    }

    /// Lets an access key work, or not. One that does not work is refused at once, and so are the
    /// temporary credentials that were made with it.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchAccessKey`], or a metadata error.
    pub async fn enable_access_key(&self, name: &str, access_key: &str, enabled: bool) -> Result<UserInfo, Error> {
        self.change_user(name, |user| {
            let entry = user.keys.iter_mut().find(|entry| entry.access_key == access_key);
            entry.ok_or_else(|| Error::NoSuchAccessKey(access_key.to_owned()))?.enabled = enabled;
            Ok(Batch::default())
        })
        .await
    }

    /// Removes an access key for good.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchAccessKey`], or a metadata error.
    pub async fn delete_access_key(&self, name: &str, access_key: &str) -> Result<UserInfo, Error> {
        self.change_user(name, |user| {
            let before = user.keys.len();
            user.keys.retain(|entry| entry.access_key != access_key);
            if user.keys.len() == before {
                return Err(Error::NoSuchAccessKey(access_key.to_owned()));
            }
            Ok(Batch { checks: vec![], writes: vec![Write::Delete(key::access_key_key(access_key))] })
        })
        .await
    }

    /// Makes a user a member of a group.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchGroup`], [`Error::Invalid`] for an eleventh group, or
    /// a metadata error.
    pub async fn join_group(&self, name: &str, group: &str) -> Result<UserInfo, Error> {
        no_administrator(name)?;
        let (group_key, name_key) = (key::group_key(self.account(), group), key::user_name_key(self.account(), name));
        self.until_won(|| async {
            // With each try: the version that a group had before is never won.
            let (found, group_version) = self.found_group(group).await?;
            let (mut user, version) = self.found_user(name).await?;
            // Groups that are gone do not count.
            let alive = self.groups_of(&user.groups, &mut Vec::new()).await?;
            user.groups.retain(|membership| {
                membership.name != group && alive.iter().any(|(_, record)| record.id == membership.id)
            });
            user.groups.push(Membership { name: group.to_owned(), id: found.id });
            if user.groups.len() > GROUPS_MAX {
                return Err(Error::Invalid("a user is in at most 10 groups"));
            }
            let checks = vec![Check::Is(group_key.clone(), group_version), Check::Is(name_key.clone(), version)];
            let writes = vec![Write::Put(name_key.clone(), user.encode())];
            Ok((Batch { checks, writes }, self.info(name, user).await?))
        })
        .await
    }

    /// Ends a user's membership of a group.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchGroup`] when it is no member, or a metadata error.
    pub async fn leave_group(&self, name: &str, group: &str) -> Result<UserInfo, Error> {
        self.change_user(name, |user| {
            let before = user.groups.len();
            user.groups.retain(|membership| membership.name != group);
            if user.groups.len() == before { Err(Error::NoSuchGroup(group.to_owned())) } else { Ok(Batch::default()) }
        })
        .await
    }

    /// A new access key of a user, not stored yet.
    pub(crate) fn new_key(&self, user: &str, credentials: Option<(String, String)>) -> Result<NewKey, Error> {
        let rng = self.0.options.doors.rng.as_ref();
        let (access_key, secret) = credentials.unwrap_or_else(|| credential::new_credentials(rng));
        credential::check_credentials(&access_key, &secret)?;
        if access_key == self.0.root.0 {
            return Err(Error::UserExists(access_key));
        }
        let sealed_secret = self.0.keys.seal_secret(&credential::owner(self.account(), user), &secret, rng)?;
        Ok(NewKey {
            record: AccessKeyRecord { account: self.account(), user: user.to_owned(), sealed_secret },
            entry: KeyEntry { access_key, created_ms: self.now_ms(), enabled: true },
            secret,
        })
    }
}

/// An access key on its way into the metadata.
pub(crate) struct NewKey {
    record: AccessKeyRecord,
    pub(crate) entry: KeyEntry,
    pub(crate) secret: String,
}

impl NewKey {
    pub(crate) fn row_key(&self) -> meta::Key {
        key::access_key_key(&self.entry.access_key)
    }

    pub(crate) fn write(&self) -> Write {
        Write::Put(self.row_key(), self.record.encode())
    }
}

pub(crate) fn contended(error: CommitError) -> Error {
    match error {
        CommitError::Failed { .. } => Error::Contended,
        other => other.into(),
    }
}
