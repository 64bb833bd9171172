//! Reads: one snapshot, at a cost that follows what is returned.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use etcd::CallError;
use etcd::message::{Op, RangeRequest, TxnRequest};
use tokio::time::Instant;

use super::splits::{Gallop, Piece};
use super::{ANSWER_WITHIN, Inner, plan, space};
use crate::{Key, MetaError, Page, Range, Row, after};

/// Reads in one transaction; etcd takes 128.
const GETS_MAX: usize = 100;
/// Rows in one answer: a page of a listing and one more; 128 MiB of the largest.
const ROWS_MAX: usize = 1001;
/// Times that a read which outlives its revision begins anew.
const ANEW_MAX: usize = 3;

impl Inner {
    pub(crate) async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        self.settle_lost(deadline).await.map_err(unavailable)?;
        if let [key] = keys {
            let request = RangeRequest { key: self.space.row(key), ..RangeRequest::default() };
            let answer = self.client.range(&request, deadline).await.map_err(unavailable)?;
            return Ok(vec![answer.kvs.first().map(space::row)]);
        }
        self.anew(|| self.get_at_once(keys, deadline)).await
    }

    async fn get_at_once(&self, keys: &[Key], deadline: Instant) -> Result<Vec<Option<Row>>, CallError> {
        let (mut revision, mut rows) = (0, Vec::with_capacity(keys.len()));
        for some in keys.chunks(GETS_MAX) {
            let read = |key: &Key| {
                let key = self.space.row(key);
                Op::Range(RangeRequest { key, revision, ..RangeRequest::default() }).into()
            };
            let request = TxnRequest { success: some.iter().map(read).collect(), ..TxnRequest::default() };
            let answer = self.client.txn(&request, deadline).await?;
            if revision == 0 {
                revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            rows.extend(plan::singles(answer).iter().map(|found| found.as_ref().map(space::row)));
        }
        Ok(rows)
    }

    pub(crate) async fn range(&self, range: Range) -> Result<Page, MetaError> {
        if range.from >= range.to {
            return Ok(Page::default());
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        self.settle_lost(deadline).await.map_err(unavailable)?;
        self.anew(|| self.range_at_once(&range, deadline)).await
    }

    async fn range_at_once(&self, range: &Range, deadline: Instant) -> Result<Page, CallError> {
        let (to, mut cursor) = (self.space.row(&range.to), self.space.row(&range.from));
        let mut walk = Walk { page: Page::default(), revision: 0, limit: range.limit, deadline };
        let (mut pieces, mut gallop): (_, Option<Gallop>) = (Vec::new(), None);
        while cursor < to && !walk.page.more {
            let end = self.splits.lock().end(&cursor, &to, &mut gallop);
            let piece = self.piece(&mut walk, cursor, &end).await?;
            if let Some(gallop) = &mut gallop {
                gallop.met(piece.count);
            }
            pieces.push(piece);
            cursor = end;
        }
        self.splits.lock().learn(&pieces, &to);
        Ok(walk.page)
    }

    /// Reads a piece to its end, or until the page is full and it is known whether there is more.
    async fn piece(&self, walk: &mut Walk, from: Bytes, to: &Bytes) -> Result<Piece, CallError> {
        let mut piece = Piece { from: from.clone(), to: to.clone(), count: 0, seen: None };
        let mut cursor = from;
        loop {
            let room = walk.limit - walk.page.rows.len();
            let limit = i64::try_from(room.saturating_add(1).min(ROWS_MAX)).unwrap_or(1);
            let request =
                RangeRequest { key: cursor, range_end: to.clone(), limit, revision: walk.revision, keys_only: false };
            let answer = self.client.range(&request, walk.deadline).await?;
            if walk.revision == 0 {
                walk.revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            let count = usize::try_from(answer.count).unwrap_or_default();
            self.counted.fetch_add(count as u64, Ordering::Relaxed);
            piece.count = piece.count.max(count);
            let returned = answer.kvs.len();
            if let (Some(first), Some(last)) = (answer.kvs.first(), answer.kvs.last()) {
                let began = piece.seen.take().map_or_else(|| first.key.clone(), |(began, _)| began);
                piece.seen = Some((began, last.key.clone()));
            }
            cursor = answer.kvs.last().map_or_else(|| to.clone(), |last| after(&last.key));
            walk.page.rows.extend(answer.kvs.iter().take(room).filter_map(|found| self.space.stripped(found)));
            walk.page.more = returned > room || (room == returned && count > returned);
            if walk.page.more || count <= returned {
                return Ok(piece);
            }
        }
    }

    /// A revision that is compacted away under a read is read anew, at the newest.
    async fn anew<T, F: Future<Output = Result<T, CallError>>>(&self, read: impl Fn() -> F) -> Result<T, MetaError> {
        for _ in 1..ANEW_MAX {
            match read().await {
                Err(CallError::Compacted) => {}
                ended => return ended.map_err(unavailable),
            }
        }
        read().await.map_err(unavailable)
    }
}

struct Walk {
    page: Page,
    /// 0 until the first answer.
    revision: i64,
    limit: usize,
    deadline: Instant,
}

pub(crate) fn unavailable(error: CallError) -> MetaError {
    MetaError::Unavailable(error.to_string())
}
