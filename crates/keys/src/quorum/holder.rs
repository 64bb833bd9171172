//! The seam between keys in shares and who holds a share of each.

use std::path::PathBuf;

use async_trait::async_trait;
use audit::VerifierKey;
use base::PortionId;
use zeroize::Zeroizing;

use crate::wrap::KeyName;

/// Bytes of a share as holders get it: 32, sealed for its place (`docs/spec/quorum.md`).
pub const SHARE_LEN: usize = 104;

/// What a share is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareName {
    /// The key.
    pub key: KeyName,
    /// Shares of one set were made at once.
    pub set: [u8; 16],
}

impl ShareName {
    /// The drawer that it lies in, together with those that a death in it costs.
    pub fn drawer(&self) -> u8 {
        drawer_of(self.key.portion)
    }
}

/// The drawer of a portion's shares. Ids begin with the time and end in random bytes.
pub(crate) fn drawer_of(portion: PortionId) -> u8 {
    portion.as_bytes()[15]
}

/// Names one epoch of a drawer; random, no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochId(pub [u8; 8]);

impl std::fmt::Display for EpochId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Whose shares a holder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteIdentity {
    /// The cluster's id.
    pub cluster: String,
    /// Which of the five it is.
    pub slot: u8,
    /// The site's name.
    pub name: String,
    /// When the site took the slot, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// What a holder destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// The shares that were there.
    pub names: Vec<ShareName>,
    /// The epoch that ended; none when the drawer was empty.
    pub ended: Option<EpochId>,
    /// The one that the other shares of the drawer are under now.
    pub begun: Option<EpochId>,
}

/// Why a holder did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// It has no such share, or none that opens any more.
    #[error("has no share")]
    Absent,
    /// What it has is not what was put.
    #[error("has a share that does not open")]
    Damaged,
    /// The site does not answer, or takes no writes.
    #[error("is away: {0}")]
    Away(String),
    /// Its epoch keys are not to be had.
    #[error("has no epoch keys: {0}")]
    Custody(String),
    /// It had epoch keys, and their file is not there.
    #[error(
        "has no epoch keys: {} is not there, and the site had one. If {} is a disk of its own, mount it; if the file was moved, \
         move it back. If it is lost, run: holdfast site replace {site} --force",
        file.display(),
        folder.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// The site's name.
        site: String,
    },
}

/// Holds one share of each key. It sees shares only as they are sealed for their place.
#[async_trait]
pub trait ShareHolder: Send + Sync {
    /// Whose shares these are.
    ///
    /// # Errors
    /// [`HolderError::Custody`], [`HolderError::Missing`].
    fn identity(&self) -> Result<SiteIdentity, HolderError>;

    /// What its signatures are checked with.
    ///
    /// # Errors
    /// As [`Self::identity`].
    fn verifier(&self) -> Result<VerifierKey, HolderError>;

    /// Signs a text of lines, as a note.
    ///
    /// # Errors
    /// As [`Self::identity`].
    fn sign(&self, text: &str) -> Result<String, HolderError>;

    /// Keeps a share of [`SHARE_LEN`] bytes, durably. A name is put again only with the same share.
    ///
    /// # Errors
    /// [`HolderError`]; the share may be there all the same.
    async fn put(&self, name: &ShareName, share: &[u8]) -> Result<(), HolderError>;

    /// A share that was put.
    ///
    /// # Errors
    /// [`HolderError`].
    async fn get(&self, name: &ShareName) -> Result<Zeroizing<Vec<u8>>, HolderError>;

    /// The drawers that have ever had a share and were not emptied since.
    fn drawers(&self) -> Vec<u8>;

    /// The names of what is in a drawer.
    ///
    /// # Errors
    /// [`HolderError`].
    async fn list(&self, drawer: u8) -> Result<Vec<ShareName>, HolderError>;

    /// Destroys those shares of a drawer that are dead. When it returns, nothing that was ever read or copied from
    /// the site opens them, and the drawer's other shares are there as before. When it fails, what was there is
    /// there or destroyed. `wanted` are shares of the drawer that it is to have as far as the caller knows, perhaps without what is
    /// just being made: a listing of its own that leaves some of them out must not cost them.
    ///
    /// # Errors
    /// [`HolderError`].
    async fn destroy(
        &self,
        drawer: u8,
        is_dead: &(dyn for<'a> Fn(&'a ShareName) -> bool + Send + Sync),
        wanted: &[ShareName],
    ) -> Result<Destroyed, HolderError>;
}
