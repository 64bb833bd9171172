//! Who may ask: one access key, Signature Version 4 in headers.

use std::borrow::Cow;

use http::request::Parts;
use listener::Peer;
use percent_encoding::percent_decode_str;
use sigv4::UNSIGNED_PAYLOAD;
use zeroize::Zeroizing;

use crate::fault::{Code, Fault};
use crate::limits::CLOCK_SKEW_SECONDS;

const SERVICE: &str = "s3";
const PAYLOAD: &str = "x-amz-content-sha256";

/// The access key and its secret.
pub struct Keys {
    /// Names the secret; no secret itself.
    pub access_key: String,
    /// What requests are signed with.
    pub secret_key: Zeroizing<String>,
}

/// What the signature says of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Nothing.
    Unsigned,
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// Decides by the head alone: nothing of a stranger's body is read.
pub(crate) fn verify(
    keys: &Keys,
    head: &Parts,
    query: &[(String, String)],
    peer: Option<Peer>,
    now_s: u64,
) -> Result<Payload, Fault> {
    let header = |name: &str| header(head, name);
    let given = header(PAYLOAD).ok_or_else(|| Fault::new(Code::AccessDenied, format!("{PAYLOAD} is missing")))?;
    let payload = payload(given)?;
    let query = canonical_query(query);
    let request = sigv4::Request {
        method: head.method.as_str(),
        path: &canonical_path(head.uri.path()),
        query: &query,
        host: header("host").unwrap_or_default(),
        body: &[],
    };
    request.verify_payload(given, header, &keys.access_key, &keys.secret_key, SERVICE, now_s, CLOCK_SKEW_SECONDS)?;
    // Who can change what passes could put other bytes in the place of these.
    let private = peer.is_some_and(|peer| peer.secure || peer.address.is_loopback());
    if payload == Payload::Unsigned && !private && head.method == http::Method::PUT {
        return Err(Fault::new(
            Code::AccessDenied,
            "without TLS bodies must be signed; set the site's option unsigned_payload = \"false\", or use https",
        ));
    }
    Ok(payload)
}

/// A header's value; `None` if it is not there or not text.
pub(crate) fn header<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    head.headers.get(name)?.to_str().ok()
}

fn payload(given: &str) -> Result<Payload, Fault> {
    if given == UNSIGNED_PAYLOAD {
        return Ok(Payload::Unsigned);
    }
    if given.starts_with("STREAMING-") {
        return Err(Fault::new(
            Code::NotImplemented,
            "bodies in signed chunks or with trailers are not taken; sign the whole payload, or none of it \
             (AWS_REQUEST_CHECKSUM_CALCULATION=when_required)",
        ));
    }
    let mut sum = [0; 32];
    hex::decode_to_slice(given, &mut sum)
        .map_err(|_| Fault::new(Code::InvalidArgument, format!("{PAYLOAD} is no SHA-256")))?;
    Ok(Payload::Sha256(sum))
}

/// The path as it is signed: each character escaped that is not unreserved, once (AWS, "Create a canonical request").
fn canonical_path(path: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if path.bytes().all(plain) {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    Cow::Owned(decoded.split('/').map(sigv4::encode).collect::<Vec<_>>().join("/"))
}

/// Not sorted: that is for `sigv4`.
fn canonical_query(query: &[(String, String)]) -> String {
    let pairs = query.iter().map(|(name, value)| format!("{}={}", sigv4::encode(name), sigv4::encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_once() {
        for (path, canonical) in [
            ("/site/shards/ab/00.0.1", "/site/shards/ab/00.0.1"),
            ("/site/a%20b", "/site/a%20b"),
            ("/site/a+b%2bc", "/site/a%2Bb%2Bc"),
            ("/", "/"),
        ] {
            assert_eq!(canonical_path(path), canonical);
        }
    }

    #[test]
    fn payloads() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(payload("UNSIGNED-PAYLOAD"), Ok(Payload::Unsigned));
        assert!(matches!(payload(empty), Ok(Payload::Sha256(_))));
        for (given, code) in [
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Code::NotImplemented),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Code::NotImplemented),
            ("", Code::InvalidArgument),
            (&empty[2..], Code::InvalidArgument),
        ] {
            assert_eq!(payload(given).map_err(|fault| fault.code), Err(code), "{given}");
        }
    }
}
