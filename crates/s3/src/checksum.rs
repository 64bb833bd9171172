//! The checksums of S3: five algorithms, base64 on the wire.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;

/// An algorithm of `x-amz-checksum-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// As S3 spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header and trailer that carries the value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Length of the raw checksum, bytes.
    fn len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// By S3's name, in any case.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By header, in any case.
    pub(crate) fn by_header(header: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// Whether a base64 text is a checksum of this algorithm.
    pub(crate) fn is_value(self, text: &str) -> bool {
        STANDARD.decode(text).is_ok_and(|raw| raw.len() == self.len())
    }
}

/// The checksum headers of a request.
pub(crate) fn given(headers: &HeaderMap) -> impl Iterator<Item = (Algorithm, &http::HeaderValue)> {
    Algorithm::ALL.into_iter().filter_map(|algorithm| Some((algorithm, headers.get(algorithm.header())?)))
}

/// A checksum being computed.
pub(crate) struct Hasher {
    pub algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(Box<crc_fast::Digest>),
    Sha(digest::Context),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let crc = |algorithm| State::Crc(Box::new(crc_fast::Digest::new(algorithm)));
        let state = match algorithm {
            Algorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 => State::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => State::Sha(digest::Context::new(&digest::SHA256)),
        };
        Self { algorithm, state }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc(crc) => crc.update(data),
            State::Sha(sha) => sha.update(data),
        }
    }

    /// The raw checksum.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self.state {
            State::Crc(crc) => {
                let bytes = crc.finalize().to_be_bytes();
                bytes.into_iter().skip(bytes.len() - self.algorithm.len()).collect()
            }
            State::Sha(sha) => sha.finish().as_ref().to_vec(),
        }
    }

    /// The checksum as it travels.
    pub(crate) fn finish_base64(self) -> String {
        STANDARD.encode(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the CRC catalogue and FIPS 180 for "123456789".
    #[test]
    fn known_answers() {
        let table = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (algorithm, expected) in table {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hex::encode(hasher.finish()), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn values_have_the_length_of_their_algorithm() {
        for algorithm in Algorithm::ALL {
            assert!(algorithm.is_value(&Hasher::new(algorithm).finish_base64()));
            assert!(!algorithm.is_value("AAA="), "{algorithm:?}");
            assert!(!algorithm.is_value("not base64"), "{algorithm:?}");
            assert_eq!(Algorithm::by_name(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::by_header(algorithm.header()), Some(algorithm));
        }
    }
}
