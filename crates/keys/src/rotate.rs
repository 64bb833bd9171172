//! Another root key: everything that lies under the one is wrapped anew under the other, row by row.
//!
//! Each row says by itself which of the two it is under, for it opens under one of them only. So a walk that was cut
//! off is begun again, and does what is left. Nobody else may write meanwhile: a server that runs would wrap under the
//! old key.

use base::limits::BATCH_OPS_MAX;
use base::{AccountId, Classify, ErrorKind, Rng};
use envelope::EnvelopeError;
use meta::record::{AccessKeyRecord, BucketRecord, Record, RecordError, TenantKeyRecord, key};
use meta::{Batch, Check, CommitError, Engine, Key, MetaError, Range, Row, Write};

use crate::tenant::root_context;
use crate::{KeyError, Keyring, bucket_context, wrapped_key};

/// Rows of one batch: each has a check and a write.
const BATCH_ROWS: usize = BATCH_OPS_MAX / 2;
/// Rows that are committed at once, in one group of batches: what a crash makes to be done again.
const ROWS: usize = 20 * BATCH_ROWS;

/// Why a rotation stopped. What it did stands; it can be begun again.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The metadata cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row is of no place in an account.
    #[error("the row {0} is under no account")]
    Row(String),
}

impl Classify for RotateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Meta(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Row(_) => ErrorKind::Corrupt,
        }
    }
}

/// What lies under the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderRoot {
    /// Keys of buckets.
    Buckets,
    /// Keys of tenants, which those of portions are under.
    Tenants,
    /// Secret keys of users.
    Secrets,
}

/// Rows, by what is to be done with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Under the old key, and (but for a dry run) wrapped anew.
    pub moved: [u64; 3],
    /// Under the new key before.
    pub already: [u64; 3],
    /// Rows that open under neither, and stay as they are: damaged, or of another installation.
    pub damaged: Vec<String>,
}

/// What a row needs.
enum Need {
    Nothing,
    Write(bytes::Bytes),
    Damaged,
}

/// Wraps everything that is under the root key of `from` under that of `to`. A dry run writes nothing. `progress` is
/// told of each page: what, and rows so far.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(
    engine: &dyn Engine,
    from: &Keyring,
    to: &Keyring,
    rng: &dyn Rng,
    dry_run: bool,
    progress: &mut (dyn FnMut(UnderRoot, u64) + Send),
) -> Result<Rotated, RotateError> {
    let walks = [
        (UnderRoot::Buckets, key::buckets(AccountId::DEFAULT)),
        (UnderRoot::Buckets, key::all_tenants_buckets()),
        (UnderRoot::Tenants, key::tenant_keys()),
        (UnderRoot::Secrets, key::access_keys()),
    ];
    let mut rotated = Rotated::default();
    for (what, (mut start, end)) in walks {
        loop {
            let page = engine.range(Range { from: start.clone(), to: end.clone(), limit: ROWS }).await?;
            let mut changes = Vec::new();
            for (row_key, row) in &page.rows {
                match need(what, row_key, row, from, to, rng)? {
                    Need::Nothing => rotated.already[what as usize] += 1,
                    Need::Damaged => rotated.damaged.push(String::from_utf8_lossy(row_key).into_owned()),
                    Need::Write(value) => {
                        rotated.moved[what as usize] += 1;
                        changes.push((Check::Is(row_key.clone(), row.version), Write::Put(row_key.clone(), value)));
                    }
                }
            }
            if !dry_run {
                commit(engine, changes).await?;
            }
            progress(what, rotated.moved[what as usize] + rotated.already[what as usize]);
            match page.rows.last() {
                Some((last, _)) if page.more => start = meta::after(last),
                _ => break,
            }
        }
    }
    Ok(rotated)
}

async fn commit(engine: &dyn Engine, mut changes: Vec<(Check, Write)>) -> Result<(), CommitError> {
    let mut batches = Vec::new();
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(BATCH_ROWS));
        let (checks, writes) = changes.into_iter().unzip();
        batches.push(Batch { checks, writes });
        changes = rest;
    }
    engine.commit_group(batches).await.into_iter().try_for_each(|answer| answer.map(drop))
}

