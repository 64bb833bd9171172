//! ListObjects, version 1, and what it shares with version 2.

use s3s::dto::{ChecksumAlgorithm, ListObjectsInput, ListObjectsOutput, Object, ObjectStorageClass, Owner};
use s3s::{S3Request, S3Response, S3Result};
use store::api::{ListRequest, ObjectInfo};

use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Naming};

pub(crate) async fn run(at: &Service, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = req.input;
    let naming = Naming::of(input.encoding_type.as_ref())?;
    let limit = wire::page_limit(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let request = ListRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: input.marker.clone().filter(|marker| !marker.is_empty()),
        limit,
    };
    let page = at.store.list(&input.bucket, &request).await.map_err(answer)?;
    let owner = wire::owner(&at.store.bucket(&input.bucket).await.map_err(answer)?.owner);
    let output = ListObjectsOutput {
        is_truncated: Some(page.next.is_some()),
        // S3 names the next marker only when prefixes may hide the last key.
        next_marker: page.next.filter(|_| delimiter.is_some()).map(|next| naming.write(next)),
        contents: Some(page.objects.into_iter().map(|info| entry(info, naming, Some(&owner))).collect()),
        common_prefixes: Some(naming.prefixes(page.common_prefixes)),
        marker: Some(naming.write(input.marker.unwrap_or_default())),
        prefix: Some(naming.write(request.prefix)),
        delimiter: delimiter.map(|delimiter| naming.write(delimiter)),
        max_keys: i32::try_from(limit).ok(),
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}

/// One object of a listing.
pub(crate) fn entry(info: ObjectInfo, naming: Naming, owner: Option<&Owner>) -> Object {
    Object {
        checksum_algorithm: info.checksum.as_ref().map(|sum| vec![ChecksumAlgorithm::from(sum.algorithm.clone())]),
        checksum_type: info.checksum.as_ref().map(|sum| wire::checksum_type(sum.kind)),
        e_tag: Some(wire::etag(info.etag)),
        key: Some(naming.write(info.key)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
        owner: owner.cloned(),
        restore_status: None,
        size: Some(wire::signed(info.size)),
        storage_class: Some(ObjectStorageClass::from(wire::storage_class(&info.meta.headers))),
    }
}
