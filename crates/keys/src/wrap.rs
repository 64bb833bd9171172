//! Wrapped DEKs as they are stored: 40 bytes are under a bucket's key, 60 name a portion's key before.

use base::{BodyId, BucketId, PartId, PortionId};
use envelope::{Dek, EnvelopeError, Kek, WrappedKey};

use crate::KeyError;

/// Bytes of a wrapped key.
const WRAPPED: usize = 40;
/// Bytes of a portion's id and a key version before it.
const NAMED: usize = 16 + 4;

/// A portion's key of one version: what it is called wherever something is under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName {
    /// The portion.
    pub portion: PortionId,
    /// From 1.
    pub version: u32,
}

/// Stands for all buckets' keys where work on a portion's key is named by its id.
pub const BUCKET_KEYS: PortionId = PortionId::from_bytes([0; 16]);

/// A wrapped DEK, and what it is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// The bucket's key, or the bucket's and a customer's.
    Bucket(WrappedKey),
    /// A portion's key.
    Portion(KeyName, WrappedKey),
}

impl Wrap {
    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] for any other length.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let refused = || KeyError::Wrong(EnvelopeError::Refused);
        if let Ok(wrapped) = <[u8; WRAPPED]>::try_from(bytes) {
            return Ok(Self::Bucket(WrappedKey(wrapped)));
        }
        let bytes = <&[u8; NAMED + WRAPPED]>::try_from(bytes).map_err(|_| refused())?;
        let (portion, rest) = bytes.split_first_chunk::<16>().ok_or_else(refused)?;
        let (version, wrapped) = rest.split_first_chunk::<4>().ok_or_else(refused)?;
        let name = KeyName { portion: PortionId::from_bytes(*portion), version: u32::from_be_bytes(*version) };
        Ok(Self::Portion(name, WrappedKey(wrapped.try_into().map_err(|_| refused())?)))
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bucket(wrapped) => wrapped.0.to_vec(),
            Self::Portion(name, wrapped) => {
                [name.portion.as_bytes().as_slice(), &name.version.to_be_bytes(), &wrapped.0].concat()
            }
        }
    }

    /// The portion's key that it is under.
    pub fn key(&self) -> Option<KeyName> {
        match self {
            Self::Bucket(_) => None,
            Self::Portion(name, _) => Some(*name),
        }
    }
}

/// What a wrapped DEK is for. The wrap opens for exactly this name and body, so a record moved to
/// another name by a hand in the metadata does not open there.
#[derive(Debug, Clone, Copy)]
pub struct DekPlace<'a> {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's key.
    pub object: &'a str,
    /// The body (version).
    pub body: BodyId,
    /// Part number; 0 for a body of one part.
    pub number: u16,
    /// The part.
    pub part: PartId,
}

impl DekPlace<'_> {
    /// Fixed-length fields first, the name last: no two places share an encoding.
    pub(crate) fn context(&self) -> Vec<u8> {
        let mut context = Vec::with_capacity(64 + self.object.len());
        context.extend_from_slice(b"dek/1");
        context.extend_from_slice(self.bucket.as_bytes());
        context.extend_from_slice(self.body.as_bytes());
        context.extend_from_slice(&self.number.to_be_bytes());
        context.extend_from_slice(self.part.as_bytes());
        context.extend_from_slice(self.object.as_bytes());
        context
    }
}

/// A version of a portion's key, unwrapped.
pub struct PortionKey {
    name: KeyName,
    kek: Kek,
}

impl PortionKey {
    pub(crate) fn new(name: KeyName, kek: Kek) -> Self {
        Self { name, kek }
    }

    /// Which one it is.
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// Wraps a part's DEK for its place.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice: wrapping a 32-byte key has no way to fail.
    pub fn wrap(&self, place: &DekPlace<'_>, dek: &Dek) -> Result<Wrap, KeyError> {
        Ok(Wrap::Portion(self.name, self.kek.wrap_dek(&place.context(), dek)?))
    }

    /// Unwraps a part's DEK.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when the wrap was made for another place or under another key.
    pub fn unwrap(&self, place: &DekPlace<'_>, wrapped: &WrappedKey) -> Result<Dek, KeyError> {
        Ok(self.kek.unwrap_dek(&place.context(), wrapped)?)
    }

    /// Seals a message for a context (the KMS API's Encrypt).
    ///
    /// # Errors
    /// [`KeyError::Wrong`] for more than 1 MiB.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8], rng: &dyn base::Rng) -> Result<Vec<u8>, KeyError> {
        Ok(envelope::seal_small(&self.kek, context, plain, rng)?)
    }

    /// Opens what [`Self::seal`] sealed under the same key and context.
    ///
    /// # Errors
    /// [`KeyError::Wrong`].
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
        Ok(envelope::open_small(&self.kek, context, sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededRng;

    #[test]
    fn a_wrap_says_what_it_is_under() {
        let rng = SeededRng::new(1);
        let name = KeyName { portion: PortionId::random(&rng), version: 0x0102_0304 };
        let wrapped = WrappedKey([7; WRAPPED]);
        let named = Wrap::Portion(name, wrapped).encode();
        assert_eq!(named.len(), 60);
        assert_eq!(&named[16..20], &[1, 2, 3, 4]);
        assert_eq!(Wrap::parse(&named).unwrap(), Wrap::Portion(name, wrapped));
        assert_eq!(Wrap::parse(&[7; 40]).unwrap(), Wrap::Bucket(wrapped));
        for len in [0, 39, 41, 59, 61] {
            assert!(Wrap::parse(&vec![7; len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_portion_key_opens_what_it_wrapped_there_and_nowhere_else() {
        let rng = SeededRng::new(2);
        let name = KeyName { portion: PortionId::random(&rng), version: 1 };
        let (key, other) = (PortionKey::new(name, Kek::generate(&rng)), PortionKey::new(name, Kek::generate(&rng)));
        let place = DekPlace {
            bucket: BucketId::random(&rng),
            object: "a",
            body: BodyId::random(&rng),
            number: 0,
            part: PartId::random(&rng),
        };
        let Wrap::Portion(_, wrapped) = key.wrap(&place, &Dek::generate(&rng)).unwrap() else { panic!("a bucket's") };
        assert!(key.unwrap(&place, &wrapped).is_ok());
        assert!(key.unwrap(&DekPlace { object: "b", ..place }, &wrapped).is_err());
        assert!(other.unwrap(&place, &wrapped).is_err());
    }
}
