//! Bounds on what a client may make the server hold or wait for, each with its reason.

use std::time::Duration;

/// Bytes of an ICAP head, its start line and headers. Squid sends some 500, and a cookie or a user's groups in `X-` headers a few thousand.
pub const HEAD_MAX: usize = 16 * 1024;
/// Headers of an ICAP head. Squid sends ten; what administrators add by `adaptation_meta` has room.
pub const HEADERS_MAX: usize = 64;
/// Bytes of empty lines that are passed over before a head: some clients send a line end too many behind a body (RFC 9112, section 2.2).
pub const BLANK_MAX: usize = 8;
/// Bytes of the encapsulated heads together. Squid takes 64 KiB of a request's and as much of a response's.
pub const ENCAPSULATED_MAX: usize = 160 * 1024;
/// Bytes of a chunk's line: a size has at most 16 digits, and the only extension that means something is `ieof`.
pub const CHUNK_LINE_MAX: usize = 512;
/// Bytes of the trailer behind the last chunk, which nobody reads.
pub const TRAILER_MAX: usize = 4 * 1024;
/// Bytes of a preview that a client may announce. No server offers more than some KiB.
pub const PREVIEW_MAX: u64 = 1 << 20;
/// Bytes of a preview that is asked for, unless the options say otherwise: what c-icap's services ask for, so what clients are used to.
pub const PREVIEW: u64 = 1024;
/// Bytes of the body of an OPTIONS request, which means nothing here (RFC 3507, section 4.10.1, leaves it open).
pub const OPTIONS_BODY_MAX: u64 = 64 * 1024;
/// Bytes of a body that are scanned, unless the options say otherwise. What the spool does not keep (2 GiB) cannot be echoed, but is still read
/// and hashed, so that the answer is one of the scan service.
pub const BODY_MAX: u64 = 16 << 30;
/// Bytes that are read and dropped of a body that will not be scanned, so that a client which reads only after it has written (Nextcloud)
/// gets its answer. Past it the connection ends.
pub const DROPPED_MAX: u64 = 64 << 30;
/// Bytes of a connection's buffer for reading, and of a chunk of an echo.
pub const BUFFER: usize = 64 * 1024;

/// Connections served at once unless the options say otherwise; clients are told in `Max-Connections`, and more wait in the listen queue. One
/// holds at most [`ENCAPSULATED_MAX`] + [`HEAD_MAX`] + twice [`BUFFER`]: together 160 MiB.
pub const CONNECTIONS: usize = 512;

/// A connection on which no request begins for so long ends. Longer than the minute for which Squid keeps one, so that it is the client
/// that ends it and no request is lost to the race.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// A head that is not there so long after its first byte is given up, and so are encapsulated heads that long after it: 160 KiB need 6 KB/s.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that sends nothing of a body, or reads nothing of an answer, for so long is cut.
pub const SILENCE: Duration = Duration::from_secs(60);
/// Bytes a second, in the mean, below which a client uses up what it has of [`SILENCE`]. The slowest telephone that uploads through a cloud is
/// faster.
pub const LEAST_RATE: u32 = 1024;
/// How long what a client still sends is read after the last answer: a connection that is closed over unread bytes is reset, and the reset
/// overtakes the answer.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long requests under way may go on after a shutdown was asked for. A scan may take longer; it is cached when it ends.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a verdict is waited for unless the options say otherwise: as long as ClamAV may take. Nextcloud waits ten minutes, Squid
/// (`icap_io_timeout`) fifteen.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// When a client for whose message there was no room may ask again: those who have it will have sent all of theirs, or been cut.
pub const ROOM_AGAIN: Duration = Duration::from_secs(30);
/// Seconds for which a client need not ask for the options again. A new `ISTag` in any answer makes it do so earlier.
pub const OPTIONS_TTL: u64 = 600;
/// Characters of the name of a threat in a header.
pub const NAME_MAX: usize = 128;
