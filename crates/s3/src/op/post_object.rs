//! POST Object: an upload by an HTML form. The framework would hold its file in memory, so that
//! this one is answered without it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use multer::{Field, Multipart};
use s3s::dto::PostResponse;
use s3s::xml::{Serialize, Serializer};
use s3s::{Body, S3Error, S3Result, StdError, s3_error};
use store::Cause;
use store::api::{
    BodyError, BodyFacts, BodySource, CompletePart, Expected, NewObject, NewPart, ObjectInfo, Principal, Right,
    WriteCondition,
};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::access::{self, Authority, Peer};
use crate::acl::{self, Of};
use crate::body::BodyFault;
use crate::degraded::{self, DEGRADED};
use crate::encryption::{self, Asked};
use crate::endpoint;
use crate::error::{answer, custom, not_implemented};
use crate::form::{Fields, Policy, Signed};
use crate::guard::{self, Named};
use crate::host::Place;
use crate::limits::{BODY_TIMEOUT, FORM_FIELDS_MAX, TURN_TIMEOUT};
use crate::notes::Watched;
use crate::service::Service;
use crate::{tags, unsupported, wire};

/// Tags of a new object.
const TAGGING: &str = "x-amz-tagging";
/// When the form was signed.
const DATE: &str = "x-amz-date";
/// A file is read in pieces of this many bytes: one that fits is an object, of a longer one they
/// become the parts. The least that a part may have.
const PIECE: usize = base::limits::PART_SIZE_MIN as usize;

/// Answers one form. `busy` bounds how many files are taken at once.
///
/// # Errors
/// The answer to give.
pub(crate) async fn run(
    at: &Service,
    place: &Place,
    head: &Parts,
    body: Watched,
    busy: &Semaphore,
) -> S3Result<Response<Body>> {
    let path = head.uri.path().trim_matches('/');
    let bucket = match place {
        Place::Bucket(bucket) if path.is_empty() => bucket,
        Place::Bucket(_) => "",
        Place::Endpoint | Place::Website(_) => path,
    };
    if bucket.is_empty() || bucket.contains('/') {
        return Err(s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource."));
    }
    let boundary = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = boundary.and_then(|value| multer::parse_boundary(value).ok()).ok_or_else(malformed)?;
    let left = Arc::new(AtomicU64::new(FORM_FIELDS_MAX));
    let mut form = Multipart::new(bytes_of(body, left.clone()), boundary);
    let read = tokio::time::timeout(BODY_TIMEOUT, read_fields(&mut form)).await;
    let (mut fields, file) = read.map_err(|_| crate::error::refusal(&BodyFault::Timeout))??;
    fields.name_file(file.file_name().unwrap_or_default())?;
    let key = fields.get("key").filter(|key| !key.is_empty()).ok_or_else(no_key)?;
    let now = OffsetDateTime::now_utc();
    let headers = headers_of(&fields)?;
    guard::check_values(&headers, &Uri::default())?;
    let (principal, length) = authorise(at, &fields, bucket, now).await?;
    let at = &at.acting(principal.as_ref(), &head.extensions, Cause::Form);
    let authority = authority(at, principal, head, &headers, fields.get(DATE));
    access::expected_owner(&head.headers, at.store.account())?;
    access::expected_owner(&headers, at.store.account())?;
    authority.check("s3:PutObject", Some(Right::Write), bucket, Some((key, None))).await?;
    access::extra(&authority, &headers, bucket, (key, None)).await?;
    unsupported::check_headers(&headers)?;
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-")) {
        return Err(not_implemented("a checksum of a form's file"));
    }
    let asked = encryption::asked(at, &authority, (bucket, key), &headers).await?;
    let meta = wire::object_meta(&headers, Some(fields.metadata().into_iter().collect()))?;
    let permit = tokio::time::timeout(TURN_TIMEOUT, busy.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return Err(s3_error!(SlowDown, "Please reduce your request rate.")) };
    left.store(u64::MAX, Ordering::Relaxed);
    let owner = authority.principal.as_ref().map_or("anonymous", |principal| principal.name()).to_owned();
    let max = base::limits::PART_SIZE_MAX.min(*length.end());
    let acl = acl::of_new(&at.store, bucket, &headers, Of::Object).await?;
    let new = NewObject { meta, encrypt: asked.encrypt.clone(), acl };
    let target = Target { at, bucket, key, owner, min: *length.start(), max };
    let info = target.store(new, &asked, file).await?;
    let is_deferred = info.scan.is_some();
    let mut response = told(at, bucket, key, &fields, &asked, info, head).await?;
    if is_deferred {
        response.headers_mut().insert(DEGRADED, degraded::unscanned());
    }
    Ok(response)
}

/// The headers that a PutObject of the same would have; its tags among them.
fn headers_of(fields: &Fields) -> S3Result<HeaderMap> {
    if let Some(name) = fields.foreign() {
        return Err(not_implemented(format_args!("the form's field {name}")));
    }
    let mut headers = fields.headers()?;
    if let Some(document) = fields.get("tagging") {
        let tags = tags::of_document(document)?;
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&tags).finish();
        let value = HeaderValue::try_from(text).map_err(|_| s3_error!(InvalidTag, "the tags cannot be kept"))?;
        if headers.insert(TAGGING, value).is_some() {
            return Err(s3_error!(InvalidArgument, "a form has either the field tagging or {TAGGING}"));
        }
    }
    Ok(headers)
}

