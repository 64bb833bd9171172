//! Bounds on what clients may make a site server hold or wait for.

use std::time::Duration;

/// Largest object that is taken or given at once, bytes. The largest shard has 2.1 MiB: eight units of 262,400 bytes, sums
/// and a header.
pub const OBJECT_MAX: u64 = 16 << 20;
/// Bodies in flight, all connections together, where nothing else is asked for, bytes.
pub const MEMORY: u64 = 256 << 20;
/// Least that may be asked for instead, bytes: room for a few of the largest.
pub const MEMORY_MIN: u64 = 4 * OBJECT_MAX;
/// How long a request waits for room. Gateways wait 20 seconds for a put and ten for a read.
pub const ROOM_TIMEOUT: Duration = Duration::from_secs(8);
/// All of a body must arrive within this, so that nobody holds room by sending a byte now and then.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections at once, where nothing else is asked for.
pub const CONNECTIONS: usize = 1024;
/// All request headers and the target together, bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// Socket buffers of hyper, bytes: bodies arrive and leave in frames of up to this size.
pub const FRAME_MAX: usize = 512 * 1024;
/// How far a client's clock may be off, seconds (S3: fifteen minutes).
pub const CLOCK_SKEW_SECONDS: u64 = 15 * 60;
/// Names in one listing (S3).
pub const PAGE_MAX: usize = 1000;
