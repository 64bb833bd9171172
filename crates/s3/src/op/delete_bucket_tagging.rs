//! DeleteBucketTagging.

use s3s::dto::{DeleteBucketTaggingInput, DeleteBucketTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    config::delete(&at.store, &req.input.bucket, config::TAGGING).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput {}))
}
