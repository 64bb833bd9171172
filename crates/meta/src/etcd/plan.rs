//! Which batches share a transaction, and the transaction. Pure.
//!
//! Each batch is a transaction nested in the lane's. etcd evaluates the comparisons of all of them before it applies any, so
//! that only batches which touch nothing that an earlier one writes may share one. Checks that batches have in common are in a transaction
//! around them: said, and looked up by each member, once.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use etcd::message::{
    Answered, Compare, DeleteRangeRequest, KeyValue, Op, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    TxnResponse,
};

use super::space::{self, Space};
use crate::{Batch, Check, CommitError, Key, Version, Write};

/// etcd's `--max-txn-ops` when it is not configured: comparisons, or operations of one branch, of a transaction together with
/// those of the one it is nested in.
const OPS_MAX: usize = 128;
/// Bytes of a transaction, where more than one batch shares it. etcd refuses a request of more than 1.5 MiB.
const BYTES_MAX: usize = 1 << 20;
/// Bytes that a message and its field numbers add to a key or a value, at most.
const FRAME: usize = 32;

/// What is in a transaction already.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    written: BTreeSet<Key>,
    batches: usize,
    /// Operations of the widest batch.
    widest: usize,
    bytes: usize,
}

impl Joined {
    /// Takes a batch in, if it may share the transaction and there is room.
    pub(crate) fn take(&mut self, batch: &Batch) -> bool {
        let widest = self.widest.max(batch.checks.len()).max(batch.writes.len());
        let bytes = self.bytes + size(batch);
        // Of the outer one: the marker, and an operation a batch.
        let ops = 1 + self.batches + 1 + widest;
        if self.batches > 0 && (ops > OPS_MAX || bytes > BYTES_MAX || self.touches(batch)) {
            return false;
        }
        (self.widest, self.bytes) = (widest, bytes);
        self.batches += 1;
        self.written.extend(batch.writes.iter().map(|write| written(write).clone()));
        true
    }

    /// Whether the batch checks or writes a key that is written here.
    fn touches(&self, batch: &Batch) -> bool {
        batch.writes.iter().any(|write| self.written.contains(written(write)))
            || batch.checks.iter().any(|check| match check {
                Check::Absent(key) | Check::Present(key) | Check::Is(key, _) => self.written.contains(key),
                Check::Empty(from, to) => from < to && self.written.range::<Key, _>(from..to).next().is_some(),
            })
    }
}

fn written(write: &Write) -> &Key {
    match write {
        Write::Put(key, _) | Write::Delete(key) => key,
    }
}

/// Bytes that a batch takes on the wire, not less than it does.
fn size(batch: &Batch) -> usize {
    let checks = batch.checks.iter().map(|check| match check {
        // In a comparison, and in the read that tells which one failed.
        Check::Absent(key) | Check::Present(key) | Check::Is(key, _) => 2 * (key.len() + 2 * FRAME),
        Check::Empty(from, to) => 2 * (from.len() + to.len() + 3 * FRAME),
    });
    let writes = batch.writes.iter().map(|write| match write {
        Write::Put(key, value) => key.len() + value.len() + 2 * FRAME,
        Write::Delete(key) => key.len() + 2 * FRAME,
    });
    FRAME + checks.chain(writes).sum::<usize>()
}

/// Batches in a row, and checks that all of them have.
#[derive(Debug, PartialEq, Eq)]
struct Run<'a> {
    batches: Range<usize>,
    /// None for a batch alone.
    common: Vec<&'a Check>,
}

impl Run<'_> {
    fn alone(index: usize) -> Self {
        Self { batches: index..index + 1, common: Vec::new() }
    }

    /// The checks that a batch does not have in common with the others, and their places among all of it.
    fn own<'b>(&self, batch: &'b Batch) -> (Vec<usize>, Vec<&'b Check>) {
        batch.checks.iter().enumerate().filter(|(_, check)| !self.common.contains(check)).unzip()
    }

    /// Operations of the run's own transaction, if it has one, and of the widest that is nested in it.
    fn ops(&self, batches: &[&Batch]) -> usize {
        let members = &batches[self.batches.clone()];
        let own = |batch: &&Batch| self.own(batch).1.len().max(batch.writes.len());
        let around = if self.common.is_empty() { 0 } else { self.common.len().max(members.len()) };
        around + members.iter().map(own).max().unwrap_or(0)
    }
}

