//! Proofs that an entry is in the log, and that the log only grew. They are made from the tiles, and verified with
//! nothing but the log's verifier key.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{self, Checkpoint};
use crate::error::{AuditError, Fault, Wrong};
use crate::folder::{CHECKPOINT, Folder};
use crate::tile::{self, Row};
use crate::tree::{self, Hash, Nodes, PROOF_MAX, TILE_HEIGHT, TILE_WIDTH, leaf_hash, perfect};
use crate::{Entry, VerifierKey, verify};

/// The first line of a proof (C2SP tlog-proof).
const MAGIC: &str = "c2sp.org/tlog-proof@v1";

/// That an entry is in the log. As text it is a C2SP tlog-proof, which carries the checkpoint that it proves for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    index: u64,
    path: Vec<Hash>,
    note: String,
}

impl InclusionProof {
    /// The number of the entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The note of the checkpoint that the proof is for.
    pub fn checkpoint(&self) -> &str {
        &self.note
    }

    /// Verifies that the log which the key belongs to holds this entry at its number. Returns the checkpoint, whose
    /// size and root are then proven too.
    ///
    /// # Errors
    /// [`AuditError::BadProof`] when it does not; [`AuditError::Signature`] and [`AuditError::BadCheckpoint`] when
    /// the checkpoint is not the log's.
    pub fn verify(&self, entry: &Entry, key: &VerifierKey) -> Result<Checkpoint, AuditError> {
        let checkpoint = Checkpoint::open(&self.note, key)?;
        if entry.sequence != self.index {
            return Err(AuditError::BadProof("it is for an entry of another number"));
        }
        let leaf = leaf_hash(&entry.encode()?);
        if !tree::verify_inclusion(&leaf, self.index, checkpoint.size, &self.path, &checkpoint.root) {
            return Err(AuditError::BadProof("the log's tree does not hold this entry"));
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}\nindex {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for InclusionProof {
    type Err = AuditError;

    /// Takes a proof apart; a line of extra data, which nobody vouches for, is passed over.
    fn from_str(text: &str) -> Result<Self, AuditError> {
        let (head, note) = text.split_once("\n\n").ok_or(AuditError::BadProof("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(MAGIC) {
            return Err(AuditError::BadProof("its first line is another"));
        }
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(checkpoint::decimal);
        let index = index.ok_or(AuditError::BadProof("it names no entry"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PROOF_MAX {
                return Err(AuditError::BadProof("it is too long"));
            }
            path.push(checkpoint::hash(line).ok_or(AuditError::BadProof("a hash is none"))?);
        }
        Checkpoint::open_unverified(note)?;
        Ok(Self { index, path, note: note.to_owned() })
    }
}

/// That the log only grew from one checkpoint to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    path: Vec<Hash>,
    note: String,
}

impl ConsistencyProof {
    /// The hashes, in RFC 6962's order.
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// The note of the later checkpoint.
    pub fn checkpoint(&self) -> &str {
        &self.note
    }

    /// Verifies that the log of the later checkpoint begins with that of the older one, which somebody kept. Returns
    /// the later one.
    ///
    /// # Errors
    /// [`AuditError::BadProof`] when it does not: the log was rewritten, or the proof is for another checkpoint;
    /// [`AuditError::Signature`] and [`AuditError::BadCheckpoint`] when one of the two is not the log's.
    pub fn verify(&self, old: &str, key: &VerifierKey) -> Result<Checkpoint, AuditError> {
        let old = Checkpoint::open(old, key)?;
        let new = Checkpoint::open(&self.note, key)?;
        if !tree::verify_consistency(old.size, &old.root, new.size, &new.root, &self.path) {
            return Err(AuditError::BadProof("the later log does not begin with the older one"));
        }
        Ok(new)
    }
}

/// Proves that the entry of a number is in the log, for the newest checkpoint. Reads some tiles, not the log; the
/// checkpoint's signature is left to who verifies.
///
/// # Errors
/// [`AuditError::NotCovered`] for an entry that is not there, or not yet under a checkpoint, which takes a second;
/// [`AuditError::Damaged`] when the tiles do not give the checkpoint's root; [`AuditError::Io`].
pub fn prove(dir: &Path, index: u64) -> Result<InclusionProof, AuditError> {
    let folder = Folder::at(dir);
    let (note, checkpoint) = newest(dir)?;
    let size = checkpoint.size;
    if index >= size {
        return Err(AuditError::NotCovered { sequence: index, size });
    }
    let mut tiles = Tiles { folder: &folder, size, read: HashMap::new() };
    let path = tree::inclusion(&mut tiles, index, size)?;
    let leaf = tiles.node(0, index)?;
    if !tree::verify_inclusion(&leaf, index, size, &path, &checkpoint.root) {
        return Err(unlike_the_root(size));
    }
    Ok(InclusionProof { index, path, note })
}

/// Proves that the log of the newest checkpoint begins with its first `old` entries as they were under an older
/// checkpoint.
///
/// # Errors
/// As [`prove`]; [`AuditError::NotCovered`] when the newest checkpoint is the smaller one: the log was set back.
pub fn consistency(dir: &Path, old: u64) -> Result<ConsistencyProof, AuditError> {
    let folder = Folder::at(dir);
    let (note, checkpoint) = newest(dir)?;
    let size = checkpoint.size;
    if old > size {
        return Err(AuditError::NotCovered { sequence: old - 1, size });
    }
    if old == 0 {
        return Ok(ConsistencyProof { path: Vec::new(), note });
    }
    let mut tiles = Tiles { folder: &folder, size, read: HashMap::new() };
    let path = tree::consistency(&mut tiles, old, size)?;
    if tree::range_root(&mut tiles, 0, size)? != checkpoint.root {
        return Err(unlike_the_root(size));
    }
    Ok(ConsistencyProof { path, note })
}

/// The entry of a number, from its bundle: what a proof is verified against.
///
/// # Errors
/// [`AuditError::NotCovered`], [`AuditError::Damaged`], [`AuditError::Io`].
pub fn entry(dir: &Path, index: u64) -> Result<Entry, AuditError> {
    let folder = Folder::at(dir);
    let size = newest(dir)?.1.size;
    if index >= size {
        return Err(AuditError::NotCovered { sequence: index, size });
    }
    let (bundle, place) = (index / TILE_WIDTH as u64, index % TILE_WIDTH as u64);
    let bytes = verify::read(&folder, Row::Entries, bundle, size)?;
    let fault = |wrong| Fault { sequence: index, file: verify::name(Row::Entries, bundle, size), wrong };
    let bytes = bytes.ok_or_else(|| fault(Wrong::TileMissing))?;
    let found = tile::unbundle(&bytes, place as usize).and_then(Entry::decode);
    found.filter(|entry| entry.sequence == index).ok_or_else(|| fault(Wrong::Tile).into())
}

/// Entries under the newest checkpoint, which is believed: those that [`entry`] and [`prove`] know.
///
/// # Errors
/// [`AuditError::Damaged`] when there is no checkpoint, [`AuditError::BadCheckpoint`], [`AuditError::Io`].
pub fn size(dir: &Path) -> Result<u64, AuditError> {
    Ok(newest(dir)?.1.size)
}

fn newest(dir: &Path) -> Result<(String, Checkpoint), AuditError> {
    let missing = || Fault { sequence: 0, file: CHECKPOINT.to_owned(), wrong: Wrong::CheckpointMissing };
    let note = verify::checkpoint(dir)?.ok_or_else(missing)?;
    let checkpoint = Checkpoint::open_unverified(&note)?;
    Ok((note, checkpoint))
}

fn unlike_the_root(size: u64) -> AuditError {
    Fault { sequence: size, file: CHECKPOINT.to_owned(), wrong: Wrong::Root }.into()
}

/// Hashes of a tree, from the stored tiles. A proof takes two tiles a level, 8 KiB each.
struct Tiles<'a> {
    folder: &'a Folder,
    size: u64,
    read: HashMap<(u8, u64), Vec<u8>>,
}

impl Nodes for Tiles<'_> {
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, AuditError> {
        let level = (height / TILE_HEIGHT) as u8;
        // The node lies above a power of two of the tile's hashes.
        let count = 1 << (height % TILE_HEIGHT);
        let first = index * count;
        let (tile, place) = (first / TILE_WIDTH as u64, (first % TILE_WIDTH as u64) as usize);
        let fault =
            |wrong| Fault { sequence: index << height, file: verify::name(Row::Hashes(level), tile, self.size), wrong };
        if !self.read.contains_key(&(level, tile)) {
            let bytes = verify::read(self.folder, Row::Hashes(level), tile, self.size)?;
            self.read.insert((level, tile), bytes.ok_or_else(|| fault(Wrong::TileMissing))?);
        }
        let bytes = self.read.get(&(level, tile)).map(Vec::as_slice).unwrap_or_default();
        let hashes: Option<Vec<Hash>> = (place..place + count as usize).map(|at| tile::hash_at(bytes, at)).collect();
        Ok(perfect(&hashes.ok_or_else(|| fault(Wrong::Tile))?))
    }
}
