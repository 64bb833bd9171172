//! The keys above a part's DEK: a root key in a file, tenants' keys under it, and under those the keys of
//! portions, in versions. Buckets have a key of their own under the root, which parts were under before there were
//! portions, and which those of SSE-C are under together with the customer's.
//!
//! [`Keyring`] holds the root key and knows no metadata; [`Portions`] is the rest.

mod cache;
mod error;
mod keep;
mod kms;
mod portions;
pub mod rules;
mod tenant;
mod wrap;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BodyId, BucketId, Classify, ErrorKind, Rng};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::{Dek, EnvelopeError, Kek, WrappedKey};
use parking_lot::RwLock;
use zeroize::Zeroizing;

pub use cache::LEASE_MS;
pub use error::PortionError;
pub use keep::{BYTES_MAX, PARTS_MAX};
pub use kms::{EncryptionContext, Opened, key_of};
pub use portions::{
    Alias, KeyVersion, NewPortion, Portion, Portions, ROTATION_DAYS, ROTATION_DAYS_MAX, SHRED_DAYS_MAX, Switch, dashed,
    parse_id,
};
pub use tenant::TenantKey;
pub use wrap::{DekPlace, KeyName, PortionKey, Wrap};

/// First line of a root key file.
const FILE_MAGIC: &str = "holdfast root key v1";

/// Unwrapped bucket keys kept in memory. Past it the map is emptied: unwrapping again costs
/// microseconds, and a bound keeps memory bounded.
const BUCKET_KEYS_MAX: usize = 10_000;

/// Secret bytes of temporary credentials: 40 characters, as long as AWS's.
const TEMPORARY_SECRET_BYTES: usize = 30;

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The root key file cannot be read or made.
    #[error("root key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is not a root key.
    #[error("{path} is not a root key file; restore it from your backup")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read the file.
    #[error("{path} is open to others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The wrapped key was made under another key or for something else, or is damaged.
    #[error("a stored key does not open: the root key is another one, or the record is damaged")]
    Wrong(#[from] EnvelopeError),
}

impl Classify for KeyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::File { .. } => ErrorKind::Unavailable,
            Self::NotAKey { .. } | Self::Wrong(_) => ErrorKind::Corrupt,
            Self::Exposed { .. } => ErrorKind::Denied,
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
    bucket_keys: RwLock<HashMap<BucketId, Arc<BucketKey>>>,
}

impl Keyring {
    /// Opens the root key file, or makes it (mode 0600, durable before it is used).
    ///
    /// # Errors
    /// [`KeyError`] when the file is unreadable, readable by others, or not a key.
    pub fn open(path: &Path, rng: &dyn Rng) -> Result<Self, KeyError> {
        let file_error = |source| KeyError::File { path: path.to_owned(), source };
        match read_key_file(path) {
            Ok(Some(root)) => Ok(Self::with_root(root)),
            Ok(None) => {
                let mut key = Zeroizing::new([0; 32]);
                rng.fill(key.as_mut());
                write_key_file(path, &key).map_err(file_error)?;
                Ok(Self::with_root(Kek::from_bytes(*key)))
            }
            Err(error) => Err(error),
        }
    }

    /// A keyring whose root key lives in memory only: for tests and simulation.
    pub fn ephemeral(rng: &dyn Rng) -> Self {
        Self::with_root(Kek::generate(rng))
    }

    fn with_root(root: Kek) -> Self {
        Self { root, bucket_keys: RwLock::default() }
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

fn secret_context(name: &str) -> Vec<u8> {
    [b"secret/1".as_slice(), name.as_bytes()].concat()
}

fn temporary_context(access_key: &str) -> Vec<u8> {
    [b"temporary/1".as_slice(), access_key.as_bytes()].concat()
}

fn token_context(access_key: &str) -> Vec<u8> {
    [b"token/1".as_slice(), access_key.as_bytes()].concat()
}

fn read_key_file(path: &Path) -> Result<Option<Kek>, KeyError> {
    let file_error = |source| KeyError::File { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file_error(e)),
    };
    let mode = file.metadata().map_err(file_error)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let not_a_key = || KeyError::NotAKey { path: path.to_owned() };
    let mut text = Zeroizing::new(String::with_capacity(256));
    // A bound, so that a wrong path to a huge file is an error and not a full memory.
    (&mut file).take(200).read_to_string(&mut text).map_err(|_| not_a_key())?;
    let (magic, digits) = text.trim_end().split_once('\n').ok_or_else(not_a_key)?;
    // Hexadecimal digits only: the parser of numbers below would take a sign as well.
    if magic != FILE_MAGIC || digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(not_a_key());
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| not_a_key())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| not_a_key())?;
    }
    Ok(Some(Kek::from_bytes(*key)))
}

/// Written beside its final name and renamed: a crash leaves no half key behind.
fn write_key_file(path: &Path, key: &[u8; 32]) -> std::io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(FILE_MAGIC);
    text.push('\n');
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    text.push('\n');
    let fresh = path.with_extension("new");
    // One that is left over may have another mode.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use base::{PartId, SeededRng};

    #[test]
    fn a_root_key_file_opens_again_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let rng = SeededRng::new(1);
        let bucket = BucketId::random(&rng);
        let wrapped = Keyring::open(&path, &rng).unwrap().new_bucket_key(bucket, &rng).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        Keyring::open(&path, &rng).unwrap().bucket_key(bucket, &wrapped).unwrap();

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keyring::open(&path, &rng), Err(KeyError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_damaged_root_key_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let signed = format!("holdfast root key v1\n{}\n", "+f".repeat(32));
        for bad in [signed.as_str(), "", "holdfast root key v1\n", "holdfast root key v1\nzz\n", "something else\n\n"] {
            std::fs::write(&path, bad).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let opened = Keyring::open(&path, &SeededRng::new(1));
            assert!(matches!(opened, Err(KeyError::NotAKey { .. })), "{bad:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        }
    }

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
