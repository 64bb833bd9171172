//! DeleteBucketWebsite.

use s3s::dto::{DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
    config::delete(&at.store, &req.input.bucket, config::WEBSITE).await?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput {}))
}
