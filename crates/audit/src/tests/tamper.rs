//! Somebody changes the files. Each change is found, and its place named.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::folder::segment_name;
use crate::line;
use crate::tree::Edge;
use crate::{Entry, Fault, Wrong, checkpoint, prove, verify};

/// Entries of the log that is tampered with: two full tiles and a partial one, in some segments.
const SIZE: u64 = 530;

struct Forger {
    dir: tempfile::TempDir,
}

impl Forger {
    /// A log of [`SIZE`] entries under a checkpoint, in a folder of its own.
    fn new() -> Self {
        static LOG: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
        let made = LOG.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let log = open(dir.path(), quiet());
            append(&log, 0..SIZE).unwrap();
            log.close().unwrap();
            let read = |name: String| (name.clone(), std::fs::read(dir.path().join(name)).unwrap());
            files(dir.path()).into_iter().map(read).collect()
        });
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in made {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Segments' first entries.
    fn segments(&self) -> Vec<u64> {
        Folder::at(self.path()).segments().unwrap()
    }

    /// The segment of an entry, and its line there.
    fn find(&self, sequence: u64) -> (String, usize) {
        let first = self.segments().into_iter().rfind(|first| *first <= sequence).unwrap();
        (segment_name(first), (sequence - first) as usize)
    }

    fn lines(&self, name: &str) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.path().join(name)).unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    fn edit_lines(&self, sequence: u64, edit: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let (name, at) = self.find(sequence);
        let mut lines = self.lines(&name);
        edit(&mut lines, at);
        std::fs::write(self.path().join(name), lines.concat()).unwrap();
    }

    /// Writes the entries anew from `sequence` on, that one changed, with a chain that fits.
    fn rewrite(&self, sequence: u64) {
        let (mut prev, mut next) = (line::GENESIS, 0);
        for first in self.segments() {
            let mut bytes = Vec::new();
            for old in self.lines(&segment_name(first)) {
                let mut entry = Entry::decode(line::read(&old).unwrap().canonical).unwrap();
                if next == sequence {
                    entry.event.principal = "nobody".to_owned();
                }
                prev = line::write(&mut bytes, &prev, &entry.encode().unwrap());
                next += 1;
            }
            std::fs::write(self.path().join(segment_name(first)), bytes).unwrap();
        }
    }

    /// Tiles, bundles and a checkpoint for the entries as they are now.
    fn retile(&self, signer: &Signer) {
        std::fs::remove_dir_all(self.path().join("tile")).unwrap();
        let size = self.segments().iter().map(|first| self.lines(&segment_name(*first)).len() as u64).sum();
        crate::publish::Publisher::new().publish(&Folder::at(self.path()), signer, size).unwrap();
    }

    /// The faults that are found, and that the log does not open where entries or the checkpoint are wrong.
    fn faults(&self) -> Vec<Fault> {
        let before = files(self.path());
        let report = verify(self.path(), signer().verifier()).unwrap();
        assert_eq!(files(self.path()), before, "verifying changes nothing");
        report.faults
    }
}

fn found(sequence: u64, file: &str, wrong: Wrong) -> Vec<Fault> {
    vec![Fault { sequence, file: file.to_owned(), wrong }]
}

#[test]
fn the_untouched_log_is_whole() {
    let forger = Forger::new();
    assert_eq!(forger.faults(), []);
    assert!(forger.segments().len() > 5);
}

