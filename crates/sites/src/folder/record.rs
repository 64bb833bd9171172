//! The blocks of a segment: its header and its records. Pure.
//!
//! The formats are told in `docs/spec/site.md`. A record counts if its magic, epoch and checksum
//! are right. Raising the header's epoch empties a segment at a stroke: older records no longer
//! count. The header's fields are shorter than any disk's sector, so it is never torn.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

/// Everything in a segment begins at a multiple of this, bytes.
pub(super) const BLOCK: usize = 4096;
/// Largest body that is kept in a segment, bytes.
pub(super) const SMALL_MAX: usize = 64 << 10;
/// Largest epoch that we would write. A larger one was planted, and would leave none to follow.
pub(super) const EPOCH_MAX: u64 = u64::MAX / 2;

const HEADER_MAGIC: [u8; 8] = *b"HFSSEG1\n";
const RECORD_MAGIC: [u8; 8] = *b"HFSREC1\n";
const HEADER_LEN: usize = 24;
const PREFIX_LEN: usize = 40;
const PUT: u16 = 1;
const DELETE: u16 = 2;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// `name` holds exactly `body`.
    Put { name: &'a str, body: &'a [u8] },
    /// These names, one a line, are gone.
    Delete { names: &'a str },
}

/// A record and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decoded<'a> {
    /// The epoch of the header under which it was written.
    pub epoch: u64,
    /// Its number in the segment.
    pub sequence: u64,
    pub record: Record<'a>,
    /// Bytes that it takes, padding included.
    pub len: usize,
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn checksum(pieces: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

/// The header that gives a file this epoch. One block.
pub(super) fn header(epoch: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend(HEADER_MAGIC);
    block.extend(epoch.to_le_bytes());
    block.extend(checksum(&[&block]).to_le_bytes());
    block.resize(BLOCK, 0);
    block
}

/// The epoch that a header gives, unless it is none.
pub(super) fn epoch_of(block: &[u8]) -> Option<u64> {
    let (fields, rest) = block.split_at_checked(HEADER_LEN - 8)?;
    let ours = fields.starts_with(&HEADER_MAGIC) && u64_at(rest, 0)? == checksum(&[fields]);
    if ours { u64_at(fields, 8).filter(|epoch| *epoch <= EPOCH_MAX) } else { None }
}

/// Bytes that a record takes. `payload` is the length of its name and body.
pub(super) fn record_len(payload: usize) -> usize {
    (PREFIX_LEN + payload).next_multiple_of(BLOCK)
}

/// Where a body begins, counted from the start of its record.
pub(super) fn body_offset(name: &str) -> u64 {
    (PREFIX_LEN + name.len()) as u64
}

/// Appends a put to `out`. `body` is at most [`SMALL_MAX`] bytes and `name` a site's name.
pub(super) fn encode_put(epoch: u64, sequence: u64, name: &str, body: &[Bytes], out: &mut Vec<u8>) {
    let mut pieces = Vec::with_capacity(body.len() + 1);
    pieces.push(name.as_bytes());
    pieces.extend(body.iter().map(|slice| &slice[..]));
    encode(epoch, sequence, PUT, name.len(), &pieces, out);
}

/// Appends a delete to `out`. The names, joined, are at most [`SMALL_MAX`] bytes.
pub(super) fn encode_delete(epoch: u64, sequence: u64, names: &[String], out: &mut Vec<u8>) {
    encode(epoch, sequence, DELETE, 0, &[names.join("\n").as_bytes()], out);
}

fn encode(epoch: u64, sequence: u64, kind: u16, name_len: usize, pieces: &[&[u8]], out: &mut Vec<u8>) {
    let start = out.len();
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    debug_assert!(name_len < BLOCK / 2 && len - name_len <= SMALL_MAX);
    out.extend(RECORD_MAGIC);
    out.extend(epoch.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((name_len as u16).to_le_bytes());
    out.extend(((len - name_len) as u32).to_le_bytes());
    out.extend([0; 8]);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    let record = &mut out[start..];
    let (fields, rest) = record.split_at_mut(PREFIX_LEN - 8);
    let (sum, payload) = rest.split_at_mut(8);
    sum.copy_from_slice(&checksum(&[fields, payload]).to_le_bytes());
    out.resize(start + (out.len() - start).next_multiple_of(BLOCK), 0);
}

/// The epoch of what looks like a record at the start of `bytes`. Says nothing of whether it is
/// whole.
pub(super) fn record_epoch(bytes: &[u8]) -> Option<u64> {
    if bytes.starts_with(&RECORD_MAGIC) { u64_at(bytes, 8).filter(|epoch| *epoch <= EPOCH_MAX) } else { None }
}

/// Reads the record at the start of `bytes`. `None`: there is none, or it is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    let epoch = record_epoch(bytes)?;
    let (fields, rest) = bytes.split_at_checked(PREFIX_LEN - 8)?;
    let sequence = u64_at(fields, 16)?;
    let kind = u16::from_le_bytes(*fields.get(24..)?.first_chunk()?);
    let name_len = usize::from(u16::from_le_bytes(*fields.get(26..)?.first_chunk()?));
    let body_len = usize::try_from(u32::from_le_bytes(*fields.get(28..)?.first_chunk()?)).ok()?;
    if body_len > SMALL_MAX {
        return None;
    }
    let payload = rest.get(8..8 + name_len + body_len)?;
    if u64_at(rest, 0)? != checksum(&[fields, payload]) {
        return None;
    }
    let (name, body) = payload.split_at_checked(name_len)?;
    let record = match kind {
        PUT => Record::Put { name: std::str::from_utf8(name).ok()?, body },
        DELETE => Record::Delete { names: std::str::from_utf8(body).ok()? },
        _ => return None,
    };
    Some(Decoded { epoch, sequence, record, len: record_len(payload.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(epoch: u64, sequence: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        encode_put(epoch, sequence, "a/b", &[Bytes::from(vec![9; len])], &mut out);
        out
    }

    #[test]
    fn round_trips() {
        for len in [0, 1, BLOCK - PREFIX_LEN - 3, BLOCK - PREFIX_LEN - 2, SMALL_MAX] {
            let bytes = put(7, 3, len);
            assert!(bytes.len().is_multiple_of(BLOCK) && bytes.len() <= SMALL_MAX + BLOCK);
            let record = Record::Put { name: "a/b", body: &vec![9; len] };
            assert_eq!(decode(&bytes), Some(Decoded { epoch: 7, sequence: 3, record, len: bytes.len() }));
            assert_eq!(bytes.len(), record_len(3 + len));
            let at = body_offset("a/b") as usize;
            assert_eq!(bytes[at..at + len], vec![9; len]);
        }
        let mut bytes = Vec::new();
        encode_delete(1, 0, &["a".to_owned(), "b/c".to_owned()], &mut bytes);
        let record = Record::Delete { names: "a\nb/c" };
        assert_eq!(decode(&bytes), Some(Decoded { epoch: 1, sequence: 0, record, len: BLOCK }));
    }

    #[test]
    fn headers() {
        assert_eq!(epoch_of(&header(5)), Some(5));
        assert_eq!(epoch_of(&header(u64::MAX)), None);
        assert_eq!(epoch_of(&[0; BLOCK]), None);
        assert_eq!(epoch_of(b"HFS"), None);
        let mut bad = header(5);
        bad[9] ^= 1;
        assert_eq!(epoch_of(&bad), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>, epoch: u64, sequence: u64) {
            let _ = epoch_of(&bytes);
            let _ = decode(&bytes);
            // The same behind a head that passes the first checks.
            let head = put(epoch, sequence, 1);
            bytes.splice(0..0, head[..24].iter().copied());
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(len in 0usize..6000, bit: prop::sample::Index, cut: prop::sample::Index) {
            let used = PREFIX_LEN + 3 + len;
            let whole = put(1, 2, len);
            let mut flipped = whole.clone();
            let bit = bit.index(used * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&flipped), None);
            prop_assert_eq!(decode(&whole[..cut.index(used)]), None);
        }
    }
}
