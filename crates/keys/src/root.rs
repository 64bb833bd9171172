//! The root key and the file it lies in (`docs/spec/root.md`).
//!
//! What the file says, a [`Seal`] decides: the key itself, or the key under a passphrase or a token's. This file
//! does the rest: who may read it, and that it is whole on disk before anything counts on it. The file of a site's key
//! is one like it.

mod keeper;
mod seal;
mod site;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::{Classify, ErrorKind, Rng};
use envelope::{Kek, Locked, Share, ShareError};
use zeroize::Zeroizing;

pub use keeper::{Keeper, KeeperError, Kept};
pub use seal::{Cost, Holds, PASSPHRASE_MAX, PASSPHRASE_MIN, Passphrase, PlainFile, Seal, SealError, Sealing};
pub use site::{SITE_KIND, SITE_NAME_MAX, SiteError, SiteKey, SiteKeyFile, SitePublic, is_site_name};

/// Bytes of a root key file that are read: more than any version has. A bound, so that a wrong path to a
/// huge file is an error and not a full memory.
const FILE_MAX: usize = 8192;
/// Permission bits of others than the owner.
const OTHERS: u32 = 0o077;

/// The key that all others are under. Cannot be printed or copied by accident; lives in locked memory, zeroed when
/// dropped.
pub struct RootKey(Locked);

impl RootKey {
    /// A fresh random key.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut key = Locked::zeros();
        rng.fill(key.bytes_mut());
        Self(key)
    }

    /// Cuts the key into `count` shares, any `threshold` of which give it back.
    ///
    /// # Errors
    /// [`ShareError::Impossible`] for other than 2 <= threshold <= count <= 16.
    pub fn split(&self, threshold: u8, count: u8, rng: &dyn Rng) -> Result<Vec<Share>, ShareError> {
        envelope::split(self.0.bytes(), threshold, count, rng)
    }

    /// The key of which these are shares.
    ///
    /// # Errors
    /// [`ShareError`] that names what is wrong with them.
    pub fn combine(shares: &[Share]) -> Result<Self, ShareError> {
        envelope::combine(shares).map(|key| Self(Locked::copy_of(&key)))
    }

    /// Whether both are the same key.
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.bytes(), other.0.bytes()).is_ok()
    }

    pub(crate) fn kek(&self) -> Kek {
        Kek::from_locked(Locked::copy_of(self.0.bytes()))
    }
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// Why the root key is not to be had from its file, or not written to it.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file cannot be read or made.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Others than the owner may read the file.
    #[error("{path} is open to others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key would have been written over.
    #[error("{path} is there already and is never written over; move it away if it is not the right one")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file does not give the key this way.
    #[error("key file {path}: {source}")]
    Seal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SealError,
    },
}

impl Classify for RootError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::File { .. } => ErrorKind::Unavailable,
            Self::Exposed { .. } => ErrorKind::Denied,
            Self::Exists { .. } => ErrorKind::Conflict,
            Self::Seal { source, .. } => source.kind(),
        }
    }
}

/// The file of the root key.
#[derive(Debug, Clone)]
pub struct RootFile(PathBuf, Holds);

