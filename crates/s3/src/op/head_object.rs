//! HeadObject.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::Verdict;

use super::get_object::View;
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, ObjectHeaders, Sums};
use crate::{access, encryption, lock};

pub(crate) async fn run(at: &Service, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    wire::may_override(&req)?;
    let mut overrides = overrides(&req.input)?;
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
    match condition.judge(&object.info.etag, object.info.modified_ms) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Err(wire::not_modified(&object.info)),
        Verdict::Failed => return Err(s3_error!(PreconditionFailed)),
    }
    let range = input.range.filter(|_| wire::range_holds(&req.headers, &object.info));
    let view = View::of(&object, range, input.part_number, input.checksum_mode.as_ref()).await?;
    let info = object.info.clone();
    // A version that is named may be an older one.
    let (version_id, expiration) = at.told(&info, !named).await?;
    let asked = (input.key.as_str(), input.version_id.as_deref());
    let (tag_count, lock) = access::shown(&authority, &input.bucket, asked, &info.meta).await?;
    // The framework's model of the operation does not have it yet.
    if let Some(count) = tag_count {
        overrides.insert("x-amz-tagging-count", HeaderValue::from(count));
    }
    overrides.extend(wire::scan_told(info.scan.as_ref()));
    let locked = lock::Told::of(lock);
    let headers = ObjectHeaders::of(info.meta);
    let told = encryption::Told::of(&info.encryption, customer.as_ref(), &at.kms());
    let sums = Sums::of(view.checksum.as_ref());
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
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
        version_id,
        storage_class: headers.storage_class,
        website_redirect_location: headers.website_redirect,
        ..Default::default()
    };
    let mut own = headers.own;
    own.extend(overrides);
    Ok(S3Response::with_headers(output, own))
}

/// `response-*` parameters; for GetObject the framework does this.
fn overrides(input: &HeadObjectInput) -> S3Result<HeaderMap> {
    let expires = input.response_expires.as_ref().and_then(wire::http_date);
    let asked: [(HeaderName, Option<&str>); 6] = [
        (header::CACHE_CONTROL, input.response_cache_control.as_deref()),
        (header::CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
        (header::CONTENT_ENCODING, input.response_content_encoding.as_deref()),
        (header::CONTENT_LANGUAGE, input.response_content_language.as_deref()),
        (header::CONTENT_TYPE, input.response_content_type.as_deref()),
        (header::EXPIRES, expires.as_deref()),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in asked {
        if let Some(value) = value {
            let value = HeaderValue::try_from(value);
            headers.insert(name, value.map_err(|_| s3_error!(InvalidArgument, "a response header is not text"))?);
        }
    }
    Ok(headers)
}
