//! The audit log: who was given which key, who was refused, what was changed, rotated and shredded.
//!
//! * Entries are lines of JSON in append-only segments, each with the hash of the one before. See [`Log`], [`Event`].
//! * Over them grows a Merkle tree in the C2SP tlog-tiles layout (<https://c2sp.org/tlog-tiles>), whose root is signed
//!   at most once a second. See [`Signer`], [`Checkpoint`].
//! * Anybody with the folder and the public key can check all of it ([`verify`]), and anybody with the key alone a
//!   single entry ([`prove`], [`InclusionProof::verify`]).
//!
//! The format is specified in `docs/spec/audit.md`, the reasons are in `docs/design/0010-audit.md`.

mod checkpoint;
mod entry;
mod error;
mod folder;
mod line;
mod log;
mod note;
mod prove;
mod publish;
mod scan;
mod standing;
#[cfg(test)]
mod tests;
mod tile;
mod tree;
mod verify;
mod writer;

pub use checkpoint::Checkpoint;
pub use entry::{ENTRY_MAX, Entry, Event, Outcome};
pub use error::{AuditError, Fault, Wrong};
pub use log::{APPEND_MAX, Log, Options, State, Status};
pub use note::{Signer, VerifierKey};
pub use prove::{ConsistencyProof, InclusionProof, consistency, entry, prove, size};
pub use standing::{Standing, free, standing};
pub use tree::Hash;
pub use verify::{Report, checkpoint, verify, verify_unsigned};