fn need(
    what: UnderRoot,
    row_key: &Key,
    row: &Row,
    from: &Keyring,
    to: &Keyring,
    rng: &dyn Rng,
) -> Result<Need, RotateError> {
    let written = match what {
        UnderRoot::Buckets => bucket(row, from, to),
        UnderRoot::Tenants => {
            let account = key::tenant_key_of(row_key);
            tenant(account.ok_or_else(|| RotateError::Row(hex::encode(row_key)))?, row, from, to)
        }
        UnderRoot::Secrets => secret(row, from, to, rng),
    };
    match written {
        Ok(Some(value)) => Ok(Need::Write(value)),
        Ok(None) => Ok(Need::Nothing),
        Err(Damaged) => Ok(Need::Damaged),
    }
}

/// A row that is left as it is: no record, or under another key.
struct Damaged;

impl From<RecordError> for Damaged {
    fn from(_: RecordError) -> Self {
        Self
    }
}

impl From<KeyError> for Damaged {
    fn from(_: KeyError) -> Self {
        Self
    }
}

impl From<EnvelopeError> for Damaged {
    fn from(_: EnvelopeError) -> Self {
        Self
    }
}

fn bucket(row: &Row, from: &Keyring, to: &Keyring) -> Result<Option<bytes::Bytes>, Damaged> {
    let mut record = BucketRecord::decode(&row.value)?;
    let moved = move_key(&bucket_context(record.id), &record.wrapped_key, from, to)?;
    Ok(moved.map(|wrapped| {
        record.wrapped_key = wrapped;
        record.encode()
    }))
}

fn tenant(account: AccountId, row: &Row, from: &Keyring, to: &Keyring) -> Result<Option<bytes::Bytes>, Damaged> {
    let mut record = TenantKeyRecord::decode(&row.value)?;
    // The half that somebody else holds is under no root key.
    let moved = move_key(&root_context(account, record.held.is_some()), &record.wrapped, from, to)?;
    Ok(moved.map(|wrapped| {
        record.wrapped = wrapped;
        record.encode()
    }))
}

fn secret(row: &Row, from: &Keyring, to: &Keyring, rng: &dyn Rng) -> Result<Option<bytes::Bytes>, Damaged> {
    let record = AccessKeyRecord::decode(&row.value)?;
    let name = crate::secret_name(record.account, &record.user);
    if to.open_secret(&name, &record.sealed_secret).is_ok() {
        return Ok(None);
    }
    let secret = from.open_secret(&name, &record.sealed_secret)?;
    let sealed = to.seal_secret(&name, &secret, rng)?;
    Ok(Some(AccessKeyRecord::resealed(&row.value, sealed)?))
}