#[test]
fn entries_changed_dropped_and_swapped() {
    type Edit = fn(&mut Vec<Vec<u8>>, usize);
    type Found = fn(u64) -> Wrong;
    let flip: Edit = |lines, at| {
        let middle = lines[at].len() - 40;
        lines[at][middle] ^= 1;
    };
    let hash: Edit = |lines, at| lines[at][100] = if lines[at][100] == b'0' { b'1' } else { b'0' };
    let prev: Edit = |lines, at| lines[at][20] = if lines[at][20] == b'0' { b'1' } else { b'0' };
    let frame: Edit = |lines, at| lines[at][0] = b'[';
    let upper: Edit = |lines, at| {
        lines[at].make_ascii_uppercase();
    };
    let empty: Edit = |lines, at| lines[at] = b"\n".to_vec();
    let long: Edit = |lines, at| {
        let room = lines[at].len() - 1;
        lines[at].splice(room..room, vec![b' '; 20_000]);
    };
    let drop: Edit = |lines, at| {
        lines.remove(at);
    };
    let twice: Edit = |lines, at| {
        let again = lines[at].clone();
        lines.insert(at, again);
    };
    let swap: Edit = |lines, at| lines.swap(at, at + 1);
    let join: Edit = |lines, at| {
        lines[at].pop();
    };
    // What is done at an entry, where it is found behind that, and as what.
    let table: [(&str, Edit, u64, Found); 11] = [
        ("flip", flip, 0, |_| Wrong::Altered),
        ("hash", hash, 0, |_| Wrong::Altered),
        ("prev", prev, 0, |_| Wrong::Altered),
        ("frame", frame, 0, |_| Wrong::Format),
        ("upper", upper, 0, |_| Wrong::Format),
        ("empty", empty, 0, |_| Wrong::Format),
        ("long", long, 0, |_| Wrong::Format),
        ("drop", drop, 0, |at| Wrong::Sequence { found: at + 1 }),
        ("twice", twice, 1, |at| Wrong::Sequence { found: at - 1 }),
        ("swap", swap, 0, |at| Wrong::Sequence { found: at + 1 }),
        ("join", join, 0, |_| Wrong::Altered),
    ];
    for (what, edit, behind, wrong) in table {
        for at in [0, 1, 255, 256, 300, SIZE - 2] {
            let forger = Forger::new();
            let (name, line) = forger.find(at);
            // A swap needs a neighbour in the same segment.
            if line + 1 == forger.lines(&name).len() {
                continue;
            }
            forger.edit_lines(at, edit);
            let place = at + behind;
            assert_eq!(forger.faults(), found(place, &name, wrong(place)), "{what} at {at}");
            let Err(AuditError::Damaged(fault)) = Log::open(forger.path(), signer(), quiet()) else {
                panic!("{what} at {at}: it was opened");
            };
            assert_eq!((fault.sequence, fault.wrong), (place, wrong(place)), "{what} at {at}");
        }
    }
}

#[test]
fn segments_removed_and_cut() {
    let count = Forger::new().segments().len();
    for at in 0..count {
        let forger = Forger::new();
        let first = forger.segments()[at];
        std::fs::remove_file(forger.path().join(segment_name(first))).unwrap();
        let before = at.checked_sub(1).map_or(0, |before| forger.segments()[before]);
        assert_eq!(forger.faults(), found(first, &segment_name(before), Wrong::Missing), "segment {at}");
        assert!(Log::open(forger.path(), signer(), quiet()).is_err());

        let forger = Forger::new();
        forger.edit(&segment_name(first), |bytes| bytes.truncate(bytes.len() - 1));
        let last = forger.segments().get(at + 1).copied().unwrap_or(SIZE) - 1;
        let wrong = if at + 1 == count { Wrong::Missing } else { Wrong::Torn };
        assert_eq!(forger.faults(), found(last, &segment_name(first), wrong), "segment {at}");
        assert!(Log::open(forger.path(), signer(), quiet()).is_err());

        let forger = Forger::new();
        forger.edit_lines(first, |lines, _| lines.truncate(1));
        let found_at = if first + 1 == SIZE { vec![] } else { found(first + 1, &segment_name(first), Wrong::Missing) };
        assert_eq!(forger.faults(), found_at, "segment {at}");
    }
}

#[test]
fn a_history_rewritten_with_a_chain_that_fits() {
    for at in [0, 1, 255, 256, 511, 512, SIZE - 1] {
        // The tiles still know.
        let forger = Forger::new();
        forger.rewrite(at);
        assert_eq!(forger.faults(), found(at, &forger.find(at).0, Wrong::Altered), "{at}");
        assert!(Log::open(forger.path(), signer(), quiet()).is_err());

        // They are made to fit too, but the checkpoint cannot be.
        let note = checkpoint(forger.path()).unwrap().unwrap();
        forger.retile(&Signer::from_seed("log.example/site-1", &[2; 32]).unwrap());
        assert_eq!(forger.faults(), found(0, "checkpoint", Wrong::Checkpoint), "another key, {at}");
        assert!(Log::open(forger.path(), signer(), quiet()).is_err());
        assert!(
            prove(forger.path(), at)
                .unwrap()
                .verify(&crate::entry(forger.path(), at).unwrap(), signer().verifier())
                .is_err()
        );

        std::fs::write(forger.path().join("checkpoint"), &note).unwrap();
        assert_eq!(forger.faults(), found(SIZE, "checkpoint", Wrong::Root), "the old checkpoint, {at}");
        assert!(Log::open(forger.path(), signer(), quiet()).is_err());
        assert!(prove(forger.path(), at).is_err());
    }
}

