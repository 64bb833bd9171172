//! What is refused before the framework sees it, because the framework would take it.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use s3s::{S3Result, s3_error};

use crate::chunked::Chunks;
use crate::error::{custom, not_implemented};
use crate::host::Place;
use crate::limits::{DOCUMENT_MAX, HEAD_MAX, PRESIGN_SECONDS_MAX, VALUE_MAX};
use crate::{context, unsupported};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// What kind of body a request has, and so who has to watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Object bytes as they are.
    Plain,
    /// `aws-chunked`.
    Chunked(Chunks),
    /// An XML document.
    Document,
    /// An HTML form, which signs itself.
    Form,
}

/// Who a request says it is from, before anything of it is verified.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub access_key: Option<String>,
    /// All session tokens, in headers and query; a request has at most one.
    pub tokens: Vec<String>,
}

impl Named {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let query = Query::read(request.uri().query().unwrap_or_default());
        let signed = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let signed = signed.and_then(|value| authorization_field(value, "Credential="));
        let credential = signed.or(query.credential.as_deref());
        let access_key = credential.and_then(|credential| Some(credential.split_once('/')?.0.to_owned()));
        let headers = request.headers().get_all(SECURITY_TOKEN).iter();
        let headers = headers.map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self { access_key, tokens: headers.chain(query.tokens).map(Cow::into_owned).collect() }
    }
}

/// Refuses what must not reach the framework, or what stands in its place for another `service`;
/// says how to treat the body.
///
/// # Errors
/// The answer to give.
pub(crate) fn check<B>(request: &Request<B>, place: &Place, service: &str) -> S3Result<BodyKind> {
    let headers = request.headers();
    check_size(request)?;
    if request.method() == Method::POST && content_type(headers).starts_with("multipart/form-data") {
        return Ok(BodyKind::Form);
    }
    let query = Query::read(request.uri().query().unwrap_or_default());
    // The framework would check the one and act on the other.
    if headers.contains_key(header::AUTHORIZATION) && query.presigned {
        return Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
        ));
    }
    check_presigned(&query)?;
    check_authorization(headers, &query, service)?;
    let kind = body_kind(request, place)?;
    // The framework takes chunks apart where a signature is, and would store them as they are elsewhere.
    if matches!(kind, BodyKind::Chunked(_)) && !headers.contains_key(header::AUTHORIZATION) {
        return Err(not_implemented("an upload in chunks without an authorization header"));
    }
    check_document(request, kind)?;
    Ok(kind)
}

/// Sub-resources of an object that are documents.
const OBJECT_DOCUMENTS: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// A document that is too long, by its declared length: the framework would call it its own error.
fn check_document<B>(request: &Request<B>, kind: BodyKind) -> S3Result<()> {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if kind == BodyKind::Document && length.is_some_and(|length| length > DOCUMENT_MAX as u64) {
        return Err(custom("MaxMessageLengthExceeded", "Your request was too big."));
    }
    Ok(())
}

/// Refuses what is longer than conditions of policies are to match: that may take the time of its length
/// times a policy's.
///
/// # Errors
/// `RequestHeaderSectionTooLarge`, `InvalidArgument`.
pub(crate) fn check_values(headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
    for name in context::headers() {
        let max = match name.as_str() {
            // A key of 1,024 bytes escaped threefold, its bucket and its version.
            "x-amz-copy-source" => 2 * VALUE_MAX,
            // S3 has its own answer to one that is too long.
            "x-amz-website-redirect-location" => 2 * VALUE_MAX,
            // Ten tags, or a hundred grantees, fill all that S3 takes of headers.
            "x-amz-tagging"
            | "x-amz-grant-read"
            | "x-amz-grant-write"
            | "x-amz-grant-read-acp"
            | "x-amz-grant-write-acp"
            | "x-amz-grant-full-control" => 4 * VALUE_MAX,
            _ => VALUE_MAX,
        };
        if headers.get(&name).is_some_and(|value| value.len() > max) {
            return Err(s3_error!(RequestHeaderSectionTooLarge, "the header {name} has more than {max} bytes"));
        }
    }
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let length: usize =
        query.filter(|(name, _)| context::is_asked(name) || name == "versionId").map(|(_, value)| value.len()).sum();
    if length > 2 * VALUE_MAX {
        return Err(s3_error!(
            InvalidArgument,
            "prefix, delimiter, max-keys and versionId have more than {} bytes",
            2 * VALUE_MAX
        ));
    }
    Ok(())
}

