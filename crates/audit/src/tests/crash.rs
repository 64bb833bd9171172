//! The power goes: in every byte of an append, and at every change of the disk.

use std::sync::Arc;

use super::*;
use crate::folder::segment_name;
use crate::{Wrong, verify};

#[test]
fn a_crash_in_any_byte_of_the_last_write() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    append(&log, 0..3).unwrap();
    log.close().unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    let log = open(dir.path(), quiet());
    append(&log, 3..5).unwrap();
    log.close().unwrap();
    let segment = segment_name(0);
    let old = std::fs::read(before.path().join(&segment)).unwrap();
    let new = std::fs::read(dir.path().join(&segment)).unwrap();
    for cut in old.len()..=new.len() {
        let crashed = tempfile::tempdir().unwrap();
        copy(before.path(), crashed.path());
        std::fs::write(crashed.path().join(&segment), &new[..cut]).unwrap();
        let whole = new[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        let report = verify(crashed.path(), signer().verifier()).unwrap();
        assert!(report.is_whole(), "{report:?}");
        let log = open(crashed.path(), quiet());
        assert_eq!(log.status().entries, whole, "cut at {cut}");
        assert_eq!(append(&log, whole..6).unwrap(), whole..6);
        log.close().unwrap();
        let report = verify(crashed.path(), signer().verifier()).unwrap();
        assert!(report.is_whole() && report.entries == 6 && report.torn_bytes == 0, "cut at {cut}: {report:?}");
    }
}

#[test]
fn only_what_has_no_newline_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    append(&log, 0..3).unwrap();
    log.close().unwrap();
    let segment = dir.path().join(segment_name(0));
    let whole = std::fs::read(&segment).unwrap();
    let zeros = vec![0; 100_000];
    for (tail, fine) in [
        (&b"{"[..], true),
        (&zeros[..], true),
        (&b"\n"[..], false),
        (&b"{}\n"[..], false),
        (&whole[..whole.len() / 2], false),
    ] {
        std::fs::write(&segment, [&whole, tail].concat()).unwrap();
        match Log::open(dir.path(), signer(), quiet()) {
            Ok(log) => assert!(fine && log.status().entries == 3),
            Err(AuditError::Damaged(fault)) => assert!(!fine && fault.sequence == 3, "{fault:?}"),
            Err(error) => panic!("{error}"),
        }
        let now = std::fs::read(&segment).unwrap();
        assert_eq!(now, if fine { whole.clone() } else { [&whole, tail].concat() }, "damage is left as evidence");
    }
}

#[test]
fn what_a_checkpoint_covers_is_never_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    append(&log, 0..3).unwrap();
    log.close().unwrap();
    let segment = dir.path().join(segment_name(0));
    let whole = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    let Err(AuditError::Damaged(fault)) = Log::open(dir.path(), signer(), quiet()) else { panic!("it was opened") };
    assert_eq!((fault.sequence, fault.wrong), (2, Wrong::Missing));
    assert_eq!(std::fs::read(&segment).unwrap().len(), whole.len() - 1);
}

#[test]
fn a_crash_at_any_change_of_the_disk() {
    let options = || Options { checkpoint_every: std::time::Duration::ZERO, segment_bytes: 3000, ..quiet() };
    // What is there at first, and how many entries come.
    for (first, more) in [(0, 3), (254, 4), (510, 3)] {
        let before = tempfile::tempdir().unwrap();
        if first > 0 {
            let log = open(before.path(), options());
            append(&log, 0..first).unwrap();
            log.close().unwrap();
        }
        for steps in 1.. {
            let dir = tempfile::tempdir().unwrap();
            copy(before.path(), dir.path());
            let faults = Arc::new(Faults::default());
            faults.die_after(steps);
            let mut durable = first;
            let closed = open_faulty(dir.path(), &faults, options()).and_then(|log| {
                for at in first..first + more {
                    durable = append(&log, at..at + 1)?.end;
                }
                log.close()
            });
            let log = open(dir.path(), options());
            let there = log.status().entries;
            assert!((durable..=first + more).contains(&there), "{steps}: {there} of {durable}");
            append(&log, there..first + more + 1).unwrap();
            log.close().unwrap();
            let report = verify(dir.path(), signer().verifier()).unwrap();
            assert!(report.is_whole(), "{steps}: {report:?}");
            assert_eq!((report.entries, report.checkpoint.unwrap().size), (first + more + 1, first + more + 1));
            if closed.is_ok() {
                assert!(steps > 20 && faults.made() < steps);
                break;
            }
        }
    }
}

#[test]
fn a_flush_that_fails_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let log = open_faulty(dir.path(), &faults, quiet()).unwrap();
    append(&log, 0..2).unwrap();
    faults.fail_flushes(1);
    assert!(matches!(append(&log, 2..4), Err(AuditError::Io { .. })));
    assert_eq!(log.status().state, crate::State::Stopped);
    // Neither can it be taken back, nor, the first time it is tried again, be written.
    faults.fail_flushes(3);
    assert!(matches!(append(&log, 2..4), Err(AuditError::Unknown { .. })));
    assert!(matches!(append(&log, 2..4), Err(AuditError::Io { .. })));
    assert_eq!(append(&log, 2..4).unwrap(), 2..4);
    assert_eq!(log.status().state, crate::State::Ok);
    log.close().unwrap();
    let report = verify(dir.path(), signer().verifier()).unwrap();
    assert!(report.is_whole() && report.entries == 4, "{report:?}");
}
