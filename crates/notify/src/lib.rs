//! S3 event notifications: which events a bucket's configuration asks for, and the messages that tell them.
//!
//! [`Rules`] is what `PutBucketNotificationConfiguration` puts; [`validate()`] refuses what S3 refuses.
//! [`Rules::find`] names the rule that an event is told by; [`render`] writes the message; [`pause_ms`] says
//! how long to wait before a message is sent again. Pure: no clock, no chance, no I/O.
//!
//! Sources: S3 User Guide, "Event notification types and destinations", "Configuring event notifications using
//! object key name filtering" and "Event message structure"; S3 API Reference,
//! `PutBucketNotificationConfiguration`.

mod error;
mod message;
mod name;
mod retry;
mod rules;
mod validate;

pub use error::{Code, NotifyError};
pub use message::{Event, Object, encode_key, render, sequencer};
pub use name::EventName;
pub use retry::{PAUSE_MAX_MS, PAUSE_MIN_MS, pause_ms};
pub use rules::{Filter, Kind, Rule, Rules, target_of};
pub use validate::validate;

/// The most configurations of a bucket ("Amazon S3 service quotas").
pub const RULES_MAX: usize = 100;
/// The most events that one configuration lists: more than S3 has.
pub const EVENTS_MAX: usize = 64;
/// The most bytes of a configuration's id.
pub const ID_LEN_MAX: usize = 255;
/// The most bytes of an ARN (`Arn`: 2,048 in IAM).
pub const ARN_LEN_MAX: usize = 2_048;
/// The most bytes of a prefix or suffix (`FilterRule`).
pub const FILTER_LEN_MAX: usize = 1_024;
