//! ext2, ext3 and ext4, by the kernel's description ("ext4 Data Structures and Algorithms", `Documentation/filesystems/ext4`).
//!
//! Read are block maps and extents, inline data, large and small inodes, 64-bit and meta block groups. A journal that has to be replayed is
//! told ([`Ext4::needs_replay`]); encrypted directories and files are. Checksums are not looked at (`docs/design/0031-images.md`).

mod dir;
mod inode;
mod map;
mod read;
mod superblock;
#[cfg(test)]
mod tests;
mod walk;

pub use self::inode::{Inode, Kind};
pub use self::map::Run;
pub use self::read::Window;
pub use self::walk::Entry;

use self::superblock::{Incompat, Superblock};
use crate::blocks::Blocks;
use crate::le::{u32_at, u64_of};
use crate::problem::Problem;

/// A file system.
#[derive(Debug)]
pub struct Ext4<B> {
    blocks: B,
    head: Superblock,
}

/// The root directory's inode.
pub const ROOT: u32 = 2;

impl<B: Blocks> Ext4<B> {
    /// Looks whether there is one at the beginning of these bytes.
    ///
    /// # Errors
    /// [`Problem::Not`] where there is none, [`Problem::Unsupported`] where it is of a kind that is not read.
    pub fn open(blocks: B) -> Result<Self, Problem> {
        let head = Superblock::read(&blocks)?;
        Ok(Self { blocks, head })
    }

    /// Whether its journal has what is not in its place yet: what is read here may be older than what was last written.
    pub fn needs_replay(&self) -> bool {
        self.head.incompat.has(Incompat::RECOVER)
    }

    /// Its name.
    pub fn label(&self) -> String {
        String::from_utf8_lossy(&self.head.label).into_owned()
    }

    /// Bytes of a block: 1 to 64 KiB.
    pub fn block_size(&self) -> u64 {
        self.head.block_size
    }

    /// An inode.
    ///
    /// # Errors
    /// [`Problem::Damaged`] for a number that there is not.
    pub fn inode(&self, number: u32) -> Result<Inode, Problem> {
        if number == 0 || number > self.head.inodes {
            return Err(Problem::Damaged("a name of an inode that there is not"));
        }
        let index = number - 1;
        let (group, within) = (index / self.head.inodes_per_group, index % self.head.inodes_per_group);
        let at = self.inode_table(group)?.checked_mul(self.head.block_size);
        let at = at.and_then(|at| at.checked_add(u64::from(within) * self.head.inode_size as u64));
        let mut bytes = vec![0; self.head.inode_size];
        self.blocks.read_at(&mut bytes, at.ok_or(Problem::Damaged("a table of inodes that lies nowhere"))?)?;
        Ok(Inode::parse(number, bytes))
    }

    /// The block at which a group's inodes begin.
    fn inode_table(&self, group: u32) -> Result<u64, Problem> {
        let mut descriptor = vec![0; self.head.descriptor_size];
        self.blocks.read_at(&mut descriptor, self.head.descriptor_at(group)?)?;
        let high = if self.head.descriptor_size >= 64 { u32_at(&descriptor, 0x28) } else { 0 };
        Ok(u64_of(u32_at(&descriptor, 0x08), high))
    }

    fn read_block(&self, block: u64) -> Result<Vec<u8>, Problem> {
        let at = block.checked_mul(self.head.block_size).ok_or(Problem::Damaged("a block that lies nowhere"))?;
        let mut bytes = vec![0; self.head.block_size as usize];
        self.blocks.read_at(&mut bytes, at)?;
        Ok(bytes)
    }
}
