//! Lanes: how a transaction happens once, and what happened is known. Why it is so: `docs/design/0018-etcd.md`.
//!
//! A lane has a marker row of its own. Every transaction names the marker's last revision and writes it anew with an id, so that
//! it may be sent to any number of members, any number of times: it happens at most once, and whoever reads the marker
//! learns whether it did. What became of each batch in it follows from its checks, read as of the revision before.

use bytes::Bytes;
use etcd::CallError;
use etcd::message::{Answered, Compare, DeleteRangeRequest, KeyValue, Op, PutRequest, RangeRequest, TxnRequest};
use std::time::Duration;
use tokio::time::Instant;

use super::Inner;
use super::{plan, space};
use crate::{Batch, CommitError, Version};

/// After so long without a transaction the marker is read before the next: a process that was stopped for an hour finds that
/// another one has removed it.
const TRUSTED_FOR: Duration = Duration::from_secs(30 * 60);
/// Reads in one transaction.
const READS_MAX: usize = 100;

/// One transaction at a time.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) marker: Bytes,
    /// The marker's revision; 0: there is none.
    at: i64,
    trusted: Instant,
    /// The id of a transaction of which nothing is known. Until that is settled the lane does nothing else.
    lost: Option<Bytes>,
}

/// What became of a lost transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It happened, at this revision.
    Happened(i64),
    /// It did not, and never will.
    Never,
    /// The marker is gone, and with it the answer.
    Vanished,
}

impl Lane {
    pub(crate) fn new(marker: Bytes) -> Self {
        Self { marker, at: 0, trusted: Instant::now(), lost: None }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    fn found(&mut self, found: Option<&KeyValue>) {
        self.at = found.map_or(0, |found| found.mod_revision);
        self.trusted = Instant::now();
    }

    /// Commits batches that may share a transaction; answers in their order.
    pub(crate) async fn commit(
        &mut self,
        inner: &Inner,
        batches: &[&Batch],
        deadline: Instant,
    ) -> Vec<Result<Version, CommitError>> {
        match self.try_commit(inner, batches, deadline).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); batches.len()],
        }
    }

    async fn try_commit(
        &mut self,
        inner: &Inner,
        batches: &[&Batch],
        deadline: Instant,
    ) -> Result<Vec<Result<Version, CommitError>>, CommitError> {
        self.ready(inner, deadline).await.map_err(nothing_written)?;
        let id = inner.random_id();
        let request = plan::transaction(&inner.space, &self.marker, self.at, &id, batches);
        let error = match inner.client.txn(&request, deadline).await {
            Ok(answer) if answer.succeeded => {
                self.at = answer.header.as_ref().map_or(0, |header| header.revision);
                self.trusted = Instant::now();
                return plan::outcomes(&inner.space, batches, answer, space::version_of(self.at))
                    .ok_or_else(|| CommitError::Unknown("etcd's answer to a transaction has another form".into()));
            }
            Ok(answer) => {
                let found = first_range(answer.responses);
                self.found(found.as_ref());
                return match found {
                    // A copy of it came first.
                    Some(found) if found.value == id => {
                        self.read_outcomes(inner, batches, found.mod_revision, deadline).await
                    }
                    _ => Err(vanished()),
                };
            }
            Err(error @ CallError::Unreachable { sent: false, .. }) => {
                return Err(nothing_written(error));
            }
            Err(error) => error,
        };
        // etcd may have applied what it answers with an error, the quota's among them.
        self.lost = Some(id);
        if matches!(error, CallError::Unreachable { .. }) {
            // Nobody answers: whoever comes next settles it.
            return Err(CommitError::Unknown(error.to_string()));
        }
        match self.settle(inner, deadline).await {
            Ok(Settled::Happened(revision)) => self.read_outcomes(inner, batches, revision, deadline).await,
            Ok(Settled::Never) => Err(nothing_written(error)),
            Ok(Settled::Vanished) => Err(vanished()),
            Err(again) => Err(CommitError::Unknown(format!("{error}; then {again}"))),
        }
    }

    /// Settles what is lost, and sees to it that there is a marker.
    async fn ready(&mut self, inner: &Inner, deadline: Instant) -> Result<(), CallError> {
        self.settled(inner, deadline).await?;
        if self.trusted.elapsed() > TRUSTED_FOR {
            let found = inner.client.range(&self.read_marker(), deadline).await?.kvs;
            self.found(found.first());
        }
        if self.at == 0 {
            let request = TxnRequest {
                compare: vec![Compare::mod_revision(self.marker.clone(), 0)],
                success: vec![Op::Put(PutRequest { key: self.marker.clone(), value: inner.random_id() }).into()],
                failure: vec![Op::Range(self.read_marker()).into()],
            };
            let answer = inner.client.txn(&request, deadline).await?;
            if answer.succeeded {
                self.at = answer.header.as_ref().map_or(0, |header| header.revision);
                self.trusted = Instant::now();
            } else {
                self.found(first_range(answer.responses).as_ref());
            }
        }
        Ok(())
    }

    /// Makes sure that nothing of a lost transaction can happen from now on. Its caller has its answer already.
    pub(crate) async fn settled(&mut self, inner: &Inner, deadline: Instant) -> Result<(), CallError> {
        if self.lost.is_some() {
            self.settle(inner, deadline).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, inner: &Inner, deadline: Instant) -> Result<Settled, CallError> {
        let Some(id) = self.lost.clone() else { return Ok(Settled::Never) };
        let mut found = inner.client.range(&self.read_marker(), deadline).await?.kvs.into_iter().next();
        let mut settled = Settled::Vanished;
        if found.as_ref().is_some_and(|found| found.mod_revision == self.at) {
            // Without the marker it never happens. A deletion, since that passes where the quota is used up.
            let delete = DeleteRangeRequest { key: self.marker.clone(), ..DeleteRangeRequest::default() };
            let fence = TxnRequest {
                compare: vec![Compare::mod_revision(self.marker.clone(), self.at)],
                success: vec![Op::Delete(delete).into()],
                failure: vec![Op::Range(self.read_marker()).into()],
            };
            let answer = inner.client.txn(&fence, deadline).await?;
            found = if answer.succeeded { None } else { first_range(answer.responses) };
            // Also when a copy of the fence came first.
            if found.is_none() {
                settled = Settled::Never;
            }
        }
        if let Some(found) = found.as_ref().filter(|found| found.value == id) {
            settled = Settled::Happened(found.mod_revision);
        }
        self.found(found.as_ref());
        self.lost = None;
        Ok(settled)
    }

    /// What became of batches that happened at `revision`: their checks were evaluated as of the one before.
    async fn read_outcomes(
        &self,
        inner: &Inner,
        batches: &[&Batch],
        revision: i64,
        deadline: Instant,
    ) -> Result<Vec<Result<Version, CommitError>>, CommitError> {
        let unread =
            |error: CallError| CommitError::Unknown(format!("committed, but with what outcome is not known: {error}"));
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            let found = inner.evidence(batch, revision - 1, deadline).await.map_err(unread)?;
            outcomes.push(match plan::first_failed(&inner.space, batch, &found) {
                None => Ok(space::version_of(revision)),
                Some(check) => Err(CommitError::Failed { check }),
            });
        }
        Ok(outcomes)
    }

    fn read_marker(&self) -> RangeRequest {
        RangeRequest { key: self.marker.clone(), ..RangeRequest::default() }
    }
}

