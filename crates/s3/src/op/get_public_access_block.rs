//! GetPublicAccessBlock.

use s3s::dto::{GetPublicAccessBlockInput, GetPublicAccessBlockOutput, PublicAccessBlockConfiguration};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let config: PublicAccessBlockConfiguration =
        config::get(&at.store, &req.input.bucket, config::PUBLIC_ACCESS).await?;
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(config) }))
}
