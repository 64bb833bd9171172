//! Every bound that holds across crates, with its reason.

/// Data columns of a stripe (3+2: any two of five sites may be lost).
pub const DATA_COLUMNS: usize = 3;
/// Parity columns of a stripe.
pub const PARITY_COLUMNS: usize = 2;
/// All columns; also the number of sites.
pub const COLUMNS: usize = DATA_COLUMNS + PARITY_COLUMNS;

/// Plaintext bytes in one AEAD chunk (C2SP chunked-encryption fixes 16 KiB).
pub const CHUNK: usize = 16 * 1024;
/// A sealed chunk: plaintext plus the 16-byte AES-GCM tag.
pub const SEALED_CHUNK: usize = CHUNK + 16;

/// Longest object key, bytes of UTF-8 (S3: 1,024).
pub const KEY_LEN_MAX: usize = 1024;
/// Largest single PUT or part, bytes (S3: 5 GiB).
pub const PART_SIZE_MAX: u64 = 5 << 30;
/// Smallest part of a multipart upload except the last, bytes (S3: 5 MiB).
pub const PART_SIZE_MIN: u64 = 5 << 20;
/// Most parts in an upload (S3: 10,000).
pub const PARTS_MAX: u16 = 10_000;
/// Most bytes of user metadata, names and values together (S3: 2 KiB).
pub const USER_METADATA_MAX: usize = 2 * 1024;
/// Most keys in one listing page or one DeleteObjects (S3: 1,000).
pub const PAGE_MAX: usize = 1000;

/// Operations (checks + writes) in one metadata batch, as it is made.
pub const BATCH_OPS_MAX: usize = 100;
/// Those that an engine takes: a batch may get two more on its way. etcd refuses more than 128, and what carries several
/// batches at once needs some of these.
pub const ENGINE_OPS_MAX: usize = BATCH_OPS_MAX + 2;
/// Bytes of one metadata batch. etcd refuses more than 1.5 MiB.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one metadata value; keeps a row readable in one round trip anywhere.
pub const META_VALUE_MAX: usize = 128 * 1024;
/// Bytes of one metadata key: an object key with every byte escaped, and its prefix.
pub const META_KEY_MAX: usize = 2 * KEY_LEN_MAX + 64;
