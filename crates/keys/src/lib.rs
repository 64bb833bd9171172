//! The keys above a part's DEK: a root key in a file, tenants' keys under it, and under those the keys of
//! portions, in versions. Buckets have a key of their own under the root, which parts were under before there were
//! portions, and which those of SSE-C are under together with the customer's.
//!
//! [`Keyring`] holds the root key and knows no metadata; [`Portions`] is the rest. What a [`Caller`] opens is released
//! to it first: see [`Portions::release`].

mod audit;
mod cache;
mod error;
mod handover;
mod held;
mod island;
mod keep;
mod kms;
mod lease;
mod portions;
pub mod quorum;
mod root;
mod rotate;
pub mod rules;
mod site_lease;
mod tenant;
mod wrap;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use base::{AccountId, BodyId, BucketId, Classify, ErrorKind, Rng};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::{Dek, EnvelopeError, Kek, WrappedKey};
use parking_lot::RwLock;
use zeroize::Zeroizing;

pub use audit::{AuditEvent, AuditOutcome, Auditor};
pub use cache::LEASE_MS;
pub use envelope::{SHARES_MAX, Share, ShareError};
pub use error::PortionError;
pub use handover::{HandoverError, Inherited, WrappedSite, forget_site, hand_over, inherited, wrap_to, wrapped_sites};
pub use held::{HOLD_LEASE_MS, HalfState, Holding, Keepers, NewHold, NoKeepers};
pub use keep::{BYTES_MAX, PARTS_MAX};
pub use kms::{EncryptionContext, Opened, key_of};
pub use lease::{
    Answer, Approval, Approver, Ask, Caller, Denial, Holder, KUBERNETES, Lease, Refusal, Ruling, Standing, Who,
};
pub use meta::record::{CutOff, PortionClass};
pub use portions::{
    Alias, Constraints, EndGrant, GRANTS_MAX, GRANTS_OF_PRINCIPAL_MAX, Grant, KeyVersion, NewGrant, NewPortion,
    Pending, Portion, Portions, ROTATION_DAYS, ROTATION_DAYS_MAX, SHRED_DAYS_MAX, Switch, Tended, dashed, parse_id,
};
pub use root::{
    Cost, Holds, Keeper, KeeperError, Kept, PASSPHRASE_MAX, PASSPHRASE_MIN, Passphrase, PlainFile, RootError, RootFile,
    RootKey, SITE_KIND, SITE_NAME_MAX, Seal, SealError, Sealing, SiteError, SiteKey, SiteKeyFile, SitePublic,
    is_site_name,
};
pub use rotate::{RotateError, Rotated, UnderRoot, rotate};
pub use site_lease::{LeaseMark, SITE_LEASE_MS};
pub use tenant::TenantKey;
pub use wrap::{BUCKET_KEYS, DekPlace, KeyName, PortionKey, Wrap};

/// Unwrapped bucket keys kept in memory. Past it the map is emptied: unwrapping again costs
/// microseconds, and a bound keeps memory bounded.
const BUCKET_KEYS_MAX: usize = 10_000;

/// Secret bytes of temporary credentials: 40 characters, as long as AWS's.
const TEMPORARY_SECRET_BYTES: usize = 30;

/// What the audit log's signing key and its name are derived for.
const JOURNAL_CONTEXT: &[u8] = b"journal/1";
const AUDIT_CONTEXT: &[u8] = b"audit/1";
const AUDIT_NAME_CONTEXT: &[u8] = b"audit-name/1";
/// Bytes that tell one audit log from all others.
const AUDIT_NAME_BYTES: usize = 8;

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The root key is not to be had.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The wrapped key was made under another key or for something else, or is damaged.
    #[error("a stored key does not open: the root key is another one, or the record is damaged")]
    Wrong(#[from] EnvelopeError),
}

impl Classify for KeyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Root(error) => error.kind(),
            Self::Wrong(_) => ErrorKind::Corrupt,
        }
    }
}

/// A customer's key (SSE-C): 256 bits that come with each request and are never kept. Cannot be
/// printed; zeroed when dropped.
pub struct CustomerKey(Zeroizing<[u8; 32]>);

