//! ListParts.

use s3s::dto::{ChecksumAlgorithm, Initiator, ListPartsInput, ListPartsOutput, Part, StorageClass};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::PartInfo;

use crate::error::answer;
use crate::rules;
use crate::service::Service;
use crate::wire::{self, Sums};

pub(crate) async fn run(at: &Service, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let upload = wire::upload_id(&input.upload_id)?;
    let limit = wire::page_limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let negative = |_| s3_error!(InvalidArgument, "a part number marker is 0 or more");
    // Above the last number there is may be asked for, and has nothing after it.
    let after = u16::try_from(marker.min(i32::from(u16::MAX))).map_err(negative)?;
    let page = at.store.parts(&input.bucket, &input.key, upload, after, limit).await.map_err(answer)?;
    let open = page.upload;
    let (abort_date, abort_rule_id) = rules::abort(at, &input.bucket, &open).await?;
    let output = ListPartsOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(input.bucket),
        checksum_algorithm: open.checksum.as_ref().map(|(name, _)| ChecksumAlgorithm::from(name.clone())),
        checksum_type: open.checksum.as_ref().map(|(_, kind)| wire::checksum_type(*kind)),
        initiator: Some(Initiator { display_name: Some(open.owner.clone()), id: Some(open.owner.clone()) }),
        is_truncated: Some(page.next.is_some()),
        key: Some(input.key),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: page.next.map(i32::from),
        owner: Some(wire::owner(&open.owner)),
        part_number_marker: Some(marker),
        parts: Some(page.parts.into_iter().map(part).collect()),
        storage_class: Some(StorageClass::from(wire::storage_class(&open.headers))),
        upload_id: Some(input.upload_id),
        ..Default::default()
    };
    Ok(S3Response::new(output))
}

fn part(part: PartInfo) -> Part {
    let sums = Sums::of(part.checksum.as_ref());
    Part {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(wire::etag(part.etag)),
        last_modified: Some(wire::timestamp(part.modified_ms)),
        part_number: Some(i32::from(part.number)),
        size: Some(wire::signed(part.size)),
    }
}
