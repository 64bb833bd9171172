//! The object store: buckets, objects, multipart uploads, users; packs, repair, scrub, collection.
//!
//! [`Store`] is what the edges talk to. Metadata goes to a [`meta::Engine`], sealed and erasure
//! coded bytes to a [`sites::Pool`]; keys come from [`keys::Portions`].

pub mod api;
mod attach;
mod authorize;
mod blob;
mod bucket;
mod buffers;
mod checksum;
mod commit;
mod copy;
mod copy_body;
mod credential;
mod delete;
mod encryption;
mod error;
mod exposure;
mod gateway;
mod group;
mod island;
pub mod journal;
mod list;
mod list_versions;
mod multipart;
mod outbox;
mod pack;
mod part;
mod pin;
mod principal;
mod put;
mod reach;
mod read;
mod remember;
mod screen;
mod sealed;
mod session;
mod shares;
mod spans;
mod status;
mod store;
mod tenant;
mod user;
mod version;
mod walk;
pub mod worker;

pub use authorize::{POLICY, Question, about_key, explain, judge, judge_key};
pub use credential::new_credentials;
pub use error::{Dependency, Error};
pub use exposure::{Exposed, Exposure};
pub use gateway::GatewayReport;
pub use island::{ConflictReport, Deferred, IslandOptions, WaitingReport};
pub use meta::stale;
pub use outbox::{Cause, EventOptions, Message, Origin, Target, TargetError, TargetOptions};
pub use read::ObjectReader;
pub use screen::{Rescanned, ScanTold};
pub use session::{SESSION_POLICY_MAX, TemporaryCredentials};
pub use status::{Replace, ScrubProgress, ScrubSummary, SiteReport, State, Status, TargetReport, WorkerReport};
pub use store::{Options, Store};
pub use tenant::DEFAULT_TENANT;
pub use version::Change;
pub use worker::{RepairBounds, RepairChange, RepairOptions, RepairReport, RiskReport, TestReport};
