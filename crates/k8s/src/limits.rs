//! Bounds on what a client may make the plugin hold or wait for.

use std::time::Duration;

/// Bytes of a message: the longest plaintext sealed, with room for annotations that are refused.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;
/// Bytes to encrypt, as in AWS KMS. kube-apiserver sends some 32, and takes at most 1,024 back.
pub(crate) const PLAINTEXT_MAX: usize = 4_096;
/// Connections served at once: an API server has one. More wait in the listen queue.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// Requests under way on one connection.
pub(crate) const STREAMS_MAX: u32 = 128;
/// Bytes of a request's headers.
pub(crate) const HEADERS_MAX: u32 = 16 * 1024;
/// Bytes that a client may send ahead, on a stream and on a connection.
pub(crate) const WINDOWS: (u32, u32) = (64 * 1024, 1024 * 1024);
/// A request that has not come whole and been answered by then is given up.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes is asked whether it lives, and cut when it says nothing.
pub(crate) const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// How long requests under way may go on after a shutdown was asked for.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
