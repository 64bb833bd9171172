//! One segment file: its sizes, and reading back what it holds.

use std::sync::atomic::AtomicU64;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::footer::{self, Entry, FOOTER_HEAD, Footer};
use super::record::{BLOCK, Record, SMALL_MAX, body_offset, decode, epoch_of, record_epoch, record_len};
use super::root::SEGMENTS_DIR;
use crate::MARKER;
use crate::name::is_name;

/// How large things are, bytes. One for all folders, save in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// A segment file. Small enough to be copied together quickly, large enough that new ones
    /// are rare.
    pub segment: u32,
    /// The part of it, at its end, that is kept for the footer.
    pub footer: u32,
    /// Free space that a folder must have before a segment is laid out in it: segments are to
    /// help, not to take the last bytes.
    pub space_min: u64,
}

impl Sizes {
    /// The footer has room for as many names of 50 bytes as the segment has blocks.
    pub const REAL: Self = Self { segment: 16 << 20, footer: 256 << 10, space_min: 64 << 20 };

    /// Where the records end at the latest.
    pub fn data_end(self) -> u32 {
        self.segment.saturating_sub(self.footer)
    }

    /// Bytes of entries that a footer holds.
    pub fn entries_max(self) -> usize {
        (self.footer as usize).saturating_sub(FOOTER_HEAD)
    }
}

/// A segment in use. Whoever reads from the file holds it; it is used anew when nobody does.
#[derive(Debug)]
pub(super) struct Segment {
    /// The number that names the file.
    pub id: u32,
    /// That of its header.
    pub epoch: u64,
    /// Its last write, milliseconds since the Unix epoch.
    pub modified_ms: AtomicU64,
}

/// What was found in a segment file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// 0: nothing of ours.
    pub epoch: u64,
    /// Puts and deletes in the order in which they were written.
    pub entries: Vec<Entry>,
    /// Where the records end.
    pub end: u32,
    /// Whether a footer told all this.
    pub sealed: bool,
    /// Whether the disk could not read some of it. It may yet: the file must stay.
    pub unread: bool,
}

/// Whether a name is one that a segment may hold. Names are checked: the folder is not trusted.
pub(super) fn may_hold(name: &str) -> bool {
    is_name(name) && name != MARKER && name.split('/').next() != Some(SEGMENTS_DIR)
}

/// The file's name in its folder.
pub(super) fn file_name(id: u32) -> String {
    format!("{id:08x}")
}

/// The number that a file's name gives, unless it is none of a segment.
pub(super) fn id_of(name: &str) -> Option<u32> {
    let id = u32::from_str_radix(name, 16).ok()?;
    (file_name(id) == name).then_some(id)
}

/// The epoch of a segment file. 0: nothing of ours.
pub(super) fn epoch(file: &OwnedFd, sizes: Sizes) -> Result<u64, Errno> {
    match epoch_of(&read_area(file, 0, BLOCK)?.bytes) {
        Some(epoch) => Ok(epoch),
        None => Ok(find(file, sizes)?.epoch),
    }
}

/// Finds out what a segment file holds: from its footer, or else from its records.
pub(super) fn find(file: &OwnedFd, sizes: Sizes) -> Result<Found, Errno> {
    let header = epoch_of(&read_area(file, 0, BLOCK)?.bytes);
    let footer = read_footer(file, sizes)?.filter(|footer| footer.end <= sizes.data_end());
    let sealed = |footer: Footer| {
        let entries = footer.entries.into_iter().filter(|entry| is_sound(entry, sizes.data_end())).collect();
        Found { epoch: footer.epoch, entries, end: footer.end, sealed: true, unread: false }
    };
    let footer = match footer {
        Some(footer) if header == Some(footer.epoch) => return Ok(sealed(footer)),
        other => other,
    };
    let data = read_area(file, 0, sizes.data_end() as usize)?;
    // Without a header the newest record tells the epoch. The footer alone does not: it may be
    // that of an earlier use of the file.
    let told = || newest_epoch(&data.bytes).max(footer.as_ref().map(|footer| footer.epoch));
    let Some(epoch) = header.or_else(told) else { return Ok(Found { unread: data.unread, ..Found::default() }) };
    match footer {
        Some(footer) if footer.epoch == epoch => Ok(sealed(footer)),
        _ => Ok(Found { unread: data.unread, ..scan(&data.bytes, epoch) }),
    }
}

fn is_sound(entry: &Entry, data_end: u32) -> bool {
    let len = record_len(entry.name.len().saturating_add(entry.len as usize)) as u64;
    let put = entry.offset as usize >= BLOCK
        && (entry.offset as usize).is_multiple_of(BLOCK)
        && entry.len as usize <= SMALL_MAX
        && u64::from(entry.offset) + len <= u64::from(data_end);
    (entry.offset == 0 || put) && may_hold(&entry.name)
}

fn read_footer(file: &OwnedFd, sizes: Sizes) -> Result<Option<Footer>, Errno> {
    let at = u64::from(sizes.data_end());
    let mut bytes = read_area(file, at, BLOCK)?.bytes;
    let Some(len) = footer::footer_len(&bytes).filter(|len| *len <= sizes.footer as usize) else { return Ok(None) };
    if len > bytes.len() {
        bytes = read_area(file, at, len)?.bytes;
    }
    Ok(footer::decode(&bytes))
}

/// The highest epoch of any whole record.
fn newest_epoch(data: &[u8]) -> Option<u64> {
    let whole = |at: usize| decode(data.get(at..)?).map(|found| found.epoch);
    (BLOCK..data.len()).step_by(BLOCK).filter_map(whole).max()
}

