//! Bounds on what a client may make this endpoint hold or wait for.

use std::time::Duration;

pub use listener::limits::BODY_TIMEOUT;

/// Largest chunk of a signed `aws-chunked` body, bytes. A chunk is held until its signature is
/// checked; clients send 64 KiB to 1 MiB.
pub const SIGNED_CHUNK_MAX: u64 = 16 << 20;
/// Longest header line of an `aws-chunked` chunk, bytes: a length and a 64-digit signature.
pub const CHUNK_LINE_MAX: usize = 256;
/// All request headers and the target together, bytes. S3 allows 8 KiB of headers; a presigned
/// target of a 1,024-byte key escaped threefold needs more.
pub const HEAD_MAX: usize = 32 * 1024;
/// One value that conditions of policies match, bytes: S3's longest keys and prefixes have 1,024, and no
/// browser's name is as long.
pub const VALUE_MAX: usize = 2 * 1024;
/// Largest XML document taken from a client, bytes: a completion of 10,000 parts with checksums.
pub const DOCUMENT_MAX: usize = 4 << 20;
/// What an upload form may have before its file, bytes (S3: 20 KB of fields; the rest is for the
/// headers of its parts). A frame more than this is held.
pub const FORM_FIELDS_MAX: u64 = 64 * 1024;
/// How long an upload form waits for its turn.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// Files of upload forms taken at once: each holds up to 6 MiB of its file.
pub const FORMS_MAX: usize = 32;
/// Largest form taken from a client of the token service, bytes: the longest session policy with
/// every character escaped, and room.
pub const FORM_MAX: usize = 16 * 1024;
/// Longest life of a presigned URL, seconds (S3: seven days).
pub const PRESIGN_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// How far a client's clock may be off, seconds (S3: fifteen minutes).
pub const CLOCK_SKEW_SECONDS: u32 = 15 * 60;
/// All of a document must arrive within this: time for [`DOCUMENT_MAX`] bytes over a line of 280 kbit/s.
pub const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Socket buffers of hyper, bytes: large bodies arrive and leave in frames of up to this size.
/// They grow by what a connection really sends, so an idle one costs 8 KiB.
pub const FRAME_MAX: usize = 512 * 1024;
/// Seconds that a client is asked to wait when sites or metadata are away.
pub const RETRY_AFTER_SECONDS: &str = "2";
