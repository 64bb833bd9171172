//! Request bodies of PutObject and UploadPart: counted, hashed, and checked at the end.

use async_trait::async_trait;
use base::limits::PART_SIZE_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::stream::ByteStream;
use s3s::{S3Result, StdError, TrailingHeaders, s3_error};
use store::api::{BodyError, BodyFacts, BodySource, Checksum, ChecksumKind};

use crate::checksum::{self, Algorithm, Hasher};
use crate::limits::{BODY_TIMEOUT, DOCUMENT_TIMEOUT};

/// What is wrong with a body. `error::refusal` says what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the body has {received} bytes; {declared} were declared")]
    Length { declared: u64, received: u64 },
    #[error("nothing of the body arrived for {} s", BODY_TIMEOUT.as_secs())]
    Timeout,
    #[error("the document did not arrive within {} s", DOCUMENT_TIMEOUT.as_secs())]
    Slow,
    #[error("the connection was lost inside the body")]
    Lost,
    #[error("the body does not have the Content-MD5 that was given")]
    Md5,
    #[error("the body does not have the {0} checksum that was given")]
    Checksum(&'static str),
    #[error("the trailer {0} was announced and did not arrive")]
    NoTrailer(&'static str),
    #[error("the body does not have the x-amz-content-sha256 that was given")]
    Sha256,
    #[error("a chunk of the body does not have the signature that was given")]
    Signature,
    #[error("the aws-chunked body is malformed, or has a chunk that is too large")]
    Chunks,
}

impl BodyFault {
    /// Reads the framework's body errors. Their types are private to it, so this goes by their
    /// text; the tests of flipped bytes and chunks pin it.
    pub(crate) fn of_stream(error: &StdError) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        let text = error.to_string();
        let table = [
            ("Sha256Mismatch", Self::Sha256),
            ("SignatureMismatch", Self::Signature),
            ("aws-chunked", Self::Chunks),
            ("FormatError", Self::Chunks),
            ("TooLarge", Self::Chunks),
            ("TooMany", Self::Chunks),
        ];
        let known = table.into_iter().find(|(mark, _)| text.contains(mark));
        known.map_or(Self::Lost, |(_, fault)| fault)
    }
}

impl From<BodyFault> for BodyError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Length { .. } | BodyFault::Timeout | BodyFault::Slow | BodyFault::Lost => {
                Self::Incomplete(Box::new(fault))
            }
            _ => Self::Refused(Box::new(fault)),
        }
    }
}

/// Where the expected checksum comes from.
enum Expected {
    /// A header.
    Given(String),
    /// A trailer, after the body.
    Trailer,
    /// Nowhere: the store wants the checksum for itself.
    Nothing,
}

/// A request body with everything that must hold of it.
pub(crate) struct Upload {
    stream: StreamingBlob,
    /// Decoded bytes that the client declared.
    pub size: u64,
    received: u64,
    md5: Option<(Md5, [u8; 16])>,
    checksum: Option<(Hasher, Expected)>,
    trailers: Option<TrailingHeaders>,
}

impl Upload {
    /// Reads from the headers what is promised of the body. `wanted` is computed when the client
    /// promises no checksum.
    ///
    /// # Errors
    /// `MissingContentLength`, `EntityTooLarge`, `InvalidDigest`, `InvalidRequest`.
    pub(crate) fn new(
        headers: &HeaderMap,
        stream: Option<StreamingBlob>,
        trailers: Option<TrailingHeaders>,
        wanted: Option<Algorithm>,
    ) -> S3Result<Self> {
        let stream = stream.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let size = declared_size(headers, &stream)?;
        let md5 = content_md5(headers)?.map(|expected| (Md5::new(), expected));
        let checksum = match promised(headers)? {
            Some((algorithm, expected)) => Some((Hasher::new(algorithm), expected)),
            None => wanted.map(|algorithm| (Hasher::new(algorithm), Expected::Nothing)),
        };
        Ok(Self { stream, size, received: 0, md5, checksum, trailers })
    }

    /// The algorithm of the checksum that will be stored.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(hasher, _)| hasher.algorithm)
    }

    fn verify(&mut self) -> Result<BodyFacts, BodyFault> {
        if self.received != self.size {
            return Err(BodyFault::Length { declared: self.size, received: self.received });
        }
        let mut facts = BodyFacts::default();
        if let Some((md5, expected)) = self.md5.take() {
            let found: [u8; 16] = md5.finalize().into();
            if found != expected {
                return Err(BodyFault::Md5);
            }
            facts.md5_hex = Some(hex::encode(found));
        }
        if let Some((hasher, expected)) = self.checksum.take() {
            let algorithm = hasher.algorithm;
            let value = hasher.finish_base64();
            let expected = match expected {
                Expected::Given(given) => Some(given),
                Expected::Trailer => Some(self.trailer(algorithm)?),
                Expected::Nothing => None,
            };
            if expected.is_some_and(|expected| expected != value) {
                return Err(BodyFault::Checksum(algorithm.name()));
            }
            let algorithm = algorithm.name().to_owned();
            facts.checksum = Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value });
        }
        Ok(facts)
    }

    fn trailer(&self, algorithm: Algorithm) -> Result<String, BodyFault> {
        let name = algorithm.header();
        let value = self.trailers.as_ref().and_then(|trailers| {
            trailers.read(|map| map.get(name).and_then(|value| value.to_str().ok().map(str::to_owned)))
        });
        value.flatten().ok_or(BodyFault::NoTrailer(name))
    }
}

