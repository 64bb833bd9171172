//! The seam between Holdfast and a place that keeps bytes.

use std::ops::Range;

use async_trait::async_trait;
use base::{Classify, ErrorKind};
use bytes::Bytes;

/// One stored name, as [`Site::list`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name given to [`Site::put`].
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since the Unix epoch, by the site's own clock.
    pub modified_ms: u64,
}

/// Why a site did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SiteError {
    /// The name is not there (and the site itself is).
    #[error("{name} is not at the site")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// The stored bytes end before the range asked for.
    #[error("{name} is shorter than expected")]
    Short {
        /// The name asked for.
        name: String,
    },
    /// The site has no space left.
    #[error("the site is full: {0}")]
    Full(String),
    /// The site refuses: read-only, no permission, wrong credentials.
    #[error("the site refuses: {0}")]
    Denied(String),
    /// The site, or its folder, is gone, cut off or failing.
    #[error("the site does not answer: {0}")]
    Down(String),
    /// The deadline passed.
    #[error("the site did not answer in time")]
    Slow,
}

impl Classify for SiteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Short { .. } => ErrorKind::Corrupt,
            Self::Full(_) => ErrorKind::Full,
            Self::Denied(_) => ErrorKind::Denied,
            Self::Down(_) | Self::Slow => ErrorKind::Unavailable,
        }
    }
}

/// A place that keeps immutable, named bytes. Names are relative paths of `[a-z0-9._-]` segments
/// split by `/` and are never used twice for different bytes (except the marker, see [`crate::open`]).
#[async_trait]
pub trait Site: Send + Sync + 'static {
    /// Stores the concatenation of `body` under `name`. `Ok` means durable: the bytes and the
    /// name survive loss of power. Repeating a put is harmless. A failed put may leave nothing,
    /// or a torn file that a repeated put replaces.
    async fn put(&self, name: &str, body: &[Bytes]) -> Result<(), SiteError>;

    /// Reads exactly `range`, which is never empty.
    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, SiteError>;

    /// The size of a stored name, bytes.
    async fn size(&self, name: &str) -> Result<u64, SiteError>;

    /// The same if it can be told without waiting and without asking whether the site is still there: of a name that was
    /// read just now.
    fn size_now(&self, _name: &str) -> Option<u64> {
        None
    }

    /// Removes a name. An absent name is no error; a missing site is.
    async fn delete(&self, name: &str) -> Result<(), SiteError>;

    /// Names that start with `prefix` (whole path segments, ending in `/`, or empty) and sort
    /// after `after`, ascending, at most `limit`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, SiteError>;
}
