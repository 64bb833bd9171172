//! Appending, sharing flushes, notes, segments, checkpoints, proofs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::*;
use crate::{
    ENTRY_MAX, Entry, InclusionProof, State, VerifierKey, checkpoint, consistency, entry, prove, standing, verify,
};

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = 0;
    for more in [0, 1, 1, 253, 1, 1, 300] {
        let log = open(dir.path(), quiet());
        assert_eq!(append(&log, at..at + more).unwrap(), at..at + more);
        at += more;
        assert_eq!(log.status().entries, at);
        log.close().unwrap();
        let report = verify(dir.path(), signer().verifier()).unwrap();
        assert_eq!((report.entries, report.faults.as_slice()), (at, &[][..]));
        assert_eq!(report.checkpoint.unwrap().size, at);
    }
    for number in 0..at {
        let read = entry(dir.path(), number).unwrap();
        assert_eq!((read.sequence, read.event), (number, event(number)));
    }
    assert!(matches!(entry(dir.path(), at), Err(AuditError::NotCovered { .. })));
    let segments = files(dir.path()).iter().filter(|name| name.starts_with("entries/")).count();
    assert!(segments > 5, "{segments} segments");
    // What full tiles replaced is gone.
    assert!(!files(dir.path()).iter().any(|name| name.starts_with("tile/0/000.p") || name.contains("entries/001.p")));
}

#[test]
fn a_log_is_one_process_at_a_time_and_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    assert!(matches!(Log::open(dir.path(), signer(), quiet()), Err(AuditError::InUse { .. })));
    append(&log, 0..3).unwrap();
    drop(log);
    let other = Signer::from_seed("log.example/site-1", &[2; 32]).unwrap();
    assert!(matches!(Log::open(dir.path(), other, quiet()), Err(AuditError::Damaged(_))));
    assert_eq!(append(&open(dir.path(), quiet()), 3..4).unwrap(), 3..4);
}

#[test]
fn those_who_wait_share_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let log = open_faulty(dir.path(), &faults, quiet()).unwrap();
    faults.close_gate();
    let before = faults.flushes();
    let first = log.append(vec![event(0)]);
    faults.wait_for_flush();
    let waiting: Vec<_> = (1..=50).map(|at| log.append(vec![event(at), event(at)])).collect();
    assert_eq!(log.status().entries, 0, "nothing is told before it is durable");
    faults.open_gate();
    assert_eq!(block_on(first).unwrap(), 0..1);
    for (at, range) in block_on(join_all(waiting)).into_iter().enumerate() {
        let from = 1 + 2 * at as u64;
        assert_eq!(range.unwrap(), from..from + 2);
    }
    assert_eq!(faults.flushes() - before, 2);
}

#[test]
fn threads_append_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { checkpoint_every: Duration::ZERO, ..quiet() });
    let mut ranges: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..40).map(|at| append(&log, at..at + 1 + at % 3).unwrap()).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    log.close().unwrap();
    ranges.sort_by_key(|range| range.end);
    let report = verify(dir.path(), signer().verifier()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(ranges.last().unwrap().end, report.entries);
}

#[test]
fn notes_are_bounded_and_losses_counted() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let log = open_faulty(dir.path(), &faults, quiet()).unwrap();
    faults.close_gate();
    let first = log.append(vec![event(0)]);
    faults.wait_for_flush();
    for at in 0..8 {
        log.note(event(at)).unwrap();
    }
    assert!(matches!(log.note(event(9)), Err(AuditError::Backlog { max: 8 })));
    assert_eq!((log.status().waiting, log.status().lost), (8, 1));
    faults.open_gate();
    block_on(first).unwrap();
    block_on(log.append(Vec::new())).unwrap();
    assert_eq!((log.status().waiting, log.status().lost, log.status().entries), (0, 1, 9));
    log.note(event(9)).unwrap();
    log.close().unwrap();
    assert_eq!(verify(dir.path(), signer().verifier()).unwrap().entries, 10);
}

#[test]
fn what_is_too_much_is_refused_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    let long = Event { resource: "x".repeat(ENTRY_MAX), ..event(0) };
    assert!(matches!(block_on(log.append(vec![event(0), long.clone()])), Err(AuditError::TooLong { .. })));
    assert!(matches!(log.note(long), Err(AuditError::TooLong { .. })));
    let many = vec![event(0); crate::APPEND_MAX + 1];
    assert!(matches!(block_on(log.append(many)), Err(AuditError::TooMany { .. })));
    assert_eq!(block_on(log.append(Vec::new())).unwrap(), 0..0);
    assert_eq!(log.status(), crate::Status { lost: 1, ..Default::default() });
}

#[test]
fn a_checkpoint_follows_an_append_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { checkpoint_every: Duration::ZERO, ..quiet() });
    append(&log, 0..1).unwrap();
    // The next message is taken after the checkpoint of the one before.
    block_on(log.append(Vec::new())).unwrap();
    assert_eq!(log.status().signed, 1);
    assert_eq!(log.status().state, State::Ok);
    let note = checkpoint(dir.path()).unwrap().unwrap();
    assert_eq!(crate::Checkpoint::open(&note, signer().verifier()).unwrap().size, 1);
}

