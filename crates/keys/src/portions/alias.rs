//! Names that a tenant gives its keys.

use base::{AccountId, PortionId};
use meta::record::{AliasRecord, Record, key};
use meta::{Batch, Check, CommitError, Range, Write};

use super::{ALIAS_MAX, Alias, Portions, dashed};
use crate::error::PortionError;

impl Portions {
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

fn check_alias(alias: &str) -> Result<(), PortionError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if alias.is_empty() || alias.len() > ALIAS_MAX || !alias.bytes().all(fine) || alias.starts_with("aws/") {
        return Err(PortionError::Invalid("an alias has A-Z a-z 0-9 / _ - and does not begin with aws/"));
    }
    Ok(())
}
