//! PutBucketCors.

use s3s::dto::{PutBucketCorsInput, PutBucketCorsOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::service::Service;
use crate::{config, cors};

pub(crate) async fn run(at: &Service, req: S3Request<PutBucketCorsInput>) -> S3Result<S3Response<PutBucketCorsOutput>> {
    cors::validate(&req.input.cors_configuration)?;
    config::put(&at.store, &req.input.bucket, config::CORS, &req.input.cors_configuration).await?;
    Ok(S3Response::new(PutBucketCorsOutput {}))
}
