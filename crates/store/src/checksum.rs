//! The checksum of a whole object from its parts'.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use meta::record::{Checksum, ChecksumKind};

/// Combines parts' checksums (with the parts' sizes). `None` when a part has none of this
/// algorithm, or when the algorithm cannot cover the whole from parts (SHA full object).
pub(crate) fn combine<'a>(
    algorithm: &str,
    kind: ChecksumKind,
    parts: impl Iterator<Item = Option<(&'a Checksum, u64)>>,
) -> Option<Checksum> {
    let mut sums = Vec::new();
    for part in parts {
        let (sum, size) = part.filter(|(sum, _)| sum.algorithm == algorithm)?;
        sums.push((STANDARD.decode(&sum.value).ok()?, size));
    }
    let value = match kind {
        ChecksumKind::Composite => composite(algorithm, &sums)?,
        ChecksumKind::FullObject => full(algorithm, &sums)?,
    };
    Some(Checksum { algorithm: algorithm.to_owned(), kind, value })
}

/// The algorithm over the concatenation of the parts' raw checksums, and how many there are.
fn composite(algorithm: &str, sums: &[(Vec<u8>, u64)]) -> Option<String> {
    let all: Vec<u8> = sums.iter().flat_map(|(sum, _)| sum.iter().copied()).collect();
    let digest = match algorithm {
        "SHA1" => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &all).as_ref().to_vec(),
        "SHA256" => digest::digest(&digest::SHA256, &all).as_ref().to_vec(),
        crc => {
            let (crc, width) = crc_of(crc)?;
            crc_bytes(crc_fast::checksum(crc, &all), width)
        }
    };
    Some(format!("{}-{}", STANDARD.encode(digest), sums.len()))
}

fn full(algorithm: &str, sums: &[(Vec<u8>, u64)]) -> Option<String> {
    let (crc, width) = crc_of(algorithm)?;
    let mut whole = None;
    for (sum, size) in sums {
        let sum = sum.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        whole = Some(match whole {
            None => sum,
            Some(before) => crc_fast::checksum_combine(crc, before, sum, *size),
        });
    }
    Some(STANDARD.encode(crc_bytes(whole?, width)))
}

fn crc_of(algorithm: &str) -> Option<(CrcAlgorithm, usize)> {
    Some(match algorithm {
        "CRC32" => (CrcAlgorithm::Crc32IsoHdlc, 4),
        "CRC32C" => (CrcAlgorithm::Crc32Iscsi, 4),
        "CRC64NVME" => (CrcAlgorithm::Crc64Nvme, 8),
        _ => return None,
    })
}

fn crc_bytes(crc: u64, width: usize) -> Vec<u8> {
    crc.to_be_bytes()[8 - width..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: &str, data: &[u8]) -> Checksum {
        let (crc, width) = crc_of(algorithm).unwrap();
        let value = STANDARD.encode(crc_bytes(crc_fast::checksum(crc, data), width));
        Checksum { algorithm: algorithm.to_owned(), kind: ChecksumKind::FullObject, value }
    }

    /// The combination of two parts' CRCs is the CRC of the two parts in a row.
    #[test]
    fn full_object_crcs() {
        let (a, b) = (vec![7u8; 100_001], vec![9u8; 77]);
        for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
            let parts = [sum(algorithm, &a), sum(algorithm, &b)];
            let sizes = [a.len() as u64, b.len() as u64];
            let told = combine(algorithm, ChecksumKind::FullObject, parts.iter().zip(sizes).map(Some));
            let expected = sum(algorithm, &[a.clone(), b.clone()].concat());
            assert_eq!(told.map(|sum| sum.value), Some(expected.value), "{algorithm}");
        }
    }

    #[test]
    fn a_part_without_checksum_leaves_the_whole_without() {
        let one = sum("CRC32", b"x");
        let parts = [Some((&one, 1)), None];
        assert_eq!(combine("CRC32", ChecksumKind::Composite, parts.into_iter()), None);
        assert_eq!(combine("SHA256", ChecksumKind::FullObject, [Some((&one, 1))].into_iter()), None);
    }

    #[test]
    fn composites_tell_the_number_of_parts() {
        let one = sum("CRC32C", b"x");
        let told = combine("CRC32C", ChecksumKind::Composite, [Some((&one, 1)), Some((&one, 1))].into_iter()).unwrap();
        assert!(told.value.ends_with("-2"), "{}", told.value);
    }
}