#[test]
fn checkpoints_changed() {
    let note = |name: &str, seed: u8, size: u64, root| {
        let signer = Signer::from_seed(name, &[seed; 32]).unwrap();
        Checkpoint { origin: name.to_owned(), size, root }.sign(&signer)
    };
    let good = Forger::new();
    let true_note = checkpoint(good.path()).unwrap().unwrap();
    let root = Checkpoint::open(&true_note, signer().verifier()).unwrap().root;
    let table = [
        ("another root", note("log.example/site-1", 1, SIZE, [0; 32]), SIZE, Wrong::Root),
        ("another name", note("log.example/site-2", 1, SIZE, root), 0, Wrong::Checkpoint),
        ("another key", note("log.example/site-1", 2, SIZE, root), 0, Wrong::Checkpoint),
        ("another size", true_note.replacen("530", "529", 1), 0, Wrong::Checkpoint),
        ("nothing", String::new(), 0, Wrong::Checkpoint),
        ("half", true_note[..true_note.len() / 2].to_owned(), 0, Wrong::Checkpoint),
        ("no text", "\u{fffd}".to_owned(), 0, Wrong::Checkpoint),
    ];
    for (what, note, sequence, wrong) in table {
        std::fs::write(good.path().join("checkpoint"), note).unwrap();
        assert_eq!(good.faults(), found(sequence, "checkpoint", wrong), "{what}");
        assert!(Log::open(good.path(), signer(), quiet()).is_err(), "{what}");
    }
    // More entries are signed than there are.
    std::fs::write(good.path().join("checkpoint"), note("log.example/site-1", 1, SIZE + 1, root)).unwrap();
    assert_eq!(good.faults()[0].sequence, SIZE);
    std::fs::remove_file(good.path().join("checkpoint")).unwrap();
    assert_eq!(good.faults(), found(0, "checkpoint", Wrong::CheckpointMissing));
    let Err(AuditError::Damaged(fault)) = Log::open(good.path(), signer(), quiet()) else { panic!("it was opened") };
    assert_eq!(fault.wrong, Wrong::CheckpointMissing, "what lost its checkpoint is not signed again");
}

#[test]
fn tiles_and_bundles_changed_and_removed() {
    let names: Vec<String> = files(Forger::new().path()).into_iter().filter(|name| name.starts_with("tile/")).collect();
    assert_eq!(
        names,
        [
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/18",
            "tile/1/000.p/2",
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/18"
        ]
    );
    for name in &names {
        let index: u64 = name.rsplit_once(".p").map_or(name.as_str(), |(name, _)| name)[name.rfind("00").unwrap()..]
            .parse()
            .unwrap();
        let first = if name.starts_with("tile/1") { 0 } else { index * 256 };
        let forger = Forger::new();
        forger.edit(name, |bytes| bytes[2] ^= 1);
        assert_eq!(forger.faults(), found(first, name, Wrong::Tile));
        // What entries there are is not in doubt, so the log still opens.
        drop(open(forger.path(), quiet()));

        let forger = Forger::new();
        forger.edit(name, |bytes| bytes.truncate(40));
        let second = if name.starts_with("tile/1") { 256 } else { first + u64::from(!name.contains("entries")) };
        assert_eq!(forger.faults(), found(second, name, Wrong::Tile));

        let forger = Forger::new();
        forger.edit(name, |bytes| bytes.push(0));
        assert_eq!(forger.faults().len(), 1, "{name}");

        let forger = Forger::new();
        std::fs::remove_file(forger.path().join(name)).unwrap();
        assert_eq!(forger.faults(), found(first, name, Wrong::TileMissing));
        if !name.contains("entries") {
            assert!(matches!(prove(forger.path(), first), Err(AuditError::Damaged(_))), "{name}");
        }
    }
}

#[test]
fn behind_the_checkpoint_the_chain_alone_holds() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let log = open_faulty(dir.path(), &faults, quiet()).unwrap();
    append(&log, 0..3).unwrap();
    // It dies without its last checkpoint.
    faults.die_after(1);
    assert!(log.close().is_err());
    let report = verify(dir.path(), signer().verifier()).unwrap();
    assert!(report.is_whole());
    assert_eq!((report.entries, report.checkpoint.unwrap().size), (3, 0));
    let segment = dir.path().join(segment_name(0));
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let report = verify(dir.path(), signer().verifier()).unwrap();
    assert_eq!(report.first_wrong(), Some(1), "{report:?}");
}

#[test]
fn the_tree_of_the_whole_log_is_the_entries_tree() {
    let forger = Forger::new();
    let mut edge = Edge::default();
    for at in 0..SIZE {
        edge.push(crate::tree::leaf_hash(&crate::entry(forger.path(), at).unwrap().encode().unwrap()));
    }
    let note = checkpoint(forger.path()).unwrap().unwrap();
    assert_eq!(Checkpoint::open(&note, signer().verifier()).unwrap().root, edge.root());
}
