//! Sites that the root key is wrapped to: a machine's own key pair (X-Wing), of which the private key lies sealed in `site.key`
//! and the public key goes to who has the root (`docs/spec/root.md`).

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base::{Classify, ErrorKind, Rng, SystemRng};
use envelope::{Locked, WING_OVERHEAD, WING_PUBLIC_LEN};
use zeroize::Zeroizing;

use super::keeper::{Keeper, KeeperError, Kept};
use super::seal::{Holds, Seal, Sealing, push_hex, read_hex};
use super::{RootError, RootFile, RootKey};

/// The kind of a root key file that is wrapped to a site.
pub const SITE_KIND: &str = "site";
/// Most bytes of a site's name.
pub const SITE_NAME_MAX: usize = 32;
/// First line of a public key.
const PUBLIC: &str = "holdfast site public key v1";
/// First line of every version of it.
const PUBLIC_FAMILY: &str = "holdfast site public key v";
/// What HPKE seals for, so that no other use of a key opens the same.
const INFO: &[u8] = b"holdfast/root-wrap/1";
/// Bytes of a public key's file that are looked at: more than any has.
const PUBLIC_FILE_MAX: usize = 4096;

/// Why a text is no site's public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// Something else, or damaged.
    #[error("this is not a site's public key; `holdfast key site create` on that machine writes it as site.pub")]
    NotAKey,
    /// Written by a newer Holdfast.
    #[error("this public key is of a version that this program does not know; upgrade it")]
    Newer,
    /// The fingerprint is of another key.
    #[error("the key in it does not have the fingerprint that it says; it was changed on its way: bring it again")]
    Fingerprint,
    /// No name.
    #[error("a site's name has 1 to {SITE_NAME_MAX} characters of a-z, 0-9 and -, and begins with a letter or digit")]
    Name,
}

impl Classify for SiteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAKey | Self::Newer | Self::Fingerprint => ErrorKind::Corrupt,
            Self::Name => ErrorKind::Invalid,
        }
    }
}

/// Whether a word names a site: 1 to 32 of a-z, 0-9 and `-`, no `-` first.
pub fn is_site_name(name: &str) -> bool {
    (1..=SITE_NAME_MAX).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A site's public key, and its name. No secret; but who has the root wrapped to a wrong one gives it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePublic {
    name: String,
    key: Vec<u8>,
}

impl SitePublic {
    /// From a name and the key's bytes.
    ///
    /// # Errors
    /// [`SiteError`].
    pub fn new(name: &str, key: &[u8]) -> Result<Self, SiteError> {
        if !is_site_name(name) {
            return Err(SiteError::Name);
        }
        if !envelope::is_wing_public(key) {
            return Err(SiteError::NotAKey);
        }
        Ok(Self { name: name.to_owned(), key: key.to_vec() })
    }

    /// From the text of its file.
    ///
    /// # Errors
    /// [`SiteError`] that says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, SiteError> {
        if text.len() > PUBLIC_FILE_MAX {
            return Err(SiteError::NotAKey);
        }
        let mut lines = text.trim_end().lines();
        match lines.next() {
            Some(PUBLIC) => {}
            Some(line) if line.starts_with(PUBLIC_FAMILY) => return Err(SiteError::Newer),
            _ => return Err(SiteError::NotAKey),
        }
        let (Some(line), Some(digits), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(SiteError::NotAKey);
        };
        let mut words = line.split(' ');
        let mut word = |name: &str| words.next().and_then(|word| word.strip_prefix(name)).ok_or(SiteError::NotAKey);
        let (name, fingerprint) = (word("name=")?, word("fingerprint=")?);
        let mut key = vec![0; WING_PUBLIC_LEN];
        if words.next().is_some() || digits.len() != 2 * key.len() {
            return Err(SiteError::NotAKey);
        }
        read_hex(digits, &mut key).map_err(|_| SiteError::NotAKey)?;
        let public = Self::new(name, &key)?;
        if public.fingerprint() != fingerprint {
            return Err(SiteError::Fingerprint);
        }
        Ok(public)
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{PUBLIC}\nname={} fingerprint={}\n", self.name, self.fingerprint());
        push_hex(&mut text, &self.key);
        text.push('\n');
        text
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key, 1,216 bytes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// SHA-256 of the key, in hexadecimal: what people compare.
    pub fn fingerprint(&self) -> String {
        hex::encode(fingerprint(&self.key))
    }

