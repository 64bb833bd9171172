//! GetBucketCors.

use s3s::dto::{CORSConfiguration, GetBucketCorsInput, GetBucketCorsOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(at: &Service, req: S3Request<GetBucketCorsInput>) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let config: CORSConfiguration = config::get(&at.store, &req.input.bucket, config::CORS).await?;
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(config.cors_rules) }))
}
