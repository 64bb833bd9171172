//! etcd's v3 API over several members: failover, deadlines, TLS, user and password.
//!
//! Every call here may be sent more than once, and to more than one member: that is how a slow, paused or vanished member
//! costs little. A caller whose call changes something makes it harmless to repeat, by a compare that holds once.

mod call;
mod client;
mod error;
mod member;
pub mod message;
mod tls;

pub use client::{Client, ClientOptions, Endpoint};
pub use error::{CallError, SetupError};
pub use tls::TlsFiles;
