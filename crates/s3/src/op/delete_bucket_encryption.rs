//! DeleteBucketEncryption.

use s3s::dto::{DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    config::delete(&at.store, &req.input.bucket, config::ENCRYPTION).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput {}))
}
