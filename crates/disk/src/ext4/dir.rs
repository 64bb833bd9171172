//! Names in a directory.
//!
//! The index of a large directory lies in blocks that look empty to who reads names one after the other, as is done here.

use super::superblock::Incompat;
use super::{Ext4, Inode};
use crate::blocks::Blocks;
use crate::le::{u16_at, u32_at};
use crate::problem::Problem;

/// Bytes of one directory that are read: some four million names.
const SIZE_MAX: u64 = 256 << 20;

impl<B: Blocks> Ext4<B> {
    /// Shows all names of a directory, and the inodes that they name, but itself and the one that it is in. What is behind damage is shown as well, as
    /// far as it can be told where it begins.
    ///
    /// # Errors
    /// The first thing that could not be read.
    pub(super) fn names(&self, inode: &Inode, mut see: impl FnMut(&[u8], u32)) -> Result<(), Problem> {
        let has_type = self.head.incompat.has(Incompat::FILETYPE);
        let mut see = |name: &[u8], inode: u32| {
            if name != b"." && name != b".." {
                see(name, inode);
            }
        };
        if inode.is_encrypted() {
            return Err(Problem::Encrypted);
        }
        if inode.is_inline() {
            let bytes = inode.inline();
            // The number of the one that it is in comes first, and the first sixty bytes end with a name of their own.
            let (first, rest) = bytes.split_at(60);
            return block(&first[4..], has_type, &mut see).and(block(rest, has_type, &mut see));
        }
        if inode.size() > SIZE_MAX {
            return Err(Problem::Limit("bytes of a directory"));
        }
        let blocks = inode.size().div_ceil(self.head.block_size);
        let mut seen = Ok(());
        for run in self.runs(inode)? {
            for at in 0..run.len.min(blocks.saturating_sub(run.logical)) {
                let bytes = self.read_block(run.physical.saturating_add(at));
                seen = seen.and(bytes.and_then(|bytes| block(&bytes, has_type, &mut see)));
            }
        }
        seen
    }
}

/// Names in one block.
fn block(bytes: &[u8], has_type: bool, see: &mut impl FnMut(&[u8], u32)) -> Result<(), Problem> {
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let entry = &bytes[at..];
        let len = match usize::from(u16_at(entry, 4)) {
            // A block of 64 KiB has no room for its own length.
            0 | 0xffff if entry.len() == 1 << 16 => entry.len(),
            len => len,
        };
        // Without a kind beside it the name's length has two bytes.
        let name_len = if has_type { usize::from(entry[6]) } else { usize::from(u16_at(entry, 6)) };
        if len < 8 || !len.is_multiple_of(4) || len > entry.len() || 8 + name_len > len {
            return Err(Problem::Damaged("a directory"));
        }
        let inode = u32_at(entry, 0);
        if inode != 0 && name_len > 0 {
            see(&entry[8..8 + name_len], inode);
        }
        at += len;
    }
    Ok(())
}
