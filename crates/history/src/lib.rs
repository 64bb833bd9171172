//! What clients saw of one key, and whether one object that does one thing after the other could have shown them that.
//!
//! The search is that of Wing and Gong with Lowe's memory, by the crate `todc-utils`. `stateright` has a `LinearizabilityTester` too,
//! but without a memory: each request of unknown outcome makes its way ten times as long, and to refuse eight among 26 takes 80 seconds
//! (docs/design/0020-five-dc.md).

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// What was asked, and what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The value that was there.
    Get(Option<u64>),
    /// The value became this one.
    Put(u64),
    /// There is none any more.
    Delete,
    /// `If-None-Match: *` with the value, and whether it was done.
    PutIfAbsent(u64, bool),
    /// `If-Match` with the value that was expected, the new one, and whether it was done.
    PutIfMatch(u64, u64, bool),
}

/// A request. Times are nanoseconds from the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Before it was sent.
    pub start: u64,
    /// After the answer; `None`: the outcome is unknown, and it may be done at any time. What [`Op`] says of the outcome is then void.
    pub end: Option<u64>,
    /// What.
    pub op: Op,
    /// Which gateway, from 0.
    pub gateway: usize,
}

#[derive(Debug, Clone)]
struct Step {
    op: Op,
    known: bool,
}

struct Object;

impl Specification for Object {
    type State = Option<u64>;
    type Operation = Step;

    fn init() -> Self::State {
        None
    }

    fn apply(step: &Step, state: &Self::State) -> (bool, Self::State) {
        let conditional = |holds: bool, new: u64, done: bool| match (step.known, holds) {
            (false, true) => (true, Some(new)),
            (false, false) => (true, *state),
            (true, _) if holds != done => (false, *state),
            (true, true) => (true, Some(new)),
            (true, false) => (true, *state),
        };
        match step.op {
            Op::Get(seen) => (seen == *state, *state),
            Op::Put(new) => (true, Some(new)),
            Op::Delete => (true, None),
            Op::PutIfAbsent(new, done) => conditional(state.is_none(), new, done),
            Op::PutIfMatch(old, new, done) => conditional(*state == Some(old), new, done),
        }
    }
}

/// Whether the history of one key, which began with nothing, is linearizable.
pub fn is_linearizable(records: &[Record]) -> bool {
    // A read without an answer says nothing.
    let records: Vec<&Record> =
        records.iter().filter(|record| record.end.is_some() || !matches!(record.op, Op::Get(_))).collect();
    let mut moments = Vec::new();
    for (id, record) in records.iter().enumerate() {
        // At the same moment what begins was there before what ends: that allows more.
        moments.push((record.start, 0, id));
        moments.push((record.end.unwrap_or(u64::MAX), 1, id));
    }
    moments.sort_unstable();
    let action = |(_, kind, id): (u64, u8, usize)| {
        let step = Step { op: records[id].op, known: records[id].end.is_some() };
        (id, if kind == 0 { Action::Call(step) } else { Action::Response(step) })
    };
    let actions: Vec<_> = moments.into_iter().map(action).collect();
    actions.is_empty() || WGLChecker::<Object>::is_linearizable(History::from_actions(actions))
}

/// A history as people read it.
pub fn told(records: &[Record]) -> String {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.start);
    let line = |record: &Record| {
        let ms = |ns: u64| ns as f64 / 1e6;
        let end = record.end.map_or_else(|| "unknown".to_owned(), |end| format!("{:.1}", ms(end)));
        format!("  {:>10.1} .. {end:>10} ms  dc{}  {:?}\n", ms(record.start), record.gateway + 1, record.op)
    };
    records.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, end (0: unknown), and what.
    type Row = (u64, u64, Op);

    fn history(records: &[Row]) -> Vec<Record> {
        let record = |&(start, end, op): &Row| Record { start, end: (end != 0).then_some(end), op, gateway: 0 };
        records.iter().map(record).collect()
    }

    #[test]
    fn good_and_bad_histories() {
        use Op::{Delete, Get, Put, PutIfAbsent, PutIfMatch};
        let table: [(&str, bool, &[Row]); 16] = [
            ("nothing", true, &[]),
            ("one after the other", true, &[(1, 2, Put(1)), (3, 4, Get(Some(1))), (5, 6, Delete), (7, 8, Get(None))]),
            ("a stale read", false, &[(1, 2, Put(1)), (3, 4, Put(2)), (5, 6, Get(Some(1)))]),
            ("a read of nothing after a write", false, &[(1, 2, Put(1)), (3, 4, Get(None))]),
            ("a read during a write", true, &[(1, 2, Put(1)), (3, 6, Put(2)), (4, 5, Get(Some(1)))]),
            (
                "back in time during a write",
                false,
                &[(1, 2, Put(1)), (3, 9, Put(2)), (4, 5, Get(Some(2))), (6, 7, Get(Some(1)))],
            ),
            ("a lost update", false, &[(1, 2, Put(1)), (3, 9, PutIfMatch(1, 2, true)), (4, 8, PutIfMatch(1, 3, true))]),
            (
                "one of two updates",
                true,
                &[(1, 2, Put(1)), (3, 9, PutIfMatch(1, 2, true)), (4, 8, PutIfMatch(1, 3, false))],
            ),
            ("two first ones", false, &[(1, 4, PutIfAbsent(1, true)), (2, 5, PutIfAbsent(2, true))]),
            ("a first one refused for nothing", false, &[(1, 2, PutIfAbsent(1, false))]),
            ("an unknown write seen", true, &[(1, 2, Put(1)), (3, 0, Put(2)), (4, 5, Get(Some(2)))]),
            ("an unknown write not seen", true, &[(1, 2, Put(1)), (3, 0, Put(2)), (4, 5, Get(Some(1)))]),
            (
                "an unknown write seen late, and gone",
                false,
                &[(1, 0, Put(2)), (2, 3, Put(1)), (4, 5, Get(Some(2))), (6, 7, Get(Some(1)))],
            ),
            (
                "an unknown update that cannot have been",
                false,
                &[(1, 2, Put(1)), (3, 4, Put(3)), (5, 0, PutIfMatch(1, 2, false)), (6, 7, Get(Some(2)))],
            ),
            ("an unknown deletion", true, &[(1, 2, Put(1)), (3, 0, Delete), (4, 5, Get(Some(1))), (6, 7, Get(None))]),
            ("back from the dead", false, &[(1, 2, Put(1)), (3, 4, Delete), (5, 6, Get(Some(1)))]),
        ];
        for (name, good, records) in table {
            assert_eq!(is_linearizable(&history(records)), good, "{name}");
        }
    }

    /// What a long fault leaves: a dozen unknown outcomes among three dozen requests. Right or wrong, it is known at once.
    #[test]
    fn many_unknown_outcomes() {
        for good in [true, false] {
            let mut records = Vec::new();
            for i in 0..12 {
                records.push((i * 30 + 1, 0, Op::Put(1000 + i)));
                records.push((i * 30 + 2, i * 30 + 9, Op::Put(i)));
                records.push((i * 30 + 10, i * 30 + 12, Op::Get(Some(i))));
            }
            records.push((2000, 2001, Op::Get(Some(1003))));
            records.push((2002, 2003, Op::Get(Some(if good { 1004 } else { 5 }))));
            assert_eq!(is_linearizable(&history(&records)), good);
        }
    }
}
