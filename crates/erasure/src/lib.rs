//! 3+2 erasure coding: bytes to units and back, the geometry of segments, and the shard file.
//!
//! Systematic Reed-Solomon over GF(2^8) (polynomial 0x11d, Vandermonde matrix made systematic, as
//! in Backblaze's and klauspost's codecs): healthy reads never decode. Pure. The formats are
//! specified in `docs/spec/shard.md`.

mod code;
mod layout;
mod shard;

pub use code::{ErasureError, encode, reconstruct};
pub use layout::{Geometry, Piece};
pub use shard::{HEADER_LEN, ShardBuilder, ShardError, ShardHeader, TrailerBuilder, check, shard_len, unit_range};
