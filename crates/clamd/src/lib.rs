//! The protocol of ClamAV's clamd, as its clients speak it (clamd(8), "COMMANDS"): `clamdscan`, mail filters, Nextcloud.
//!
//! A client sends a stream (`INSTREAM`), passes a descriptor (`FILDES`), or names a path (`SCAN` and its like); the scan service says what
//! it is. What clamd lets everybody do and this does not: to end or reload the server, to have files opened over TCP or by who could not
//! open them himself.

pub mod chunks;
#[cfg(test)]
mod double;
mod fildes;
pub mod limits;
mod pace;
pub mod parse;
mod reader;
mod reply;
mod server;
mod session;
mod walk;

use scan::Asker;

pub use server::{serve_local, serve_tcp};

/// What a client is told of a content in which nothing was found, and of which not all could be looked at. Never that it is clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Incomplete {
    /// That something was found: `Heuristics.Limits.Exceeded.Holdfast.WORD`, `Heuristics.Encrypted.Holdfast.WORD` or
    /// `Holdfast.Incomplete.WORD`, which begin as what clamd says with `AlertExceedsMax` and `AlertEncrypted`.
    ///
    /// The default, since it stays so as long as the definitions do, while clients take an error for something that passes: milters have the
    /// mail sent again and again for days, rspamd delivers it, and Nextcloud keeps the file.
    #[default]
    Found,
    /// An error, which says why. For clients that remove what is found, and where encrypted archives are wanted.
    Error,
}

/// How a door treats its clients.
#[derive(Debug, Clone)]
pub struct Options {
    /// In whose name, how urgently and for how long clients of this door wait. Files of a folder wait behind what somebody waits for.
    pub asker: Asker,
    /// Bytes of a stream; a longer one is refused before its end.
    pub stream_max: u64,
    /// See [`Incomplete`].
    pub incomplete: Incomplete,
    /// Connections at once; more wait.
    pub connections: usize,
}

impl Options {
    /// For clients of a tenant who wait as mail filters and uploads do: two minutes, as clamd's do. For on-access scanners set `asker` to
    /// [`Asker::on_access`].
    pub fn new(tenant: &str) -> Self {
        Self {
            asker: Asker::inline(tenant),
            stream_max: limits::STREAM_MAX,
            incomplete: Incomplete::default(),
            connections: limits::CONNECTIONS_MAX,
        }
    }
}