impl Inner {
    /// What a batch's checks meet, in one snapshot: at a revision, or at 0 now.
    pub(crate) async fn evidence(
        &self,
        batch: &Batch,
        mut revision: i64,
        deadline: Instant,
    ) -> Result<Vec<Option<KeyValue>>, CallError> {
        let reads: Vec<_> = plan::evidence(&self.space, batch).collect();
        let mut found = Vec::with_capacity(reads.len());
        for some in reads.chunks(READS_MAX) {
            let read = |read: &RangeRequest| Op::Range(RangeRequest { revision, ..read.clone() }).into();
            let request = TxnRequest { success: some.iter().map(read).collect(), ..TxnRequest::default() };
            let answer = self.client.txn(&request, deadline).await?;
            if revision == 0 {
                revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            found.extend(plan::singles(answer));
        }
        Ok(found)
    }
}

fn first_range(responses: Vec<etcd::message::ResponseOp>) -> Option<KeyValue> {
    responses.into_iter().find_map(|op| match op.answer {
        Some(Answered::Range(range)) => range.kvs.into_iter().next(),
        _ => None,
    })
}

fn vanished() -> CommitError {
    CommitError::Unknown("somebody removed the lane's marker from etcd: keep others out of the prefix".into())
}

/// An error after which nothing is written, nor will be.
pub(crate) fn nothing_written(error: CallError) -> CommitError {
    match error {
        CallError::NoSpace => CommitError::Full,
        CallError::TooLarge(what) => CommitError::TooLarge(what),
        error => CommitError::Unavailable(error.to_string()),
    }
}
