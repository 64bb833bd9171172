//! Tiles, bundles and checkpoints, made from the segments. Nothing here holds more of the log than one tile's worth
//! of entries: what was appended is read back, which right after it was written costs no disk.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use crate::Signer;
use crate::checkpoint::Checkpoint;
use crate::error::AuditError;
use crate::folder::Folder;
use crate::scan::{Position, Scan};
use crate::tile::{self, Row};
use crate::tree::{Edge, Filled, Hash, TILE_HEIGHT, TILE_WIDTH, leaf_hash};

/// Makes the tiles of a growing log.
pub(crate) struct Publisher {
    edge: Edge,
    /// The entries of the last, partial bundle.
    bundle: Vec<u8>,
    /// Behind the last entry that is in `edge`.
    at: Position,
    /// Entries under the last checkpoint.
    signed: u64,
    /// Files that are still to be written. More than one step's only after a failure.
    queue: VecDeque<(String, Vec<u8>)>,
    /// Folders of partial tiles that full ones replace, once a checkpoint covers these.
    replaced: Vec<String>,
    /// Folders that are to be flushed before the next checkpoint.
    dirs: BTreeSet<PathBuf>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        Self {
            edge: Edge::default(),
            bundle: Vec::new(),
            at: Position::START,
            signed: 0,
            queue: VecDeque::new(),
            replaced: Vec::new(),
            dirs: BTreeSet::new(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Entries under the last checkpoint.
    pub(crate) fn signed(&self) -> u64 {
        self.signed
    }

    /// Takes in an entry whose tiles were written long ago.
    pub(crate) fn take_known(&mut self, canonical: &[u8]) {
        self.push(canonical);
        self.queue.clear();
        self.replaced.clear();
    }

    /// Says where in the segments the entries end that were taken in, and that they are under a checkpoint.
    pub(crate) fn stand_at(&mut self, at: Position) {
        self.at = at;
        self.signed = at.next;
    }

    /// Writes the tiles of all entries below `size`, makes them durable, then signs. A failure leaves the last
    /// checkpoint standing and can be tried again.
    pub(crate) fn publish(&mut self, folder: &Folder, signer: &Signer, size: u64) -> Result<(), AuditError> {
        self.write_queue(folder)?;
        let mut scan = Scan::new(folder, self.at);
        while self.edge.size() < size {
            let Some(canonical) = scan.next()? else { return Err(scan.missing()) };
            self.push(canonical);
            self.at = scan.position();
            self.write_queue(folder)?;
        }
        self.write_partials(folder)?;
        folder.sync_dirs(&self.dirs)?;
        let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), size, root: self.edge.root() };
        folder.put_checkpoint(&checkpoint.sign(signer))?;
        self.signed = size;
        self.dirs.clear();
        for name in self.replaced.drain(..) {
            if let Err(error) = folder.remove_partials(&name) {
                tracing::warn!(name, %error, "partial tiles that a full one replaced stay in the audit log");
            }
        }
        Ok(())
    }

    fn push(&mut self, canonical: &[u8]) {
        tile::bundle(&mut self.bundle, canonical);
        for Filled { level, index, hashes } in self.edge.push(leaf_hash(canonical)) {
            if level == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.queue.push_back((tile::path(Row::Entries, index), bundle));
                self.replaced.push(tile::partials(Row::Entries, index));
            }
            self.queue.push_back((tile::path(Row::Hashes(level), index), tile::encode(&hashes)));
            self.replaced.push(tile::partials(Row::Hashes(level), index));
        }
    }

    fn write_queue(&mut self, folder: &Folder) -> Result<(), AuditError> {
        while let Some((name, bytes)) = self.queue.front() {
            folder.write(name, bytes, &mut self.dirs)?;
            self.queue.pop_front();
        }
        Ok(())
    }

    /// A tile that the last checkpoint needs is never written again: its width changes with its bytes.
    fn write_partials(&mut self, folder: &Folder) -> Result<(), AuditError> {
        let size = self.edge.size();
        for level in 0..self.edge.levels() {
            let hashes = self.edge.partial(level);
            let height = TILE_HEIGHT * u32::from(level);
            if hashes.is_empty() || size >> height == self.signed >> height {
                continue;
            }
            let index = (size >> height) / TILE_WIDTH as u64;
            if level == 0 {
                let name = tile::partial(Row::Entries, index, hashes.len());
                folder.write(&name, &self.bundle, &mut self.dirs)?;
            }
            let name = tile::partial(Row::Hashes(level), index, hashes.len());
            folder.write(&name, &tile::encode(hashes), &mut self.dirs)?;
        }
        Ok(())
    }
}
