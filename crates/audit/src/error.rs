//! Why the log says no, and what it finds wrong with itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Classify, ErrorKind};

/// Why the log was not opened, written, read or believed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// A file of the log cannot be read or written.
    #[error("{path}: {source}; check the disk and who owns the folder")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: Arc<io::Error>,
    },
    /// The disk is full and the reserve is used up. Nothing was written.
    #[error("{path}: no space is left for the audit log; free some on its disk")]
    Full {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Another process has the log open.
    #[error("{path} is in use by another process: stop that one, or choose another folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A flush failed, and so did the attempt to take back what it was for: the entries may be there or not.
    #[error("{path}: a flush failed and cannot be undone ({source}); what was appended may be there or not")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: Arc<io::Error>,
    },
    /// The log's thread has ended.
    #[error("the audit log is closed: restart the server")]
    Closed,
    /// An event takes more bytes than an entry may.
    #[error("an entry takes at most {max} bytes; shorten its details")]
    TooLong {
        /// Most bytes.
        max: usize,
    },
    /// More events at once than one append takes.
    #[error("{count} events are too many for one append (at most {max}); append them in parts")]
    TooMany {
        /// The events.
        count: usize,
        /// Most events.
        max: usize,
    },
    /// More notes are waiting than are kept. The one refused is lost, and counted.
    #[error("{max} audit notes are waiting for the disk; this one is lost")]
    Backlog {
        /// Most that wait.
        max: usize,
    },
    /// What is stored is not what was written.
    #[error(transparent)]
    Damaged(#[from] Fault),
    /// A key's name that the note format does not allow.
    #[error("a log's name has 1 to {max} bytes, and no space, control character or plus sign")]
    BadName {
        /// Most bytes.
        max: usize,
    },
    /// A text that is no verifier key, or a seed that is no key.
    #[error("this is not a verifier key: one looks like name+1234abcd+base64")]
    BadKey,
    /// A text that is no checkpoint.
    #[error("this is not a checkpoint: {0}")]
    BadCheckpoint(&'static str),
    /// A checkpoint that the key did not sign.
    #[error("the checkpoint is not signed by {name}: it was altered, or another key signed it")]
    Signature {
        /// The name of the key asked for.
        name: String,
    },
    /// A proof that does not prove, or a text that is no proof.
    #[error("the proof does not hold: {0}")]
    BadProof(&'static str),
    /// There is no such entry under the last checkpoint, and so no proof of it.
    #[error("the last checkpoint covers {size} entries, {sequence} is not among them; ask again later")]
    NotCovered {
        /// The number asked for.
        sequence: u64,
        /// Entries under the last checkpoint.
        size: u64,
    },
}

impl AuditError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source: Arc::new(source) },
        }
    }
}

impl Classify for AuditError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::InUse { .. } | Self::Closed | Self::Backlog { .. } => ErrorKind::Unavailable,
            Self::Full { .. } => ErrorKind::Full,
            Self::Unknown { .. } => ErrorKind::Unknown,
            Self::TooLong { .. } | Self::TooMany { .. } | Self::BadName { .. } | Self::BadKey => ErrorKind::Invalid,
            Self::Damaged(_) | Self::BadCheckpoint(_) | Self::Signature { .. } | Self::BadProof(_) => {
                ErrorKind::Corrupt
            }
            Self::NotCovered { .. } => ErrorKind::NotFound,
        }
    }
}

/// A place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The number of the entry; for a tile the first entry that it tells wrongly, for the checkpoint the entries
    /// that it covers.
    pub sequence: u64,
    /// The file, as a path inside the log's folder.
    pub file: String,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The line is not one that the log writes.
    Format,
    /// The entry's bytes are not those that its hash, or the signed tree, was made of.
    Altered,
    /// Another entry is where this one should be: some were dropped, put in or swapped.
    Sequence {
        /// The number found.
        found: u64,
    },
    /// The entry does not follow from the one before.
    Chain,
    /// The line is cut short, though more was written after it.
    Torn,
    /// The entry, or all from here on, is not there.
    Missing,
    /// A tile or bundle is not what the entries give.
    Tile,
    /// A tile or bundle is not there.
    TileMissing,
    /// Entry and tile differ, and which of them is wrong cannot be told.
    Leaf,
    /// The entries do not give the root that was signed.
    Root,
    /// The checkpoint is not one, or not signed by the log's key.
    Checkpoint,
    /// The checkpoint is not there.
    CheckpointMissing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, file, wrong } = self;
        match wrong {
            Wrong::Format => write!(f, "{file}: entry {sequence} cannot be read"),
            Wrong::Altered => write!(f, "{file}: entry {sequence} was altered"),
            Wrong::Sequence { found } => {
                write!(f, "{file}: where entry {sequence} should be is {found}: entries were dropped, put in or moved")
            }
            Wrong::Chain => write!(f, "{file}: entry {sequence} does not follow from the one before"),
            Wrong::Torn => write!(f, "{file}: entry {sequence} is cut short in the middle of the log"),
            Wrong::Missing => write!(f, "{file}: entry {sequence} is missing"),
            Wrong::Tile => write!(f, "{file}: the tile was altered, from entry {sequence} on"),
            Wrong::TileMissing => write!(f, "{file}: the tile is missing, from entry {sequence} on"),
            Wrong::Leaf => write!(f, "{file}: the tile and entry {sequence} differ"),
            Wrong::Root => write!(f, "{file}: the first {sequence} entries do not give the signed root"),
            Wrong::Checkpoint => write!(f, "{file}: it is not a checkpoint that the log's key signed"),
            Wrong::CheckpointMissing => write!(f, "{file}: the checkpoint is missing"),
        }?;
        f.write_str("; keep the folder as evidence and restore it from a copy")
    }
}

impl std::error::Error for Fault {}
