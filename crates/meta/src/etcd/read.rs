//! Reads: one snapshot, at a cost that follows what is returned.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use etcd::CallError;
use etcd::message::{Answered, Op, RangeRequest, TxnRequest};
use tokio::time::Instant;

use super::splits::{Gallop, Piece};
use super::{ANSWER_WITHIN, Inner, space};
use crate::{Key, MetaError, Nearby, Page, Range, Row, after};

/// Reads in one transaction; etcd takes 128.
pub(crate) const GETS_MAX: usize = 100;
/// Rows in one answer: a page of a listing and one more; 128 MiB of the largest.
const ROWS_MAX: usize = 1001;
/// Time for what one member has at hand.
const NEARBY_WITHIN: Duration = Duration::from_secs(2);
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
        Ok(self.snapshot(keys, None, false, deadline).await?.rows)
    }

    /// Each member answers from what it has; the first one that does is good enough.
    pub(crate) async fn nearby(&self, keys: &[Key], range: Option<Range>) -> Result<Nearby, MetaError> {
        let deadline = Instant::now() + NEARBY_WITHIN;
        let range = range.filter(|range| range.from < range.to);
        self.anew(|| self.snapshot(keys, range.as_ref(), true, deadline)).await
    }

    /// Rows, and an interval of up to [`ROWS_MAX`] rows in one answer, at one revision.
    async fn snapshot(
        &self,
        keys: &[Key],
        range: Option<&Range>,
        serializable: bool,
        deadline: Instant,
    ) -> Result<Nearby, CallError> {
        let (mut revision, mut found) = (0, Nearby::default());
        let limit = range.map_or(0, |range| range.limit.min(ROWS_MAX - 1));
        let interval = range.map(|range| RangeRequest {
            key: self.space.row(&range.from),
            range_end: self.space.row(&range.to),
            limit: i64::try_from(limit + 1).unwrap_or(1),
            serializable,
            ..RangeRequest::default()
        });
        let single =
            keys.iter().map(|key| RangeRequest { key: self.space.row(key), serializable, ..RangeRequest::default() });
        let requests: Vec<RangeRequest> = interval.into_iter().chain(single).collect();
        for (index, some) in requests.chunks(GETS_MAX).enumerate() {
            let read = |request: &RangeRequest| Op::Range(RangeRequest { revision, ..request.clone() }).into();
            let request = TxnRequest { success: some.iter().map(read).collect(), ..TxnRequest::default() };
            let answer = self.client.txn(&request, deadline).await?;
            if revision == 0 {
                revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            let mut answers = answer.responses.into_iter().map(|one| match one.answer {
                Some(Answered::Range(rows)) => rows.kvs,
                _ => Vec::new(),
            });
            if index == 0 && range.is_some() {
                let rows = answers.next().unwrap_or_default();
                found.page.more = rows.len() > limit;
                found.page.rows = rows.iter().take(limit).filter_map(|row| self.space.stripped(row)).collect();
            }
            found.rows.extend(answers.map(|rows| rows.first().map(space::row)));
        }
        Ok(found)
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
            let request = RangeRequest {
                key: cursor,
                range_end: to.clone(),
                limit,
                revision: walk.revision,
                ..RangeRequest::default()
            };
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