impl CustomerKey {
    /// A key from the bytes that the customer sent.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerKey(..)")
    }
}

/// A bucket's key, unwrapped; or that and a customer's together.
pub struct BucketKey(Kek);

impl BucketKey {
    /// Wraps a part's DEK for its place.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice: wrapping a 32-byte key has no way to fail.
    pub fn wrap(&self, place: &DekPlace<'_>, dek: &Dek) -> Result<WrappedKey, KeyError> {
        Ok(self.0.wrap_dek(&place.context(), dek)?)
    }

    /// The key that takes the bucket's and the customer's to make.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn with_customer(&self, customer: &CustomerKey) -> Result<Self, KeyError> {
        Ok(Self(self.0.combined(&customer.0)?))
    }

    /// What is kept of a body to tell the right customer's key from a wrong one, also where the
    /// body has no bytes.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn verifier(&self, bucket: BucketId, object: &str, body: BodyId) -> Result<[u8; 32], KeyError> {
        Ok(self.0.verifier(&customer_context(bucket, object, body))?)
    }

    /// Whether this is the key that `verifier` was made with, for the same body.
    pub fn is_verified_by(&self, bucket: BucketId, object: &str, body: BodyId, verifier: &[u8]) -> bool {
        self.0.is_verified_by(&customer_context(bucket, object, body), verifier)
    }

    /// Unwraps a part's DEK.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when the wrap was made for another place or under another key.
    pub fn unwrap(&self, place: &DekPlace<'_>, wrapped: &[u8]) -> Result<Dek, KeyError> {
        Ok(self.0.unwrap_dek(&place.context(), &wrapped_key(wrapped)?)?)
    }
}

/// Holds the root key, gives bucket keys.
pub struct Keyring {
    root: Kek,
    /// Whose audit log it signs, where several processes keep one each.
    gateway: Option<String>,
    bucket_keys: RwLock<HashMap<BucketId, Arc<BucketKey>>>,
}

impl Keyring {
    /// Opens the root key file, or makes it (mode 0600, durable before it is used).
    ///
    /// # Errors
    /// [`KeyError`] when the file is unreadable, readable by others, or not a key.
    pub fn open(path: &Path, rng: &dyn Rng) -> Result<Self, KeyError> {
        Self::open_sealed(path, &PlainFile, rng)
    }

    /// The same, with what seals the file.
    ///
    /// # Errors
    /// As [`Self::open`]; also when the seal is not the file's.
    pub fn open_sealed(path: &Path, seal: &dyn Seal, rng: &dyn Rng) -> Result<Self, KeyError> {
        Ok(Self::of(&RootFile::new(path).open_or_make(seal, rng)?))
    }

    /// A keyring of a root key at hand.
    pub fn of(root: &RootKey) -> Self {
        Self::with_root(root.kek())
    }

    /// The same, to sign the audit log of one gateway among several: two logs under one name and key would look like one that
    /// was forged.
    #[must_use]
    pub fn at(self, gateway: Option<String>) -> Self {
        Self { gateway, ..self }
    }

    /// A keyring whose root key lives in memory only: for tests and simulation.
    pub fn ephemeral(rng: &dyn Rng) -> Self {
        Self::with_root(Kek::generate(rng))
    }

    fn with_root(root: Kek) -> Self {
        Self { root, gateway: None, bucket_keys: RwLock::default() }
    }

