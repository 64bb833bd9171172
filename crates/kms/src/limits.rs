//! Bounds on what a client may make this endpoint hold.

/// All request headers and the target together, bytes: a signature, a session token of the longest
/// policy, and room.
pub const HEAD_MAX: usize = 16 * 1024;
/// Bytes of a request: the longest ciphertext, two encryption contexts and a policy, with room.
pub const BODY_MAX: usize = 64 * 1024;
/// Socket buffers, bytes: a request and its answer.
pub const FRAME_MAX: usize = 128 * 1024;
/// How far a client's clock may be off, seconds (AWS: fifteen minutes).
pub const CLOCK_SKEW_SECONDS: u64 = 15 * 60;
/// Seconds that a client is asked to wait when the metadata are away.
pub const RETRY_AFTER_SECONDS: &str = "2";
/// Bytes that an answer takes at first: one with a data key in it is not moved while it grows, which would
/// leave copies behind.
pub const ANSWER_ROOM: usize = 16 * 1024;
/// Most bytes to encrypt (AWS KMS, `Encrypt`).
pub const PLAINTEXT_MAX: usize = 4_096;
/// Most bytes of a ciphertext (AWS KMS, `Decrypt`).
pub const CIPHERTEXT_MAX: usize = 6_144;
/// Most bytes of a data key, and of random bytes at once (AWS KMS).
pub const RANDOM_MAX: i64 = 1_024;
/// Characters of a key's id, ARN or alias (AWS KMS).
pub const KEY_ID_MAX: usize = 2_048;
/// Characters of an alias, with its prefix (AWS KMS).
pub const ALIAS_MAX: usize = 256;
/// Characters of a description (AWS KMS).
pub const DESCRIPTION_MAX: usize = 8_192;
/// Most tags of a key (AWS KMS).
pub const TAGS_MAX: usize = 50;
/// Characters of a marker (AWS KMS).
pub const MARKER_MAX: usize = 1_024;
/// Most grant tokens in a request (AWS KMS).
pub const GRANT_TOKENS_MAX: usize = 10;
/// Pairs of an encryption context in a grant's constraint (AWS KMS).
pub const CONSTRAINT_PAIRS_MAX: usize = 8;
/// Characters of a name or value in it (AWS KMS).
pub const CONSTRAINT_VALUE_MAX: usize = 384;
/// Characters of a principal's ARN, and of a grant's name (AWS KMS).
pub const PRINCIPAL_MAX: usize = 256;
/// Rows read at once from the metadata.
pub const ROWS: usize = 1_000;
/// Times a request reads so many rows at most. A list that found less than a page by then goes on behind its marker.
pub const READS_MAX: usize = 10;
/// Rotations on demand of a key that are there at most (AWS KMS).
pub const ON_DEMAND_MAX: usize = 25;
