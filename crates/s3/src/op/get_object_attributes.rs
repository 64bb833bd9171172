//! GetObjectAttributes.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes,
    ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::ObjectReader;

use crate::encryption;
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Sums};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    let known = [
        ObjectAttributes::CHECKSUM,
        ObjectAttributes::ETAG,
        ObjectAttributes::OBJECT_PARTS,
        ObjectAttributes::OBJECT_SIZE,
        ObjectAttributes::STORAGE_CLASS,
    ];
    // One header with a list, or several headers.
    let lists: Vec<&str> = input.object_attributes.iter().map(|list| list.as_str()).collect();
    let asked: Vec<&str> = lists.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    if asked.iter().any(|name| !known.contains(name)) {
        return Err(s3_error!(InvalidArgument, "Invalid attribute name specified."));
    }
    let wants = |name: &str| asked.contains(&name);
    let customer = encryption::customer(&req.headers)?;
    let key = customer.as_ref().map(|customer| &*customer.key);
    let object = at.store.open_object(&input.bucket, &input.key, version, key).await.map_err(answer)?;
    let object_parts = match object.info.parts_count {
        Some(_) if wants(ObjectAttributes::OBJECT_PARTS) => {
            Some(parts(&object, input.max_parts, input.part_number_marker).await?)
        }
        _ => None,
    };
    let info = object.info;
    let (version_id, _) = at.told(&info, false).await?;
    let sums = Sums::of(info.checksum.as_ref());
    let checksum = Checksum {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
    };
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: (wants(ObjectAttributes::CHECKSUM) && info.checksum.is_some()).then_some(checksum),
        e_tag: wants(ObjectAttributes::ETAG).then(|| wire::etag(info.etag)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
        object_parts,
        object_size: wants(ObjectAttributes::OBJECT_SIZE).then(|| wire::signed(info.size)),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from(wire::storage_class(&info.meta.headers))),
        version_id,
        ..Default::default()
    }))
}

async fn parts(object: &ObjectReader, max: Option<i32>, marker: Option<i32>) -> S3Result<GetObjectAttributesParts> {
    let limit = wire::page_limit(max)?;
    let after = marker.unwrap_or(0);
    let all = object.parts();
    let mut listed = Vec::new();
    let mut rest = all.iter().filter(|(number, ..)| i32::from(*number) > after);
    for (number, _, size) in rest.by_ref().take(limit) {
        let sum = object.part_info(*number).await.map_err(answer)?.and_then(|part| part.checksum);
        let sums = Sums::of(sum.as_ref());
        listed.push(ObjectPart {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            part_number: Some(i32::from(*number)),
            size: Some(wire::signed(*size)),
        });
    }
    let truncated = rest.next().is_some();
    // Without checksums S3 tells only how many parts there are.
    let told = listed.iter().any(|part| {
        part.checksum_crc32.is_some()
            || part.checksum_crc32c.is_some()
            || part.checksum_crc64nvme.is_some()
            || part.checksum_sha1.is_some()
            || part.checksum_sha256.is_some()
    });
    let total = i32::try_from(all.len()).ok();
    if !told {
        return Ok(GetObjectAttributesParts { total_parts_count: total, ..Default::default() });
    }
    Ok(GetObjectAttributesParts {
        is_truncated: Some(truncated),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: listed.last().and_then(|part| part.part_number),
        part_number_marker: Some(after),
        parts: Some(listed),
        total_parts_count: total,
    })
}
