//! Why something in an image cannot be read.

use std::io;
use std::sync::Arc;

/// Why something in an image cannot be read. None of them says that the rest cannot.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// It is not what it was taken for.
    #[error("this is no {0}")]
    Not(&'static str),
    /// It contradicts itself, or names what lies outside.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// It is whole, and of a kind that is not read.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// Names and contents are under a key that is not in the image.
    #[error("encrypted")]
    Encrypted,
    /// It is larger, deeper or more than is followed.
    #[error("beyond a limit: {0}")]
    Limit(&'static str),
    /// What the image is read from failed.
    #[error("the image cannot be read")]
    Read(#[source] Arc<io::Error>),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // It names what lies behind the image's end.
            io::ErrorKind::UnexpectedEof => Self::Damaged("the image ends before it"),
            _ => Self::Read(Arc::new(error)),
        }
    }
}
