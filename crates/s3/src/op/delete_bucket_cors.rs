//! DeleteBucketCors.

use s3s::dto::{DeleteBucketCorsInput, DeleteBucketCorsOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    config::delete(&at.store, &req.input.bucket, config::CORS).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput {}))
}
