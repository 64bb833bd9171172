//! What is on a disk: what each partition has, by its first bytes and not by what the table says of it.

use crate::blocks::{Blocks, Part};
use crate::le::{u16_at, u32_at};
use crate::partition::{Partition, partitions};
use crate::problem::Problem;

/// Bytes that are looked at: btrfs says what it is behind 64 KiB.
const HEAD: u64 = 68 << 10;

/// What a volume has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// ext2, ext3 or ext4.
    Ext,
    /// What is known and not read, by its name.
    Other(&'static str),
    /// Nothing that is known.
    Unknown,
    /// Zeros, as far as was looked.
    Empty,
}

/// A partition, or a disk without any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `None`: the whole disk.
    pub partition: Option<Partition>,
    /// What it has.
    pub content: Content,
}

impl Volume {
    /// Its bytes.
    pub fn of<B: Blocks>(&self, disk: B) -> Part<B> {
        let (start, len) =
            self.partition.as_ref().map_or((0, disk.len()), |partition| (partition.start, partition.len));
        Part::new(disk, start, len)
    }
}

/// All volumes of a disk. One that has a table and is a file system as well, as who wrote it may have meant to hide something, is told as both.
///
/// # Errors
/// [`Problem::Damaged`] and [`Problem::Limit`] of the table, or a read's.
pub fn volumes(disk: &impl Blocks) -> Result<Vec<Volume>, Problem> {
    let whole = Volume { partition: None, content: content(disk)? };
    let is_known = matches!(whole.content, Content::Ext | Content::Other(_));
    let table = match partitions(disk) {
        Err(Problem::Not(_)) => return Ok(vec![whole]),
        // The first sector of a file system may look like a table.
        Err(Problem::Damaged(_) | Problem::Limit(_)) if is_known => return Ok(vec![whole]),
        table => table?,
    };
    let mut all: Vec<Volume> = is_known.then_some(whole).into_iter().collect();
    for partition in table {
        let content = content(&Part::new(disk, partition.start, partition.len))?;
        all.push(Volume { partition: Some(partition), content });
    }
    Ok(all)
}

/// What these bytes are the beginning of.
fn content(blocks: &impl Blocks) -> Result<Content, Problem> {
    let mut head = vec![0; blocks.len().min(HEAD) as usize];
    blocks.read_at(&mut head, 0)?;
    Ok(sniff(&head))
}

/// Where something must stand, and what; one of them is enough.
type Magics<'a> = &'a [(usize, &'a [u8])];

fn sniff(head: &[u8]) -> Content {
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|bytes| bytes.starts_with(magic));
    let known: [(&str, Magics<'_>); 13] = [
        ("LUKS", &[(0, b"LUKS\xba\xbe")]),
        ("XFS", &[(0, b"XFSB")]),
        ("NTFS", &[(3, b"NTFS    ")]),
        ("exFAT", &[(3, b"EXFAT   ")]),
        ("BitLocker", &[(3, b"-FVE-FS-")]),
        ("FAT", &[(54, b"FAT12   "), (54, b"FAT16   "), (82, b"FAT32   ")]),
        ("squashfs", &[(0, b"hsqs")]),
        ("LVM2", &[(0, b"LABELONE"), (512, b"LABELONE"), (1024, b"LABELONE"), (1536, b"LABELONE")]),
        ("ISO 9660", &[(32769, b"CD001")]),
        ("btrfs", &[(0x10040, b"_BHRfS_M")]),
        ("swap", &[(4086, b"SWAPSPACE2"), (4086, b"SWAP-SPACE")]),
        ("RAID", &[(0, &0xa92b_4efc_u32.to_le_bytes()), (4096, &0xa92b_4efc_u32.to_le_bytes())]),
        ("F2FS", &[(1024, &0xf2f5_2010_u32.to_le_bytes())]),
    ];
    if let Some((name, _)) = known.into_iter().find(|(_, magics)| magics.iter().any(|(at, magic)| has(*at, magic))) {
        return Content::Other(name);
    }
    match () {
        () if u32_at(head, 1024) == 0xe0f5_e1e2 => Content::Other("EROFS"),
        () if u16_at(head, 1080) == 0xef53 => Content::Ext,
        () if head.iter().all(|byte| *byte == 0) => Content::Empty,
        () => Content::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_has_is_told_by_its_bytes() {
        let with = |at: usize, magic: &[u8]| {
            let mut head = vec![0; HEAD as usize];
            head[at..at + magic.len()].copy_from_slice(magic);
            sniff(&head)
        };
        assert_eq!(with(1080, &[0x53, 0xef]), Content::Ext);
        assert_eq!(with(0, b"XFSB"), Content::Other("XFS"));
        assert_eq!(with(512, b"LABELONE"), Content::Other("LVM2"));
        assert_eq!(with(0x10040, b"_BHRfS_M"), Content::Other("btrfs"));
        assert_eq!(with(82, b"FAT32   "), Content::Other("FAT"));
        assert_eq!(with(70, b"?"), Content::Unknown);
        assert_eq!((sniff(&[]), sniff(&[0; 100])), (Content::Empty, Content::Empty));
    }

    #[test]
    fn a_file_system_that_is_also_a_table_is_told_as_both() {
        let mut disk = vec![0; 1 << 20];
        disk[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(volumes(&&disk[..]).unwrap(), [Volume { partition: None, content: Content::Ext }]);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 100, 0, 0, 0, 200, 0, 0, 0]);
        disk[100 * 512..100 * 512 + 4].copy_from_slice(b"XFSB");
        let found = volumes(&&disk[..]).unwrap();
        assert_eq!(found.iter().map(|one| one.content).collect::<Vec<_>>(), [Content::Ext, Content::Other("XFS")]);
        assert_eq!(found[1].of(&disk[..]).len(), 200 * 512);
    }
}
