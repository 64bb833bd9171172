//! The disk is full.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{State, verify};

const RESERVE: u64 = 100_000;

fn options() -> Options {
    Options { reserve_bytes: RESERVE, checkpoint_every: Duration::ZERO, ..quiet() }
}

#[test]
fn the_reserve_is_used_told_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.set_left(3 * RESERVE);
    let log = open_faulty(dir.path(), &faults, options()).unwrap();
    assert_eq!(log.status().state, State::Ok);
    assert_eq!(dir.path().join("reserve").metadata().unwrap().len(), RESERVE);
    append(&log, 0..1).unwrap();
    // Somebody else takes what is left.
    faults.set_left(0);
    let mut at = 1;
    let refused = loop {
        match append(&log, at..at + 1) {
            Ok(range) => at = range.end,
            Err(error) => break error,
        }
        assert_eq!(log.status().state, State::Reserve, "after {at}");
        assert!(!dir.path().join("reserve").exists());
    };
    assert!(matches!(refused, AuditError::Full { .. }), "{refused}");
    assert!(at > 10, "{at} entries in the reserve");
    assert_eq!((log.status().state, log.status().entries), (State::Stopped, at));
    assert!(matches!(append(&log, at..at + 1), Err(AuditError::Full { .. })));
    log.note(event(at)).unwrap();
    // Room again, though not for a reserve; then for one.
    for (room, state) in [(RESERVE, State::Reserve), (3 * RESERVE, State::Ok)] {
        // The note goes before the room is there: an empty append waits for it.
        block_on(log.append(Vec::new())).unwrap();
        assert_eq!((log.status().lost, log.status().waiting), (1, 0));
        faults.set_left(room);
        append(&log, at..at + 1).unwrap();
        at += 1;
        block_on(log.append(Vec::new())).unwrap();
        assert_eq!(log.status().state, state, "with {room} free");
    }
    log.close().unwrap();
    let report = verify(dir.path(), signer().verifier()).unwrap();
    assert!(report.is_whole() && report.entries == at, "{report:?}");
    assert_eq!(report.checkpoint.unwrap().size, at);
}

#[test]
fn a_disk_that_fills_at_any_byte_loses_nothing_acknowledged() {
    for left in (0..6_000).step_by(97) {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), quiet());
        append(&log, 0..254).unwrap();
        log.close().unwrap();
        let faults = Arc::new(Faults::default());
        let log = open_faulty(dir.path(), &faults, Options { reserve_bytes: 0, ..options() }).unwrap();
        faults.set_left(left);
        let mut durable = 254;
        while let Ok(range) = append(&log, durable..durable + 1) {
            durable = range.end;
        }
        let closed = log.close();
        assert!(closed.is_ok() || matches!(closed, Err(AuditError::Full { .. })), "{closed:?}");
        let report = verify(dir.path(), signer().verifier()).unwrap();
        assert!(report.is_whole() && report.entries == durable, "{left}: {report:?}");
        let log = open(dir.path(), quiet());
        assert_eq!(log.status().signed, durable, "what the full disk left unsigned is signed now");
    }
}

#[test]
fn a_disk_without_room_for_a_reserve_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.set_left(RESERVE);
    let log = open_faulty(dir.path(), &faults, options()).unwrap();
    assert_eq!(log.status().state, State::Reserve);
    append(&log, 0..1).unwrap();
}
