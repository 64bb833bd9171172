//! Between the store's words and those of the wire.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use base::UploadId;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    ChecksumType, CommonPrefix, ETag, ETagCondition, EncodingType, Metadata, Owner, Range, StorageClass, Timestamp,
    TimestampFormat,
};
use s3s::{S3Result, s3_error};
use store::api::{
    Checksum, ChecksumKind, EtagSet, ObjectInfo, ObjectMeta, Principal, ReadCondition, VersionId, WriteCondition,
};

use crate::access::Peer;
use crate::error::{custom, not_implemented, with_headers};
use crate::host::Place;
use crate::{lock, tags};

/// What a client gets for an object stored without a content type (S3 does the same).
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

pub(crate) fn etag(tag: impl Into<String>) -> ETag {
    ETag::Strong(tag.into())
}

/// When something was made or changed, in whole seconds as in the headers of answers: clients compare
/// what a listing says with what a HeadObject says.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    exact(ms - ms % 1000)
}

/// Milliseconds since the Unix epoch as a timestamp.
pub(crate) fn exact(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH))
}

/// A timestamp in seconds since the Unix epoch.
fn seconds(timestamp: Timestamp) -> i64 {
    time::OffsetDateTime::from(timestamp).unix_timestamp()
}

/// An HTTP date (RFC 9110 section 5.6.7).
pub(crate) fn http_date(timestamp: &Timestamp) -> Option<String> {
    let mut out = Vec::new();
    timestamp.format(TimestampFormat::HttpDate, &mut out).ok()?;
    String::from_utf8(out).ok()
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

/// A size or count as the wire's signed type.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn set(condition: ETagCondition) -> EtagSet {
    match condition {
        ETagCondition::Any => EtagSet::Any,
        ETagCondition::ETag(tag) => EtagSet::Of(vec![tag.into_value()]),
    }
}

/// `If-Match` compares strongly (RFC 9110 section 13.1.1): a weak tag matches nothing.
fn strong_set(condition: ETagCondition) -> EtagSet {
    match condition {
        ETagCondition::ETag(ETag::Weak(_)) => EtagSet::Of(Vec::new()),
        other => set(other),
    }
}

/// The four conditions of a read.
pub(crate) fn read_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> ReadCondition {
    ReadCondition {
        if_match: if_match.map(strong_set),
        if_none_match: if_none_match.map(set),
        if_modified_since: if_modified_since.map(seconds),
        if_unmodified_since: if_unmodified_since.map(seconds),
    }
}

/// The conditions of a write. S3 knows `If-None-Match: *` only.
///
/// # Errors
/// `NotImplemented` for `If-None-Match` with a tag.
pub(crate) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<WriteCondition> {
    let absent = match if_none_match {
        None => false,
        Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(_)) => return Err(not_implemented("If-None-Match with an ETag on a write")),
    };
    Ok(WriteCondition { absent, etag_is: if_match.map(strong_set) })
}

/// `If-Match` of a delete.
pub(crate) fn delete_condition(if_match: Option<ETagCondition>) -> Option<EtagSet> {
    if_match.map(strong_set)
}

/// The header of a redirection that a website makes, and its name among what is kept.
pub(crate) const WEBSITE_REDIRECT: &str = "x-amz-website-redirect-location";

/// The header of a storage class, and its name among what is kept. `STANDARD` is not kept.
const STORAGE_CLASS: &str = "x-amz-storage-class";

/// The storage class of an object, or of an upload, by what is kept beside it: told, and nothing else.
/// All are stored alike.
pub(crate) fn storage_class(kept: &BTreeMap<String, String>) -> String {
    kept.get(STORAGE_CLASS).cloned().unwrap_or_else(|| StorageClass::STANDARD.to_owned())
}

/// `response-*` parameters are for those who signed: a public object must not be made to pass for a
/// page by whoever makes the link.
///
/// # Errors
/// `InvalidRequest` for a request that has them and was not signed.
pub(crate) fn may_override<T>(req: &s3s::S3Request<T>) -> S3Result<()> {
    let mut names = url::form_urlencoded::parse(req.uri.query().unwrap_or_default().as_bytes()).map(|(name, _)| name);
    if req.extensions.get::<Principal>().is_none() && names.any(|name| name.starts_with("response-")) {
        return Err(s3_error!(
            InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests."
        ));
    }
    Ok(())
}