    /// Seals to the site. What it seals only the site opens: [`Seal::open`] fails.
    pub fn seal(&self) -> Kept {
        Kept::by(Box::new(To { public: self.key.clone(), private: None }))
    }
}

fn fingerprint(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    bytes
}

/// A site's private key. Cannot be printed or copied by accident; lives in locked memory, zeroed when dropped.
pub struct SiteKey(Locked);

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteKey(..)")
    }
}

impl SiteKey {
    /// A fresh one.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut key = Locked::zeros();
        rng.fill(key.bytes_mut());
        Self(key)
    }

    /// Its public key, under a name.
    ///
    /// # Errors
    /// [`SiteError::Name`].
    pub fn public(&self, name: &str) -> Result<SitePublic, SiteError> {
        SitePublic::new(name, &self.public_bytes().map_err(|_| SiteError::NotAKey)?)
    }

    fn public_bytes(&self) -> Result<Vec<u8>, envelope::EnvelopeError> {
        envelope::wing_public(&self.0)
    }

    /// The fingerprint of its public key; empty never in practice.
    pub fn fingerprint(&self) -> String {
        self.public_bytes().map(|key| hex::encode(fingerprint(&key))).unwrap_or_default()
    }

    /// What opens root key files that are wrapped to this site, and makes others.
    pub fn seal(&self) -> Kept {
        let private = Locked::copy_of(self.0.bytes());
        Kept::by(Box::new(To { public: self.public_bytes().unwrap_or_default(), private: Some(private) }))
    }
}

/// Keeps a secret by encrypting it to a site.
struct To {
    public: Vec<u8>,
    /// Only on the site.
    private: Option<Locked>,
}

impl Keeper for To {
    fn kind(&self) -> &'static str {
        SITE_KIND
    }

    fn place(&self) -> String {
        format!("site key {}", hex::encode(fingerprint(&self.public)))
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        // The trait brings no randomness: a token draws its own.
        envelope::seal_to(&self.public, INFO, &fingerprint(&self.public), secret, &SystemRng)
            .map_err(|_| KeeperError::Failed("this is no public key of a site".to_owned()))
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let Some(private) = &self.private else {
            return Err(KeeperError::Failed("only the site itself opens what is wrapped to it".to_owned()));
        };
        if kept.len() != WING_OVERHEAD + 32 {
            return Err(damaged());
        }
        envelope::open_to(private, INFO, &fingerprint(&self.public), kept).map_err(|_| damaged())
    }
}

fn damaged() -> KeeperError {
    KeeperError::Failed(
        "the wrap is damaged, or was not made for this site's key; have the root key wrapped to it again".to_owned(),
    )
}

/// The file of a site's private key, sealed as root key files are.
#[derive(Debug, Clone)]
pub struct SiteKeyFile(RootFile);

impl SiteKeyFile {
    /// The one beside a root key file.
    pub fn beside(root: &RootFile) -> Self {
        Self::new(root.path().with_file_name("site.key"))
    }

    /// The file at a path. Nothing is read or made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(RootFile(path.into(), Holds::Site))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What it takes to open; nothing when there is no file.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn sealing(&self) -> Result<Option<Sealing>, RootError> {
        self.0.sealing()
    }

    /// The key; nothing when there is no file.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn open(&self, seal: &dyn Seal) -> Result<Option<SiteKey>, RootError> {
        Ok(self.0.open(seal)?.map(|key| SiteKey(key.0)))
    }

    /// Makes a key and its file.
    ///
    /// # Errors
    /// [`RootError::Exists`] where a file is, whatever it holds.
    pub fn make(&self, seal: &dyn Seal, rng: &dyn Rng) -> Result<SiteKey, RootError> {
        let key = RootKey(SiteKey::generate(rng).0);
        self.0.restore(&key, seal, rng)?;
        Ok(SiteKey(key.0))
    }

    /// The file, for what is done with it as with a root key's: to change its seal.
    pub fn file(&self) -> &RootFile {
        &self.0
    }
}

#[cfg(test)]
mod tests;