/// Reads the records of one epoch. A block that is damaged is passed over, and what comes behind
/// it is found again: damage must not take more than the shard that it hits.
pub(super) fn scan(data: &[u8], epoch: u64) -> Found {
    let mut found = Found { epoch, entries: Vec::new(), end: BLOCK as u32, ..Found::default() };
    let (mut at, mut next) = (BLOCK, 0);
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        let ours = record_epoch(rest) == Some(epoch);
        // Numbers only rise: a record that does not follow lies in the body of a damaged one.
        let Some(record) = decode(rest).filter(|record| ours && record.sequence >= next) else {
            at += BLOCK;
            continue;
        };
        match record.record {
            Record::Put { name, body } if may_hold(name) => {
                let (offset, len) = (at as u32, body.len() as u32);
                found.entries.push(Entry { name: name.into(), offset, len });
            }
            Record::Put { .. } => {}
            Record::Delete { names } => {
                let names = names.lines().filter(|name| may_hold(name));
                found.entries.extend(names.map(|name| Entry { name: name.into(), offset: 0, len: 0 }));
            }
        }
        at += record.len;
        next = record.sequence.saturating_add(1);
        found.end = at.min(data.len()) as u32;
    }
    found
}

/// Reads a record's body, and only if it is whole and the one expected.
pub(super) fn read_record(file: &OwnedFd, epoch: u64, entry: &Entry) -> Result<Option<Vec<u8>>, Errno> {
    let len = record_len(entry.name.len() + entry.len as usize);
    let bytes = read_area(file, u64::from(entry.offset), len)?.bytes;
    let Some(found) = decode(&bytes).filter(|found| found.epoch == epoch) else { return Ok(None) };
    match found.record {
        Record::Put { name, body } if *name == *entry.name && body.len() == entry.len as usize => {
            let start = body_offset(name) as usize;
            Ok(bytes.get(start..start + body.len()).map(<[u8]>::to_vec))
        }
        _ => Ok(None),
    }
}

/// What [`read_area`] read.
struct Area {
    bytes: Vec<u8>,
    /// Whether some of them are zeros for want of better.
    unread: bool,
}

/// Reads up to `len` bytes, fewer at the end of the file. Blocks that the disk cannot read come
/// back as zeros: their neighbours count.
fn read_area(file: &OwnedFd, offset: u64, len: usize) -> Result<Area, Errno> {
    let mut area = Area { bytes: vec![0; len], unread: false };
    let (mut at, mut step) = (0, len);
    while let Some(rest) = area.bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let now = step.min(rest.len());
        match rustix::io::pread(file, &mut rest[..now], offset + at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(Errno::INTR) => {}
            Err(Errno::IO) if step > BLOCK => step = BLOCK,
            Err(Errno::IO) => {
                area.unread = true;
                at += now;
            }
            Err(errno) => return Err(errno),
        }
    }
    area.bytes.truncate(at);
    Ok(area)
}

#[cfg(test)]
mod tests {
    use super::super::record::{encode_delete, encode_put, header};
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const EPOCH: u64 = 5;

    /// Names `0`, `1`, ... of the given body lengths, behind a header, then a delete of `0`.
    fn segment(lens: &[usize]) -> Vec<u8> {
        let mut data = header(EPOCH);
        for (i, len) in lens.iter().enumerate() {
            encode_put(EPOCH, i as u64, &i.to_string(), &[Bytes::from(vec![7; *len])], &mut data);
        }
        encode_delete(EPOCH, lens.len() as u64, &["0".to_owned()], &mut data);
        data
    }

    #[test]
    fn names_of_files() {
        assert_eq!(id_of("0000001f"), Some(31));
        for other in ["1f", "0000001F", "+000001f", "lock", "replacement", "00000001f"] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }

    #[test]
    fn older_records_behind_newer_ones_do_not_count() {
        let mut data = segment(&[5000, 10]);
        let end = data.len() as u32;
        encode_put(EPOCH - 1, 3, "old", &[Bytes::from_static(b"old")], &mut data);
        let found = scan(&data, EPOCH);
        assert_eq!(found.end, end);
        assert_eq!(found.entries.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["0", "1", "0"]);
        assert_eq!(newest_epoch(&data), Some(EPOCH));
    }

    #[test]
    fn planted_names_do_not_count() {
        let mut data = header(EPOCH);
        for (i, name) in ["../out", "segments/lock", "segments", MARKER, "a//b", "good"].iter().enumerate() {
            encode_put(EPOCH, i as u64, name, &[Bytes::from_static(b"planted")], &mut data);
        }
        let found = scan(&data, EPOCH);
        assert_eq!(found.entries.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["good"]);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_takes_one_record(
            lens in prop::collection::vec(0usize..30_000, 1..8), bit: prop::sample::Index
        ) {
            let mut data = segment(&lens);
            let whole = scan(&data, EPOCH);
            let bit = bit.index(data.len() * 8);
            data[bit / 8] ^= 1 << (bit % 8);
            let found = scan(&data, EPOCH);
            prop_assert!(found.entries.len() + 1 >= whole.entries.len());
            prop_assert!(found.entries.iter().all(|entry| whole.entries.contains(entry)));
        }

        #[test]
        fn any_bytes_are_survived(junk: Vec<u8>, at: prop::sample::Index) {
            let mut data = segment(&[100, 9000]);
            let at = at.index(data.len());
            data.splice(at..(at + junk.len()).min(data.len()), junk);
            let _ = scan(&data, EPOCH);
            let _ = newest_epoch(&data);
        }
    }
}
