//! What can end a bench early.

use std::path::Path;

use base::{Classify, ErrorKind};

/// A bench that could not be run, or whose figures would mean nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, folder or socket of the bench itself failed.
    #[error("{what}")]
    Io {
        /// What was tried, with its path or address.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A server or program does not start, ends or fails.
    #[error(transparent)]
    Engine(#[from] engines::Error),
    /// A server answered a request of the set-up with an error.
    #[error("{request} answered {status}: {body}")]
    Refused {
        /// Verb and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The start of the answer's body.
        body: String,
    },
    /// Bytes came back that are not the bytes that went in.
    #[error("{0} came back with other bytes than were put")]
    Corrupt(String),
    /// An answer, a `/proc` file or a program's output is not in the form that the bench reads.
    #[error("cannot understand {0}")]
    Unreadable(String),
}

impl Error {
    /// For `map_err`: an I/O error with the thing that was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for a path.
    pub fn path(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        Self::io(format!("cannot {verb} {}", path.display()))
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } | Self::Engine(engines::Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                ErrorKind::Full
            }
            Self::Engine(engines::Error::Program { .. }) => ErrorKind::NotFound,
            Self::Io { .. } | Self::Engine(_) => ErrorKind::Unavailable,
            Self::Refused { .. } => ErrorKind::Denied,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Unreadable(_) => ErrorKind::Internal,
        }
    }
}