/// Puts batches together of which each has the same checks in common with the ones before, at least half of those of the first two, where
/// that stays below etcd's limit.
fn runs<'a>(batches: &[&'a Batch]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let joined = runs.last_mut().is_some_and(|last| {
            let first = batches[last.batches.start];
            let before = if last.common.is_empty() { checks_of(first) } else { last.common.clone() };
            let common: Vec<&Check> = before.iter().copied().filter(|check| batch.checks.contains(check)).collect();
            let is_worth_it = if last.common.is_empty() {
                !common.is_empty() && 2 * common.len() >= before.len().max(batch.checks.len())
            } else {
                common == last.common
            };
            if is_worth_it {
                *last = Run { batches: last.batches.start..index + 1, common };
            }
            is_worth_it
        });
        if !joined {
            runs.push(Run::alone(index));
        }
    }
    let outer = 1 + runs.len();
    if outer + runs.iter().map(|run| run.ops(batches)).max().unwrap_or(0) > OPS_MAX {
        runs = (0..batches.len()).map(Run::alone).collect();
    }
    runs
}

/// Those that are one row's; each once.
fn checks_of(batch: &Batch) -> Vec<&Check> {
    let mut found: Vec<&Check> = Vec::new();
    for check in batch.checks.iter().filter(|check| !matches!(check, Check::Empty(..))) {
        if !found.contains(&check) {
            found.push(check);
        }
    }
    found
}

/// A lane's transaction: nothing of it happens unless the marker is the one of `before`, and what happens moves the marker to
/// `id`, so that it happens once.
pub(crate) fn transaction(space: &Space, marker: &Bytes, before: i64, id: &Bytes, batches: &[&Batch]) -> TxnRequest {
    let put = Op::Put(PutRequest { key: marker.clone(), value: id.clone() });
    let mut success = vec![RequestOp::from(put)];
    for run in runs(batches) {
        let nested = batches[run.batches.clone()].iter().map(|batch| {
            let (_, own) = run.own(batch);
            RequestOp::from(Op::Txn(on(space, &own, batch.writes.iter().map(|write| write_op(space, write)).collect())))
        });
        if run.common.is_empty() {
            success.extend(nested);
        } else {
            success.push(Op::Txn(on(space, &run.common, nested.collect())).into());
        }
    }
    TxnRequest {
        compare: vec![Compare::mod_revision(marker.clone(), before)],
        success,
        failure: vec![Op::Range(RangeRequest { key: marker.clone(), ..RangeRequest::default() }).into()],
    }
}

/// Something that is done if checks hold; else what is there instead is told.
fn on(space: &Space, checks: &[&Check], success: Vec<RequestOp>) -> TxnRequest {
    let compare = checks.iter().filter_map(|check| {
        Some(match check {
            Check::Absent(key) => Compare::mod_revision(space.row(key), 0),
            Check::Present(key) => Compare::present(space.row(key)),
            Check::Is(key, version) => Compare::mod_revision(space.row(key), space::revision(*version)),
            Check::Empty(from, to) if from < to => Compare::empty(space.row(from), space.row(to)),
            Check::Empty(..) => return None,
        })
    });
    let failure = checks.iter().filter_map(|check| space.evidence(check)).map(|read| Op::Range(read).into());
    TxnRequest { compare: compare.collect(), success, failure: failure.collect() }
}

fn write_op(space: &Space, write: &Write) -> RequestOp {
    RequestOp::from(match write {
        Write::Put(key, value) => Op::Put(PutRequest { key: space.row(key), value: value.clone() }),
        Write::Delete(key) => Op::Delete(DeleteRangeRequest { key: space.row(key), ..DeleteRangeRequest::default() }),
    })
}

/// The reads that tell which check of a batch does not hold.
pub(crate) fn evidence<'a>(space: &'a Space, batch: &'a Batch) -> impl Iterator<Item = RangeRequest> + 'a {
    batch.checks.iter().filter_map(|check| space.evidence(check))
}

/// The first check that does not hold, by the answers to [`evidence`].
pub(crate) fn first_failed(space: &Space, batch: &Batch, found: &[Option<KeyValue>]) -> Option<usize> {
    let all: Vec<&Check> = batch.checks.iter().collect();
    first_of(space, &all, found)
}

fn first_of(space: &Space, checks: &[&Check], found: &[Option<KeyValue>]) -> Option<usize> {
    let mut found = found.iter();
    checks.iter().position(|check| {
        // One without evidence holds.
        space.evidence(check).is_some_and(|_| !space::holds(check, found.next().and_then(Option::as_ref)))
    })
}

/// The rows that reads of one row each found, in order.
pub(crate) fn singles(response: TxnResponse) -> Vec<Option<KeyValue>> {
    let one = |op: ResponseOp| match op.answer {
        Some(Answered::Range(range)) => range.kvs.into_iter().next(),
        _ => None,
    };
    response.responses.into_iter().map(one).collect()
}

