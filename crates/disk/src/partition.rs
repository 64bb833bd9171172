//! Partition tables: MBR with extended partitions, and GPT (UEFI 2.10, section 5).
//!
//! Which of two tables counts is decided as Linux decides it (`block/partitions/efi.c`, `msdos.c`), by checksums too: a guest must not see other
//! partitions than we do. Own code, since `gpt` 4.1 panics on sizes that a header may claim and takes as much memory as it says, and `mbrman` 0.6 follows a
//! chain of extended partitions without an end.

use crc_fast::{CrcAlgorithm, checksum};

use crate::blocks::Blocks;
use crate::le::{u16_at, u32_at, u64_of};
use crate::problem::Problem;

/// Links of a chain of extended partitions that are followed, as by Linux.
const CHAIN_MAX: usize = 100;
/// Bytes of a table of GPT's partitions that are read, as by Linux; 16 KiB is usual.
const TABLE_MAX: u64 = 4 << 20;
/// Sectors of MBR, whatever those of the disk are.
const SECTOR: u64 = 512;

/// A partition, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As Linux numbers it: from 1 on; logical ones from 5 on.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Bytes. It may end behind the disk.
    pub len: u64,
    /// What it is said to be for.
    pub kind: PartitionKind,
    /// Its name, which GPT alone has.
    pub name: String,
}

/// What a partition is said to be for: nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// One of MBR's numbers.
    Mbr(u8),
    /// One of GPT's, in the order of its bytes on the disk.
    Gpt([u8; 16]),
}

/// All partitions of a disk.
///
/// # Errors
/// [`Problem::Not`] where there is no table, [`Problem::Damaged`] where none is valid.
pub fn partitions(blocks: &impl Blocks) -> Result<Vec<Partition>, Problem> {
    let Some(sector) = read(blocks, 0, SECTOR)? else { return Err(Problem::Not("a partition table")) };
    if !is_boot_record(&sector) {
        return Err(Problem::Not("a partition table"));
    }
    let entries = mbr_entries(&sector);
    // The sector of any file system may look like it, but for these.
    if entries.iter().any(|entry| entry.flag & 0x7f != 0) {
        return Err(Problem::Not("a partition table"));
    }
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) { gpt(blocks) } else { mbr(blocks, &entries) }
}

/// Some bytes; `None`: the disk ends before them.
fn read(blocks: &impl Blocks, at: u64, len: u64) -> Result<Option<Vec<u8>>, Problem> {
    if at.checked_add(len).is_none_or(|end| end > blocks.len()) {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    blocks.read_at(&mut bytes, at)?;
    Ok(Some(bytes))
}

fn is_boot_record(sector: &[u8]) -> bool {
    u16_at(sector, 510) == 0xaa55
}

/// Of one who reads MBR only: all of the disk is in use.
const PROTECTIVE: u8 = 0xee;
/// What has further ones in it.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

struct MbrEntry {
    flag: u8,
    kind: u8,
    start: u64,
    len: u64,
}

fn mbr_entries(sector: &[u8]) -> Vec<MbrEntry> {
    let entry = |bytes: &[u8]| MbrEntry {
        flag: bytes[0],
        kind: bytes[4],
        start: u64::from(u32_at(bytes, 8)) * SECTOR,
        len: u64::from(u32_at(bytes, 12)) * SECTOR,
    };
    sector[446..510].chunks_exact(16).map(entry).collect()
}

fn mbr(blocks: &impl Blocks, entries: &[MbrEntry]) -> Result<Vec<Partition>, Problem> {
    let one = |number: u32, start: u64, entry: &MbrEntry| Partition {
        number,
        start,
        len: entry.len,
        kind: PartitionKind::Mbr(entry.kind),
        name: String::new(),
    };
    let (mut all, mut number) = (Vec::new(), 5);
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.kind != 0 && entry.len > 0) {
        if !EXTENDED.contains(&entry.kind) {
            all.push(one(index as u32 + 1, entry.start, entry));
            continue;
        }
        let (base, mut at) = (entry.start, entry.start);
        for link in 0.. {
            if link >= CHAIN_MAX {
                return Err(Problem::Limit("a chain of extended partitions"));
            }
            let sector = read(blocks, at, SECTOR)?.filter(|sector| is_boot_record(sector));
            let sector = sector.ok_or(Problem::Damaged("a chain of extended partitions"))?;
            let inner = mbr_entries(&sector);
            for logical in inner.iter().filter(|inner| inner.kind != 0 && inner.len > 0) {
                if !EXTENDED.contains(&logical.kind) {
                    all.push(one(number, at + logical.start, logical));
                    number += 1;
                }
            }
            match inner.iter().find(|inner| EXTENDED.contains(&inner.kind) && inner.len > 0) {
                Some(next) => at = base + next.start,
                None => break,
            }
        }
    }
    all.sort_by_key(|partition| partition.number);
    Ok(all)
}

/// The first table counts if it is valid; else the second one, at the end.
fn gpt(blocks: &impl Blocks) -> Result<Vec<Partition>, Problem> {
    for sector in [512, 4096] {
        let last = (blocks.len() / sector).saturating_sub(1);
        for lba in [1, last] {
            if let Some(found) = gpt_at(blocks, lba, sector)? {
                return Ok(found);
            }
        }
    }
    Err(Problem::Damaged("none of the two partition tables is valid"))
}

