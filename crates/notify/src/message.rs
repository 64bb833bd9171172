//! The message that tells an event ("Event message structure").

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::EventName;

/// MD5 of nothing: what S3 tells as the ETag of a delete marker.
const EMPTY_ETAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// What a message tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The bucket's name.
    pub bucket: String,
    /// The user name of the bucket's owner.
    pub owner: String,
    /// The id of the configuration that asked for it; empty for a test event.
    pub configuration: String,
    /// To what; `None` for a test event.
    pub object: Option<Object>,
    /// The user name of who did it.
    pub principal: String,
    /// From where: an IP address, or `s3.amazonaws.com` for what the store did by itself.
    pub source: String,
    /// The id of the request, if there was one.
    pub request: Option<String>,
}

/// The object, or the version, of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Plaintext bytes; `None` where there is nothing any more.
    pub size: Option<u64>,
    /// Without quotes; `None` where there is nothing any more.
    pub etag: Option<String>,
    /// Version id; `None` in a bucket that was never versioned.
    pub version: Option<String>,
}

/// The sequence number as messages tell it: hexadecimal, of one length, so that texts compare as numbers do.
pub fn sequencer(sequence: u64) -> String {
    format!("{sequence:016X}")
}

/// A key as messages spell it: percent-encoded, a space as `+`, slashes as they are.
pub fn encode_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The message, JSON. `sequence` orders the events of one key; `region` is what buckets say they are in.
pub fn render(event: &Event, sequence: u64, region: &str) -> String {
    let Some(object) = &event.object else { return test_message(event) };
    let mut told = Map::new();
    told.insert("key".to_owned(), encode_key(&object.key).into());
    if let Some(size) = object.size {
        told.insert("size".to_owned(), size.into());
    }
    let is_marker = matches!(event.name, EventName::DeleteMarkerCreated | EventName::ExpiredMarker);
    if let Some(etag) = object.etag.as_deref().or(is_marker.then_some(EMPTY_ETAG)) {
        told.insert("eTag".to_owned(), etag.into());
    }
    if let Some(version) = &object.version {
        told.insert("versionId".to_owned(), version.as_str().into());
    }
    told.insert("sequencer".to_owned(), sequencer(sequence).into());
    let mut answered = Map::new();
    if let Some(request) = &event.request {
        answered.insert("x-amz-request-id".to_owned(), request.as_str().into());
    }
    let name = event.name.as_str();
    let record = json!({
        "eventVersion": event.name.message_version(),
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": time_text(event.time_ms),
        "eventName": name.strip_prefix("s3:").unwrap_or(name),
        "userIdentity": {"principalId": event.principal},
        "requestParameters": {"sourceIPAddress": event.source},
        "responseElements": Value::Object(answered),
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": event.configuration,
            "bucket": {
                "name": event.bucket,
                "ownerIdentity": {"principalId": event.owner},
                "arn": format!("arn:aws:s3:::{}", event.bucket),
            },
            "object": Value::Object(told),
        },
    });
    json!({"Records": [record]}).to_string()
}

/// What S3 sends when a configuration was put.
fn test_message(event: &Event) -> String {
    json!({
        "Service": "Amazon S3",
        "Event": event.name.as_str(),
        "Time": time_text(event.time_ms),
        "Bucket": event.bucket,
        "RequestId": event.request.as_deref().unwrap_or_default(),
        "HostId": "",
    })
    .to_string()
}

/// RFC 3339 with milliseconds, in UTC. A time past the year 9999 is told as the epoch.
fn time_text(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let table = [
            ("a/b.txt", "a/b.txt"),
            ("red flower.jpg", "red+flower.jpg"),
            ("a+b", "a%2Bb"),
            ("\u{e4}", "%C3%A4"),
            ("~(%\0", "%7E%28%25%00"),
            ("A-_.*9", "A-_.*9"),
        ];
        for (key, expected) in table {
            assert_eq!(encode_key(key), expected);
        }
    }

    #[test]
    fn times() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (u64::MAX, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(time_text(ms), expected);
        }
    }

    #[test]
    fn sequencers_compare_as_text() {
        assert!(sequencer(9) < sequencer(10) && sequencer(u64::MAX - 1) < sequencer(u64::MAX));
    }
}
