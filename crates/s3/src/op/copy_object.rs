//! CopyObject.

use base::limits::PART_SIZE_MAX;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{CopyChanges, CopySource as Source, ReadCondition, WriteCondition};

use crate::error::{answer, not_implemented};
use crate::service::Service;
use crate::wire::{self, Sums};

pub(crate) async fn run(at: &Service, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = req.input;
    let condition = write_condition(&req.headers)?;
    let from = source(
        input.copy_source,
        wire::read_condition(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
    )?;
    let replaces = input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
    let retags = input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
    let same = from.bucket == input.bucket && from.key == input.key && from.version.is_none();
    if !replaces && !retags && same {
        return Err(s3_error!(
            InvalidRequest,
            "this copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes"
        ));
    }
    let info = at.store.head(&from.bucket, &from.key, from.version).await.map_err(source_error)?;
    if info.size > PART_SIZE_MAX {
        return Err(s3_error!(
            InvalidRequest,
            "the copy source is larger than {PART_SIZE_MAX} bytes; copy it by parts"
        ));
    }
    if let Some(asked) = &input.checksum_algorithm
        && info.checksum.as_ref().is_none_or(|known| known.algorithm != asked.as_str())
    {
        return Err(not_implemented("a checksum of another algorithm for a copy"));
    }
    let source_version = at.version_told(&from.bucket, info.version).await?;
    let given = wire::object_meta(&req.headers, input.metadata)?;
    let (lock, tags) = (given.lock, retags.then(|| given.tags.clone()));
    let changes = CopyChanges { meta: replaces.then_some(given), tags, lock };
    let copied = at.store.copy(&from, &input.bucket, &input.key, &changes, &condition).await;
    let info = copied.map_err(answer)?;
    let version_id = at.version_told(&input.bucket, info.version).await?;
    let sums = Sums::of(info.checksum.as_ref());
    let result = CopyObjectResult {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(wire::etag(info.etag)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
    };
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        version_id,
        server_side_encryption: wire::aes256(),
        ..Default::default()
    }))
}

/// The source of a copy, which access control has found readable.
///
/// # Errors
/// `NotImplemented` for access points and outposts, `InvalidArgument` for a wrong version id.
pub(crate) fn source(source: CopySource, condition: ReadCondition) -> S3Result<Source> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            let version = wire::version_id(version_id)?;
            Ok(Source { bucket: bucket.into_string(), key: key.into_string(), version, condition })
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(not_implemented("copying from an access point or outpost"))
        }
    }
}

/// The answer to a source that cannot be read.
pub(crate) fn source_error(error: store::Error) -> s3s::S3Error {
    if matches!(error, store::Error::DeleteMarker { named: true, .. }) {
        return s3_error!(
            InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by version id."
        );
    }
    answer(error)
}

/// Conditions on the target: newer than the framework's model of the operation.
fn write_condition(headers: &http::HeaderMap) -> S3Result<WriteCondition> {
    let read = |name: http::HeaderName| {
        let parse = |value: &http::HeaderValue| {
            let parsed = s3s::dto::ETagCondition::parse_http_header(value.as_bytes());
            parsed.map_err(|_| s3_error!(InvalidArgument, "a condition of the request is not an ETag"))
        };
        headers.get(name).map(parse).transpose()
    };
    wire::write_condition(read(http::header::IF_MATCH)?, read(http::header::IF_NONE_MATCH)?)
}
