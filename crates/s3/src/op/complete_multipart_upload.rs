//! CompleteMultipartUpload.

use s3s::dto::{ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{Checksum, ChecksumKind, CompletePart, Expected};

use crate::checksum::Algorithm;
use crate::encryption;
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Sums};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let mut input = req.input;
    let upload = wire::upload_id(&input.upload_id)?;
    let expected = expected(&input)?;
    let condition = wire::write_condition(input.if_match.take(), input.if_none_match.take())?;
    let listed = input.multipart_upload.and_then(|listed| listed.parts).unwrap_or_default();
    if listed.is_empty() || listed.len() > usize::from(base::limits::PARTS_MAX) {
        return Err(s3_error!(MalformedXML, "a completion names between 1 and {} parts", base::limits::PARTS_MAX));
    }
    let parts = listed.into_iter().map(part).collect::<S3Result<Vec<_>>>()?;
    let done = at.store.complete_upload(&input.bucket, &input.key, upload, &parts, &expected, &condition).await;
    let info = done.map_err(answer)?;
    let told = encryption::Told::of(&info.encryption, None, &at.kms());
    let sums = Sums::of(info.checksum.as_ref());
    let (version_id, expiration) = at.told(&info, true).await?;
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(wire::etag(info.etag)),
        location: Some(wire::location(&req.extensions, &req.headers, &input.bucket, &input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        bucket_key_enabled: told.bucket_key,
        expiration,
        server_side_encryption: told.method,
        ssekms_key_id: told.kms_key,
        version_id,
        ..Default::default()
    }))
}

fn part(part: CompletedPart) -> S3Result<CompletePart> {
    let missing = || s3_error!(MalformedXML, "a part needs a PartNumber and an ETag");
    let given =
        [part.checksum_crc32, part.checksum_crc32c, part.checksum_crc64nvme, part.checksum_sha1, part.checksum_sha256];
    let number = wire::part_number(part.part_number.ok_or_else(missing)?)?;
    let etag = part.e_tag.ok_or_else(missing)?.into_value();
    Ok(CompletePart { number, etag, checksum: given.into_iter().flatten().next() })
}

fn expected(input: &CompleteMultipartUploadInput) -> S3Result<Expected> {
    let kind = match input.checksum_type.as_ref().map(ChecksumType::as_str) {
        None => None,
        Some(ChecksumType::COMPOSITE) => Some(ChecksumKind::Composite),
        Some(ChecksumType::FULL_OBJECT) => Some(ChecksumKind::FullObject),
        Some(_) => return Err(s3_error!(InvalidRequest, "value for x-amz-checksum-type header is invalid")),
    };
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let size = size.map_err(|_| s3_error!(InvalidRequest, "the x-amz-mp-object-size is no size"))?;
    Ok(Expected { checksum: checksum(input)?, kind, size })
}

/// The checksum that the client expects of the whole object: a composite one ends in the number
/// of its parts.
fn checksum(input: &CompleteMultipartUploadInput) -> S3Result<Option<Checksum>> {
    let given = [
        (Algorithm::Crc32, &input.checksum_crc32),
        (Algorithm::Crc32c, &input.checksum_crc32c),
        (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (Algorithm::Sha1, &input.checksum_sha1),
        (Algorithm::Sha256, &input.checksum_sha256),
    ];
    let mut given = given.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value.as_ref()?)));
    let Some((algorithm, value)) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(s3_error!(InvalidRequest, "expecting a single x-amz-checksum- header"));
    }
    let (raw, kind) = match value.rsplit_once('-') {
        Some((raw, _)) => (raw, ChecksumKind::Composite),
        None => (value.as_str(), ChecksumKind::FullObject),
    };
    if !algorithm.is_value(raw) {
        return Err(s3_error!(InvalidRequest, "value for {} header is invalid", algorithm.header()));
    }
    Ok(Some(Checksum { algorithm: algorithm.name().to_owned(), kind, value: value.clone() }))
}
