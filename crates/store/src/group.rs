//! Groups: grants and policies that their members share.

use meta::record::{GroupRecord, Record, Right, key};
use meta::{Batch, Check, CommitError, Range, Version, Write, after, each_row};

use crate::api::GroupInfo;
use crate::attach;
use crate::credential::unique_id;
use crate::user::{check_name, contended};
use crate::{Error, Store};

/// Most groups that a listing reads.
const GROUPS_MAX: usize = 10_000;

fn info(name: &str, record: GroupRecord) -> GroupInfo {
    GroupInfo {
        name: name.to_owned(),
        created_ms: record.created_ms,
        grants: record.grants,
        policies: record.policies.into_iter().map(|policy| policy.name).collect(),
    }
}

impl Store {
    /// Makes a group without members and rights.
    ///
    /// # Errors
    /// [`Error::GroupExists`], [`Error::Invalid`], or a metadata error.
    pub async fn create_group(&self, name: &str) -> Result<GroupInfo, Error> {
        check_name(name)?;
        let record = GroupRecord {
            id: unique_id("HFGP", self.0.options.doors.rng.as_ref()),
            created_ms: self.now_ms(),
            grants: Vec::new(),
            policies: Vec::new(),
        };
        let group_key = key::group_key(self.account(), name);
        let mut checks = vec![Check::Absent(group_key.clone())];
        checks.extend(self.tenant_lives());
        match self.0.meta.commit(Batch { checks, writes: vec![Write::Put(group_key, record.encode())] }).await {
            Ok(()) => Ok(info(name, record)),
            Err(CommitError::Failed { check: 0 }) => Err(Error::GroupExists(name.to_owned())),
            Err(error) => Err(contended(error)),
        }
    }

    /// All groups of the tenant, by name.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        let mut groups = Vec::new();
        let (mut from, to) = key::groups(self.account());
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            for (row_key, row) in &page.rows {
                if let Some(name) = key::group_name_of(self.account(), row_key) {
                    groups.push(info(name, GroupRecord::decode(&row.value)?));
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more && groups.len() < GROUPS_MAX => from = after(last),
                _ => return Ok(groups),
            }
        }
    }

    /// A group, and the names of its members.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], or a metadata error.
    pub async fn group(&self, name: &str) -> Result<(GroupInfo, Vec<String>), Error> {
        let (record, _) = self.found_group(name).await?;
        let mut users = Vec::new();
        each_row(self.0.meta.as_ref(), key::users(self.account()), |row_key, row| {
            let name = key::user_name_of(self.account(), row_key);
            users.extend(name.map(|name| (name.to_owned(), row.value.clone())));
            Ok::<_, Error>(())
        })
        .await?;
        let mut members = Vec::new();
        for (user, row) in users {
            let user_record = self.user_in(&row).await?;
            if user_record.is_some_and(|user| user.groups.iter().any(|group| group.id == record.id)) {
                members.push(user);
            }
        }
        Ok((info(name, record), members))
    }

    pub(crate) async fn found_group(&self, name: &str) -> Result<(GroupRecord, Version), Error> {
        let found = self.record(key::group_key(self.account(), name)).await?;
        found.ok_or_else(|| Error::NoSuchGroup(name.to_owned()))
    }

    async fn change_group(
        &self,
        name: &str,
        change: impl Fn(&mut GroupRecord) -> Result<(), Error>,
    ) -> Result<GroupInfo, Error> {
        let group_key = key::group_key(self.account(), name);
        self.until_won(|| async {
            let (mut record, version) = self.found_group(name).await?;
            change(&mut record)?;
            let writes = vec![Write::Put(group_key.clone(), record.encode())];
            Ok((Batch { checks: vec![Check::Is(group_key.clone(), version)], writes }, info(name, record)))
        })
        .await
    }

    /// Removes a group. Its members lose at once what it gave them; one made again under its name
    /// has no members.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], or a metadata error.
    pub async fn delete_group(&self, name: &str) -> Result<(), Error> {
        let group_key = key::group_key(self.account(), name);
        self.until_won(|| async {
            let (_, version) = self.found_group(name).await?;
            let writes = vec![Write::Delete(group_key.clone())];
            Ok((Batch { checks: vec![Check::Is(group_key.clone(), version)], writes }, ()))
        })
        .await
    }

    /// Sets a group's right on a bucket (`*` for all); `None` takes it away.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::Invalid`], or a metadata error.
    pub async fn grant_group(&self, name: &str, bucket: &str, right: Option<Right>) -> Result<GroupInfo, Error> {
        self.change_group(name, |group| attach::set_grant(&mut group.grants, bucket, right)).await
    }

    /// Puts an inline policy of a group.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::Policy`], [`Error::Invalid`], or a metadata error.
    pub async fn put_group_policy(&self, name: &str, policy: &str, document: &str) -> Result<GroupInfo, Error> {
        self.change_group(name, |group| attach::put_policy(&mut group.policies, policy, document)).await
    }

    /// An inline policy of a group, as it was put.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchPolicy`], or a metadata error.
    pub async fn group_policy(&self, name: &str, policy: &str) -> Result<String, Error> {
        attach::find_policy(&self.found_group(name).await?.0.policies, policy)
    }

    /// Takes an inline policy of a group away.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchPolicy`], or a metadata error.
    pub async fn delete_group_policy(&self, name: &str, policy: &str) -> Result<GroupInfo, Error> {
        self.change_group(name, |group| attach::delete_policy(&mut group.policies, policy)).await
    }
}
