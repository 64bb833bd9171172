//! AbortMultipartUpload.

use s3s::dto::{AbortMultipartUploadInput, AbortMultipartUploadOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::wire;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = req.input;
    let upload = wire::upload_id(&input.upload_id)?;
    at.store.abort_upload(&input.bucket, &input.key, upload).await.map_err(answer)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