/// Headers that S3 keeps beside an object.
const KEPT: [http::HeaderName; 5] = [
    http::header::CONTENT_TYPE,
    http::header::CACHE_CONTROL,
    http::header::CONTENT_DISPOSITION,
    http::header::CONTENT_LANGUAGE,
    http::header::EXPIRES,
];

/// What a request says to keep beside the object.
///
/// # Errors
/// `InvalidArgument` for a header that is not text.
pub(crate) fn object_meta(headers: &HeaderMap, metadata: Option<Metadata>) -> S3Result<ObjectMeta> {
    let mut kept = BTreeMap::new();
    for name in &KEPT {
        if let Some(value) = headers.get(name).filter(|value| !value.is_empty()) {
            kept.insert(name.as_str().to_owned(), text(name.as_str(), value)?);
        }
    }
    if let Some(encoding) = content_encoding(headers)? {
        kept.insert("content-encoding".to_owned(), encoding);
    }
    if let Some(class) = headers.get(STORAGE_CLASS).filter(|class| *class != StorageClass::STANDARD) {
        kept.insert(STORAGE_CLASS.to_owned(), text(STORAGE_CLASS, class)?);
    }
    if let Some(location) = headers.get(WEBSITE_REDIRECT) {
        kept.insert(WEBSITE_REDIRECT.to_owned(), redirect_location(location)?);
    }
    let user_metadata = metadata.unwrap_or_default().into_iter().collect();
    let tags = headers.get("x-amz-tagging").map(tags::of_header).transpose()?.unwrap_or_default();
    Ok(ObjectMeta { headers: kept, user_metadata, tags, lock: lock::of_headers(headers)? })
}

/// Where a website sends who asks for the object: a path of the website, or another site.
fn redirect_location(value: &http::HeaderValue) -> S3Result<String> {
    let location = text(WEBSITE_REDIRECT, value)?;
    let good = ["/", "http://", "https://"].iter().any(|start| location.starts_with(start));
    let words = match good {
        false => "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        true if location.len() > 2048 => "The length of website redirect location cannot exceed 2,048 characters.",
        true => return Ok(location),
    };
    Err(custom("InvalidRedirectLocation", words))
}

fn text(name: &str, value: &http::HeaderValue) -> S3Result<String> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| s3_error!(InvalidArgument, "the header {name} is not text"))
}

/// `Content-Encoding` without `aws-chunked`, which is of the transfer and not of the object.
fn content_encoding(headers: &HeaderMap) -> S3Result<Option<String>> {
    let Some(value) = headers.get(http::header::CONTENT_ENCODING) else { return Ok(None) };
    let value = text("content-encoding", value)?;
    let kept: Vec<&str> =
        value.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "aws-chunked").collect();
    Ok((!kept.is_empty()).then(|| kept.join(", ")))
}

/// The headers to give back with an object.
#[derive(Default)]
pub(crate) struct ObjectHeaders {
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_type: Option<String>,
    /// `Expires`, which is told as it was given: the framework would have it be a date.
    pub own: HeaderMap,
    pub storage_class: Option<StorageClass>,
    pub website_redirect: Option<String>,
    pub metadata: Option<Metadata>,
}

impl ObjectHeaders {
    pub(crate) fn of(meta: ObjectMeta) -> Self {
        let ObjectMeta { mut headers, user_metadata, .. } = meta;
        let expires = headers.remove("expires").and_then(|text| http::HeaderValue::try_from(text).ok());
        Self {
            cache_control: headers.remove("cache-control"),
            content_disposition: headers.remove("content-disposition"),
            content_encoding: headers.remove("content-encoding"),
            content_language: headers.remove("content-language"),
            content_type: Some(headers.remove("content-type").unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())),
            own: expires.map(|expires| (http::header::EXPIRES, expires)).into_iter().collect(),
            storage_class: headers.remove(STORAGE_CLASS).map(StorageClass::from),
            website_redirect: headers.remove(WEBSITE_REDIRECT),
            metadata: (!user_metadata.is_empty()).then(|| user_metadata.into_iter().collect()),
        }
    }
}

/// A checksum spread over the fields that the wire has for it.
#[derive(Default)]
pub(crate) struct Sums {
    pub crc32: Option<String>,
    pub crc32c: Option<String>,
    pub crc64nvme: Option<String>,
    pub sha1: Option<String>,
    pub sha256: Option<String>,
    pub kind: Option<ChecksumType>,
}

