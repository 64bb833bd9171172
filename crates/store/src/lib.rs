//! The object store: buckets, objects, multipart uploads, users; packs, repair, scrub, collection.
//!
//! [`Store`] is what the edges talk to. Metadata goes to a [`meta::Engine`], sealed and erasure
//! coded bytes to a [`sites::Pool`]; keys come from [`keys::Keyring`].

pub mod api;
mod blob;
mod bucket;
mod checksum;
mod commit;
mod copy;
mod copy_body;
mod delete;
mod encryption;
mod error;
mod list;
mod list_versions;
mod multipart;
mod outbox;
mod pack;
mod part;
mod pin;
mod put;
mod read;
mod status;
mod store;
mod user;
mod version;
mod walk;
pub mod worker;

pub use error::Error;
pub use outbox::{Cause, EventOptions, Message, Origin, Target, TargetError, TargetOptions};
pub use read::ObjectReader;
pub use status::{ScrubProgress, ScrubSummary, SiteReport, State, Status, TargetReport, WorkerReport};
pub use store::{Options, Store};
pub use user::new_credentials;
pub use version::Change;
pub use worker::TestReport;