    /// A fresh key for a bucket, wrapped by the root key.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn new_bucket_key(&self, bucket: BucketId, rng: &dyn Rng) -> Result<Vec<u8>, KeyError> {
        Ok(self.root.wrap_kek(&bucket_context(bucket), &Kek::generate(rng))?.0.to_vec())
    }

    /// The bucket's key, from memory where it was used before.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when the root key is another one or the record is damaged.
    pub fn bucket_key(&self, bucket: BucketId, wrapped: &[u8]) -> Result<Arc<BucketKey>, KeyError> {
        if let Some(key) = self.bucket_keys.read().get(&bucket) {
            return Ok(key.clone());
        }
        let key = self.root.unwrap_kek(&bucket_context(bucket), &wrapped_key(wrapped)?)?;
        let key = Arc::new(BucketKey(key));
        let mut keys = self.bucket_keys.write();
        if keys.len() >= BUCKET_KEYS_MAX {
            keys.clear();
        }
        keys.insert(bucket, key.clone());
        Ok(key)
    }

    /// Forgets a bucket's key (the bucket is gone).
    pub fn forget_bucket(&self, bucket: BucketId) {
        self.bucket_keys.write().remove(&bucket);
    }

    /// Seals a small secret (a user's secret access key) under the root key.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn seal_secret(&self, name: &str, secret: &str, rng: &dyn Rng) -> Result<Vec<u8>, KeyError> {
        Ok(envelope::seal_small(&self.root, &secret_context(name), secret.as_bytes(), rng)?)
    }

    /// Opens what [`Self::seal_secret`] sealed under the same name.
    ///
    /// # Errors
    /// [`KeyError::Wrong`].
    pub fn open_secret(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        let bytes = envelope::open_small(&self.root, &secret_context(name), sealed)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(KeyError::Wrong(EnvelopeError::Refused)),
        }
    }

    /// The secret of temporary credentials, 40 characters: it follows from their access key, so
    /// that their signatures can be verified without a row that holds it.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn temporary_secret(&self, access_key: &str) -> Result<Zeroizing<String>, KeyError> {
        let bytes = self.root.derive_secret(&temporary_context(access_key))?;
        Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes[..TEMPORARY_SECRET_BYTES])))
    }

    /// The seed of the key that signs the audit log's checkpoints: it follows from the root key, so that who has
    /// that one can check them, and nothing else is to be kept.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn audit_seed(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        match &self.gateway {
            None => Ok(self.root.derive_secret(AUDIT_CONTEXT)?),
            Some(gateway) => Ok(self.root.derive_secret(&[AUDIT_CONTEXT, b"/", gateway.as_bytes()].concat())?),
        }
    }

    /// What seals the journal and checkpoints of the metadata at the sites: it follows from the root key, as they are wanted when
    /// nothing else is left.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn journal_key(&self) -> Result<Dek, KeyError> {
        Ok(Dek::from_bytes(*self.root.derive_secret(JOURNAL_CONTEXT)?))
    }

    /// The audit log's name: another one for each root key, and the same wherever that key is. No secret.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn audit_name(&self) -> Result<String, KeyError> {
        let bytes = self.root.derive_secret(AUDIT_NAME_CONTEXT)?;
        let root = hex::encode(&bytes[..AUDIT_NAME_BYTES]);
        Ok(match &self.gateway {
            None => format!("holdfast/{root}"),
            Some(gateway) => format!("holdfast/{root}.{gateway}"),
        })
    }

    /// Seals what a session token says, for the access key that it belongs to.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] never in practice.
    pub fn seal_token(&self, access_key: &str, claims: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, KeyError> {
        Ok(envelope::seal_small(&self.root, &token_context(access_key), claims, rng)?)
    }

    /// Opens what [`Self::seal_token`] sealed for the same access key.
    ///
    /// # Errors
    /// [`KeyError::Wrong`].
    pub fn open_token(&self, access_key: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(envelope::open_small(&self.root, &token_context(access_key), sealed)?)
    }
}

fn wrapped_key(bytes: &[u8]) -> Result<WrappedKey, EnvelopeError> {
    bytes.try_into().map(WrappedKey).map_err(|_| EnvelopeError::Refused)
}

fn bucket_context(bucket: BucketId) -> Vec<u8> {
    [b"bucket/1".as_slice(), bucket.as_bytes()].concat()
}

fn customer_context(bucket: BucketId, object: &str, body: BodyId) -> Vec<u8> {
    [b"ssec/1".as_slice(), bucket.as_bytes(), body.as_bytes(), object.as_bytes()].concat()
}

/// A user among those of all tenants: what a sealed secret is bound to. No user name has a slash in it.
pub fn secret_name(account: AccountId, user: &str) -> String {
    if account == AccountId::DEFAULT { user.to_owned() } else { format!("{account}/{user}") }
}

fn secret_context(name: &str) -> Vec<u8> {
    [b"secret/1".as_slice(), name.as_bytes()].concat()
}