impl Sums {
    pub(crate) fn of(checksum: Option<&Checksum>) -> Self {
        let mut sums = Self::default();
        let Some(checksum) = checksum else { return sums };
        let field = match checksum.algorithm.as_str() {
            "CRC32" => &mut sums.crc32,
            "CRC32C" => &mut sums.crc32c,
            "CRC64NVME" => &mut sums.crc64nvme,
            "SHA1" => &mut sums.sha1,
            "SHA256" => &mut sums.sha256,
            _ => return sums,
        };
        *field = Some(checksum.value.clone());
        sums.kind = Some(checksum_type(checksum.kind));
        sums
    }
}

pub(crate) fn checksum_type(kind: ChecksumKind) -> ChecksumType {
    ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => ChecksumType::COMPOSITE,
    })
}

/// The version that a request names.
///
/// # Errors
/// `InvalidArgument` for a text that is no version id; nor is an empty one, which would be judged as a
/// version's and done on the newest.
pub(crate) fn version_id(text: Option<impl AsRef<str>>) -> S3Result<Option<VersionId>> {
    let parse = |text: &str| match text {
        "" => Err(s3_error!(InvalidArgument, "Version id cannot be the empty string")),
        text => text.parse().map_err(|_| s3_error!(InvalidArgument, "Invalid version id specified")),
    };
    text.map(|text| parse(text.as_ref())).transpose()
}

/// An upload id. One that cannot be ours is of an upload that does not exist.
pub(crate) fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| s3_error!(NoSuchUpload, "the multipart upload does not exist"))
}

pub(crate) fn part_number(number: i32) -> S3Result<u16> {
    let valid = u16::try_from(number).ok().filter(|number| (1..=base::limits::PARTS_MAX).contains(number));
    valid.ok_or_else(|| s3_error!(InvalidArgument, "a part number is between 1 and {}", base::limits::PARTS_MAX))
}

/// `max-keys` and its like: 0 to 1,000; more is taken as 1,000.
pub(crate) fn page_limit(asked: Option<i32>) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(base::limits::PAGE_MAX) };
    let limit = usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "a page size is 0 or more"))?;
    Ok(limit.min(base::limits::PAGE_MAX))
}

/// The bytes that a `Range` means of an object of `size` bytes (RFC 9110 section 14.1.2).
///
/// # Errors
/// `InvalidRange` with the size, when it means none.
pub(crate) fn resolve_range(range: Range, size: u64) -> S3Result<std::ops::Range<u64>> {
    let bytes = match range {
        Range::Int { first, last } => first..last.map_or(size, |last| last.saturating_add(1)).min(size),
        Range::Suffix { length } => size.saturating_sub(length)..size,
    };
    if bytes.is_empty() { Err(not_satisfiable(size)) } else { Ok(bytes) }
}

/// `If-Range` (RFC 9110 section 13.1.5): a range of another version than the client has a part of
/// is not wanted; the whole object is.
pub(crate) fn range_holds(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    let Some(condition) = headers.get(http::header::IF_RANGE) else { return true };
    let condition = condition.as_bytes();
    let date = http_date(&timestamp(info.modified_ms)).unwrap_or_default();
    condition == format!("\"{}\"", info.etag).as_bytes() || condition == date.as_bytes()
}

pub(crate) fn not_satisfiable(size: u64) -> s3s::S3Error {
    let error = s3_error!(InvalidRange, "the requested range is not satisfiable");
    let value = http::HeaderValue::try_from(format!("bytes */{size}"));
    with_headers(error, value.ok().map(|value| (http::header::CONTENT_RANGE, value)))
}

/// `Content-Range` (RFC 9110 section 14.4).
pub(crate) fn content_range(bytes: &std::ops::Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1))
}

/// Where an object is, as the client addressed us.
pub(crate) fn location(extensions: &Extensions, headers: &HeaderMap, bucket: &str, key: &str) -> String {
    let scheme = extensions.get::<Peer>().map_or("http", |peer| peer.scheme());
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match extensions.get::<Place>() {
        Some(Place::Bucket(_)) => format!("{scheme}://{host}/{}", url_encode(key)),
        _ => format!("{scheme}://{host}/{bucket}/{}", url_encode(key)),
    }
}

/// How names are written in a listing.
#[derive(Clone, Copy)]
pub(crate) struct Naming {
    url: bool,
}

