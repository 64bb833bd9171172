//! UploadPartCopy.

use base::limits::PART_SIZE_MAX;
use s3s::dto::{CopyPartResult, Range, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::Error;
use store::api::{NewPart, ReadRange};

use super::copy_object::{SOURCE_ATTEMPTS, judged_source, source};
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
    let mut from = source(input.copy_source, condition, source_customer)?;
    let open = at.store.upload(&input.bucket, &input.key, upload).await.map_err(answer)?;
    encryption::may_seal(at, &authority, (&input.bucket, &input.key), &open.encryption).await?;
    let new = NewPart { upload, number, customer: customer.as_ref().map(|customer| customer.key.clone()) };
    let mut attempts = SOURCE_ATTEMPTS;
    let (part, source_version) = loop {
        let info = judged_source(at, &authority, &mut from).await?;
        let (source_version, _) = at.told(&info, false).await?;
        let range = wanted(range.clone(), info.size)?;
        attempts -= 1;
        match at.store.copy_part(&from, range, &input.bucket, &input.key, &new).await {
            Err(Error::SourceChanged) if attempts > 0 => {}
            copied => break (copied.map_err(answer)?, source_version),
        }
    };
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

/// What of a source of `size` bytes becomes the part.
fn wanted(range: Option<std::ops::Range<u64>>, size: u64) -> S3Result<ReadRange> {
    match range {
        None if size > PART_SIZE_MAX => Err(too_large()),
        None => Ok(ReadRange::All),
        Some(range) if range.end > size => {
            Err(s3_error!(InvalidArgument, "range specified is not valid for source object of size: {size}"))
        }
        Some(range) if range.end - range.start > PART_SIZE_MAX => Err(too_large()),
        Some(range) => Ok(ReadRange::Bytes(range)),
    }
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
