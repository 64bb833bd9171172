//! 128-bit random identifiers. Never reused. Most carry no meaning; a blob's
//! id begins with the time of its making, so that what is made together sorts together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Rng;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

/// An account: a tenant's own world of buckets, users and groups. Policies write it as twelve
/// decimal digits (IAM User Guide, "IAM ARNs").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId(u64);

impl AccountId {
    /// `000000000000`: the default tenant's.
    pub const DEFAULT: Self = Self(0);
    const END: u64 = 1_000_000_000_000;

    /// Draws the id of a new tenant, never the default one's.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 8];
        rng.fill(&mut bytes);
        Self(1 + u64::from_be_bytes(bytes) % (Self::END - 1))
    }

    /// Eight bytes, big endian: how row keys name it.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Reverses [`Self::to_bytes`]; `None` for a number of more than twelve digits.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        Some(u64::from_be_bytes(bytes)).filter(|number| *number < Self::END).map(Self)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Draws a fresh identifier.
            pub fn random(rng: &dyn Rng) -> Self {
                let mut bytes = [0; 16];
                rng.fill(&mut bytes);
                Self(bytes)
            }

            /// Draws a fresh identifier that sorts by the time it was drawn, in milliseconds since
            /// the Unix epoch, as a UUID version 7 does (RFC 9562): what is written together lies
            /// together in an ordered engine. 80 bits are random.
            pub fn ordered(now_ms: u64, rng: &dyn Rng) -> Self {
                let mut id = Self::random(rng);
                id.0[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
                id
            }

            /// An identifier from its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // `hex` takes upper case too; one identifier must have one spelling.
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(ParseIdError);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
                Ok(Self(bytes))
            }
        }
    };
}

id!(
    /// A bucket, for ever: a bucket deleted and made again under the same name has another id.
    BucketId
);
id!(
    /// One sealed part: the unit that has its own data encryption key.
    PartId
);
id!(
    /// One body written under a name: a plain PUT, a copy, or a completed multipart upload.
    /// Key wraps are bound to it; it doubles as the object's version id.
    BodyId
);
id!(
    /// One striped blob: a pack of small parts, or one large part.
    BlobId
);
id!(
    /// A multipart upload.
    UploadId
);
id!(
    /// A portion of the data, and its key: the KMS API knows the key by it.
    PortionId
);
id!(
    /// A process that serves the store, from its start to its end: started again, it is another one.
    GatewayId
);

impl From<UploadId> for BodyId {
    /// A completed upload keeps its id as the body's, so that part wraps stay valid.
    fn from(upload: UploadId) -> Self {
        Self::from_bytes(*upload.as_bytes())
    }
}

impl From<BodyId> for UploadId {
    /// The reverse of the above: where a multipart body's part rows are.
    fn from(body: BodyId) -> Self {
        Self::from_bytes(*body.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    #[test]
    fn text_round_trip() {
        let id = BlobId::random(&SeededRng::new(1));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn ordered_ids_sort_by_time() {
        let rng = SeededRng::new(2);
        let drawn: Vec<BlobId> = [1, 2, 255, 256, 1 << 40].map(|ms| BlobId::ordered(ms, &rng)).into();
        assert!(drawn.is_sorted(), "{drawn:?}");
    }

    #[test]
    fn one_spelling_only() {
        for bad in ["", "00", "ABCDEF00112233445566778899aabbcc", "zz112233445566778899aabbccddeeff"] {
            assert_eq!(bad.parse::<BlobId>(), Err(ParseIdError), "{bad}");
        }
    }
}