/// Headers that SDKs put into the query of a presigned URL become headers again. The signature, which
/// is over the query, covers them. Says whether there are any.
///
/// # Errors
/// `InvalidArgument` for one that is in both places, or that no header can have.
pub(crate) fn lower(parts: &mut Parts) -> S3Result<bool> {
    let query = parts.uri.query().unwrap_or_default();
    if !Query::read(query).presigned {
        return Ok(false);
    }
    let mut any = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| unsupported::is_hoisted(name))
    {
        let wrong = || s3_error!(InvalidArgument, "the query parameter {name} cannot stand for a header");
        let header = HeaderName::try_from(&*name).map_err(|_| wrong())?;
        if parts.headers.contains_key(&header) {
            return Err(wrong());
        }
        parts.headers.insert(header, HeaderValue::try_from(&*value).map_err(|_| wrong())?);
        any = true;
    }
    Ok(any)
}

fn check_size<B>(request: &Request<B>) -> S3Result<()> {
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    if headers + target > HEAD_MAX {
        return Err(s3_error!(RequestHeaderSectionTooLarge, "the request head has more than {HEAD_MAX} bytes"));
    }
    Ok(())
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The query parameters that matter here, decoded as the framework decodes them: a name may be
/// escaped, and must not slip by for that.
#[derive(Default)]
struct Query<'a> {
    version_2: bool,
    tokens: Vec<Cow<'a, str>>,
    /// Whether there is any trace of a presigned URL.
    presigned: bool,
    /// Whether the algorithm is the one there is.
    algorithm: bool,
    date: bool,
    signature: bool,
    expires: Vec<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Self {
        let mut found = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            found.presigned |= matches!(
                name.as_ref(),
                "X-Amz-Algorithm" | "X-Amz-Credential" | "X-Amz-Signature" | "X-Amz-SignedHeaders" | "X-Amz-Date"
            );
            match name.as_ref() {
                "X-Amz-Algorithm" => found.algorithm = value == "AWS4-HMAC-SHA256",
                "X-Amz-Date" => found.date = true,
                "X-Amz-Signature" => found.signature = true,
                "Signature" | "AWSAccessKeyId" => found.version_2 = true,
                "X-Amz-Security-Token" => found.tokens.push(value),
                "X-Amz-Expires" => found.expires.push(value),
                "X-Amz-Credential" => found.credential = Some(value),
                "X-Amz-SignedHeaders" => found.signed_headers = Some(value),
                _ => {}
            }
        }
        found
    }
}

fn version_2() -> s3s::S3Error {
    s3_error!(InvalidRequest, "the authorization mechanism you have provided is not supported; use AWS4-HMAC-SHA256")
}

fn check_presigned(query: &Query<'_>) -> S3Result<()> {
    if query.version_2 {
        return Err(version_2());
    }
    let complete = query.algorithm && query.date && query.signature && query.credential.is_some();
    if query.presigned && !(complete && query.signed_headers.is_some() && !query.expires.is_empty()) {
        return Err(s3_error!(
            AuthorizationQueryParametersError,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        ));
    }
    for expires in &query.expires {
        match expires.parse::<u64>() {
            Ok(1..=PRESIGN_SECONDS_MAX) => {}
            _ => {
                return Err(s3_error!(
                    AuthorizationQueryParametersError,
                    "X-Amz-Expires must be between 1 and {PRESIGN_SECONDS_MAX} seconds"
                ));
            }
        }
    }
    Ok(())
}

