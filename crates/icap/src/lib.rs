//! ICAP (RFC 3507), the server's side, in front of the scan service: previews, bodies, what proxies are told.
//!
//! A body goes into the scan service's spool as it arrives, and is read from there again if a client wants it back. Nothing is modified: a
//! message passes as it came, or a page that says what was found takes its place.
//!
//! Nothing is said of a body before all of it is there. Squid's bug 5352 shows with every server that does so: versions before its mending (pull
//! requests 1777 and 2065; Debian 12 has 5.7) stop in a RESPMOD of more than 64 KiB when the origin is faster than the exchange.

mod body;
pub mod chunk;
pub mod limits;
mod pace;
mod reply;
pub mod request;
mod server;
mod service;
mod session;

pub use server::serve;
pub use service::{Incomplete, Options, Unavailable};
pub use session::{Icap, serve as serve_connection};
