//! DeleteBucketPolicy.

use s3s::dto::{DeleteBucketPolicyInput, DeleteBucketPolicyOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    config::delete(&at.store, &req.input.bucket, config::POLICY).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput {}))
}
