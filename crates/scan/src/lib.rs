//! Scans each content once: for however many ask, through whichever door, until there are other definitions.
//!
//! A content is what its bytes are ([`meta::record::ContentId`]), not what it is called or when it was changed. What an engine said of it is kept with
//! the epoch of the definitions that it had ([`epoch`]), and answers as long as no newer ones are loaded. What is not known is kept in a [`spool`]
//! while it waits its turn ([`queue`]), and an [`Engine`] looks at it; who asks for the same meanwhile waits for the same scan.

mod clamav;
#[cfg(any(test, feature = "double"))]
pub mod double;
mod engine;
pub mod epoch;
mod error;
mod flight;
mod hunt;
mod intake;
mod known;
pub mod limits;
mod plain;
mod queue;
mod rate;
mod scanner;
mod slots;
mod spool;
mod status;
mod yara;

pub use clamav::{Clamav, ClamavOptions, Hashes, Updated};
pub use engine::{Engine, EngineError, EngineState, Loaded};
pub use error::{IntakeError, ScanError};
pub use hunt::{Hunt, Hunted};
pub use intake::{Intake, Judged, Pending};
pub use meta::record::{ContentId, Reason, Verdict};
pub use queue::{Job, JobId, Lane, Queue};
pub use scanner::{Answer, Asker, Options, Scanner, Source};
pub use spool::{Content, Digests};
pub use status::Status;
pub use yara::Yara;
