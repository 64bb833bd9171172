//! What a policy's conditions can ask about a request (S3 and global condition keys).

use http::{HeaderMap, Uri, header};
use policy::Values;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::Peer;

/// Request headers that conditions know under their own names.
const HEADERS: [&str; 15] = [
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-object-ownership",
    "x-amz-grant-read",
    "x-amz-grant-write",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-grant-full-control",
];

/// The keys and values of one request. `signed_in`: where its signature was, if it had one; `issued_ms`: when its temporary credentials were made,
/// milliseconds since the Unix epoch.
pub(crate) fn values(
    uri: &Uri,
    headers: &HeaderMap,
    signed_in: Option<&str>,
    peer: Option<Peer>,
    issued_ms: Option<u64>,
) -> Values {
    let mut values = Values::default();
    let now = OffsetDateTime::now_utc();
    values.add("aws:CurrentTime", now.format(&Rfc3339).unwrap_or_default());
    values.add("aws:EpochTime", now.unix_timestamp().to_string());
    if let Some(issued) = issued_ms.and_then(|ms| i64::try_from(ms / 1000).ok())
        && let Ok(issued) = OffsetDateTime::from_unix_timestamp(issued)
    {
        values.add("aws:TokenIssueTime", issued.format(&Rfc3339).unwrap_or_default());
    }
    // There is no TLS on the listener.
    values.add("aws:SecureTransport", "false");
    if let Some(Peer(address)) = peer {
        values.add("aws:SourceIp", address.to_canonical().to_string());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    for (name, key) in [(header::USER_AGENT, "aws:UserAgent"), (header::REFERER, "aws:Referer")] {
        if let Some(value) = text(name.as_str()) {
            values.add(key, value);
        }
    }
    for name in HEADERS {
        if let Some(value) = text(name) {
            values.add(&format!("s3:{name}"), value);
        }
    }
    if let Some(place) = signed_in {
        values.add("s3:signatureversion", "AWS4-HMAC-SHA256");
        values.add("s3:authType", place);
    }
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "prefix" | "delimiter" | "max-keys" => values.add(&format!("s3:{name}"), value),
            "versionId" => values.add("s3:VersionId", value),
            _ => {}
        }
    }
    if let Some(tags) = text("x-amz-tagging") {
        for (name, value) in url::form_urlencoded::parse(tags.as_bytes()) {
            values.add("s3:RequestObjectTagKeys", name.clone());
            values.add(&format!("s3:RequestObjectTag/{name}"), value);
        }
    }
    if let Some(mode) = text("x-amz-object-lock-mode") {
        values.add("s3:object-lock-mode", mode);
    }
    if let Some(hold) = text("x-amz-object-lock-legal-hold") {
        values.add("s3:object-lock-legal-hold", hold);
    }
    values
}
