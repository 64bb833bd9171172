//! Grants: who may do what with a portion's key beside what policies say.
//!
//! They are read when they are asked for and kept nowhere: a grant counts from its commit on, and ends with it.
//! Source: AWS KMS developer guide, "Grants in AWS KMS".

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use base::{AccountId, PortionId};
use meta::record::{
    GrantPrincipal, KeyGrantCount, KeyGrantId, KeyGrantRecord, KeyOperation, PrincipalDigest, Record, key,
};
use meta::{Batch, Check, CommitError, Range, Version, Write};

use super::state::open_state;
use super::{ATTEMPTS, Portions};
use crate::audit::AuditEvent;
use crate::error::PortionError;
use crate::kms::EncryptionContext;

/// Most grants of a key (AWS KMS).
pub const GRANTS_MAX: u32 = 50_000;
/// Most grants of a key that are for one principal. A decision reads them all, which takes a page of rows.
pub const GRANTS_OF_PRINCIPAL_MAX: usize = 1_000;

/// Under which encryption contexts a grant counts. Both may be there; then both must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// The context is this one.
    pub equals: Option<EncryptionContext>,
    /// The context has these pairs in it.
    pub subset: Option<EncryptionContext>,
}

/// A grant to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The same grant asked for twice under one name is one grant.
    pub name: Option<String>,
    /// Whom it is for.
    pub grantee: GrantPrincipal,
    /// Who may end it, beside the account's root.
    pub retiring: Option<GrantPrincipal>,
    /// What it allows.
    pub operations: BTreeSet<KeyOperation>,
    /// When.
    pub constraints: Constraints,
}

/// A grant, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The portion whose key it is about.
    pub portion: PortionId,
    /// Its id.
    pub id: KeyGrantId,
    /// What is recorded of it.
    pub record: KeyGrantRecord,
}

/// How a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndGrant {
    /// It did its work.
    Retire,
    /// It is taken away.
    Revoke,
}

