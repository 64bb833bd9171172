//! The envelope around every part: a body sealed under a random key of its own, and that key
//! wrapped under others.
//!
//! * Bodies: C2SP chunked-encryption (<https://c2sp.org/chunked-encryption>) with HKDF-SHA-512 and
//!   AES-256-GCM: 16 KiB chunks, 32-byte key commitment, random access. See [`Sealer`], [`Opener`].
//! * Keys: AES-256-KWP (RFC 5649) under a key derived for the one context. See [`Kek`].
//! * Shares: a key cut so that some of many people give it back. See [`split`], [`combine`]; for machines [`deal`], [`join`].
//! * Secrets to a public key: HPKE with X-Wing. See [`seal_to`], [`open_to`].
//! * Keys in memory: in locked pages that others do not read. See [`Locked`].
//!
//! Pure: no I/O, no clock; randomness comes in through [`base::Rng`]. The formats are specified in
//! `docs/spec/part.md`, `docs/spec/wrap.md` and `docs/spec/root.md`.

mod arena;
mod body;
mod error;
mod key;
mod points;
mod shamir;
mod small;
mod text;
#[cfg(test)]
mod vectors;
mod wing;

pub use arena::{ArenaStatus, Keeping, LOCKED_KEYS_MAX, Locked, arena_status};
pub use body::{BodyHeader, HEADER_LEN, Opener, SALT_LEN, Sealer, chunk_count, plain_len, sealed_len};
pub use error::{EnvelopeError, ShareError};
pub use key::{Dek, Kek, WrappedKey};
pub use points::{Joined, Point, deal, join};
pub use shamir::{SHARES_MAX, SetId, Share, THRESHOLD_MIN, combine, split};
pub use small::{open_small, seal_small};
pub use wing::{WING_OVERHEAD, WING_PUBLIC_LEN, is_wing_public, open_to, seal_to, wing_public};
