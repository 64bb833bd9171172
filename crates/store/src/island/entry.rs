//! What is in the files of an island. Pure. The format: `docs/spec/island.md`.

use std::collections::BTreeMap;

use base::{AccountId, BodyId, BucketId};
use envelope::HEADER_LEN;
use meta::record::Checksum;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// First bytes of an entry.
const MAGIC: &[u8; 4] = b"HFI1";
/// Bytes of an entry at most: the largest key, metadata and tags that S3 allows, and room.
pub(super) const ENTRY_MAX: usize = 64 * 1024;
/// Bytes of a DEK.
const KEY_LEN: usize = 32;
/// How an entry's file ends, and a body's.
pub(super) const ENTRY: &str = ".entry";
pub(super) const BODY: &str = ".body";

/// Names a version that was taken: they are told in the order of their names, which is that in which they were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId {
    /// Milliseconds since the Unix epoch, and no two of a gateway have the same.
    pub(crate) taken_ms: u64,
    /// The version's body: a version that has it is this one.
    pub(crate) body: BodyId,
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.taken_ms, self.body)
    }
}

impl std::str::FromStr for EntryId {
    type Err = NotAnEntry;

    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let (taken, body) = text.split_once('-').ok_or(NotAnEntry)?;
        let taken_ms = u64::from_str_radix(taken, 16).map_err(|_| NotAnEntry)?;
        let id = Self { taken_ms, body: body.parse().map_err(|_| NotAnEntry)? };
        // One entry has one spelling.
        if id.to_string() == text { Ok(id) } else { Err(NotAnEntry) }
    }
}

impl EntryId {
    pub(super) fn entry_file(self) -> String {
        format!("{self}{ENTRY}")
    }

    pub(super) fn body_file(self) -> String {
        format!("{self}{BODY}")
    }

    /// The id in an entry's, or a body's, file name, and whether it is an entry's.
    pub(super) fn of_file(name: &str) -> Option<(Self, bool)> {
        let (id, is_entry) = match name.strip_suffix(ENTRY) {
            Some(id) => (id, true),
            None => (name.strip_suffix(BODY)?, false),
        };
        Some((id.parse().ok()?, is_entry))
    }
}

/// What a version's body, and what is told of it, are bound to.
pub(super) fn context(account: AccountId, body: BodyId) -> Vec<u8> {
    [b"island entry/1".as_slice(), &account.to_bytes(), body.as_bytes()].concat()
}

/// The text names no entry, or the bytes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no entry of an island, or of a newer Holdfast")]
pub(crate) struct NotAnEntry;

/// All that is to be told of a version that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) bucket: BucketId,
    pub(super) bucket_name: String,
    pub(super) key: String,
    /// The newest version's order as it was known; `None`: there was none.
    pub(super) base: Option<u64>,
    /// The body of the version of the key that was taken before it and had not been told: the two are of one line.
    pub(super) after: Option<BodyId>,
    /// Plaintext bytes.
    pub(super) size: u64,
    pub(super) md5_hex: Option<String>,
    pub(super) checksum: Option<Checksum>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) user_metadata: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    /// The writer's access key; `None`: that of the process's own root.
    pub(super) access_key: Option<String>,
    /// The writer's unique id, and its name.
    pub(super) principal_id: String,
    pub(super) principal: String,
    /// Of the request that brought it.
    pub(super) request: Option<String>,
}

/// A version's DEK and the beginning of its sealed body, and what is to be told of it.
pub(super) struct Secret {
    pub(super) dek: Zeroizing<[u8; KEY_LEN]>,
    pub(super) header: [u8; HEADER_LEN],
    pub(super) taken: Taken,
}

impl Secret {
    /// What is sealed to the tenant's public key.
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, NotAnEntry> {
        let taken = postcard::to_stdvec(&self.taken).map_err(|_| NotAnEntry)?;
        // In one piece from the start: growing would leave copies of the DEK behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + HEADER_LEN + taken.len()));
        bytes.extend_from_slice(self.dek.as_slice());
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(&taken);
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NotAnEntry> {
        let (dek, rest) = bytes.split_first_chunk::<KEY_LEN>().ok_or(NotAnEntry)?;
        let (header, taken) = rest.split_first_chunk::<HEADER_LEN>().ok_or(NotAnEntry)?;
        let (taken, left) = postcard::take_from_bytes(taken).map_err(|_| NotAnEntry)?;
        if !left.is_empty() {
            return Err(NotAnEntry);
        }
        Ok(Self { dek: Zeroizing::new(*dek), header: *header, taken })
    }
}

/// An entry's file: whose it is, and what was sealed.
pub(super) fn file_of(account: AccountId, sealed: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &account.to_bytes(), sealed].concat()
}

/// What is in an entry's file.
pub(super) fn in_file(bytes: &[u8]) -> Result<(AccountId, &[u8]), NotAnEntry> {
    let rest = bytes.strip_prefix(MAGIC).filter(|_| bytes.len() <= ENTRY_MAX).ok_or(NotAnEntry)?;
    let (account, sealed) = rest.split_first_chunk::<8>().ok_or(NotAnEntry)?;
    Ok((AccountId::from_bytes(*account).ok_or(NotAnEntry)?, sealed))
}

#[cfg(test)]
mod tests {
    use base::SeededRng;

    use super::*;

    fn taken() -> Taken {
        let rng = SeededRng::new(3);
        Taken {
            bucket: BucketId::random(&rng),
            bucket_name: "b".to_owned(),
            key: "k/é".to_owned(),
            base: Some(7),
            after: None,
            size: 3,
            md5_hex: None,
            checksum: None,
            headers: [("content-type".to_owned(), "text/plain".to_owned())].into(),
            user_metadata: BTreeMap::new(),
            tags: BTreeMap::new(),
            access_key: Some("AKIA".to_owned()),
            principal_id: "HFID".to_owned(),
            principal: "ann".to_owned(),
            request: None,
        }
    }

    #[test]
    fn entries_survive() {
        let secret = Secret { dek: Zeroizing::new([1; 32]), header: [2; HEADER_LEN], taken: taken() };
        let bytes = secret.encode().unwrap();
        let read = Secret::decode(&bytes).unwrap();
        assert_eq!((*read.dek, read.header, read.taken), ([1; 32], [2; HEADER_LEN], taken()));
        for len in 0..bytes.len() {
            assert!(Secret::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert!(Secret::decode(&[&bytes[..], &[0]].concat()).is_err());
        let file = file_of(AccountId::DEFAULT, b"sealed");
        assert_eq!(in_file(&file), Ok((AccountId::DEFAULT, b"sealed".as_slice())));
        for wrong in [&b"HFI2"[..], b"", &file[..11], &[0; ENTRY_MAX + 1]] {
            assert_eq!(in_file(wrong), Err(NotAnEntry));
        }
    }

    #[test]
    fn names_sort_by_time_and_have_one_spelling() {
        let rng = SeededRng::new(4);
        let id = |taken_ms| EntryId { taken_ms, body: BodyId::random(&rng) };
        let (early, late) = (id(0xfff), id(0x1000));
        assert!(early.entry_file() < late.entry_file());
        assert_eq!(EntryId::of_file(&early.entry_file()), Some((early, true)));
        assert_eq!(EntryId::of_file(&early.body_file()), Some((early, false)));
        for wrong in ["", ".entry", "x.entry", "0-00.entry", &format!("0{early}.entry"), &early.to_string()] {
            assert_eq!(EntryId::of_file(wrong), None, "{wrong}");
        }
    }
}