#[async_trait]
impl BodySource for Upload {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = match self.stream.next().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyFault::of_stream(&error).into()),
            Some(Ok(chunk)) => chunk,
        };
        self.received += chunk.len() as u64;
        if self.received > self.size {
            return Err(BodyFault::Length { declared: self.size, received: self.received }.into());
        }
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(&chunk);
        }
        if let Some((hasher, _)) = &mut self.checksum {
            hasher.update(&chunk);
        }
        Ok(Some(chunk))
    }

    fn finish(&mut self) -> Result<BodyFacts, BodyError> {
        Ok(self.verify()?)
    }
}

/// Decoded bytes of the body: of an `aws-chunked` one its own header, else `Content-Length`. A
/// request with neither that is not chunked has no body (RFC 9112 section 6.3).
fn declared_size(headers: &HeaderMap, stream: &StreamingBlob) -> S3Result<u64> {
    let value = headers.get("x-amz-decoded-content-length").or_else(|| headers.get(http::header::CONTENT_LENGTH));
    let Some(value) = value else {
        if stream.remaining_length().exact() == Some(0) {
            return Ok(0);
        }
        return Err(s3_error!(MissingContentLength, "a Content-Length is needed"));
    };
    let size = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match size {
        None => Err(s3_error!(InvalidArgument, "the declared length of the body is not a number")),
        Some(size) if size > PART_SIZE_MAX => {
            Err(s3_error!(EntityTooLarge, "one upload holds at most {PART_SIZE_MAX} bytes; use a multipart upload"))
        }
        Some(size) => Ok(size),
    }
}

/// The digest of `Content-MD5` (RFC 1864).
pub(crate) fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let digest = STANDARD.decode(value.as_bytes()).ok().and_then(|raw| raw.try_into().ok());
    digest.map(Some).ok_or_else(|| s3_error!(InvalidDigest, "the Content-MD5 is not the base64 of 16 bytes"))
}

/// The one checksum that the client promises, in a header or a trailer.
fn promised(headers: &HeaderMap) -> S3Result<Option<(Algorithm, Expected)>> {
    let given = given_checksum(headers)?;
    let trailer = match headers.get("x-amz-trailer") {
        None => None,
        Some(name) => {
            let algorithm = name.to_str().ok().and_then(|name| Algorithm::by_header(name.trim()));
            let refusal = || s3_error!(InvalidRequest, "the trailer announced in x-amz-trailer is not a checksum");
            Some(algorithm.ok_or_else(refusal)?)
        }
    };
    let promised = match (given, trailer) {
        (Some(_), Some(_)) => {
            return Err(s3_error!(InvalidRequest, "expecting a single x-amz-checksum- header or trailer"));
        }
        (Some((algorithm, value)), None) => Some((algorithm, Expected::Given(value))),
        (None, Some(algorithm)) => Some((algorithm, Expected::Trailer)),
        (None, None) => None,
    };
    check_announced(headers, promised.as_ref().map(|(algorithm, _)| *algorithm))?;
    Ok(promised)
}

/// The one checksum in the request's headers.
pub(crate) fn given_checksum(headers: &HeaderMap) -> S3Result<Option<(Algorithm, String)>> {
    let mut all = checksum::given(headers);
    let first = all.next();
    if all.next().is_some() {
        return Err(s3_error!(InvalidRequest, "expecting a single x-amz-checksum- header"));
    }
    let Some((algorithm, value)) = first else { return Ok(None) };
    match value.to_str().ok().filter(|text| algorithm.is_value(text)) {
        Some(text) => Ok(Some((algorithm, text.to_owned()))),
        None => Err(s3_error!(InvalidRequest, "value for {} header is invalid", algorithm.header())),
    }
}

/// `x-amz-sdk-checksum-algorithm` promises a checksum of that algorithm.
fn check_announced(headers: &HeaderMap, promised: Option<Algorithm>) -> S3Result<()> {
    let Some(name) = headers.get("x-amz-sdk-checksum-algorithm") else { return Ok(()) };
    let announced = name.to_str().ok().and_then(Algorithm::by_name);
    let Some(announced) = announced else {
        return Err(s3_error!(InvalidRequest, "checksum algorithm provided is unsupported"));
    };
    if promised != Some(announced) {
        return Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found"
        ));
    }
    Ok(())
}