impl Naming {
    /// # Errors
    /// `InvalidArgument` for an encoding that S3 does not have.
    pub(crate) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "invalid encoding method specified in request")),
        }
    }

    pub(crate) fn write(self, name: impl AsRef<str> + Into<String>) -> String {
        if self.url { url_encode(name.as_ref()) } else { name.into() }
    }

    pub(crate) fn prefixes(self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.write(prefix)) }).collect()
    }
}

/// Percent-encodes everything but unreserved characters and `/`: what S3 answers for
/// `encoding-type=url`, except that a space is `%20`, which all clients decode.
pub(crate) fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A continuation token: hexadecimal, so that nobody is tempted to read it.
pub(crate) fn token(after: &str) -> String {
    hex::encode(after)
}

/// # Errors
/// `InvalidArgument` for a text that is no token of ours.
pub(crate) fn read_token(token: &str) -> S3Result<String> {
    let bytes = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let after = bytes.filter(|after| !after.is_empty());
    after.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// The answer to a read whose condition says the client has it already.
pub(crate) fn not_modified(info: &ObjectInfo) -> s3s::S3Error {
    let mut headers = Vec::new();
    if let Ok(tag) = etag(info.etag.clone()).to_http_header() {
        headers.push((http::header::ETAG, tag));
    }
    let modified = http_date(&timestamp(info.modified_ms)).and_then(|date| date.try_into().ok());
    headers.extend(modified.map(|date| (http::header::LAST_MODIFIED, date)));
    with_headers(s3s::S3Error::new(s3s::S3ErrorCode::NotModified), headers)
}

/// What the scan service says of an object: `clean`, `infected`, `incomplete` or `pending`, what it found or why it could not look at all of it, and
/// whether it is given out all the same.
pub(crate) fn scan_told(told: Option<&store::ScanTold>) -> Vec<(HeaderName, HeaderValue)> {
    use store::api::ScanVerdict;
    let Some(told) = told else { return Vec::new() };
    let mut headers = vec![(HeaderName::from_static("x-holdfast-scan"), HeaderValue::from_static(told.word()))];
    let details = match &told.verdict {
        None | Some(ScanVerdict::Clean) => String::new(),
        Some(ScanVerdict::Infected(names)) => names.join(", "),
        Some(ScanVerdict::Incomplete(reasons)) => {
            reasons.iter().map(|reason| reason.word()).collect::<Vec<_>>().join(", ")
        }
    };
    // Names come from definitions that others made.
    let details: String = details.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    if let (false, Ok(details)) = (details.is_empty(), HeaderValue::try_from(details)) {
        headers.push((HeaderName::from_static("x-holdfast-scan-details"), details));
    }
    if told.released {
        headers.push((HeaderName::from_static("x-holdfast-scan-released"), HeaderValue::from_static("true")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let int = |first, last| Range::Int { first, last };
        let table = [
            (int(0, Some(0)), 10, Some(0..1)),
            (int(0, None), 10, Some(0..10)),
            (int(9, Some(100)), 10, Some(9..10)),
            (int(10, None), 10, None),
            (int(0, Some(u64::MAX)), 10, Some(0..10)),
            (Range::Suffix { length: 3 }, 10, Some(7..10)),
            (Range::Suffix { length: 30 }, 10, Some(0..10)),
            (Range::Suffix { length: 0 }, 10, None),
            (Range::Suffix { length: 1 }, 0, None),
            (int(0, None), 0, None),
        ];
        for (range, size, expected) in table {
            assert_eq!(resolve_range(range, size).ok(), expected, "{range:?} of {size}");
        }
    }

    #[test]
    fn url_encoding() {
        for (text, expected) in
            [("a/b", "a/b"), ("a b+c", "a%20b%2Bc"), ("\u{1}", "%01"), ("\u{e4}", "%C3%A4"), ("%", "%25")]
        {
            assert_eq!(url_encode(text), expected);
        }
    }

    #[test]
    fn tokens() {
        assert_eq!(read_token(&token("a/\u{e4}")).ok().as_deref(), Some("a/\u{e4}"));
        for bad in ["", "x", "0", "ff"] {
            assert!(read_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aws_chunked_is_not_kept() {
        for (value, expected) in
            [("aws-chunked", None), ("aws-chunked,gzip", Some("gzip")), ("gzip, br", Some("gzip, br")), ("", None)]
        {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_ENCODING, value.parse().unwrap())]);
            assert_eq!(content_encoding(&headers).unwrap().as_deref(), expected, "{value}");
        }
    }
}
