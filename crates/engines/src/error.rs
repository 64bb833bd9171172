//! Why an engine cannot be had or does not run.

use std::path::{Path, PathBuf};

/// An engine could not be installed, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, folder or socket failed.
    #[error("{what}")]
    Io {
        /// What was tried, with its path or address.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A program cannot be started.
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
    /// A server did not answer in time.
    #[error("{server} gave no answer within {seconds} s; its log is {log}")]
    NoAnswer {
        /// The server.
        server: String,
        /// How long it was waited for.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
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