/// What conditions ask of a PutObject's headers, they ask of the form's fields. The request's own
/// headers are nobody's word, but for those that nothing verifies in any request.
fn authority(
    at: &Service,
    principal: Option<Principal>,
    head: &Parts,
    headers: &HeaderMap,
    date: Option<&str>,
) -> Authority {
    let mut asked = headers.clone();
    for name in [header::USER_AGENT, header::REFERER] {
        if let Some(value) = head.headers.get(&name) {
            asked.insert(name, value.clone());
        }
    }
    if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
        asked.insert(DATE, date);
    }
    let peer = head.extensions.get::<Peer>().copied();
    let signed_in = principal.is_some().then_some("POST");
    Authority::new(&at.store, principal, signed_in, &Uri::from_static("/"), &asked, peer)
}

/// The form's body, within what may be held of it before the file, and never more than a frame
/// ahead: the parser takes all that it is given at once.
fn bytes_of(body: Watched, left: Arc<AtomicU64>) -> impl Stream<Item = Result<Bytes, StdError>> + Send + 'static {
    let mut data = body.into_data_stream();
    let mut gave = false;
    futures::stream::poll_fn(move |cx| {
        if std::mem::take(&mut gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = data.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            gave = true;
            let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left > 0).then(|| left.saturating_sub(chunk.len() as u64))
            });
            if spent.is_err() {
                return Poll::Ready(Some(Err(StdError::from(TooMuch))));
            }
        }
        polled
    })
}

/// What comes before the file has more bytes than a form may have.
#[derive(Debug, thiserror::Error)]
#[error("the fields before the file are too large")]
struct TooMuch;

/// All fields up to the file, and the file. What comes after it is not looked at.
async fn read_fields(form: &mut Multipart<'static>) -> S3Result<(Fields, Field<'static>)> {
    let mut fields = Fields::default();
    while let Some(mut field) = form.next_field().await.map_err(fault)? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        if name == "file" {
            return Ok((fields, field));
        }
        let mut value = BytesMut::new();
        while let Some(chunk) = field.chunk().await.map_err(fault)? {
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value.into()).map_err(|_| malformed())?;
        if fields.0.insert(name, value).is_some() {
            return Err(s3_error!(InvalidArgument, "a form has each of its fields once"));
        }
    }
    Err(s3_error!(InvalidArgument, "POST requires exactly one file upload per request."))
}

fn malformed() -> S3Error {
    s3_error!(MalformedPOSTRequest, "The body of your POST request is not well-formed multipart/form-data.")
}

fn no_key() -> S3Error {
    s3_error!(
        InvalidArgument,
        "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields."
    )
}

/// What is wrong with a form's bytes.
fn fault(error: multer::Error) -> S3Error {
    match error {
        multer::Error::StreamReadFailed(cause) if cause.is::<TooMuch>() => {
            custom("MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")
        }
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<BodyFault>() {
            Ok(fault) => crate::error::refusal(&fault),
            Err(_) => crate::error::refusal(&BodyFault::Lost),
        },
        _ => malformed(),
    }
}

/// Who asks, and how many bytes the policy lets the file have.
async fn authorise(
    at: &Service,
    fields: &Fields,
    bucket: &str,
    now: OffsetDateTime,
) -> S3Result<(Option<Principal>, RangeInclusive<u64>)> {
    let Some(signed) = Signed::of(fields, now)? else { return Ok((None, 0..=u64::MAX)) };
    let named = Named {
        access_key: Some(signed.access_key.to_owned()),
        tokens: fields.get("x-amz-security-token").map(str::to_owned).into_iter().collect(),
    };
    let (secret, principal) = match endpoint::temporary(&at.store, named).await? {
        Some(temporary) => (at.store.temporary_secret(signed.access_key).map_err(answer)?, temporary.principal),
        None => {
            let found = at.store.authenticate(signed.access_key).await.map_err(answer)?;
            found.ok_or_else(|| s3_error!(InvalidAccessKeyId, "the access key does not exist"))?
        }
    };
    if !signed.is_signed_with(&secret) {
        return Err(s3_error!(SignatureDoesNotMatch, "the signature of the form's policy is not the one expected"));
    }
    let length = Policy::of(&signed)?.judge(fields, bucket, now)?;
    Ok((Some(principal), length))
}

/// Where the file goes.
struct Target<'a> {
    at: &'a Service,
    bucket: &'a str,
    key: &'a str,
    owner: String,
    min: u64,
    max: u64,
}