impl RootFile {
    /// The file at a path. Nothing is read or made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into(), Holds::Root)
    }

    /// What its 32 bytes are.
    pub fn holds(&self) -> Holds {
        self.1
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key; nothing when there is no file.
    ///
    /// # Errors
    /// [`RootError`] when the file is unreadable, readable by others, or the seal does not open it.
    pub fn open(&self, seal: &dyn Seal) -> Result<Option<RootKey>, RootError> {
        self.read()?.map(|text| seal.open_as(self.1, &text).map_err(|source| self.sealed(source))).transpose()
    }

    /// What the file takes to open; nothing when there is no file.
    ///
    /// # Errors
    /// [`RootError`] when the file is unreadable, readable by others, or no root key.
    pub fn sealing(&self) -> Result<Option<Sealing>, RootError> {
        self.read()?.map(|text| seal::sealing(self.1, &text).map_err(|source| self.sealed(source))).transpose()
    }

    /// The key, which is made with its file (mode 0600, durable before it is used) when there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_or_make(&self, seal: &dyn Seal, rng: &dyn Rng) -> Result<RootKey, RootError> {
        if let Some(key) = self.open(seal)? {
            return Ok(key);
        }
        let key = RootKey::generate(rng);
        self.write(&self.text(&key, seal, rng)?, None, false)?;
        Ok(key)
    }

    /// Writes a key that was recovered. The file belongs to the owner of its folder: root may recover what
    /// another user serves.
    ///
    /// # Errors
    /// [`RootError::Exists`] where a file is, whatever it holds.
    pub fn restore(&self, key: &RootKey, seal: &dyn Seal, rng: &dyn Rng) -> Result<(), RootError> {
        let folder = std::fs::metadata(self.folder()).map_err(|source| self.failed(source))?;
        self.write(&self.text(key, seal, rng)?, Some(&folder), false)
    }

    /// Puts a text in the place of the file, or where there is none: what another machine sealed of a key that `seal`
    /// opens it to. Over another only with `instead`.
    ///
    /// # Errors
    /// [`RootError`]; when the text does not open, nothing is written.
    pub fn put(&self, text: &str, seal: &dyn Seal, instead: bool) -> Result<RootKey, RootError> {
        let key = self.taken(text, seal)?;
        let owner =
            if instead && self.0.exists() { std::fs::metadata(&self.0) } else { std::fs::metadata(self.folder()) };
        self.write(text, Some(&owner.map_err(|source| self.failed(source))?), instead)?;
        Ok(key)
    }

    /// The key in a text that is not in the file.
    ///
    /// # Errors
    /// [`RootError`], in the name of the file.
    pub fn taken(&self, text: &str, seal: &dyn Seal) -> Result<RootKey, RootError> {
        seal.open_as(self.1, text).map_err(|source| self.sealed(source))
    }

    /// What another text takes to open.
    ///
    /// # Errors
    /// [`RootError`] when it is no such key.
    pub fn sealing_of(&self, text: &str) -> Result<Sealing, RootError> {
        seal::sealing(self.1, text).map_err(|source| self.sealed(source))
    }

    /// The text of the file; nothing when there is none.
    ///
    /// # Errors
    /// [`RootError`] when it is unreadable, or readable by others.
    pub fn text_there(&self) -> Result<Option<Zeroizing<String>>, RootError> {
        self.read()
    }

    /// Changes what seals the file, in one step that a crash leaves done or not begun. With `dry_run` all but
    /// that step is done.
    ///
    /// # Errors
    /// [`RootError`] as of [`Self::open`]; also when there is no file.
    pub fn reseal(&self, from: &dyn Seal, to: &dyn Seal, rng: &dyn Rng, dry_run: bool) -> Result<(), RootError> {
        let missing = || self.failed(std::io::Error::from(Io::NotFound));
        let key = self.open(from)?.ok_or_else(missing)?;
        let text = self.text(&key, to, rng)?;
        if dry_run {
            return Ok(());
        }
        let before = std::fs::metadata(&self.0).map_err(|source| self.failed(source))?;
        self.write(&text, Some(&before), true)
    }

    /// Writes a fresh key that shall follow that of `before`, whose owner its file gets.
    ///
    /// # Errors
    /// [`RootError::Exists`] where a file is, whatever it holds.
    pub fn make_after(&self, before: &Self, seal: &dyn Seal, rng: &dyn Rng) -> Result<RootKey, RootError> {
        let owner = std::fs::metadata(&before.0).map_err(|source| before.failed(source))?;
        let key = RootKey::generate(rng);
        self.write(&self.text(&key, seal, rng)?, Some(&owner), false)?;
        Ok(key)
    }

    /// Takes the place of `before`, of which nothing is left: in one step that a crash leaves done or not begun.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn replace(self, before: &Self) -> Result<(), RootError> {
        let synced = |()| File::open(before.folder())?.sync_all();
        std::fs::rename(&self.0, &before.0).and_then(synced).map_err(|source| before.failed(source))
    }

    /// What the file shall say. Opened once before it is trusted: a text that does not open would be
    /// the loss of everything.
    fn text(&self, key: &RootKey, seal: &dyn Seal, rng: &dyn Rng) -> Result<Zeroizing<String>, RootError> {
        let text = seal.seal_as(self.1, key, rng).map_err(|source| self.sealed(source))?;
        match seal.open_as(self.1, &text) {
            Ok(again) if again.is(key) => Ok(text),
            Ok(_) => Err(self.sealed(SealError::Refused)),
            Err(source) => Err(self.sealed(source)),
        }
    }

    fn read(&self) -> Result<Option<Zeroizing<String>>, RootError> {
        let mut file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let mode = file.metadata().map_err(|source| self.failed(source))?.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(RootError::Exposed { path: self.0.clone(), mode });
        }
        // With room for all of it: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * FILE_MAX));
        let read = (&mut file).take(FILE_MAX as u64).read_to_string(&mut text);
        match read {
            Err(error) if error.kind() == Io::InvalidData => Err(self.sealed(SealError::NotAKey)),
            Err(error) => Err(self.failed(error)),
            Ok(_) => Ok(Some(text)),
        }
    }

    /// Written beside its final name first: a crash leaves no half key behind.
    fn write(&self, text: &str, owner: Option<&Metadata>, instead: bool) -> Result<(), RootError> {
        let fresh = self.0.with_extension("new");
        let published = write_fresh(&fresh, text, owner).and_then(|()| self.publish(&fresh, instead));
        if published.is_err() {
            // There is a first error to tell.
            let _ = std::fs::remove_file(&fresh);
        }
        published.and_then(|()| File::open(self.folder())?.sync_all()).map_err(|error| match error.kind() {
            Io::AlreadyExists => RootError::Exists { path: self.0.clone() },
            _ => self.failed(error),
        })
    }

    fn publish(&self, fresh: &Path, instead: bool) -> std::io::Result<()> {
        if instead {
            return std::fs::rename(fresh, &self.0);
        }
        // Unlike a rename, a link is never made over a file that is there.
        match std::fs::hard_link(fresh, &self.0) {
            Ok(()) => std::fs::remove_file(fresh),
            Err(error) if error.kind() == Io::AlreadyExists || self.0.try_exists()? => Err(Io::AlreadyExists.into()),
            // File systems without links: who makes a file in this very moment is not noticed.
            Err(_) => std::fs::rename(fresh, &self.0),
        }
    }

    fn folder(&self) -> &Path {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn failed(&self, source: std::io::Error) -> RootError {
        RootError::File { path: self.0.clone(), source }
    }

    fn sealed(&self, source: SealError) -> RootError {
        let source = if source == SealError::NotAKey { self.1.none() } else { source };
        RootError::Seal { path: self.0.clone(), source }
    }
}

fn write_fresh(fresh: &Path, text: &str, owner: Option<&Metadata>) -> std::io::Result<()> {
    // One that is left over may have another mode.
    match std::fs::remove_file(fresh) {
        Err(error) if error.kind() != Io::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    if let Some(owner) = owner {
        let ours = file.metadata()?;
        if rustix::process::geteuid().is_root() && (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) {
            std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