/// Version 4 only, for the one service only, and with the host and every `x-amz-*` header
/// signed: the framework checks the signature over whatever headers it names.
fn check_authorization(headers: &HeaderMap, query: &Query<'_>, service: &str) -> S3Result<()> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return match (&query.credential, &query.signed_headers) {
            (Some(credential), Some(signed)) => {
                check_scope(credential, service)?;
                // A presigned URL says nothing of the body; its hash may come later.
                check_signed(headers, signed, &["x-amz-content-sha256"])
            }
            _ => Ok(()),
        };
    };
    let value = value.to_str().ok().filter(|value| value.starts_with(ALGORITHM)).ok_or_else(version_2)?;
    let field = |name: &str| authorization_field(value, name).ok_or_else(|| malformed(name));
    check_scope(field("Credential=")?, service)?;
    check_signed(headers, field("SignedHeaders=")?, &[])
}

fn authorization_field<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.strip_prefix(ALGORITHM)?.split([',', ' ', '\t']).find_map(|field| field.strip_prefix(name))
}

fn malformed(name: &str) -> s3s::S3Error {
    s3_error!(AuthorizationHeaderMalformed, "the authorization header is malformed: {name} is missing or wrong")
}

/// `KEY/DATE/REGION/SERVICE/aws4_request`: the framework also takes the service `sts`, and then
/// asks for no hash of the body.
fn check_scope(credential: &str, service: &str) -> S3Result<()> {
    let scope = credential.strip_suffix("/aws4_request").and_then(|scope| scope.rsplit('/').next());
    if scope == Some(service) { Ok(()) } else { Err(malformed("Credential=")) }
}

fn check_signed(headers: &HeaderMap, signed: &str, except: &[&str]) -> S3Result<()> {
    // The framework drops names that it does not find as they are written, and goes on: each must
    // be the name of a header that is there, in lower case.
    if signed.split(';').any(|name| !headers.contains_key(name) || name.bytes().any(|byte| byte.is_ascii_uppercase())) {
        return Err(malformed("SignedHeaders="));
    }
    let is_signed = |name: &str| signed.split(';').any(|known| known == name);
    if !is_signed("host") {
        return Err(malformed("SignedHeaders="));
    }
    let loose = headers
        .keys()
        .map(|name| name.as_str())
        .find(|name| name.starts_with("x-amz-") && !except.contains(name) && !is_signed(name));
    match loose {
        None => Ok(()),
        Some(name) => {
            Err(s3_error!(AccessDenied, "there were headers present in the request which were not signed: {name}"))
        }
    }
}

fn body_kind<B>(request: &Request<B>, place: &Place) -> S3Result<BodyKind> {
    let path = request.uri().path().trim_start_matches('/');
    let names_key = match place {
        Place::Bucket(_) => !path.is_empty(),
        Place::Endpoint | Place::Website(_) => path.contains('/'),
    };
    let mut names = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let kind = match *request.method() {
        Method::POST => BodyKind::Document,
        Method::PUT if !names_key => BodyKind::Document,
        Method::PUT if names.any(|(name, _)| OBJECT_DOCUMENTS.contains(&name.as_ref())) => BodyKind::Document,
        _ => BodyKind::Plain,
    };
    let hash = request.headers().get("x-amz-content-sha256").map_or(&b""[..], |value| value.as_bytes());
    let chunks = match hash {
        hash if hash.starts_with(b"STREAMING-UNSIGNED") => Chunks::Unsigned,
        hash if hash.starts_with(b"STREAMING-") => Chunks::Signed,
        _ => return Ok(kind),
    };
    // Of PutObject and UploadPart only: what is chunked is not read as a document is.
    match (kind, request.method()) {
        (BodyKind::Plain, &Method::PUT) => Ok(BodyKind::Chunked(chunks)),
        _ => Err(s3_error!(InvalidArgument, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value.")),
    }
}

/// Metadata given more than once is one value, as it was signed.
pub(crate) fn join_metadata(headers: &mut HeaderMap) {
    let twice =
        |name: &&HeaderName| name.as_str().starts_with("x-amz-meta-") && headers.get_all(*name).iter().count() > 1;
    for name in headers.keys().filter(twice).cloned().collect::<Vec<_>>() {
        let values: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b","[..])) {
            headers.insert(name, joined);
        }
    }
}