/// `None`: there is no valid one.
fn gpt_at(blocks: &impl Blocks, lba: u64, sector: u64) -> Result<Option<Vec<Partition>>, Problem> {
    let Some(head) = lba.checked_mul(sector).map(|at| read(blocks, at, sector)).transpose()?.flatten() else {
        return Ok(None);
    };
    let number = |at: usize| u64_of(u32_at(&head, at), u32_at(&head, at + 4));
    let size = u32_at(&head, 12) as usize;
    if !head.starts_with(b"EFI PART") || !(92..=head.len()).contains(&size) || number(24) != lba {
        return Ok(None);
    }
    let mut summed = head[..size].to_vec();
    summed[16..20].fill(0);
    let (count, each) = (u64::from(u32_at(&head, 80)), u64::from(u32_at(&head, 84)));
    if crc32(&summed) != u32_at(&head, 16) || each != 128 || count * each > TABLE_MAX {
        return Ok(None);
    }
    let table = number(72).checked_mul(sector).map(|at| read(blocks, at, count * each)).transpose()?.flatten();
    let Some(table) = table.filter(|table| crc32(table) == u32_at(&head, 88)) else { return Ok(None) };
    let is_used = |(_, entry): &(usize, &[u8])| entry[..16] != [0; 16];
    let partition = |(index, entry): (usize, &[u8])| {
        let lba_at = |at: usize| u64_of(u32_at(entry, at), u32_at(entry, at + 4));
        let (first, last) = (lba_at(32), lba_at(40));
        let len = last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?;
        let kind = PartitionKind::Gpt(entry[..16].try_into().ok()?);
        let name: Vec<u16> =
            entry[56..].chunks_exact(2).map(|two| u16_at(two, 0)).take_while(|unit| *unit != 0).collect();
        let name = String::from_utf16_lossy(&name);
        Some(Partition { number: index as u32 + 1, start: first.checked_mul(sector)?, len, kind, name })
    };
    Ok(Some(table.chunks_exact(128).enumerate().filter(is_used).filter_map(partition).collect()))
}

fn crc32(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::blocks::Raw;

    /// A disk that `sfdisk` made by a script, and what it says of it: number, start, bytes.
    fn disk(dir: &Path, script: &str) -> (Vec<u8>, Vec<(u32, u64, u64)>) {
        let path = dir.join("disk");
        File::create(&path).unwrap().set_len(64 << 20).unwrap();
        let mut sfdisk = Command::new("/sbin/sfdisk");
        let sfdisk = sfdisk.arg("-q").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = sfdisk.spawn().expect("fdisk is installed");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
        let said = Command::new("/sbin/sfdisk").arg("-d").arg(&path).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let number = |line: &str, word: &str| {
            let rest = line.split_once(word)?.1.split(',').next()?;
            rest.trim().parse::<u64>().ok()
        };
        let partition = |line: &str| {
            let name = line.strip_prefix(path.to_str()?)?.split(':').next()?;
            let is_extended = line.contains("type=5") || line.contains("type=f");
            let (start, size) = (number(line, "start=")?, number(line, "size=")?);
            (!is_extended).then_some((name.trim().parse().ok()?, start * 512, size * 512))
        };
        (std::fs::read(&path).unwrap(), said.lines().filter_map(partition).collect())
    }

    fn found(disk: &[u8]) -> Vec<(u32, u64, u64)> {
        partitions(&disk).unwrap().iter().map(|one| (one.number, one.start, one.len)).collect()
    }

    #[test]
    fn tables_are_read_as_others_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = "label: gpt\nsize=10M, name=\"first one\"\nsize=5M, type=swap\nstart=40M, size=4M\n";
        let dos = "label: dos\nsize=8M\nsize=30M, type=5\nsize=4M\nsize=2M, type=82\nsize=3M\nsize=5M\n";
        for (script, count) in [(gpt, 3), (dos, 5), ("label: dos\n", 0), ("label: gpt\n", 0)] {
            let (bytes, said) = disk(dir.path(), script);
            assert_eq!((said.len(), found(&bytes)), (count, said), "{script}");
        }
        let (bytes, _) = disk(dir.path(), gpt);
        assert_eq!(partitions(&&bytes[..]).unwrap()[0].name, "first one");
        assert_eq!(partitions(&Raw::new(File::open(dir.path().join("disk")).unwrap()).unwrap()).unwrap().len(), 3);
    }

    #[test]
    fn of_two_tables_the_valid_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (mut bytes, said) = disk(dir.path(), "label: gpt\nsize=10M\nsize=5M\n");
        // In the first table nothing is left, and its checksum does not say so.
        bytes[1024..1024 + 256].fill(0);
        assert_eq!(found(&bytes), said);
        let end = bytes.len();
        bytes[end - 512..].fill(0);
        assert!(matches!(partitions(&&bytes[..]), Err(Problem::Damaged(_))));
        assert!(matches!(partitions(&&[0; 512][..]), Err(Problem::Not(_))));
        assert!(matches!(partitions(&&[0; 3][..]), Err(Problem::Not(_))));
    }

    #[test]
    fn a_chain_that_leads_back_to_itself_has_an_end() {
        let mut bytes = vec![0; 1 << 20];
        for at in [0, 512] {
            bytes[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
        }
        let entry = |kind: u8, start: u8| [0, 0, 0, 0, kind, 0, 0, 0, start, 0, 0, 0, 10, 0, 0, 0];
        bytes[446..462].copy_from_slice(&entry(0x05, 1));
        bytes[512 + 446..512 + 462].copy_from_slice(&entry(0x83, 1));
        bytes[512 + 462..512 + 478].copy_from_slice(&entry(0x05, 0));
        assert!(matches!(partitions(&&bytes[..]), Err(Problem::Limit(_))));
    }
}
