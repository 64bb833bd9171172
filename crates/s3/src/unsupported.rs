//! Features that Holdfast does not have are refused with `NotImplemented`, never passed over: an
//! object written without the lock, the tag or the customer's key that a client asked for would
//! be a wrong success.
//!
//! The tables say what is understood. An `x-amz-*` header or a query parameter that is in none of
//! them is refused, so that what S3 learns tomorrow is refused too.

use http::{HeaderMap, Uri};
use s3s::S3Result;

use crate::error::not_implemented;
use crate::operations::Operation;

/// Which values of a header are understood.
enum Values {
    Any,
    Only(&'static [&'static str]),
}

const HEADERS: [(&str, Values); 41] = [
    // Signing and transport.
    ("x-amz-date", Values::Any),
    ("x-amz-security-token", Values::Any),
    ("x-amz-content-sha256", Values::Any),
    ("x-amz-decoded-content-length", Values::Any),
    ("x-amz-trailer", Values::Any),
    ("x-amz-user-agent", Values::Any),
    ("x-amz-api-version", Values::Only(&["2006-03-01"])),
    // Checksums.
    ("x-amz-sdk-checksum-algorithm", Values::Any),
    ("x-amz-checksum-algorithm", Values::Any),
    ("x-amz-checksum-type", Values::Any),
    ("x-amz-checksum-mode", Values::Any),
    ("x-amz-checksum-crc32", Values::Any),
    ("x-amz-checksum-crc32c", Values::Any),
    ("x-amz-checksum-crc64nvme", Values::Any),
    ("x-amz-checksum-sha1", Values::Any),
    ("x-amz-checksum-sha256", Values::Any),
    // Copies.
    ("x-amz-copy-source", Values::Any),
    ("x-amz-copy-source-range", Values::Any),
    ("x-amz-copy-source-if-match", Values::Any),
    ("x-amz-copy-source-if-none-match", Values::Any),
    ("x-amz-copy-source-if-modified-since", Values::Any),
    ("x-amz-copy-source-if-unmodified-since", Values::Any),
    ("x-amz-metadata-directive", Values::Only(&["COPY", "REPLACE"])),
    // Tags and locks.
    ("x-amz-tagging", Values::Any),
    ("x-amz-tagging-directive", Values::Only(&["COPY", "REPLACE"])),
    ("x-amz-object-lock-mode", Values::Any),
    ("x-amz-object-lock-retain-until-date", Values::Any),
    ("x-amz-object-lock-legal-hold", Values::Any),
    ("x-amz-bypass-governance-retention", Values::Any),
    // Attributes.
    ("x-amz-object-attributes", Values::Any),
    ("x-amz-max-parts", Values::Any),
    ("x-amz-part-number-marker", Values::Any),
    ("x-amz-optional-object-attributes", Values::Any),
    ("x-amz-mp-object-size", Values::Any),
    // Everyone pays for themselves here.
    ("x-amz-request-payer", Values::Any),
    // True of every object: the owner alone has it, in one class, under managed AES-256 keys.
    ("x-amz-acl", Values::Only(&["private", "bucket-owner-full-control"])),
    ("x-amz-object-ownership", Values::Only(&["BucketOwnerEnforced"])),
    ("x-amz-storage-class", Values::Only(&["STANDARD"])),
    ("x-amz-server-side-encryption", Values::Only(&["AES256"])),
    ("x-amz-server-side-encryption-bucket-key-enabled", Values::Only(&["false"])),
    ("x-amz-bucket-object-lock-enabled", Values::Any),
];

/// Query parameters that any request may have: of presigning, and what SDKs add.
const SIGNING: [&str; 10] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Content-Sha256",
    "X-Amz-User-Agent",
    "x-id",
];

/// Refuses a request that asks for more than there is.
///
/// # Errors
/// `NotImplemented`, naming the header or parameter.
pub(crate) fn check(operation: &Operation, uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("x-amz-") && !name.starts_with("x-amz-meta-") && !understood(name, value.as_bytes()) {
            return Err(not_implemented(format_args!("the header {name} with this value")));
        }
    }
    for (name, _) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let known = operation.query.contains(&name.as_ref()) || SIGNING.contains(&name.as_ref()) || hoisted(&name);
        if !known {
            return Err(not_implemented(format_args!("the query parameter {name} of {}", operation.name)));
        }
    }
    Ok(())
}

fn understood(name: &str, value: &[u8]) -> bool {
    HEADERS.iter().any(|(known, values)| {
        *known == name
            && match values {
                Values::Any => true,
                Values::Only(values) => values.iter().any(|known| known.as_bytes() == value),
            }
    })
}

/// Checksum promises that SDKs for JavaScript put into presigned URLs, of a body that they did
/// not have when they signed. S3 does not hold the body to them either.
fn hoisted(name: &str) -> bool {
    // The SDK for Go writes them as headers are written.
    let name = name.to_ascii_lowercase();
    name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm"
}