impl Target<'_> {
    /// Stores the file: as one body when it is short, as parts when it is not.
    async fn store(&self, new: NewObject, asked: &Asked, mut file: Field<'static>) -> S3Result<ObjectInfo> {
        let mut rest = BytesMut::new();
        let first = self.piece(&mut file, &mut rest, 0).await?;
        if rest.is_empty() {
            self.enough(first.len() as u64)?;
            let mut body = Piece(Some(first));
            let (size, condition) = (body.size(), WriteCondition::default());
            let put = self.at.store.put(self.bucket, self.key, new, size, &condition, &mut body).await;
            return put.map_err(answer);
        }
        let store = &self.at.store;
        let upload = store.create_upload(self.bucket, self.key, new, None, &self.owner).await.map_err(answer)?.upload;
        let stored = self.parts(upload, asked, first, rest, file).await;
        if stored.is_err()
            && let Err(error) = store.abort_upload(self.bucket, self.key, upload).await
        {
            tracing::warn!(%error, "the upload of a form that failed is left for the lifecycle rules");
        }
        stored
    }

    async fn parts(
        &self,
        upload: base::UploadId,
        asked: &Asked,
        mut piece: Bytes,
        mut rest: BytesMut,
        mut file: Field<'static>,
    ) -> S3Result<ObjectInfo> {
        let store = &self.at.store;
        let mut parts: Vec<CompletePart> = Vec::new();
        let mut total = 0;
        while !piece.is_empty() {
            total += piece.len() as u64;
            let number = u16::try_from(parts.len() + 1).map_err(|_| too_large())?;
            let customer = asked.customer.as_ref().map(|customer| customer.key.clone());
            let new = NewPart { upload, number, customer };
            let mut body = Piece(Some(piece));
            let part = store.put_part(self.bucket, self.key, &new, body.size(), &mut body).await.map_err(answer)?;
            parts.push(CompletePart { number, etag: part.etag, checksum: None });
            piece = self.piece(&mut file, &mut rest, total).await?;
        }
        self.enough(total)?;
        let condition = WriteCondition::default();
        let done = store.complete_upload(self.bucket, self.key, upload, &parts, &Expected::default(), &condition).await;
        done.map_err(answer)
    }

    /// The next piece; `rest` is what arrived beyond it.
    async fn piece(&self, file: &mut Field<'static>, rest: &mut BytesMut, before: u64) -> S3Result<Bytes> {
        let mut piece = std::mem::take(rest);
        while piece.len() <= PIECE {
            let Some(chunk) = file.chunk().await.map_err(fault)? else { return Ok(piece.freeze()) };
            piece.extend_from_slice(&chunk);
            if before + piece.len() as u64 > self.max {
                return Err(too_large());
            }
        }
        *rest = piece.split_off(PIECE);
        Ok(piece.freeze())
    }

    fn enough(&self, size: u64) -> S3Result<()> {
        if size >= self.min {
            return Ok(());
        }
        Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"))
    }
}

fn too_large() -> S3Error {
    s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
}

/// Bytes at hand as a request body.
struct Piece(Option<Bytes>);

impl Piece {
    fn size(&self) -> u64 {
        self.0.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }
}

#[async_trait]
impl BodySource for Piece {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(self.0.take().filter(|bytes| !bytes.is_empty()))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(BodyFacts::default())
    }
}

/// The answer: a redirection, a document, or nothing, as the form asks.
async fn told(
    at: &Service,
    bucket: &str,
    key: &str,
    fields: &Fields,
    asked: &Asked,
    info: ObjectInfo,
    head: &Parts,
) -> S3Result<Response<Body>> {
    let etag = format!("\"{}\"", info.etag);
    let location = wire::location(&head.extensions, &head.headers, bucket, key);
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    let redirect =
        redirect.and_then(|to| url::Url::parse(to).ok()).filter(|to| matches!(to.scheme(), "http" | "https"));
    let mut response = Response::new(Body::empty());
    let (status, place) = match (redirect, fields.get("success_action_status")) {
        (Some(mut to), _) => {
            to.query_pairs_mut().append_pair("bucket", bucket).append_pair("key", key).append_pair("etag", &etag);
            (StatusCode::SEE_OTHER, to.to_string())
        }
        (None, Some("200")) => (StatusCode::OK, location),
        (None, Some("201")) => {
            *response.body_mut() = Body::from(document(&location, bucket, key, &etag)?);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            (StatusCode::CREATED, location)
        }
        (None, _) => (StatusCode::NO_CONTENT, location),
    };
    *response.status_mut() = status;
    let told = encryption::Told::of(&info.encryption, asked.customer.as_ref(), &at.kms());
    let (version, expiration) = at.told(&info, true).await?;
    let headers = [
        (header::LOCATION, Some(place)),
        (header::ETAG, Some(etag)),
        (HeaderName::from_static("x-amz-version-id"), version),
        (HeaderName::from_static("x-amz-expiration"), expiration),
    ];
    let headers = headers.into_iter().chain(told.headers());
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn document(location: &str, bucket: &str, key: &str, etag: &str) -> S3Result<Vec<u8>> {
    let mut document = Vec::new();
    let response = PostResponse { location, bucket, key, etag };
    response.serialize(&mut Serializer::new(&mut document)).map_err(|_| s3_error!(InternalError))?;
    Ok(document)
}
