//! DeleteBucketOwnershipControls.

use s3s::dto::{DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    config::delete(&at.store, &req.input.bucket, config::OWNERSHIP).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput {}))
}
