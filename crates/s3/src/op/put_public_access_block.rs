//! PutPublicAccessBlock.

use s3s::dto::{PutPublicAccessBlockInput, PutPublicAccessBlockOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let config = &req.input.public_access_block_configuration;
    config::put(&at.store, &req.input.bucket, config::PUBLIC_ACCESS, config).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput {}))
}
