//! S3 lifecycle rules: validate them, and judge versions and uploads by them.
//!
//! [`Rules`] is what `PutBucketLifecycleConfiguration` puts; [`validate()`] refuses what S3 refuses, in
//! S3's words. The `judge_*` functions say what is due at a moment that the caller names;
//! [`expiry`] and [`abort_date`] say when it will be, for the headers of GET, PUT and
//! `CreateMultipartUpload`.
//!
//! Sources: S3 User Guide, "Lifecycle configuration elements", "Expiring objects" and "Examples of S3
//! Lifecycle configurations"; S3 API Reference, `PutBucketLifecycleConfiguration`, `LifecycleRule` and
//! `LifecycleExpiration`. Where these are silent or S3 is known to answer otherwise, the doc comment at
//! the place says what was chosen.

mod day;
mod error;
mod filter;
mod header;
mod judge;
mod model;
mod validate;

pub use day::Day;
pub use error::{Code, LifecycleError};
pub use filter::{Filter, FilterForm};
pub use header::{expiration_header, http_date};
pub use judge::{
    Facts, abort_date, expiry, judge_current, judge_lonely_marker, judge_noncurrent, judge_upload, noncurrent_expiry,
};
pub use model::{Expiration, Noncurrent, Rule, Rules};
pub use validate::validate;

/// The most rules of a bucket ("Lifecycle configuration elements").
pub const RULES_MAX: usize = 1_000;
/// The most bytes of a rule's id (`LifecycleRule`: 255 characters). Bytes, because the id also travels
/// in headers and rows.
pub const ID_LEN_MAX: usize = 255;
/// The most bytes of a filter's prefix: a longer one begins no key.
pub const PREFIX_LEN_MAX: usize = base::limits::KEY_LEN_MAX;
/// The most characters of a tag's key ("Categorizing your storage using tags").
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// The most characters of a tag's value.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// The most that `NewerNoncurrentVersions` may keep (`NoncurrentVersionExpiration`).
pub const NEWER_VERSIONS_MAX: u32 = 100;
/// The largest size that a filter may name: the bound in S3's own message, 1,024,000 GiB.
pub const FILTER_SIZE_MAX: u64 = 1_099_511_627_776_000;
