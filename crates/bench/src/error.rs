//! What can end a bench early.

use std::path::{Path, PathBuf};

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
    /// A program that the bench needs cannot be started.
    #[error("cannot start {program}; {hint}")]
    Program {
        /// The program.
        program: PathBuf,
        /// How to get it.
        hint: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A program ran and said no.
    #[error("{program} failed: {output}")]
    Failed {
        /// The program and what it was asked.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// A server under test did not answer in time.
    #[error("{server} gave no answer within {seconds} s; its log is {log}")]
    NoAnswer {
        /// The server.
        server: String,
        /// How long the bench waited.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
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
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => ErrorKind::Full,
            Self::Io { .. } | Self::Failed { .. } | Self::NoAnswer { .. } => ErrorKind::Unavailable,
            Self::Program { .. } => ErrorKind::NotFound,
            Self::Refused { .. } => ErrorKind::Denied,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Unreadable(_) => ErrorKind::Internal,
        }
    }
}
