//! What takes something away is told to all gateways: every batch that does so writes one row, the head, as well.
//!
//! A gateway remembers what it read for a while. It looks at the head often, and forgets everything when that has another
//! version. So nobody has to remember which rows a change makes stale elsewhere, and what makes nothing stale costs nobody
//! anything.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::record::key;
use crate::{Batch, Check, CommitError, Engine, Key, MetaError, Page, Range, Row, Version, Write};

/// An engine whose batches write [`key::head_key`] when they take something away.
pub struct Revoking(pub Arc<dyn Engine>);

#[async_trait]
impl Engine for Revoking {
    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        self.0.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.0.range(range).await
    }

    async fn commit_group(&self, mut batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        for batch in &mut batches {
            if takes_away(batch) {
                batch.writes.push(Write::Put(key::head_key(), Bytes::new()));
            }
        }
        self.0.commit_group(batches).await
    }
}

/// Whether what others remember may be wrong after it.
fn takes_away(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| match write {
        Write::Delete(row_key) => DELETED.contains(&kind(row_key)),
        // A row that was not there yet is remembered by nobody, but a rule or a policy that is new may deny.
        Write::Put(row_key, _) => match kind(row_key) {
            kind if ALWAYS.contains(&kind) => true,
            kind if CHANGED.contains(&kind) => !is_new(batch, row_key),
            _ => false,
        },
    })
}

/// Denials, release policies, decisions of people, rules that choose portions.
const ALWAYS: &[u8] = b"EPAm";
/// Portions, their names and aliases, tenants' keys, access keys, users, groups.
const CHANGED: &[u8] = b"hHlKanNG";
/// Those, versions of portions' keys, grants on them, tenants.
const DELETED: &[u8] = b"EPAmhHlKanNGjFT";

fn kind(row_key: &[u8]) -> u8 {
    row_key.first().copied().unwrap_or_default()
}

fn is_new(batch: &Batch, row_key: &Key) -> bool {
    batch.checks.iter().any(|check| matches!(check, Check::Absent(absent) if absent == row_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn what_takes_away_moves_the_head() {
        let engine = Revoking(Arc::new(Memory::new()));
        let row_key = |text: &'static str| Key::from_static(text.as_bytes());
        let put = |text| Write::Put(row_key(text), Bytes::from_static(b"1"));
        let new = |text| Batch { checks: vec![Check::Absent(row_key(text))], writes: vec![put(text)] };
        let changed = |text| Batch { checks: vec![], writes: vec![put(text)] };
        let gone = |text| Batch { checks: vec![], writes: vec![Write::Delete(row_key(text))] };
        let mut before = None;
        for (what, batch, moves) in [
            ("an object", changed("o/1"), false),
            ("a new portion", new("h/1"), false),
            ("a portion's state", changed("h/1"), true),
            ("a denial", new("E/1"), true),
            ("the end of a quarantine", gone("E/1"), true),
            ("a first policy", new("P/1"), true),
            ("a new user", new("n/ann"), false),
            ("a changed user", changed("n/ann"), true),
            ("an access key that is gone", gone("a/1"), true),
            ("room under a key", changed("j/1"), false),
            ("a version that is gone", gone("j/1"), true),
            ("an object that is gone", gone("o/1"), false),
        ] {
            engine.commit(batch).await.unwrap();
            let head = engine.get(&[key::head_key()]).await.unwrap().remove(0).map(|row| row.version);
            assert_eq!(head != before, moves, "{what}");
            before = head;
        }
    }

    /// A batch that failed has taken nothing away.
    #[tokio::test]
    async fn a_failed_batch_moves_nothing() {
        let engine = Revoking(Arc::new(Memory::new()));
        let row_key = Key::from_static(b"E/1");
        let checks = vec![Check::Present(row_key.clone())];
        let batch = Batch { checks, writes: vec![Write::Put(row_key, Bytes::new())] };
        assert!(engine.commit(batch).await.is_err());
        assert_eq!(engine.get(&[key::head_key()]).await.unwrap(), [None]);
    }
}
