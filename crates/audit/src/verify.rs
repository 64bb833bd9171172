//! Reads a whole log and says whether it is what was written and signed. Needs no server and no secret.

use std::path::Path;

use crate::VerifierKey;
use crate::checkpoint::Checkpoint;
use crate::error::{AuditError, Fault, Wrong};
use crate::folder::{CHECKPOINT, Folder, segment_name};
use crate::note::NOTE_MAX;
use crate::scan::{Position, Scan};
use crate::tile::{self, BUNDLE_MAX, Row, TILE_MAX};
use crate::tree::{Edge, TILE_HEIGHT, TILE_WIDTH, leaf_hash};

/// What a log is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries read, up to the first that is wrong.
    pub entries: u64,
    /// The checkpoint, if the key signed it. Entries behind its size are held by the chain alone: whoever can write
    /// the folder could have changed them.
    pub checkpoint: Option<Checkpoint>,
    /// Bytes of a last line that is not whole: a crash, or an append that is going on.
    pub torn_bytes: u64,
    /// What is wrong: of the entries, the tiles and the checkpoint at most the first thing each.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// The first entry that is wrong, missing, or not vouched for any more.
    pub fn first_wrong(&self) -> Option<u64> {
        self.faults.iter().map(|fault| fault.sequence).min()
    }
}

/// Reads everything in a log's folder and computes it anew: the chain, the tree, tiles and bundles, the checkpoint's
/// signature. Changes nothing. Memory is bounded by one bundle (4 MiB); the time is that of reading the folder and
/// hashing each entry twice.
///
/// A folder that is being written may be read too: what is appended meanwhile is beyond the checkpoint.
///
/// # Errors
/// [`AuditError::Io`] when a file cannot be read. What is wrong with the log is no error but in the [`Report`].
pub fn verify(dir: &Path, key: &VerifierKey) -> Result<Report, AuditError> {
    verify_by(dir, |note| Checkpoint::open(note, key))
}

/// As [`verify`], where no key is at hand: believes the checkpoint, so that it finds what was damaged, and not what
/// somebody made anew from the beginning.
///
/// # Errors
/// As [`verify`].
pub fn verify_unsigned(dir: &Path) -> Result<Report, AuditError> {
    verify_by(dir, Checkpoint::open_unverified)
}

