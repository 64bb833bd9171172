//! Names that a tenant gives its keys.

use base::{AccountId, PortionId};
use meta::record::{AliasRecord, PortionState, Record, key};
use meta::{Batch, Check, CommitError, Range, Version, Write, each_row};

use super::{ALIAS_MAX, ATTEMPTS, Alias, Portions, dashed};
use crate::error::PortionError;

impl Portions {
    /// Names a portion's key.
    ///
    /// # Errors
    /// [`PortionError::AliasExists`], [`PortionError::NoSuchPortion`], [`PortionError::Invalid`], one for a portion that
    /// is to be shredded, or a metadata error.
    pub async fn create_alias(&self, account: AccountId, alias: &str, id: PortionId) -> Result<(), PortionError> {
        check_alias(alias)?;
        let now = self.now_ms();
        let record = AliasRecord { portion: id, created_ms: now, updated_ms: now };
        let row_key = key::alias_key(account, alias);
        for _ in 0..ATTEMPTS {
            let batch = Batch {
                checks: vec![Check::Absent(row_key.clone()), self.stays(account, id).await?],
                writes: vec![Write::Put(row_key.clone(), record.encode())],
            };
            match self.meta.commit(batch).await {
                Ok(()) => {
                    self.tell(self.event_of_alias(account, "alias:create", alias).with("id", dashed(id))).await;
                    return Ok(());
                }
                Err(CommitError::Failed { check: 0 }) => return Err(PortionError::AliasExists(alias.to_owned())),
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// The check that a portion is not to be shredded. What is shredded takes its aliases with it, so none may come
    /// while it goes.
    async fn stays(&self, account: AccountId, id: PortionId) -> Result<Check, PortionError> {
        let (record, version) = self.row(account, id).await?;
        match record.state {
            PortionState::Enabled | PortionState::Disabled => Ok(Check::Is(key::portion_key(account, id), version)),
            PortionState::PendingShred(at_ms) => Err(PortionError::PendingShred { name: record.name, at_ms }),
            PortionState::Shredded(_) => Err(PortionError::Shredded(record.name)),
        }
    }

    /// Lets an alias name another portion's key.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`] also for the alias, one for a portion that is to be shredded, or a metadata error.
    pub async fn update_alias(&self, account: AccountId, alias: &str, id: PortionId) -> Result<(), PortionError> {
        let row_key = key::alias_key(account, alias);
        let found = self.record::<AliasRecord>(row_key.clone()).await?;
        let (mut record, version) = found.ok_or_else(|| PortionError::NoSuchPortion(format!("alias/{alias}")))?;
        let event = self.event_of_alias(account, "alias:update", alias).with("from", dashed(record.portion));
        (record.portion, record.updated_ms) = (id, self.now_ms());
        let batch = Batch {
            checks: vec![Check::Is(row_key.clone(), version), self.stays(account, id).await?],
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

    /// Takes the aliases of a portion away that is being shredded, in steps: a crash half-way leaves some for the next
    /// time.
    pub(crate) async fn shred_aliases(
        &self,
        account: AccountId,
        id: PortionId,
        version: Version,
    ) -> Result<(), PortionError> {
        let mut of = Vec::new();
        each_row(self.meta.as_ref(), key::aliases(account), |row_key, row| {
            // One that cannot be read must not keep this portion from going.
            if AliasRecord::decode(&row.value).is_ok_and(|record| record.portion == id) {
                of.push((row_key.clone(), row.version));
            }
            Ok::<_, PortionError>(())
        })
        .await?;
        // Two operations a row in a batch of at most a hundred.
        for some in of.chunks(45) {
            let mut batch =
                Batch { checks: vec![Check::Is(key::portion_key(account, id), version)], writes: Vec::new() };
            for (row_key, version) in some {
                batch.checks.push(Check::Is(row_key.clone(), *version));
                batch.writes.push(Write::Delete(row_key.clone()));
            }
            self.commit_once(batch).await?;
            for alias in some.iter().filter_map(|(row_key, _)| key::alias_of(row_key)) {
                self.tell(self.event_of_alias(account, "alias:delete", alias).with("id", dashed(id))).await;
            }
        }
        Ok(())
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

fn check_alias(alias: &str) -> Result<(), PortionError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if alias.is_empty() || alias.len() > ALIAS_MAX || !alias.bytes().all(fine) || alias.starts_with("aws/") {
        return Err(PortionError::Invalid("an alias has A-Z a-z 0-9 / _ - and does not begin with aws/"));
    }
    Ok(())
}
