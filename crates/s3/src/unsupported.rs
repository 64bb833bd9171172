//! Features that Holdfast does not have are refused with `NotImplemented`, never passed over: an
//! object written without the lock, the tag or the customer's key that a client asked for would
//! be a wrong success.
//!
//! The tables say what is understood. An `x-amz-*` header or a query parameter that is in none of
//! them is refused, so that what S3 learns tomorrow is refused too. Parameters of a read that are no
//! sub-resources of S3 are passed over as S3 does: links carry them to get by caches, or to be counted.

use http::{HeaderMap, Uri};
use s3s::{S3Result, s3_error};

use crate::error::not_implemented;
use crate::operations::Operation;

/// Which values of a header are understood.
enum Values {
    Any,
    Only(&'static [&'static str]),
}

const CLASSES: [&str; 6] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR"];

const HEADERS: [(&str, Values); 62] = [
    // Signing and transport.
    ("x-amz-date", Values::Any),
    ("x-amz-security-token", Values::Any),
    ("x-amz-content-sha256", Values::Any),
    ("x-amz-decoded-content-length", Values::Any),
    ("x-amz-trailer", Values::Any),
    ("x-amz-user-agent", Values::Any),
    ("x-amz-api-version", Values::Only(&["2006-03-01"])),
    // How CloudFront calls the request.
    ("x-amz-cf-id", Values::Any),
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
    // Notifications.
    ("x-amz-skip-destination-validation", Values::Any),
    // The root may always take a policy back.
    ("x-amz-confirm-remove-self-bucket-access", Values::Any),
    // MFA delete cannot be switched on, and without it S3 does not look at this.
    ("x-amz-mfa", Values::Any),
    // Nothing is moved to another class.
    (TRANSITION_SIZE, Values::Only(&TRANSITION_SIZES)),
    // Attributes.
    ("x-amz-object-attributes", Values::Any),
    ("x-amz-max-parts", Values::Any),
    ("x-amz-part-number-marker", Values::Any),
    ("x-amz-optional-object-attributes", Values::Any),
    ("x-amz-mp-object-size", Values::Any),
    // Everyone pays for themselves here.
    ("x-amz-request-payer", Values::Any),
    // Judged with the right to the bucket.
    ("x-amz-expected-bucket-owner", Values::Any),
    ("x-amz-source-expected-bucket-owner", Values::Any),
    // Kept beside the object.
    ("x-amz-website-redirect-location", Values::Any),
    // Who has it.
    ("x-amz-acl", Values::Any),
    ("x-amz-grant-full-control", Values::Any),
    ("x-amz-grant-read", Values::Any),
    ("x-amz-grant-write", Values::Any),
    ("x-amz-grant-read-acp", Values::Any),
    ("x-amz-grant-write-acp", Values::Any),
    ("x-amz-object-ownership", Values::Any),
    // Classes whose objects can be read at once. All are stored alike.
    ("x-amz-storage-class", Values::Only(&CLASSES)),
    // Encryption.
    ("x-amz-server-side-encryption", Values::Any),
    ("x-amz-server-side-encryption-aws-kms-key-id", Values::Any),
    ("x-amz-server-side-encryption-context", Values::Any),
    ("x-amz-server-side-encryption-bucket-key-enabled", Values::Any),
    ("x-amz-server-side-encryption-customer-algorithm", Values::Any),
    ("x-amz-server-side-encryption-customer-key", Values::Any),
    ("x-amz-server-side-encryption-customer-key-md5", Values::Any),
    ("x-amz-copy-source-server-side-encryption-customer-algorithm", Values::Any),
    ("x-amz-copy-source-server-side-encryption-customer-key", Values::Any),
    ("x-amz-copy-source-server-side-encryption-customer-key-md5", Values::Any),
    ("x-amz-bucket-object-lock-enabled", Values::Any),
];

/// The least size of an object that lifecycle rules move to another class; the first is S3's default.
pub(crate) const TRANSITION_SIZE: &str = "x-amz-transition-default-minimum-object-size";
pub(crate) const TRANSITION_SIZES: [&str; 2] = ["all_storage_classes_128K", "varies_by_storage_class"];

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

/// Query parameters that choose an operation of S3, or what it is about (its API reference).
const SUB_RESOURCES: [&str; 43] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Refuses a request that asks for more than there is.
///
/// # Errors
/// `NotImplemented`, naming the header or parameter.
pub(crate) fn check(operation: &Operation, uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    check_headers(headers)?;
    let query = uri.query().unwrap_or_default();
    let presigned = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "X-Amz-Signature");
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let known = operation.query.contains(&name.as_ref())
            || SIGNING.contains(&name.as_ref())
            || promised(&name)
            || (presigned && is_hoisted(&name))
            || means_nothing(operation, &name);
        if !known {
            return Err(not_implemented(format_args!("the query parameter {name} of {}", operation.name)));
        }
    }
    Ok(())
}

/// Whether S3 passes over a query parameter: one that begins as those of clients' own, for its access
/// logs, or any of a read that it does not know.
fn means_nothing(operation: &Operation, name: &str) -> bool {
    if name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
        return false;
    }
    let reads = ["GetObject", "HeadObject"].contains(&operation.name);
    name.starts_with("x-") || (reads && !SUB_RESOURCES.contains(&name))
}

/// As [`check`], of headers only.
///
/// # Errors
/// `NotImplemented`, naming the header.
pub(crate) fn check_headers(headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("x-amz-") && !name.starts_with("x-amz-meta-") && !understood(name, value.as_bytes()) {
            let refusal = refusal(name, value.as_bytes());
            return Err(refusal.unwrap_or_else(|| not_implemented(format_args!("the header {name} with this value"))));
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

/// Storage classes that S3 has (PutObject, `x-amz-storage-class`).
const KNOWN_CLASSES: [&str; 11] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
];

/// S3's own answer to a header that is wrong, and not only unknown here.
fn refusal(name: &str, value: &[u8]) -> Option<s3s::S3Error> {
    let unknown = name == "x-amz-storage-class" && !KNOWN_CLASSES.iter().any(|known| known.as_bytes() == value);
    unknown.then(|| s3_error!(InvalidStorageClass, "The storage class you specified is not valid"))
}

/// Checksum promises that SDKs for JavaScript put into presigned URLs, of a body that they did
/// not have when they signed. S3 does not hold the body to them either.
fn promised(name: &str) -> bool {
    // The SDK for Go writes them as headers are written.
    let name = name.to_ascii_lowercase();
    name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm"
}

/// Whether a query parameter of a presigned URL stands for a header: SDKs move what they may.
pub(crate) fn is_hoisted(name: &str) -> bool {
    let signing = SIGNING.iter().any(|known| known.eq_ignore_ascii_case(name));
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) && !signing && !promised(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that S3 learns must not be passed over as a client's own.
    #[test]
    fn what_chooses_an_operation_is_known() {
        let lines = include_str!("operations.txt").lines().filter(|line| !line.starts_with('#'));
        let queries = lines.filter_map(|line| line.split_once('?')).flat_map(|(_, query)| query.split('&'));
        let names = queries.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        // These two stand beside another that chooses.
        for name in names.filter(|name| !["list-type", "select-type"].contains(name)) {
            assert!(SUB_RESOURCES.contains(&name), "{name}");
        }
    }
}