fn verify_by(dir: &Path, open: impl Fn(&str) -> Result<Checkpoint, AuditError>) -> Result<Report, AuditError> {
    let folder = Folder::at(dir);
    let mut report = Report { entries: 0, checkpoint: None, torn_bytes: 0, faults: Vec::new() };
    match read_checkpoint(&folder)?.map(|note| open(&note)) {
        Some(Ok(checkpoint)) => report.checkpoint = Some(checkpoint),
        Some(Err(_)) => report.faults.push(at_checkpoint(0, Wrong::Checkpoint)),
        None => report.faults.push(at_checkpoint(0, Wrong::CheckpointMissing)),
    }
    let size = report.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let mut tiles = Tiles::new(&folder, size);
    let mut scan = Scan::new(&folder, Position::START);
    let stopped = loop {
        let number = scan.position();
        match scan.next() {
            Ok(Some(canonical)) if number.next < size => tiles.take(canonical, number.first)?,
            Ok(Some(_)) => {}
            Ok(None) if number.next < size => break Some(scan.missing()),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    report.entries = scan.position().next;
    report.torn_bytes = scan.torn();
    match stopped {
        None => tiles.judge(report.checkpoint.as_ref(), &mut report.faults)?,
        Some(AuditError::Damaged(fault)) => {
            tiles.leave(&mut report.faults);
            report.faults.push(fault);
        }
        Some(error) => return Err(error),
    }
    report.faults.sort_by_key(|fault| fault.sequence);
    Ok(report)
}

/// The note of the newest checkpoint, as it is: whoever gets it opens it with [`Checkpoint::open`]. `None` when there
/// is none.
///
/// # Errors
/// [`AuditError::Io`], [`AuditError::BadCheckpoint`] when it is no text.
pub fn checkpoint(dir: &Path) -> Result<Option<String>, AuditError> {
    let folder = Folder::at(dir);
    match folder.read(CHECKPOINT, NOTE_MAX)? {
        None => Ok(None),
        Some(note) => String::from_utf8(note).map(Some).map_err(|_| AuditError::BadCheckpoint("it is no text")),
    }
}

/// As [`checkpoint`], where bytes that are no text are one more way of being wrong.
fn read_checkpoint(folder: &Folder) -> Result<Option<String>, AuditError> {
    let note = folder.read(CHECKPOINT, NOTE_MAX)?;
    Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
}

fn at_checkpoint(sequence: u64, wrong: Wrong) -> Fault {
    Fault { sequence, file: CHECKPOINT.to_owned(), wrong }
}

/// Compares stored tiles with those that the entries give.
struct Tiles<'a> {
    folder: &'a Folder,
    edge: Edge,
    /// Entries under the checkpoint.
    size: u64,
    /// The stored leaf tile of the entry at hand.
    leaves: Vec<u8>,
    /// The bundle so far, and where in it its entries begin.
    bundle: Vec<u8>,
    starts: Vec<usize>,
    /// The first entry that is not what its leaf says, its segment, and the tile.
    differs: Option<(u64, u64, String)>,
    /// The first tile, of any level, that is wrong.
    fault: Option<Fault>,
}

impl<'a> Tiles<'a> {
    fn new(folder: &'a Folder, size: u64) -> Self {
        Self {
            folder,
            edge: Edge::default(),
            size,
            leaves: Vec::new(),
            bundle: Vec::new(),
            starts: Vec::new(),
            differs: None,
            fault: None,
        }
    }

    /// Takes the next entry, which lies in the segment `first`.
    fn take(&mut self, canonical: &[u8], first: u64) -> Result<(), AuditError> {
        let number = self.edge.size();
        let place = (number % TILE_WIDTH as u64) as usize;
        let index = number / TILE_WIDTH as u64;
        if place == 0 {
            self.leaves = self.read(Row::Hashes(0), index)?.unwrap_or_default();
        }
        let leaf = leaf_hash(canonical);
        // A tile that is not there is told once, below.
        if self.differs.is_none() && tile::hash_at(&self.leaves, place).is_some_and(|stored| stored != leaf) {
            self.differs = Some((number, first, name(Row::Hashes(0), index, self.size)));
        }
        self.starts.push(self.bundle.len());
        tile::bundle(&mut self.bundle, canonical);
        let filled = self.edge.push(leaf);
        if !filled.is_empty() || self.edge.size() == self.size {
            let bundle = std::mem::take(&mut self.bundle);
            let starts = std::mem::take(&mut self.starts);
            self.compare(Row::Entries, index, &bundle, |byte| {
                index * TILE_WIDTH as u64 + starts.partition_point(|start| *start <= byte).saturating_sub(1) as u64
            })?;
        }
        for tile in filled {
            self.compare_hashes(tile.level, tile.index, &tile::encode(&tile.hashes))?;
        }
        Ok(())
    }

    /// Once all entries under the checkpoint are in: compares the last tiles and the root, and says who is wrong.
    fn judge(mut self, checkpoint: Option<&Checkpoint>, faults: &mut Vec<Fault>) -> Result<(), AuditError> {
        for level in 0..self.edge.levels() {
            let hashes = tile::encode(self.edge.partial(level));
            if !hashes.is_empty() {
                let index = self.size >> (TILE_HEIGHT * (u32::from(level) + 1));
                self.compare_hashes(level, index, &hashes)?;
            }
        }
        if checkpoint.is_some_and(|checkpoint| checkpoint.root != self.edge.root()) {
            // The entries are not those that were signed; the tiles may still know which one it is.
            match self.differs.take() {
                Some((sequence, first, _)) => {
                    faults.push(Fault { sequence, file: segment_name(first), wrong: Wrong::Altered });
                }
                None => faults.push(at_checkpoint(self.size, Wrong::Root)),
            }
        } else {
            faults.extend(self.fault);
        }
        Ok(())
    }

    /// Where the entries ended early: what differed before can be told, though not whose fault it is.
    fn leave(self, faults: &mut Vec<Fault>) {
        match self.differs {
            Some((sequence, _, file)) => faults.push(Fault { sequence, file, wrong: Wrong::Leaf }),
            None => faults.extend(self.fault),
        }
    }

    fn compare_hashes(&mut self, level: u8, index: u64, expected: &[u8]) -> Result<(), AuditError> {
        // Leaves below a hash of this level.
        let height = TILE_HEIGHT * u32::from(level);
        self.compare(Row::Hashes(level), index, expected, |byte| {
            (index * TILE_WIDTH as u64 + (byte / tile::len(1)) as u64) << height
        })
    }

    /// `entry` gives the first entry that a byte of the tile tells of.
    fn compare(
        &mut self,
        row: Row,
        index: u64,
        expected: &[u8],
        entry: impl Fn(usize) -> u64,
    ) -> Result<(), AuditError> {
        let stored = self.read(row, index)?;
        let (byte, wrong) = match stored {
            None => (0, Wrong::TileMissing),
            Some(stored) if stored == expected => return Ok(()),
            Some(stored) => {
                let same = stored.iter().zip(expected).take_while(|(stored, expected)| stored == expected).count();
                (same.min(expected.len().saturating_sub(1)), Wrong::Tile)
            }
        };
        let fault = Fault { sequence: entry(byte), file: name(row, index, self.size), wrong };
        if self.fault.as_ref().is_none_or(|first| fault.sequence < first.sequence) {
            self.fault = Some(fault);
        }
        Ok(())
    }

    /// A tile as the checkpoint's tree has it.
    fn read(&self, row: Row, index: u64) -> Result<Option<Vec<u8>>, AuditError> {
        read(self.folder, row, index, self.size)
    }
}

/// Hashes or entries that a tile has in a tree of `size` leaves.
fn width(row: Row, index: u64, size: u64) -> usize {
    let level = if let Row::Hashes(level) = row { level } else { 0 };
    let hashes = (size >> (TILE_HEIGHT * u32::from(level))).saturating_sub(index * TILE_WIDTH as u64);
    hashes.min(TILE_WIDTH as u64) as usize
}

/// The path of a tile of a tree of `size` leaves.
pub(crate) fn name(row: Row, index: u64, size: u64) -> String {
    match width(row, index, size) {
        TILE_WIDTH => tile::path(row, index),
        width => tile::partial(row, index, width),
    }
}

/// Reads a tile of a tree of `size` leaves: the partial one, or where a full one has replaced it the beginning of
/// that. `None` when neither is there.
pub(crate) fn read(folder: &Folder, row: Row, index: u64, size: u64) -> Result<Option<Vec<u8>>, AuditError> {
    let max = if row == Row::Entries { BUNDLE_MAX } else { TILE_MAX };
    if let Some(bytes) = folder.read(&name(row, index, size), max)? {
        return Ok(Some(bytes));
    }
    let width = width(row, index, size);
    if width == TILE_WIDTH {
        return Ok(None);
    }
    let Some(mut bytes) = folder.read(&tile::path(row, index), max)? else { return Ok(None) };
    bytes.truncate(if row == Row::Entries { tile::bundle_len(&bytes, width) } else { tile::len(width) });
    Ok(Some(bytes))
}
