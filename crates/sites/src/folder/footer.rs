//! The footer of a sealed segment: what its records hold, so that opening a folder need not read
//! them. Pure. The format is told in `docs/spec/site.md`.

use super::record::{BLOCK, EPOCH_MAX, checksum, u64_at};

const MAGIC: [u8; 8] = *b"HFSFTR1\n";
/// Bytes before the entries.
pub(super) const FOOTER_HEAD: usize = 32;
/// Bytes of an entry before its name.
const ENTRY_HEAD: usize = 10;

/// One record, or one name of a record that deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: Box<str>,
    /// Where the put's record begins in the segment, bytes. 0: the name was deleted.
    pub offset: u32,
    /// Bytes of the put's body.
    pub len: u32,
}

/// A footer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    /// The epoch of the segment's header when it was sealed.
    pub epoch: u64,
    /// Where the records end, bytes from the start of the segment.
    pub end: u32,
    /// In the order of the records.
    pub entries: Vec<Entry>,
}

/// Bytes that an entry takes.
pub(super) fn entry_len(name: &str) -> usize {
    ENTRY_HEAD + name.len()
}

/// Appends an entry to those of a footer to come. `name` is a site's name: it has at most 512
/// bytes.
pub(super) fn push_entry(entries: &mut Vec<u8>, name: &str, offset: u32, len: u32) {
    entries.extend(offset.to_le_bytes());
    entries.extend(len.to_le_bytes());
    entries.extend((name.len() as u16).to_le_bytes());
    entries.extend(name.as_bytes());
}

/// Appends a footer to `out`, in whole blocks.
pub(super) fn encode(epoch: u64, end: u32, entries: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend(epoch.to_le_bytes());
    out.extend((entries.len() as u32).to_le_bytes());
    out.extend(end.to_le_bytes());
    let sum = checksum(&[out.get(start..).unwrap_or_default(), entries]);
    out.extend(sum.to_le_bytes());
    out.extend_from_slice(entries);
    out.resize(start + (out.len() - start).next_multiple_of(BLOCK), 0);
}

/// Bytes that a footer takes, by its first block. `None`: that is none.
pub(super) fn footer_len(head: &[u8]) -> Option<usize> {
    if !head.starts_with(&MAGIC) {
        return None;
    }
    let entries = u32::from_le_bytes(*head.get(16..)?.first_chunk()?);
    FOOTER_HEAD.checked_add(usize::try_from(entries).ok()?)
}

/// Reads a footer. `None`: there is none, or it is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Footer> {
    let (head, rest) = bytes.get(..footer_len(bytes)?)?.split_at_checked(FOOTER_HEAD)?;
    if u64_at(head, 24)? != checksum(&[head.get(..24)?, rest]) {
        return None;
    }
    let epoch = u64_at(head, 8).filter(|epoch| *epoch <= EPOCH_MAX)?;
    let end = u32::from_le_bytes(*head.get(20..)?.first_chunk()?);
    let mut entries = Vec::new();
    let mut rest = rest;
    while !rest.is_empty() {
        let (fixed, more) = rest.split_at_checked(ENTRY_HEAD)?;
        let offset = u32::from_le_bytes(*fixed.first_chunk()?);
        let len = u32::from_le_bytes(*fixed.get(4..)?.first_chunk()?);
        let name_len = usize::from(u16::from_le_bytes(*fixed.get(8..)?.first_chunk()?));
        let (name, more) = more.split_at_checked(name_len)?;
        entries.push(Entry { name: std::str::from_utf8(name).ok()?.into(), offset, len });
        rest = more;
    }
    Some(Footer { epoch, end, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(count: u32) -> (Footer, Vec<u8>) {
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        for i in 0..count {
            let name = format!("shards/{i}");
            push_entry(&mut bytes, &name, i * 4096, i);
            assert_eq!(entry_len(&name), 10 + name.len());
            entries.push(Entry { name: name.into(), offset: i * 4096, len: i });
        }
        let mut out = Vec::new();
        encode(9, 8192, &bytes, &mut out);
        (Footer { epoch: 9, end: 8192, entries }, out)
    }

    #[test]
    fn round_trips() {
        for count in [0, 1, 1000] {
            let (footer, bytes) = sample(count);
            assert!(bytes.len().is_multiple_of(BLOCK));
            assert_eq!(decode(&bytes), Some(footer));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>) {
            prop_assert_eq!(decode(&bytes), None);
            // The same with a right sum, so that the entries are looked at.
            let mut out = Vec::new();
            encode(1, 2, &bytes, &mut out);
            let _ = decode(&out);
            bytes.splice(0..0, MAGIC);
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(bit: prop::sample::Index, cut: prop::sample::Index) {
            let (_, whole) = sample(20);
            let used = footer_len(&whole).unwrap();
            let mut flipped = whole.clone();
            let bit = bit.index(used * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&flipped), None);
            prop_assert_eq!(decode(&whole[..cut.index(used)]), None);
        }
    }
}