impl Portions {
    /// Whether a grant lets `by` do `action` (as `kms:Decrypt`) with a portion's key under this encryption context.
    /// What policies say is not asked: one that denies, denies whatever this answers.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn granted(
        &self,
        portion: PortionId,
        by: &GrantPrincipal,
        action: &str,
        context: &EncryptionContext,
    ) -> Result<bool, PortionError> {
        let Some(operation) = action.strip_prefix("kms:").and_then(KeyOperation::named) else { return Ok(false) };
        Ok(self.grants_for(portion, by).await?.iter().any(|grant| allows(grant, operation, context)))
    }

    /// Whether a grant lets `by` make another one that allows so much. It can give nothing that it does not have.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn may_pass_on(
        &self,
        portion: PortionId,
        by: &GrantPrincipal,
        operations: &BTreeSet<KeyOperation>,
        constraints: &Constraints,
    ) -> Result<bool, PortionError> {
        Ok(self.grants_for(portion, by).await?.iter().any(|grant| covers(grant, operations, constraints)))
    }

    async fn grants_for(&self, portion: PortionId, by: &GrantPrincipal) -> Result<Vec<KeyGrantRecord>, PortionError> {
        let (from, to) = key::key_grants_of(portion, &principal_digest(by));
        let page = self.meta.range(Range { from, to, limit: GRANTS_OF_PRINCIPAL_MAX }).await?;
        let mut records = Vec::with_capacity(page.rows.len());
        for (_, row) in &page.rows {
            let record = KeyGrantRecord::decode(&row.value)?;
            if record.grantee == *by {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Makes a grant; its id.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, [`PortionError::TooManyGrants`], or a metadata error.
    pub async fn create_grant(
        &self,
        account: AccountId,
        portion: PortionId,
        new: NewGrant,
    ) -> Result<KeyGrantId, PortionError> {
        let record = KeyGrantRecord {
            name: new.name,
            created_ms: 0,
            grantee: new.grantee,
            retiring: new.retiring,
            operations: new.operations.into_iter().collect(),
            equals: new.constraints.equals,
            subset: new.constraints.subset,
        };
        let id = self.grant_id(account, portion, &record);
        let record = KeyGrantRecord { created_ms: self.now_ms(), ..record };
        for _ in 0..ATTEMPTS {
            let (of, version) = self.row(account, portion).await?;
            open_state(&of)?;
            if self.record::<KeyGrantRecord>(key::key_grant_key(portion, id)).await?.is_some() {
                return Ok(id);
            }
            let counted = self.count(portion).await?;
            self.has_room(portion, &record.grantee, counted.0).await?;
            let mut batch = counting(portion, counted, |count| count.saturating_add(1));
            // None is made for a key that is about to go: what is shredded must leave none behind.
            batch.checks.push(Check::Is(key::portion_key(account, portion), version));
            batch.checks.push(Check::Absent(key::key_grant_key(portion, id)));
            batch.writes.push(Write::Put(key::key_grant_key(portion, id), record.encode()));
            if let Some(row_key) = retirable(account, portion, id, &record) {
                batch.writes.push(Write::Put(row_key, vec![0].into()));
            }
            match self.meta.commit(batch).await {
                Ok(()) => {
                    self.tell(self.event_of_grant(account, "grant:create", &of.name, portion, id, &record)).await;
                    return Ok(id);
                }
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// Begins with the grantee; the rest is drawn, or follows from all that was asked for under a name.
    fn grant_id(&self, account: AccountId, portion: PortionId, record: &KeyGrantRecord) -> KeyGrantId {
        let mut id = [0; 32];
        let (grantee, own) = id.split_at_mut(16);
        grantee.copy_from_slice(&principal_digest(&record.grantee));
        match record.name {
            Some(_) => {
                let asked = [account.to_bytes().as_slice(), portion.as_bytes(), &record.encode()].concat();
                own.copy_from_slice(&digest(&SHA256, &asked).as_ref()[..16]);
            }
            None => self.doors.rng.fill(own),
        }
        KeyGrantId(id)
    }

    async fn count(&self, portion: PortionId) -> Result<(u32, Option<Version>), PortionError> {
        let found = self.record::<KeyGrantCount>(key::key_grant_count_key(portion)).await?;
        Ok(found.map_or((0, None), |(record, version)| (record.count, Some(version))))
    }

    /// The batch names the count's version, so that what is read here still holds when it commits.
    async fn has_room(&self, portion: PortionId, grantee: &GrantPrincipal, count: u32) -> Result<(), PortionError> {
        if count >= GRANTS_MAX {
            return Err(PortionError::TooManyGrants("a key has at most 50,000 grants"));
        }
        let (from, to) = key::key_grants_of(portion, &principal_digest(grantee));
        if self.meta.range(Range { from, to, limit: GRANTS_OF_PRINCIPAL_MAX }).await?.rows.len()
            >= GRANTS_OF_PRINCIPAL_MAX
        {
            return Err(PortionError::TooManyGrants("a principal has at most 1,000 grants of one key"));
        }
        Ok(())
    }

    /// A grant of a key.
    ///
    /// # Errors
    /// [`PortionError::NoSuchGrant`], or a metadata error.
    pub async fn grant(&self, portion: PortionId, id: KeyGrantId) -> Result<Grant, PortionError> {
        let found = self.record::<KeyGrantRecord>(key::key_grant_key(portion, id)).await?;
        let (record, _) = found.ok_or_else(|| PortionError::NoSuchGrant(id.to_string()))?;
        Ok(Grant { portion, id, record })
    }

    /// Grants of a key, those of one grantee if it is said: at most `limit` after `after`, and whether there are more.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn grants(
        &self,
        portion: PortionId,
        grantee: Option<&GrantPrincipal>,
        after: Option<KeyGrantId>,
        limit: usize,
    ) -> Result<(Vec<Grant>, bool), PortionError> {
        let (mut from, to) = match grantee {
            Some(grantee) => key::key_grants_of(portion, &principal_digest(grantee)),
            None => key::key_grants(portion),
        };
        if let Some(id) = after {
            from = from.max(meta::after(&key::key_grant_key(portion, id)));
        }
        if from >= to {
            return Ok((Vec::new(), false));
        }
        let page = self.meta.range(Range { from, to, limit }).await?;
        let mut grants = Vec::with_capacity(page.rows.len());
        for (row_key, row) in &page.rows {
            if let Some(id) = key::key_grant_of(row_key) {
                grants.push(Grant { portion, id, record: KeyGrantRecord::decode(&row.value)? });
            }
        }
        Ok((grants, page.more))
    }

    /// Grants that a principal may retire: of `limit` that were there after `after` those that still are, which may be
    /// none, and after which to go on where there are more.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn retirable_grants(
        &self,
        account: AccountId,
        retiring: &GrantPrincipal,
        after: Option<(PortionId, KeyGrantId)>,
        limit: usize,
    ) -> Result<(Vec<Grant>, Option<(PortionId, KeyGrantId)>), PortionError> {
        let principal = principal_digest(retiring);
        let (mut from, to) = key::retirables(account, &principal);
        if let Some((portion, id)) = after {
            from = meta::after(&key::retirable_key(account, &principal, portion, id));
        }
        let page = self.meta.range(Range { from, to, limit }).await?;
        let found: Vec<_> = page.rows.iter().filter_map(|(row_key, _)| key::retirable_of(row_key)).collect();
        // Not the last grant: of what ended, there is none.
        let next = found.last().copied().filter(|_| page.more);
        let keys: Vec<_> = found.iter().map(|(portion, id)| key::key_grant_key(*portion, *id)).collect();
        let mut grants = Vec::with_capacity(found.len());
        for ((portion, id), row) in found.into_iter().zip(self.meta.get(&keys).await?) {
            // One may have ended since the page was read.
            if let Some(row) = row {
                grants.push(Grant { portion, id, record: KeyGrantRecord::decode(&row.value)? });
            }
        }
        Ok((grants, next))
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], [`PortionError::NoSuchGrant`], or a metadata error.
    pub async fn end_grant(
        &self,
        account: AccountId,
        portion: PortionId,
        id: KeyGrantId,
        how: EndGrant,
    ) -> Result<(), PortionError> {
        let row_key = key::key_grant_key(portion, id);
        let name = self.row(account, portion).await?.0.name;
        for _ in 0..ATTEMPTS {
            let found = self.record::<KeyGrantRecord>(row_key.clone()).await?;
            let (record, version) = found.ok_or_else(|| PortionError::NoSuchGrant(id.to_string()))?;
            let mut batch = counting(portion, self.count(portion).await?, |count| count.saturating_sub(1));
            batch.checks.push(Check::Is(row_key.clone(), version));
            batch.writes.push(Write::Delete(row_key.clone()));
            batch.writes.extend(retirable(account, portion, id, &record).map(Write::Delete));
            match self.meta.commit(batch).await {
                Ok(()) => {
                    let action = if how == EndGrant::Retire { "grant:retire" } else { "grant:revoke" };
                    self.tell(self.event_of_grant(account, action, &name, portion, id, &record)).await;
                    return Ok(());
                }
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PortionError::Contended)
    }

    /// All grants of a key that is being shredded, in steps: a crash half-way leaves some for the next time.
    pub(crate) async fn shred_grants(
        &self,
        account: AccountId,
        portion: PortionId,
        version: Version,
    ) -> Result<(), PortionError> {
        let unchanged = || Check::Is(key::portion_key(account, portion), version);
        loop {
            let (from, to) = key::key_grants(portion);
            // Two rows a grant in a batch of at most a hundred.
            let page = self.meta.range(Range { from, to, limit: 45 }).await?;
            if page.rows.is_empty() {
                break;
            }
            let mut batch = Batch { checks: vec![unchanged()], writes: Vec::new() };
            for (row_key, row) in page.rows {
                if let Some(id) = key::key_grant_of(&row_key) {
                    // One that cannot be read may leave a row that finds nothing.
                    let record = KeyGrantRecord::decode(&row.value).ok();
                    let index = record.and_then(|record| retirable(account, portion, id, &record));
                    batch.writes.extend(index.map(Write::Delete));
                }
                batch.writes.push(Write::Delete(row_key));
            }
            self.commit_once(batch).await?;
        }
        let writes = vec![Write::Delete(key::key_grant_count_key(portion))];
        self.commit_once(Batch { checks: vec![unchanged()], writes }).await
    }

    fn event_of_grant(
        &self,
        account: AccountId,
        action: &'static str,
        name: &str,
        portion: PortionId,
        id: KeyGrantId,
        record: &KeyGrantRecord,
    ) -> AuditEvent {
        let operations: Vec<_> = record.operations.iter().map(|operation| operation.name()).collect();
        let event = self.event_of(account, action, portion, name).with("grant", id);
        let event = event.with("grantee", &record.grantee.arn).with("operations", operations.join(","));
        match &record.retiring {
            Some(retiring) => event.with("retiring", &retiring.arn),
            None => event,
        }
    }
}

/// How row keys name a principal.
fn principal_digest(principal: &GrantPrincipal) -> PrincipalDigest {
    let text = [principal.arn.as_bytes(), &[0], principal.id.as_bytes()].concat();
    let mut short = [0; 16];
    short.copy_from_slice(&digest(&SHA256, &text).as_ref()[..16]);
    short
}

fn retirable(account: AccountId, portion: PortionId, id: KeyGrantId, record: &KeyGrantRecord) -> Option<meta::Key> {
    let retiring = record.retiring.as_ref()?;
    Some(key::retirable_key(account, &principal_digest(retiring), portion, id))
}

/// A batch that changes the count of a key's grants.
fn counting(portion: PortionId, (count, version): (u32, Option<Version>), change: fn(u32) -> u32) -> Batch {
    let row_key = key::key_grant_count_key(portion);
    let mut batch = Batch::default();
    batch.replace(row_key, version, KeyGrantCount { count: change(count) }.encode());
    batch
}

/// Constraints bind what takes an encryption context; describing a key, retiring and passing on do not.
fn allows(grant: &KeyGrantRecord, operation: KeyOperation, context: &EncryptionContext) -> bool {
    let takes_context =
        !matches!(operation, KeyOperation::CreateGrant | KeyOperation::RetireGrant | KeyOperation::DescribeKey);
    let fits = || {
        grant.equals.as_ref().is_none_or(|equals| equals == context)
            && grant.subset.as_ref().is_none_or(|subset| contains(context, subset))
    };
    grant.operations.contains(&operation) && (!takes_context || fits())
}

/// Whether a grant may make another that allows so much: nothing it does not allow itself, under no context it does not.
fn covers(grant: &KeyGrantRecord, operations: &BTreeSet<KeyOperation>, constraints: &Constraints) -> bool {
    let within_equals = |equals: &EncryptionContext| constraints.equals.as_ref() == Some(equals);
    let within_subset = |subset: &EncryptionContext| {
        [&constraints.equals, &constraints.subset].into_iter().flatten().any(|given| contains(given, subset))
    };
    grant.operations.contains(&KeyOperation::CreateGrant)
        && operations.iter().all(|operation| grant.operations.contains(operation))
        && grant.equals.as_ref().is_none_or(within_equals)
        && grant.subset.as_ref().is_none_or(within_subset)
}

fn contains(whole: &BTreeMap<String, String>, part: &BTreeMap<String, String>) -> bool {
    part.iter().all(|(name, value)| whole.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(text: &str) -> EncryptionContext {
        text.split_whitespace().map(|pair| pair.split_at(1)).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn grant(operations: &[KeyOperation], equals: Option<&str>, subset: Option<&str>) -> KeyGrantRecord {
        KeyGrantRecord {
            name: None,
            created_ms: 0,
            grantee: GrantPrincipal { arn: "a".to_owned(), id: "i".to_owned() },
            retiring: None,
            operations: operations.to_vec(),
            equals: equals.map(context),
            subset: subset.map(context),
        }
    }

    #[test]
    fn constraints_bind_the_context() {
        use KeyOperation::{Decrypt, DescribeKey, Encrypt};
        let both = &[Decrypt, DescribeKey];
        for (equals, subset, given, expected) in [
            (None, None, "", true),
            (None, None, "a1", true),
            (Some("a1"), None, "a1", true),
            (Some("a1"), None, "a2", false),
            (Some("a1"), None, "a1 b1", false),
            (Some("a1"), None, "", false),
            (Some("a1"), None, "A1", false),
            (Some(""), None, "", true),
            (Some(""), None, "a1", false),
            (None, Some("a1"), "a1", true),
            (None, Some("a1"), "a1 b1", true),
            (None, Some("a1"), "b1", false),
            (None, Some("a1"), "", false),
            (None, Some(""), "b1", true),
            (Some("a1 b1"), Some("a1"), "a1 b1", true),
            (Some("a1 b1"), Some("c1"), "a1 b1", false),
        ] {
            let row = (equals, subset, given);
            assert_eq!(allows(&grant(both, equals, subset), Decrypt, &context(given)), expected, "{row:?}");
            assert!(allows(&grant(both, equals, subset), DescribeKey, &context("z9")), "{row:?}");
            assert!(!allows(&grant(both, equals, subset), Encrypt, &context(given)), "{row:?}");
        }
    }

    #[test]
    fn nothing_is_passed_on_that_was_not_given() {
        use KeyOperation::{CreateGrant, Decrypt, Encrypt};
        let given = &[CreateGrant, Decrypt];
        for (operations, equals, subset, to, to_equals, to_subset, expected) in [
            (given.as_slice(), None, None, &[Decrypt][..], None, None, true),
            (given, None, None, &[Decrypt, CreateGrant], None, None, true),
            (given, None, None, &[Decrypt, Encrypt], None, None, false),
            (&[Decrypt], None, None, &[Decrypt], None, None, false),
            (given, Some("a1"), None, &[Decrypt], None, None, false),
            (given, Some("a1"), None, &[Decrypt], Some("a1"), None, true),
            (given, Some("a1"), None, &[Decrypt], Some("a1 b1"), None, false),
            (given, Some("a1"), None, &[Decrypt], None, Some("a1"), false),
            (given, None, Some("a1"), &[Decrypt], None, Some("a1"), true),
            (given, None, Some("a1"), &[Decrypt], None, Some("a1 b1"), true),
            (given, None, Some("a1"), &[Decrypt], None, Some("b1"), false),
            (given, None, Some("a1"), &[Decrypt], Some("a1 b1"), None, true),
            (given, None, Some("a1"), &[Decrypt], None, None, false),
        ] {
            let constraints = Constraints { equals: to_equals.map(context), subset: to_subset.map(context) };
            let asked: BTreeSet<_> = to.iter().copied().collect();
            let row = (operations, equals, subset, to, to_equals, to_subset);
            assert_eq!(covers(&grant(operations, equals, subset), &asked, &constraints), expected, "{row:?}");
        }
    }
}
