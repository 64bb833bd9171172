//! Bounds, each with its reason.

use std::time::Duration;

/// Bytes of a buffer of the spool. BLAKE3 and the kernel are at their best from 64 KiB on; a client that sends a mail takes one of these.
pub const BUFFER: usize = 128 << 10;
/// Bytes of one content that are kept in memory; what is larger goes on to a file. Nearly all files of an operating system are smaller.
pub const IN_MEMORY_MAX: usize = 8 << 20;
/// Bytes that all contents together may have in memory. Who would need more waits until others are done.
pub const MEMORY: usize = 256 << 20;
/// Bytes that all contents together may have in files.
pub const FILES: u64 = 16 << 30;
/// Bytes of a content that are kept: ClamAV takes no file of 2 GiB (its issue 1030).
pub const KEPT_MAX: u64 = (2 << 30) - 1;
/// Bytes that are looked at of what a content unpacks to: a bomb ends here, after some ten seconds.
pub const UNPACKED_MAX: u64 = 1 << 30;
/// Bytes of a content that YARA rules see: each slot needs as much memory.
pub const YARA_MAX: u64 = 256 << 20;
/// Bytes of a file that are hashed where it is asked for, as far as they are in memory: some milliseconds, in pieces of [`BUFFER`].
pub const AT_ONCE_MAX: u64 = 8 << 20;
/// Files that clients passed and that are hashed at once by threads that may wait for a disk.
pub const HASHED_AT_ONCE: usize = 32;
/// Milliseconds after which a verdict that nobody asked for is forgotten: 30 days. Rows of what was asked for once would have no end.
pub const KEPT_MS: u64 = 30 * 24 * 3_600_000;
/// Scans that wait. To choose among so many takes a tenth of a millisecond; who re-scans a store asks for a few at a time.
pub const WAITING_MAX: usize = 4096;
/// Names of finds that are kept, and characters of one.
pub const NAMES_MAX: usize = 64;
/// See [`NAMES_MAX`]. ClamAV's are shorter than 100.
pub const NAME_MAX: usize = 256;
/// Verdicts in memory: some 150 bytes each. Ten desktop images' worth of contents.
pub const REMEMBERED: usize = 1_000_000;
/// A scan that is expected to take longer keeps out of the slot that on-access scans have for themselves.
pub const SLOW_MS: u64 = 500;
/// So long the engine may be silent about one content. ClamAV itself gives up after 120 s ([`CLAMAV_SCAN`]).
pub const SILENCE: Duration = Duration::from_secs(150);
/// After so long ClamAV says that a content takes too long: its own default.
pub const CLAMAV_SCAN: Duration = Duration::from_secs(120);
/// An engine with 10 M signatures loads for a minute on a slow disk.
pub const START: Duration = Duration::from_secs(300);
/// Between two attempts to start an engine that ended, at first and at most.
pub const RESTART: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// Verdicts that go into the metadata in one group.
pub const WRITTEN_AT_ONCE: usize = 256;
/// Verdicts that wait for that. One more is in memory only: losing it costs a scan.
pub const UNWRITTEN_MAX: usize = 65_536;