fn temporary_context(access_key: &str) -> Vec<u8> {
    [b"temporary/1".as_slice(), access_key.as_bytes()].concat()
}

fn token_context(access_key: &str) -> Vec<u8> {
    [b"token/1".as_slice(), access_key.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{PartId, SeededRng};

    #[test]
    fn a_dek_opens_only_in_its_place() {
        let rng = SeededRng::new(2);
        let ring = Keyring::ephemeral(&rng);
        let bucket = BucketId::random(&rng);
        let key = ring.bucket_key(bucket, &ring.new_bucket_key(bucket, &rng).unwrap()).unwrap();
        let place = DekPlace { bucket, object: "a", body: BodyId::random(&rng), number: 0, part: PartId::random(&rng) };
        let wrapped = key.wrap(&place, &Dek::generate(&rng)).unwrap();
        assert!(key.unwrap(&place, &wrapped.0).is_ok());
        let elsewhere = [
            DekPlace { object: "b", ..place },
            DekPlace { number: 1, ..place },
            DekPlace { body: BodyId::random(&rng), ..place },
            DekPlace { part: PartId::random(&rng), ..place },
            DekPlace { bucket: BucketId::random(&rng), ..place },
        ];
        for other in elsewhere {
            assert!(key.unwrap(&other, &wrapped.0).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_customers_key_is_needed_beside_the_buckets() {
        let rng = SeededRng::new(4);
        let ring = Keyring::ephemeral(&rng);
        let bucket = BucketId::random(&rng);
        let key = ring.bucket_key(bucket, &ring.new_bucket_key(bucket, &rng).unwrap()).unwrap();
        let customer = |byte| CustomerKey::new(Zeroizing::new([byte; 32]));
        assert_eq!(format!("{:?}", customer(7)), "CustomerKey(..)");
        let (right, wrong) = (key.with_customer(&customer(1)).unwrap(), key.with_customer(&customer(2)).unwrap());
        let body = BodyId::random(&rng);
        let place = DekPlace { bucket, object: "a", body, number: 0, part: PartId::random(&rng) };
        let wrapped = right.wrap(&place, &Dek::generate(&rng)).unwrap();
        let verifier = right.verifier(bucket, "a", body).unwrap();
        assert!(right.unwrap(&place, &wrapped.0).is_ok() && right.is_verified_by(bucket, "a", body, &verifier));
        for other in [&wrong, &*key] {
            assert!(other.unwrap(&place, &wrapped.0).is_err() && !other.is_verified_by(bucket, "a", body, &verifier));
        }
        assert!(!right.is_verified_by(bucket, "b", body, &verifier));
        assert!(!right.is_verified_by(bucket, "a", BodyId::random(&rng), &verifier));
    }

    #[test]
    fn secrets_are_bound_to_their_name() {
        let rng = SeededRng::new(3);
        let ring = Keyring::ephemeral(&rng);
        let sealed = ring.seal_secret("alice", "s3cret", &rng).unwrap();
        assert_eq!(ring.open_secret("alice", &sealed).unwrap().as_str(), "s3cret");
        assert!(ring.open_secret("bob", &sealed).is_err());
    }

    #[test]
    fn temporary_credentials_are_bound_to_their_access_key_and_the_root_key() {
        let rng = SeededRng::new(4);
        let (ring, other) = (Keyring::ephemeral(&rng), Keyring::ephemeral(&rng));
        let secret = ring.temporary_secret("A").unwrap();
        assert_eq!(secret.len(), 40);
        assert_eq!(secret, ring.temporary_secret("A").unwrap());
        assert_ne!(secret, ring.temporary_secret("B").unwrap());
        assert_ne!(secret, other.temporary_secret("A").unwrap());
        let token = ring.seal_token("A", b"claims", &rng).unwrap();
        assert_eq!(ring.open_token("A", &token).unwrap().as_slice(), b"claims");
        assert!(ring.open_token("B", &token).is_err());
        assert!(other.open_token("A", &token).is_err());
        assert!(ring.open_secret("A", &token).is_err(), "a token is no user's secret");
    }
}
