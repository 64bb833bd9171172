//! Bounds on what a client may make a door hold or wait for, each with its reason.

use std::time::Duration;

/// Connections that a door serves at once unless it is told otherwise; more wait in the listen queue. clamd has 100 in its queue
/// (`MaxQueue`) by default; mail filters have one for each message.
pub const CONNECTIONS_MAX: usize = 256;
/// Bytes of a stream that are taken unless a door is told otherwise: what is longer no engine takes (ClamAV's issue 1030).
pub const STREAM_MAX: u64 = 2 << 30;
/// Bytes of a command with its path: a path has at most 4,096.
pub const COMMAND_MAX: usize = 8 << 10;
/// Bytes that a connection reads ahead. Clients send streams in pieces of some kilobytes, so that one read gets a dozen of them.
pub(crate) const AHEAD: usize = 64 << 10;
/// From so many bytes on what is left of a chunk is read straight into the spool; less comes by the bytes that are read ahead, since a
/// system call costs more than to copy so little.
pub(crate) const STRAIGHT: u64 = 32 << 10;
/// Commands under way on one connection. `clamdscan --multiscan` sends as many as it may; more engines than this no machine has.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// Descriptors in one message. Clients send one; the kernel closes those that have no room.
pub(crate) const DESCRIPTORS_AT_ONCE: usize = 4;
/// Descriptors that wait for their command: read ahead are at most some commands.
pub(crate) const DESCRIPTORS_MAX: usize = 16;
/// A client that has nothing under way and sends no whole command for so long is cut: clamd's `CommandReadTimeout` and `IdleTimeout`.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// A command without prefix and without end is whole when nothing follows for so long. clamd takes a packet for a command.
pub(crate) const PLAIN_PAUSE: Duration = Duration::from_millis(500);
/// A client that sends nothing of a stream for so long is cut: clamd's `ReadTimeout`. Mail filters pass on what a remote sender sends, when it
/// sends it.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Bytes in each second, over [`PACE_WINDOW`] of waiting: the slowest modem is faster. Who sends less holds a place that others need.
pub(crate) const PACE_LEAST: u64 = 1 << 10;
/// Over so much waiting the pace of a stream is looked at: a pause is none yet.
pub(crate) const PACE_WINDOW: Duration = Duration::from_secs(120);
/// A client that takes nothing of an answer for so long is cut.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that is told why it is cut while it sends is listened to for so long and for so many bytes: otherwise a reset would overtake the
/// answer.
pub(crate) const LINGER: (Duration, u64) = (Duration::from_secs(5), 64 << 20);
/// Characters of an engine's or a reason's words in an answer. `clamdscan` takes lines of 5 KiB with the path.
pub(crate) const WORDS_MAX: usize = 256;
/// Folders in folders. Each one is open while what is in it is looked at.
pub(crate) const DEPTH_MAX: usize = 64;
/// Files of one `MULTISCAN` that are judged at once. Others ask as well.
pub(crate) const MULTISCAN_MAX: usize = 8;
/// A file of a folder waits for its turn so long: nobody sits before it, and what does not wait goes first.
pub(crate) const WALK_DEADLINE: Duration = Duration::from_secs(600);