/// The wrap under the new root key; nothing where it is under that already.
fn move_key(context: &[u8], wrapped: &[u8], from: &Keyring, to: &Keyring) -> Result<Option<Vec<u8>>, Damaged> {
    let wrapped = wrapped_key(wrapped)?;
    if to.root.unwrap_kek(context, &wrapped).is_ok() {
        return Ok(None);
    }
    let kek = from.root.unwrap_kek(context, &wrapped)?;
    Ok(Some(to.root.wrap_kek(context, &kek)?.0.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use base::{BucketId, SeededRng};
    use meta::{Memory, Page};

    use super::*;

    /// Commits so many batches, and then dies.
    struct Dying {
        inner: Memory,
        left: AtomicUsize,
    }

    #[async_trait]
    impl Engine for Dying {
        async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
            self.inner.get(keys).await
        }

        async fn range(&self, range: Range) -> Result<Page, MetaError> {
            self.inner.range(range).await
        }

        async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<meta::Version, CommitError>> {
            let mut done = Vec::new();
            for batch in batches {
                let alive =
                    self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
                done.push(if alive {
                    self.inner.commit_group(vec![batch]).await.remove(0)
                } else {
                    Err(CommitError::Full)
                });
            }
            done
        }
    }

    const BUCKETS: u64 = 180;
    const TENANTS: u64 = 70;
    const USERS: u64 = 110;

    /// Rows of every kind, more than a batch of each.
    async fn filled(ring: &Keyring, rng: &SeededRng) -> Dying {
        let engine = Dying { inner: Memory::default(), left: AtomicUsize::new(usize::MAX) };
        let mut writes = Vec::new();
        for number in 0..BUCKETS {
            let id = BucketId::random(rng);
            let account = if number % 3 == 0 { AccountId::random(rng) } else { AccountId::DEFAULT };
            let wrapped_key = ring.new_bucket_key(id, rng).unwrap();
            let record = BucketRecord { id, created_ms: number, owner: "root".to_owned(), wrapped_key };
            writes.push(Write::Put(key::bucket_key(account, &format!("b{number}")), record.encode()));
        }
        for created_ms in 0..TENANTS {
            let account = AccountId::random(rng);
            let (_, wrapped) = ring.new_tenant_key(account, rng).unwrap();
            writes.push(Write::Put(key::tenant_key_key(account), TenantKeyRecord::first(created_ms, wrapped).encode()));
        }
        for number in 0..USERS {
            let account = if number % 3 == 0 { AccountId::random(rng) } else { AccountId::DEFAULT };
            let user = format!("user{number}");
            let sealed_secret = ring.seal_secret(&crate::secret_name(account, &user), "secret", rng).unwrap();
            let record = AccessKeyRecord { account, user, sealed_secret };
            writes.push(Write::Put(key::access_key_key(&format!("KEY{number}")), record.encode()));
        }
        for writes in writes.chunks(BATCH_ROWS) {
            engine.commit(Batch { checks: Vec::new(), writes: writes.to_vec() }).await.unwrap();
        }
        engine
    }

    async fn walk(engine: &Dying, from: &Keyring, to: &Keyring, dry_run: bool) -> Result<Rotated, RotateError> {
        rotate(engine, from, to, &SeededRng::new(9), dry_run, &mut |_, _| {}).await
    }

    #[tokio::test]
    async fn a_rotation_that_dies_after_any_commit_is_finished_by_the_next() {
        let rng = SeededRng::new(5);
        let (old, new) = (Keyring::ephemeral(&rng), Keyring::ephemeral(&rng));
        let all = [BUCKETS, TENANTS, USERS];
        for commits in 0..30 {
            let engine = filled(&old, &rng).await;
            let dry = walk(&engine, &old, &new, true).await.unwrap();
            assert_eq!(dry, Rotated { moved: all, ..Rotated::default() });
            engine.left.store(commits, Ordering::Relaxed);
            let first = walk(&engine, &old, &new, false).await;
            engine.left.store(usize::MAX, Ordering::Relaxed);
            let rest = walk(&engine, &old, &new, false).await.unwrap();
            let sums = [0, 1, 2].map(|kind| rest.moved[kind] + rest.already[kind]);
            assert_eq!((sums, &rest.damaged), (all, &Vec::new()), "after {commits} commits");
            assert_eq!(first.is_ok(), rest.moved == [0; 3]);
            // Nothing is under the old key: to a third one it moves nothing.
            let third = walk(&engine, &old, &Keyring::ephemeral(&rng), true).await.unwrap();
            assert_eq!((third.moved, third.damaged.len() as u64), ([0; 3], all.iter().sum()));
            assert_eq!(walk(&engine, &new, &old, true).await.unwrap().moved, all);
            if first.is_ok() {
                return;
            }
        }
        panic!("thirty batches were not enough");
    }

    #[tokio::test]
    async fn what_opens_under_neither_is_told_and_left() {
        let rng = SeededRng::new(6);
        let (old, new) = (Keyring::ephemeral(&rng), Keyring::ephemeral(&rng));
        let engine = filled(&old, &rng).await;
        let record =
            BucketRecord { id: BucketId::random(&rng), created_ms: 0, owner: String::new(), wrapped_key: vec![0; 40] };
        let garbage = [
            (key::bucket_key(AccountId::DEFAULT, "damaged"), record.encode()),
            (key::access_key_key("garbage"), bytes::Bytes::from_static(&[0xff])),
        ];
        let writes = garbage.iter().map(|(row_key, value)| Write::Put(row_key.clone(), value.clone())).collect();
        engine.commit(Batch { checks: Vec::new(), writes }).await.unwrap();
        let rotated = walk(&engine, &old, &new, false).await.unwrap();
        assert_eq!(
            (rotated.moved, rotated.damaged),
            ([BUCKETS, TENANTS, USERS], vec!["b/damaged".to_owned(), "a/garbage".to_owned()])
        );
        for (row_key, value) in garbage {
            assert_eq!(engine.get(&[row_key]).await.unwrap()[0].as_ref().unwrap().value, value);
        }
    }
}
