//! Bounds on what clients may make any listener hold or wait for.

use std::time::Duration;

/// Number of request headers.
pub const HEADERS_MAX: usize = 128;
/// Connections served at once by one listener; more wait in the listen queue.
pub const CONNECTIONS_MAX: usize = 4096;
/// Connections that the kernel queues while all permits are taken.
pub const BACKLOG: i32 = 1024;
/// A client that sends no complete request head for so long is cut.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that sends nothing of a declared body, or reads nothing of an answer, for so long is cut.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests under way may go on after a shutdown was asked for.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