#[test]
fn entries_are_proven_to_who_has_the_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let key: VerifierKey = signer().verifier().to_string().parse().unwrap();
    let mut size = 0;
    for more in [1, 1, 254, 1, 400] {
        let log = open(dir.path(), quiet());
        append(&log, size..size + more).unwrap();
        log.close().unwrap();
        size += more;
        for index in (0..size).step_by(37).chain([size - 1]) {
            let proof: InclusionProof = prove(dir.path(), index).unwrap().to_string().parse().unwrap();
            let logged = entry(dir.path(), index).unwrap();
            assert_eq!(proof.verify(&logged, &key).unwrap().size, size);
            let mut other = logged.clone();
            other.event.outcome = Outcome::Failed;
            assert!(matches!(proof.verify(&other, &key), Err(AuditError::BadProof(_))));
            let other = Entry { sequence: index + 1, ..logged };
            assert!(matches!(proof.verify(&other, &key), Err(AuditError::BadProof(_))));
        }
        assert!(matches!(prove(dir.path(), size), Err(AuditError::NotCovered { .. })));
    }
}

#[test]
fn a_proof_of_another_key_or_a_bent_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), quiet());
    append(&log, 0..20).unwrap();
    log.close().unwrap();
    let proof = prove(dir.path(), 7).unwrap();
    let logged = entry(dir.path(), 7).unwrap();
    let other = Signer::from_seed("log.example/site-1", &[2; 32]).unwrap();
    assert!(matches!(proof.verify(&logged, other.verifier()), Err(AuditError::Signature { .. })));
    let text = proof.to_string();
    for (from, to) in [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("index 7", "index 07"),
        ("index 7", "index"),
        ("index 7", "index 7\nx"),
        ("\n\n", "\n"),
        ("\n20\n", "\n020\n"),
        ("\nindex", "\nextra A\nextra B\nindex"),
    ] {
        assert!(text.replacen(from, to, 1).parse::<InclusionProof>().is_err(), "{from} -> {to}");
    }
    let extra: InclusionProof = text.replacen("\nindex", "\nextra AAAA\nindex", 1).parse().unwrap();
    assert_eq!(extra, proof);
    for (from, to) in [("index 7", "index 8"), ("\n20\n", "\n21\n")] {
        let bent: InclusionProof = text.replacen(from, to, 1).parse().unwrap();
        assert!(bent.verify(&logged, signer().verifier()).is_err(), "{from} -> {to}");
    }
}

#[test]
fn a_log_that_only_grew_is_told_from_one_that_was_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut notes = Vec::new();
    let mut size = 0;
    for more in [0, 1, 2, 250, 3, 1, 300, 0] {
        let log = open(dir.path(), quiet());
        append(&log, size..size + more).unwrap();
        log.close().unwrap();
        size += more;
        notes.push((size, checkpoint(dir.path()).unwrap().unwrap()));
    }
    let key = signer().verifier().clone();
    for (old, note) in &notes {
        let proof = consistency(dir.path(), *old).unwrap();
        assert_eq!(proof.verify(note, &key).unwrap().size, size, "from {old}");
        if *old > 1 {
            let (_, other) = &notes[1];
            assert!(proof.verify(other, &key).is_err(), "{old} is not 1");
        }
    }
    assert!(matches!(consistency(dir.path(), size + 1), Err(AuditError::NotCovered { .. })));
    // The owner of the key writes another history of the same length.
    let forged = tempfile::tempdir().unwrap();
    let log = open(forged.path(), quiet());
    append(&log, 1..size + 1).unwrap();
    log.close().unwrap();
    assert!(verify(forged.path(), &key).unwrap().is_whole());
    for (old, note) in notes.iter().filter(|(old, _)| *old > 0) {
        let proof = consistency(forged.path(), *old).unwrap();
        assert!(matches!(proof.verify(note, &key), Err(AuditError::BadProof(_))), "from {old}");
    }
}

#[test]
fn how_a_log_stands_is_read_from_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(standing(dir.path(), 0), Err(AuditError::Damaged(_))), "no log");
    let log = open(dir.path(), Options { reserve_bytes: 5_000, ..quiet() });
    let none = standing(dir.path(), 0).unwrap();
    assert_eq!((none.signed, none.last_ms, none.lately, none.reserve_bytes), (0, None, 0, 5_000));
    append(&log, 0..700).unwrap();
    log.close().unwrap();
    let first_ms = event(0).time_ms;
    for (since, lately) in [(0, 700), (1, 699), (255, 445), (256, 444), (699, 1), (700, 0)] {
        let told = standing(dir.path(), first_ms + since).unwrap();
        assert_eq!((told.signed, told.first_ms, told.last_ms), (700, Some(first_ms), Some(first_ms + 699)));
        assert_eq!(told.lately, lately, "{since}");
        assert!(told.bytes > 700 * 200 && told.bytes < 700 * 2_000, "{}", told.bytes);
        assert!(told.free_bytes > 0);
    }
    std::fs::remove_file(dir.path().join("reserve")).unwrap();
    assert_eq!(standing(dir.path(), 0).unwrap().reserve_bytes, 0);
}