/// What the answer to [`transaction`] says of each batch, when the marker was as it should be. `None` when the answer does not
/// have the form it should.
pub(crate) fn outcomes(
    space: &Space,
    batches: &[&Batch],
    response: TxnResponse,
    version: Version,
) -> Option<Vec<Result<Version, CommitError>>> {
    let mut answers = response.responses.into_iter().skip(1);
    let mut outcomes = Vec::with_capacity(batches.len());
    for run in runs(batches) {
        let members = &batches[run.batches.clone()];
        if run.common.is_empty() {
            outcomes.extend(own_outcomes(space, members, &run, &mut answers, version)?);
            continue;
        }
        let answer = txn(answers.next()?)?;
        if answer.succeeded {
            let mut nested = answer.responses.into_iter();
            outcomes.extend(own_outcomes(space, members, &run, &mut nested, version)?);
            nested.next().is_none().then_some(())?;
            continue;
        }
        let failed = *run.common.get(first_of(space, &run.common, &singles(answer))?)?;
        for batch in members {
            let check = batch.checks.iter().position(|check| check == failed)?;
            outcomes.push(Err(CommitError::Failed { check }));
        }
    }
    answers.next().is_none().then_some(outcomes)
}

/// What became of a run's batches, by what they do not have in common.
fn own_outcomes(
    space: &Space,
    batches: &[&Batch],
    run: &Run<'_>,
    answers: &mut impl Iterator<Item = ResponseOp>,
    version: Version,
) -> Option<Vec<Result<Version, CommitError>>> {
    let outcome = |batch: &&Batch| {
        let answer = txn(answers.next()?)?;
        if answer.succeeded {
            return Some(Ok(version));
        }
        let (places, own) = run.own(batch);
        let check = *places.get(first_of(space, &own, &singles(answer))?)?;
        Some(Err(CommitError::Failed { check }))
    };
    batches.iter().map(outcome).collect()
}

