//! The headers that tell a client what rules will do.

use time::OffsetDateTime;
use time::macros::{datetime, format_description};

use crate::Rule;

/// The last midnight that an HTTP date can name: its years have four digits.
const LAST: OffsetDateTime = datetime!(9999-12-31 00:00 UTC);

/// A moment as HTTP writes it (RFC 9110, section 5.6.7); one past the year 9999 is the last midnight
/// before.
pub fn http_date(ms: u64) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let at = i64::try_from(ms / 1_000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    at.filter(|at| *at < LAST).unwrap_or(LAST).format(&format).unwrap_or_default()
}

/// The value of `x-amz-expiration` (`GetObject`): when the object expires, and by which rule.
pub fn expiration_header(when_ms: u64, rule: &Rule) -> String {
    format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(when_ms), rule.encoded_id())
}

impl Rule {
    /// The id, percent-encoded but for the unreserved characters of RFC 3986, as headers carry it.
    ///
    /// The reference says that the id is URL-encoded. S3 was seen to leave spaces as they are; encoding
    /// them too keeps to the reference, and no id can then end its quotes or its header.
    pub fn encoded_id(&self) -> String {
        use std::fmt::Write as _;
        let mut encoded = String::with_capacity(self.id.len());
        for byte in self.id.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
                // Writing to a String does not fail.
                _ => drop(write!(encoded, "%{byte:02X}")),
            }
        }
        encoded
    }
}
