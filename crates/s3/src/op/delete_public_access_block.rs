//! DeletePublicAccessBlock.

use s3s::dto::{DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    config::delete(&at.store, &req.input.bucket, config::PUBLIC_ACCESS).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput {}))
}
