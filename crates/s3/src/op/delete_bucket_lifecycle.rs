//! DeleteBucketLifecycle.

use s3s::dto::{DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    config::delete(&at.store, &req.input.bucket, config::LIFECYCLE).await?;
    config::delete(&at.store, &req.input.bucket, config::TRANSITION_SIZE).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput {}))
}
