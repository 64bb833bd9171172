//! What a file system says of itself at its byte 1024.

use crate::blocks::Blocks;
use crate::le::{u16_at, u32_at};
use crate::problem::Problem;

/// Where it is, whatever the size of blocks.
const AT: u64 = 1024;
const MAGIC: u16 = 0xef53;

/// Features that a reader must know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incompat(u32);

impl Incompat {
    const COMPRESSION: u32 = 0x1;
    pub(crate) const FILETYPE: u32 = 0x2;
    /// The journal has what is not in its place.
    pub(crate) const RECOVER: u32 = 0x4;
    const JOURNAL_DEV: u32 = 0x8;
    const META_BG: u32 = 0x10;
    const BIT64: u32 = 0x80;
    const DIRDATA: u32 = 0x1000;
    /// Extents, multiple mount protection, flexible groups, values of attributes in inodes, seeds of checksums, large directories, inline data,
    /// encryption, and case folding change nothing for who reads names and bytes, or are seen file by file.
    const KNOWN: u32 = Self::FILETYPE
        | Self::RECOVER
        | Self::META_BG
        | 0x40
        | Self::BIT64
        | 0x100
        | 0x200
        | 0x400
        | 0x2000
        | 0x4000
        | 0x8000
        | 0x10000
        | 0x20000;

    pub(crate) fn has(self, feature: u32) -> bool {
        self.0 & feature != 0
    }
}

/// Copies of the superblock are in few groups only.
const SPARSE: u32 = 0x1;
/// In two groups, which are named.
const SPARSE2: u32 = 0x200;

#[derive(Debug)]
pub(crate) struct Superblock {
    pub(crate) block_size: u64,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: usize,
    pub(crate) descriptor_size: usize,
    pub(crate) incompat: Incompat,
    pub(crate) label: Vec<u8>,
    first_block: u32,
    blocks_per_group: u32,
    /// Groups of descriptors that lie together at the beginning, where not all do.
    first_meta_group: u32,
    compat: u32,
    ro_compat: u32,
    backups: [u32; 2],
}

impl Superblock {
    pub(crate) fn read(blocks: &impl Blocks) -> Result<Self, Problem> {
        let mut bytes = [0; 1024];
        match blocks.read_at(&mut bytes, AT) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(Problem::Not("ext4")),
            read => read?,
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8; 1024]) -> Result<Self, Problem> {
        if u16_at(bytes, 0x38) != MAGIC {
            return Err(Problem::Not("ext4"));
        }
        let incompat = Incompat(u32_at(bytes, 0x60));
        if incompat.has(Incompat::JOURNAL_DEV) {
            return Err(Problem::Unsupported("a journal of another file system"));
        }
        if incompat.has(Incompat::COMPRESSION | Incompat::DIRDATA | !Incompat::KNOWN) {
            return Err(Problem::Unsupported("a feature of ext4 that no kernel has"));
        }
        let log = u32_at(bytes, 0x18);
        if log > 6 {
            return Err(Problem::Damaged("blocks of more than 64 KiB"));
        }
        let is_old = u32_at(bytes, 0x4c) == 0;
        let inode_size = if is_old { 128 } else { usize::from(u16_at(bytes, 0x58)) };
        let descriptor_size = match usize::from(u16_at(bytes, 0xfe)) {
            size if incompat.has(Incompat::BIT64) && size >= 32 => size,
            _ => 32,
        };
        let block_size = 1024 << log;
        let head = Self {
            block_size,
            inodes: u32_at(bytes, 0x00),
            inodes_per_group: u32_at(bytes, 0x28),
            inode_size,
            descriptor_size,
            incompat,
            label: bytes[0x78..0x88].split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
            first_block: u32_at(bytes, 0x14),
            blocks_per_group: u32_at(bytes, 0x20),
            first_meta_group: u32_at(bytes, 0x104),
            compat: u32_at(bytes, 0x5c),
            ro_compat: u32_at(bytes, 0x64),
            backups: [u32_at(bytes, 0x24c), u32_at(bytes, 0x250)],
        };
        let is_sound = head.inodes_per_group > 0
            && head.blocks_per_group > 0
            && inode_size.is_power_of_two()
            && (128..=block_size as usize).contains(&inode_size)
            && descriptor_size.is_power_of_two()
            && descriptor_size <= 1024;
        if is_sound { Ok(head) } else { Err(Problem::Damaged("sizes in the superblock")) }
    }

    /// The offset of a group's descriptor.
    pub(crate) fn descriptor_at(&self, group: u32) -> Result<u64, Problem> {
        let each = (self.block_size as usize / self.descriptor_size) as u32;
        let (table, within) = (group / each, u64::from(group % each) * self.descriptor_size as u64);
        let first = u64::from(self.first_block);
        let block = if self.incompat.has(Incompat::META_BG) && table >= self.first_meta_group {
            // With the groups that they describe, behind the copy of the superblock if there is one.
            let first_group = table.checked_mul(each).ok_or(Problem::Damaged("a group that there is not"))?;
            let has_copy = u64::from(self.has_superblock(first_group));
            first + u64::from(first_group) * u64::from(self.blocks_per_group) + has_copy
        } else {
            first + 1 + u64::from(table)
        };
        let at = block.checked_mul(self.block_size).and_then(|at| at.checked_add(within));
        at.ok_or(Problem::Damaged("a group that lies nowhere"))
    }

    /// Whether a group begins with the superblock or a copy of it.
    fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & SPARSE2 != 0 {
            return self.backups.contains(&group);
        }
        self.ro_compat & SPARSE == 0 || group == 1 || [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }
}

fn is_power(mut number: u32, base: u32) -> bool {
    while number > base && number.is_multiple_of(base) {
        number /= base;
    }
    number == base
}
