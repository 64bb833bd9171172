//! Where a file's bytes lie: extents of ext4, and the block maps of ext2 and ext3.

use super::{Ext4, Inode};
use crate::blocks::Blocks;
use crate::le::{u16_at, u32_at, u64_of};
use crate::problem::Problem;

const EXTENT_MAGIC: u16 = 0xf30a;
/// The kernel makes no deeper trees.
const DEPTH_MAX: u16 = 5;
/// Pieces of one file that are followed, holes among them: a file of 4 TiB in pieces of 1 MiB. A tree that leads back to itself has no end.
const PIECES_MAX: usize = 4 << 20;
/// An extent that is longer was never written: its bytes are zeros.
const WRITTEN_MAX: u16 = 0x8000;

/// Blocks of a file that lie together. What lies between two runs are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first one's number in the file.
    pub logical: u64,
    /// Its number on the disk.
    pub physical: u64,
    /// Blocks.
    pub len: u64,
}

impl<B: Blocks> Ext4<B> {
    /// Where a file's bytes lie, in the file's order; nothing for what is kept in the inode.
    ///
    /// # Errors
    /// [`Problem::Damaged`], [`Problem::Limit`], [`Problem::Encrypted`], or a read's.
    pub fn runs(&self, inode: &Inode) -> Result<Vec<Run>, Problem> {
        if inode.is_encrypted() {
            return Err(Problem::Encrypted);
        }
        if inode.is_inline() || inode.is_short_link() {
            return Ok(Vec::new());
        }
        let mut map = Map::default();
        if inode.has_extents() {
            self.extents(inode.map(), None, &mut map)?;
        } else {
            self.block_map(inode, &mut map)?;
        }
        let runs = map.runs;
        // What lies twice at one place of the file, or backwards, has no meaning.
        if runs.windows(2).any(|two| two[0].logical + two[0].len > two[1].logical) {
            return Err(Problem::Damaged("extents that overlap"));
        }
        Ok(runs)
    }

    /// A node of the tree; the depth that it must have, but for the root.
    fn extents(&self, node: &[u8], depth: Option<u16>, map: &mut Map) -> Result<(), Problem> {
        let (magic, count, tells) = (u16_at(node, 0), usize::from(u16_at(node, 2)), u16_at(node, 6));
        if magic != EXTENT_MAGIC || tells > DEPTH_MAX || depth.is_some_and(|depth| depth != tells) {
            return Err(Problem::Damaged("a tree of extents"));
        }
        let entries =
            node.get(12..12 + count * 12).ok_or(Problem::Damaged("a node with more extents than fit into it"))?;
        for entry in entries.chunks_exact(12) {
            map.step()?;
            if tells > 0 {
                let child = u64_of(u32_at(entry, 4), u32::from(u16_at(entry, 8)));
                self.extents(&self.read_block(child)?, Some(tells - 1), map)?;
                continue;
            }
            let len = u16_at(entry, 4);
            // Holes and what was never written are the same to a reader.
            if len <= WRITTEN_MAX {
                let physical = u64_of(u32_at(entry, 8), u32::from(u16_at(entry, 6)));
                map.add(Run { logical: u64::from(u32_at(entry, 0)), physical, len: u64::from(len) });
            }
        }
        Ok(())
    }

    /// Twelve blocks, and trees of one, two and three levels.
    fn block_map(&self, inode: &Inode, map: &mut Map) -> Result<(), Problem> {
        let blocks = inode.size().div_ceil(self.head.block_size);
        let mut logical = 0;
        for slot in 0..15 {
            if logical >= blocks {
                break;
            }
            let level = slot.max(11) as u32 - 11;
            self.pointer(u64::from(u32_at(inode.map(), slot * 4)), level, blocks, &mut logical, map)?;
        }
        Ok(())
    }

    /// What a pointer leads to over so many levels.
    fn pointer(&self, block: u64, level: u32, blocks: u64, logical: &mut u64, map: &mut Map) -> Result<(), Problem> {
        map.step()?;
        let each = self.head.block_size / 4;
        if block == 0 {
            *logical += each.pow(level);
        } else if level == 0 {
            map.add(Run { logical: *logical, physical: block, len: 1 });
            *logical += 1;
        } else {
            for pointer in self.read_block(block)?.chunks_exact(4) {
                if *logical >= blocks {
                    break;
                }
                self.pointer(u64::from(u32_at(pointer, 0)), level - 1, blocks, logical, map)?;
            }
        }
        Ok(())
    }
}

/// What was found so far.
#[derive(Default)]
struct Map {
    runs: Vec<Run>,
    steps: usize,
}

impl Map {
    fn step(&mut self) -> Result<(), Problem> {
        self.steps += 1;
        if self.steps > PIECES_MAX { Err(Problem::Limit("pieces of a file")) } else { Ok(()) }
    }

    /// Adds a run, to the last one if it goes on.
    fn add(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.logical + last.len == run.logical && last.physical + last.len == run.physical => {
                last.len += run.len;
            }
            _ if run.len > 0 => self.runs.push(run),
            _ => {}
        }
    }
}
