//! UploadPartCopy.

use base::limits::PART_SIZE_MAX;
use s3s::dto::{CopyPartResult, Range, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{NewPart, ReadRange};

use super::copy_object::{source, source_error};
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Sums};
use crate::{access, encryption};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    encryption::not_chosen(&req.headers)?;
    let customer = encryption::customer(&req.headers)?;
    let source_customer = encryption::source_customer(&req.headers)?;
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    let upload = wire::upload_id(&input.upload_id)?;
    let number = wire::part_number(input.part_number)?;
    let range = input.copy_source_range.as_deref().map(copy_range).transpose()?;
    let condition = wire::read_condition(
        input.copy_source_if_match,
        input.copy_source_if_none_match,
        input.copy_source_if_modified_since,
        input.copy_source_if_unmodified_since,
    );
    let from = source(input.copy_source, condition, source_customer)?;
    let open = at.store.upload(&input.bucket, &input.key, upload).await.map_err(answer)?;
    let info = at.store.head(&from.bucket, &from.key, from.version).await.map_err(source_error)?;
    encryption::may_open(at, &authority, &from.bucket, &info.encryption)?;
    let (source_version, _) = at.told(&info, false).await?;
    let range = match range {
        None if info.size > PART_SIZE_MAX => return Err(too_large()),
        None => ReadRange::All,
        Some(range) if range.end > info.size => {
            return Err(s3_error!(
                InvalidArgument,
                "range specified is not valid for source object of size: {}",
                info.size
            ));
        }
        Some(range) if range.end - range.start > PART_SIZE_MAX => return Err(too_large()),
        Some(range) => ReadRange::Bytes(range),
    };
    let new = NewPart { upload, number, customer: customer.as_ref().map(|customer| customer.key.clone()) };
    let part = at.store.copy_part(&from, range, &input.bucket, &input.key, &new).await.map_err(answer)?;
    let told = encryption::Told::of(&open.encryption, customer.as_ref(), &at.kms());
    let sums = Sums::of(part.checksum.as_ref());
    let result = CopyPartResult {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(wire::etag(part.etag)),
        last_modified: Some(wire::timestamp(part.modified_ms)),
    };
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_version,
        bucket_key_enabled: told.bucket_key,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        ..Default::default()
    }))
}

fn too_large() -> s3s::S3Error {
    s3_error!(InvalidRequest, "a part holds at most {PART_SIZE_MAX} bytes; copy a range")
}

/// `bytes=first-last`; S3 takes no other form here.
fn copy_range(text: &str) -> S3Result<std::ops::Range<u64>> {
    match Range::parse(text) {
        Ok(Range::Int { first, last: Some(last) }) => Ok(first..last.saturating_add(1)),
        _ => Err(s3_error!(InvalidArgument, "the x-amz-copy-source-range value must be of the form bytes=first-last")),
    }
}