fn txn(answer: ResponseOp) -> Option<TxnResponse> {
    match answer.answer {
        Some(Answered::Txn(txn)) => Some(txn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn key(text: &str) -> Key {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn put(text: &str) -> Write {
        Write::Put(key(text), Bytes::new())
    }

    fn batch(checks: Vec<Check>, writes: Vec<Write>) -> Batch {
        Batch { checks, writes }
    }

    #[test]
    fn what_an_earlier_batch_writes_no_later_one_touches() {
        let first = || batch(vec![Check::Absent(key("read"))], vec![put("m"), Write::Delete(key("gone"))]);
        let table = [
            (batch(vec![], vec![put("n")]), true),
            (batch(vec![], vec![put("m")]), false),
            (batch(vec![], vec![Write::Delete(key("m"))]), false),
            (batch(vec![], vec![put("gone")]), false),
            (batch(vec![Check::Present(key("m"))], vec![]), false),
            (batch(vec![Check::Is(key("gone"), Version(1))], vec![]), false),
            (batch(vec![Check::Empty(key("a"), key("m"))], vec![]), false),
            (batch(vec![Check::Empty(key("h"), key("m"))], vec![]), true),
            (batch(vec![Check::Empty(key("m"), key("n"))], vec![]), false),
            (batch(vec![Check::Empty(key("z"), key("a"))], vec![]), true),
            // What the first one only reads, a later one may write.
            (batch(vec![], vec![put("read")]), true),
        ];
        for (second, together) in table {
            let mut joined = Joined::default();
            assert!(joined.take(&first()));
            assert_eq!(joined.take(&second), together, "{second:?}");
        }
    }

    #[test]
    fn etcds_limits_are_kept() {
        // (operations of a batch, batches that share a transaction)
        for (ops, together) in [(1, 126), (27, 100), (100, 27)] {
            let mut joined = Joined::default();
            let batches = (0..200).map(|i| batch(vec![], (0..ops).map(|j| put(&format!("{i}/{j}"))).collect()));
            assert_eq!(batches.take_while(|batch| joined.take(batch)).count(), together, "{ops} operations");
        }
        let mut joined = Joined::default();
        let large =
            |i| batch(vec![], (0..4).map(|j| Write::Put(key(&format!("{i}/{j}")), vec![0; 100_000].into())).collect());
        assert_eq!((0..9).map(large).take_while(|batch| joined.take(batch)).count(), 2, "under 1 MiB");
        let mut joined = Joined::default();
        let largest =
            batch(vec![], (0..20).map(|j| Write::Put(key(&j.to_string()), vec![0; 100_000].into())).collect());
        assert!(joined.take(&largest), "one alone is etcd's to refuse");
    }

    #[test]
    fn what_batches_have_in_common_is_said_once() {
        let check = |text: &str| Check::Is(key(text), Version(1));
        let checks = |names: &str| names.split_whitespace().map(check).collect::<Vec<_>>();
        let of = |all: &[&str]| -> Vec<(Range<usize>, Vec<Check>)> {
            let batches: Vec<Batch> = all.iter().map(|names| batch(checks(names), vec![put(names)])).collect();
            let batches: Vec<&Batch> = batches.iter().collect();
            runs(&batches).into_iter().map(|run| (run.batches, run.common.into_iter().cloned().collect())).collect()
        };
        let alone = |index: usize| (index..index + 1, vec![]);
        // A pack: its blob, and its objects.
        let pack = ["lead", "lead bucket user policy o1", "lead bucket user policy o2", "lead bucket user policy o3"];
        assert_eq!(of(&pack), [alone(0), (1..4, checks("lead bucket user policy"))]);
        assert_eq!(of(&["a", "b"]), [alone(0), alone(1)]);
        assert_eq!(of(&["", ""]), [alone(0), alone(1)]);
        assert_eq!(of(&["a a", "a a"]), [(0..2, checks("a"))]);
        assert_eq!(of(&["a b x", "a b y", "c d", "c d"]), [(0..2, checks("a b")), (2..4, checks("c d"))]);
        // Who has less in common with them takes nothing from those before.
        assert_eq!(of(&["a b c", "a b c", "a b z", "a b y"]), [(0..2, checks("a b c")), (2..4, checks("a b"))]);
        // What is said once need not fit twice.
        let wide: Vec<String> = (0..90).map(|i| format!("c{i}")).collect();
        assert_eq!(of(&[&wide.join(" "), &wide.join(" ")]).len(), 1);
        let own = |name: &str| {
            format!("{} {}", wide[..60].join(" "), (0..59).map(|i| format!("{name}{i} ")).collect::<String>())
        };
        assert_eq!(of(&[&own("x"), &own("y")]).len(), 1, "2 + 60 + 59");
        let own = |name: &str| {
            format!("{} {}", wide[..70].join(" "), (0..59).map(|i| format!("{name}{i} ")).collect::<String>())
        };
        assert_eq!(of(&[&own("x"), &own("y")]).len(), 2, "2 + 70 + 59 is too much for etcd");
    }

    /// As etcd counts them: the most of a transaction's comparisons and of either branch, and that of what is nested in it.
    fn ops(txn: &TxnRequest) -> usize {
        let nested = |op: &RequestOp| match &op.op {
            Some(Op::Txn(txn)) => ops(txn),
            _ => 0,
        };
        let widest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
        widest + txn.success.iter().map(nested).max().unwrap_or(0)
    }

    #[test]
    fn a_full_transaction_is_below_etcds_limit_and_says_things_once() {
        let shared = ["gateway", "bucket", "state", "user", "policy", "rules"];
        let blob = batch(vec![Check::Present(key("gateway"))], vec![put("blob")]);
        let object = |i: usize| {
            let common = shared.iter().map(|name| Check::Present(key(name)));
            let own = Check::Absent(key(&format!("o{i}")));
            batch(common.chain([own]).collect(), ["o", "d", "u"].map(|kind| put(&format!("{kind}{i}"))).into())
        };
        let all: Vec<Batch> = std::iter::once(blob).chain((0..200).map(object)).collect();
        let mut joined = Joined::default();
        let taken: Vec<&Batch> = all.iter().take_while(|batch| joined.take(batch)).collect();
        let request = transaction(&Space::new("p"), &key("marker"), 1, &key("id"), &taken);
        assert!(taken.len() > 100 && ops(&request) <= OPS_MAX, "{} batches, {} operations", taken.len(), ops(&request));
        assert_eq!(request.success.len(), 3, "the marker, the blob, and all others in one");
    }

    #[test]
    fn the_first_failed_check_is_found_past_one_without_evidence() {
        let space = Space::new("p");
        let batch = batch(
            vec![
                Check::Empty(key("z"), key("a")),
                Check::Present(key("a")),
                Check::Is(key("b"), Version(7)),
                Check::Absent(key("c")),
            ],
            vec![],
        );
        assert_eq!(evidence(&space, &batch).count(), 3);
        let row = |revision| Some(KeyValue { mod_revision: revision, ..KeyValue::default() });
        let table = [
            ([row(1), row(7), None], None),
            ([None, row(7), None], Some(1)),
            ([row(1), row(8), row(1)], Some(2)),
            ([row(1), None, None], Some(2)),
            ([row(1), row(7), row(1)], Some(3)),
        ];
        for (found, failed) in table {
            assert_eq!(first_failed(&space, &batch, &found), failed, "{found:?}");
        }
    }
}
