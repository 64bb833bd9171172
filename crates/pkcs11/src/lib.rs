//! Keeps a secret under an AES key of a PKCS#11 token (OASIS PKCS #11, version 2.40 and later).
//!
//! The token's library is a stranger's code, and a crash in it must not be ours: it runs in a child ([`serve`]), which
//! lives for one request. The parent's side is [`Token`]. What travels between them is [`frame`].

mod child;
mod frame;
mod token;

pub use child::serve;
pub use token::{Token, TokenNames};
