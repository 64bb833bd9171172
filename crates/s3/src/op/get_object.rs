//! GetObject.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{ChecksumMode, GetObjectInput, GetObjectOutput, PartNumber, Range, StreamingBlob};
use s3s::{Body, S3Request, S3Response, S3Result, StdError, s3_error};
use store::ObjectReader;
use store::api::{Checksum, ReadRange, ReadStream, Verdict};

use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, ObjectHeaders, Sums};
use crate::{access, encryption, lock};

pub(crate) async fn run(at: &Service, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    wire::may_override(&req)?;
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    encryption::not_chosen(&req.headers)?;
    let customer = encryption::customer(&req.headers)?;
    let version = wire::version_id(input.version_id.as_deref())?;
    let named = version.is_some();
    let condition =
        wire::read_condition(input.if_match, input.if_none_match, input.if_modified_since, input.if_unmodified_since);
    let key = customer.as_ref().map(|customer| &*customer.key);
    let object = at.store.open_object(&input.bucket, &input.key, version, key).await.map_err(answer)?;
    // Before the object's own key is opened, which is released, counted and written down.
    encryption::may_open(at, &authority, (&input.bucket, &input.key), &object.info.encryption).await?;
    match condition.judge(&object.info.etag, object.info.modified_ms) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Err(wire::not_modified(&object.info)),
        Verdict::Failed => return Err(s3_error!(PreconditionFailed, "a precondition of the request does not hold")),
    }
    let range = input.range.filter(|_| wire::range_holds(&req.headers, &object.info));
    let view = View::of(&object, range, input.part_number, input.checksum_mode.as_ref()).await?;
    let info = object.info.clone();
    // A version that is named may be an older one.
    let (version_id, expiration) = at.told(&info, !named).await?;
    let asked = (input.key.as_str(), input.version_id.as_deref());
    let (tag_count, lock) = access::shown(&authority, &input.bucket, asked, &info.meta).await?;
    let locked = lock::Told::of(lock);
    let body = body(object.read(view.read_range()).await.map_err(answer)?, view.len()).await?;
    let mut headers = ObjectHeaders::of(info.meta);
    headers.own.extend(wire::scan_told(info.scan.as_ref()));
    let told = encryption::Told::of(&info.encryption, customer.as_ref(), &at.kms());
    let sums = Sums::of(view.checksum.as_ref());
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(body),
        cache_control: headers.cache_control,
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_length: Some(wire::signed(view.len())),
        content_range: view.content_range(),
        content_type: headers.content_type,
        e_tag: Some(wire::etag(info.etag)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
        metadata: headers.metadata,
        parts_count: view.parts_count,
        object_lock_legal_hold_status: locked.hold,
        object_lock_mode: locked.mode,
        object_lock_retain_until_date: locked.until,
        bucket_key_enabled: told.bucket_key,
        expiration,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        tag_count,
        version_id,
        storage_class: headers.storage_class,
        website_redirect_location: headers.website_redirect,
        ..Default::default()
    };
    Ok(S3Response::with_headers(output, headers.own))
}

/// What of an object a request looks at.
pub(crate) struct View {
    size: u64,
    /// `None`: all of it, by a request that asked for no range.
    bytes: Option<std::ops::Range<u64>>,
    /// Told when a part was asked for.
    pub parts_count: Option<i32>,
    /// Of exactly the bytes in view, when asked for and known.
    pub checksum: Option<Checksum>,
}

impl View {
    /// # Errors
    /// `InvalidRange`, `InvalidPartNumber`, `InvalidRequest` for both at once, or the store's.
    pub(crate) async fn of(
        object: &ObjectReader,
        range: Option<Range>,
        part: Option<PartNumber>,
        mode: Option<&ChecksumMode>,
    ) -> S3Result<Self> {
        let wants_sum = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let info = &object.info;
        let mut view = Self { size: info.size, bytes: None, parts_count: None, checksum: None };
        match (range, part) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "cannot specify both Range header and partNumber query parameter"
                ));
            }
            (Some(range), None) => view.bytes = Some(wire::resolve_range(range, info.size)?),
            (None, None) => view.checksum = info.checksum.clone().filter(|_| wants_sum),
            (None, Some(part)) => {
                let number = wire::part_number(part)?;
                let found = object.parts().into_iter().find(|(known, ..)| *known == number);
                let (_, offset, size) = found.ok_or_else(|| no_such_part(info.size))?;
                // An empty part of an object that is not empty is a view of nothing.
                view.bytes = (size > 0 || info.size > 0).then_some(offset..offset + size);
                view.parts_count = info.parts_count.map(i32::from);
                if wants_sum {
                    view.checksum = match info.parts_count {
                        Some(_) => object.part_info(number).await.map_err(answer)?.and_then(|part| part.checksum),
                        None => info.checksum.clone(),
                    };
                }
            }
        }
        Ok(view)
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.as_ref().map_or(self.size, |bytes| bytes.end - bytes.start)
    }

    pub(crate) fn content_range(&self) -> Option<String> {
        self.bytes.as_ref().filter(|bytes| !bytes.is_empty()).map(|bytes| wire::content_range(bytes, self.size))
    }

    fn read_range(&self) -> ReadRange {
        self.bytes.clone().map_or(ReadRange::All, ReadRange::Bytes)
    }
}

fn no_such_part(size: u64) -> s3s::S3Error {
    let mut error = wire::not_satisfiable(size);
    error.set_code(s3s::S3ErrorCode::Custom("InvalidPartNumber".into()));
    error.set_message("the requested partnumber is not satisfiable");
    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
    error
}

/// A short body goes out as one piece with the head; a longer one streams. The store has read the
/// first bytes already, so waiting for them costs nothing.
async fn body(mut stream: ReadStream, len: u64) -> S3Result<StreamingBlob> {
    let first = match stream.next().await {
        None => Bytes::new(),
        Some(first) => first.map_err(answer)?,
    };
    if first.len() as u64 == len {
        return Ok(StreamingBlob::from(Body::from(first)));
    }
    let head = futures::stream::once(async move { Ok(first) });
    let frames = head.chain(stream).map_ok(Frame::data).map_err(|error| -> StdError {
        // The head is out: all that is left is to cut the connection, and to say why here.
        tracing::warn!(%error, "a download was cut");
        Box::new(error)
    });
    Ok(StreamingBlob::from(Body::http_body_unsync(StreamBody::new(frames))))
}
