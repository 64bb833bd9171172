//! Why there is no verdict.

use std::sync::Arc;
use std::time::Duration;

use base::{Classify, ErrorKind};

/// Why there is no verdict. Never a reason to take a content for clean.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScanError {
    /// More is waiting than can be kept.
    #[error("the scan service is busy: try again in {} s", retry_after.as_secs().max(1))]
    Busy {
        /// Ask again then.
        retry_after: Duration,
    },
    /// No engine can answer.
    #[error("the scan engine is not available: {0}")]
    Unavailable(String),
    /// The verdict is not there within the time that the asker has. The scan goes on, and who asks later has it.
    #[error("the verdict is not there within {} s: the scan goes on, ask again", .0.as_secs())]
    Late(Duration),
    /// A verdict cannot be written where others read it.
    #[error("the verdict cannot be written: {0}")]
    Unwritten(String),
    /// What was to be scanned is a folder, a device, a socket or a pipe.
    #[error("Not a regular file")]
    NotPlain,
    /// The content could not be kept for the engine.
    #[error("the content cannot be kept for the scan")]
    Spool(#[source] Arc<std::io::Error>),
}

impl ScanError {
    pub(crate) fn spool(error: std::io::Error) -> Self {
        Self::Spool(Arc::new(error))
    }
}

impl Classify for ScanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } | Self::Unavailable(_) | Self::Late(_) | Self::Unwritten(_) => ErrorKind::Unavailable,
            Self::Spool(error) if error.kind() == std::io::ErrorKind::StorageFull => ErrorKind::Full,
            Self::NotPlain => ErrorKind::Invalid,
            Self::Spool(_) => ErrorKind::Unavailable,
        }
    }
}

/// Why a content did not come in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The client's side of it.
    #[error("the content did not arrive")]
    Client(#[source] std::io::Error),
    /// Ours.
    #[error(transparent)]
    Scan(#[from] ScanError),
}
