//! ListMultipartUploads.

use s3s::dto::{
    ChecksumAlgorithm, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{ListRequest, UploadInfo};

use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Naming};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let naming = Naming::of(input.encoding_type.as_ref())?;
    let limit = wire::page_limit(input.max_uploads)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
    // Without a key marker, S3 pays no heed to the upload's.
    let id_marker = input.upload_id_marker.filter(|marker| key_marker.is_some() && !marker.is_empty());
    let after_upload = id_marker.as_deref().map(str::parse).transpose();
    let after_upload = after_upload.map_err(|_| s3_error!(InvalidArgument, "Invalid uploadId marker"))?;
    let request = ListRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: key_marker.clone(),
        limit,
    };
    let page = at.store.uploads(&input.bucket, &request, after_upload).await.map_err(answer)?;
    let (next_key, next_upload) = page.next.unzip();
    let output = ListMultipartUploadsOutput {
        is_truncated: Some(next_key.is_some()),
        next_key_marker: next_key.map(|key| naming.write(key)),
        next_upload_id_marker: next_upload.flatten().map(|upload| upload.to_string()),
        uploads: Some(page.uploads.into_iter().map(|info| entry(info, naming)).collect()),
        common_prefixes: Some(naming.prefixes(page.common_prefixes)),
        key_marker: Some(naming.write(key_marker.unwrap_or_default())),
        upload_id_marker: Some(id_marker.unwrap_or_default()),
        prefix: Some(naming.write(request.prefix)),
        delimiter: delimiter.map(|delimiter| naming.write(delimiter)),
        max_uploads: i32::try_from(limit).ok(),
        encoding_type: input.encoding_type,
        bucket: Some(input.bucket),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}

fn entry(info: UploadInfo, naming: Naming) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: info.checksum.as_ref().map(|(name, _)| ChecksumAlgorithm::from(name.clone())),
        checksum_type: info.checksum.as_ref().map(|(_, kind)| wire::checksum_type(*kind)),
        initiated: Some(wire::timestamp(info.created_ms)),
        initiator: Some(Initiator { display_name: Some(info.owner.clone()), id: Some(info.owner.clone()) }),
        key: Some(naming.write(info.key)),
        owner: Some(wire::owner(&info.owner)),
        storage_class: Some(StorageClass::from(wire::storage_class(&info.headers))),
        upload_id: Some(info.upload.to_string()),
    }
}