/// The answer to a method that S3 does not have.
pub(crate) fn known_method(method: &Method) -> S3Result<()> {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(()),
        _ => {
            let mut error = custom("MethodNotAllowed", "the method is not allowed against this resource");
            error.set_status_code(http::StatusCode::METHOD_NOT_ALLOWED);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(target).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";

    #[test]
    fn refusals() {
        let long = "a".repeat(HEAD_MAX);
        let sts = GOOD.replace("/s3/", "/sts/");
        let hostless = GOOD.replace("host;", "");
        let table: &[(&str, Request<()>, Option<&str>)] = &[
            ("anonymous goes on, to be denied", request("GET", "/b/k", &[]), None),
            ("version 4", request("GET", "/b/k", &[("authorization", GOOD), ("x-amz-date", "x")]), None),
            ("version 2 header", request("GET", "/b/k", &[("authorization", "AWS AK:sig")]), Some("InvalidRequest")),
            ("bearer", request("GET", "/b/k", &[("authorization", "Bearer x")]), Some("InvalidRequest")),
            (
                "version 2 query",
                request("GET", "/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[]),
                Some("InvalidRequest"),
            ),
            ("escaped version 2 query", request("GET", "/b/k?%53ignature=b", &[]), Some("InvalidRequest")),
            ("a week", request("GET", "/b/k?X-Amz-Expires=604800", &[]), None),
            (
                "over a week",
                request("GET", "/b/k?X-Amz-Expires=604801", &[]),
                Some("AuthorizationQueryParametersError"),
            ),
            ("escaped", request("GET", "/b/k?X%2DAmz-Expires=604801", &[]), Some("AuthorizationQueryParametersError")),
            (
                "second one",
                request("GET", "/b/k?X-Amz-Expires=1&X-Amz-Expires=604801", &[]),
                Some("AuthorizationQueryParametersError"),
            ),
            ("negative", request("GET", "/b/k?X-Amz-Expires=-1", &[]), Some("AuthorizationQueryParametersError")),
            ("sts scope", request("GET", "/b/k", &[("authorization", &sts)]), Some("AuthorizationHeaderMalformed")),
            (
                "host not signed",
                request("GET", "/b/k", &[("authorization", &hostless), ("x-amz-date", "x")]),
                Some("AuthorizationHeaderMalformed"),
            ),
            (
                "loose header",
                request("PUT", "/b/k", &[("authorization", GOOD), ("x-amz-date", "x"), ("x-amz-meta-a", "b")]),
                Some("AccessDenied"),
            ),
            (
                "both ways of signing at once",
                request("PUT", "/b/k?X-Amz-Signature=0", &[("authorization", GOOD), ("x-amz-date", "x")]),
                Some("InvalidArgument"),
            ),
            (
                "a signed header in capitals",
                request(
                    "GET",
                    "/b/k",
                    &[("authorization", &GOOD.replace("x-amz-date", "X-Amz-Date")), ("x-amz-date", "x")],
                ),
                Some("AuthorizationHeaderMalformed"),
            ),
            (
                "a signed header that is not there",
                request("GET", "/b/k", &[("authorization", GOOD)]),
                Some("AuthorizationHeaderMalformed"),
            ),
            (
                "chunks of a stranger",
                request("PUT", "/b/k", &[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]),
                Some("NotImplemented"),
            ),
            ("form", request("POST", "/b", &[("content-type", " Multipart/Form-Data; boundary=x")]), None),
            (
                "a token that is not signed",
                request("GET", "/b/k", &[("authorization", GOOD), ("x-amz-date", "x"), ("x-amz-security-token", "t")]),
                Some("AccessDenied"),
            ),
            (
                "a document too long",
                request("PUT", "/b?cors", &[("content-length", "4194305")]),
                Some("MaxMessageLengthExceeded"),
            ),
            (
                "an object's document too long",
                request("PUT", "/b/k?tagging", &[("content-length", "4194305")]),
                Some("MaxMessageLengthExceeded"),
            ),
            ("a document as long as may be", request("PUT", "/b?cors", &[("content-length", "4194304")]), None),
            ("an object is no document", request("PUT", "/b/k", &[("content-length", "4194305")]), None),
            (
                "a presigned URL without its date",
                request(
                    "GET",
                    "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=0&X-Amz-SignedHeaders=host&X-Amz-Expires=1",
                    &[],
                ),
                Some("AuthorizationQueryParametersError"),
            ),
            ("long head", request("GET", "/b/k", &[("x-filler", &long)]), Some("RequestHeaderSectionTooLarge")),
        ];
        for (story, request, expected) in table {
            let told = check(request, &Place::Endpoint, "s3").err().map(|error| error.code().as_str().to_owned());
            assert_eq!(told.as_deref(), *expected, "{story}");
        }
    }

    #[test]
    fn who_is_named() {
        let presigned = "/b/k?X-Amz-Credential=BK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Security-%54oken=q";
        let table: [(Request<()>, Option<&str>, &[&str]); 4] = [
            (request("GET", "/b/k", &[]), None, &[]),
            (request("GET", "/b/k", &[("authorization", GOOD), ("x-amz-security-token", "h")]), Some("AK"), &["h"]),
            (request("GET", presigned, &[]), Some("BK"), &["q"]),
            (request("GET", presigned, &[("x-amz-security-token", "h")]), Some("BK"), &["h", "q"]),
        ];
        for (request, access_key, tokens) in table {
            let expected = Named {
                access_key: access_key.map(str::to_owned),
                tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            };
            assert_eq!(Named::of(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn kinds_of_bodies() {
        let table = [
            ("PUT", "/b/k", "UNSIGNED-PAYLOAD", BodyKind::Plain),
            ("PUT", "/b/k", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", BodyKind::Chunked(Chunks::Unsigned)),
            ("PUT", "/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", BodyKind::Chunked(Chunks::Signed)),
            ("PUT", "/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", BodyKind::Chunked(Chunks::Signed)),
            ("PUT", "/b", "00", BodyKind::Document),
            ("PUT", "/b/k?tagging", "00", BodyKind::Document),
            ("PUT", "/b/k?%61cl=&x-id=PutObjectAcl", "00", BodyKind::Document),
            ("PUT", "/b/k?partNumber=1&uploadId=tagging", "00", BodyKind::Plain),
            ("POST", "/b?delete", "00", BodyKind::Document),
            ("POST", "/b/k?uploadId=x", "00", BodyKind::Document),
        ];
        for (method, target, hash, expected) in table {
            let request = request(method, target, &[("x-amz-content-sha256", hash)]);
            assert_eq!(body_kind(&request, &Place::Endpoint).unwrap(), expected, "{method} {target} {hash}");
        }
        let chunked = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        for (method, target) in [("POST", "/b?delete"), ("PUT", "/b"), ("PUT", "/b/k?acl"), ("GET", "/b/k")] {
            let refused = body_kind(&request(method, target, &[chunked]), &Place::Endpoint);
            assert_eq!(refused.unwrap_err().code().as_str(), "InvalidArgument", "{method} {target}");
        }
        let bucket = Place::Bucket("b".to_owned());
        for (target, expected) in [("/", BodyKind::Document), ("/?acl", BodyKind::Document), ("/k", BodyKind::Plain)] {
            assert_eq!(body_kind(&request("PUT", target, &[]), &bucket).unwrap(), expected, "{target}");
        }
    }
}
