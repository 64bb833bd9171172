//! What a policy's conditions can ask about a request (S3 and global condition keys).

use http::{HeaderMap, Uri, header};
use policy::{Circumstances, Values};
use time::OffsetDateTime;

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
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let circumstances = Circumstances {
        now: OffsetDateTime::now_utc(),
        issued_ms,
        address: peer.map(|Peer(address)| address),
        user_agent: text(header::USER_AGENT.as_str()),
        referer: text(header::REFERER.as_str()),
    };
    let mut values = circumstances.values();
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
