//! ListObjectVersions.

use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{ListRequest, VersionInfo, VersionMarker};

use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Naming};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let naming = Naming::of(input.encoding_type.as_ref())?;
    let limit = wire::page_limit(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
    let version = wire::version_id(input.version_id_marker.as_deref().filter(|marker| !marker.is_empty()))?;
    if version.is_some() && key_marker.is_none() {
        return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
    }
    let marker = key_marker.clone().map(|key| VersionMarker { key, version });
    let request = ListRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: None,
        limit,
    };
    let owner = at.store.bucket(&input.bucket).await.map_err(answer)?.owner;
    let page = at.store.list_versions(&input.bucket, &request, marker.as_ref()).await.map_err(answer)?;
    let (markers, versions): (Vec<_>, Vec<_>) = page.versions.into_iter().partition(|version| version.marker);
    let output = ListObjectVersionsOutput {
        common_prefixes: Some(naming.prefixes(page.common_prefixes)),
        delete_markers: Some(markers.into_iter().map(|entry| marker_entry(entry, naming, &owner)).collect()),
        delimiter: delimiter.map(|delimiter| naming.write(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(naming.write(key_marker.unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        name: Some(input.bucket),
        next_key_marker: page.next.as_ref().map(|next| naming.write(next.key.clone())),
        next_version_id_marker: page.next.and_then(|next| next.version).map(|version| version.to_string()),
        prefix: Some(naming.write(request.prefix)),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions.into_iter().map(|entry| version_entry(entry, naming, &owner)).collect()),
    };
    Ok(S3Response::new(output))
}

fn version_entry(entry: VersionInfo, naming: Naming, owner: &str) -> ObjectVersion {
    let VersionInfo { info, latest, .. } = entry;
    ObjectVersion {
        checksum_algorithm: info.checksum.as_ref().map(|sum| vec![sum.algorithm.clone().into()]),
        checksum_type: info.checksum.as_ref().map(|sum| wire::checksum_type(sum.kind)),
        e_tag: Some(wire::etag(info.etag)),
        is_latest: Some(latest),
        key: Some(naming.write(info.key)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
        owner: Some(wire::owner(owner)),
        restore_status: None,
        size: Some(wire::signed(info.size)),
        storage_class: Some(ObjectVersionStorageClass::from(wire::storage_class(&info.meta.headers))),
        version_id: Some(info.version.to_string()),
    }
}

fn marker_entry(entry: VersionInfo, naming: Naming, owner: &str) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(entry.latest),
        key: Some(naming.write(entry.info.key)),
        last_modified: Some(wire::timestamp(entry.info.modified_ms)),
        owner: Some(wire::owner(owner)),
        version_id: Some(entry.info.version.to_string()),
    }
}
