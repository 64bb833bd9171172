//! GetBucketWebsite.

use s3s::dto::{GetBucketWebsiteInput, GetBucketWebsiteOutput, WebsiteConfiguration};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketWebsiteInput>,
) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    let config: WebsiteConfiguration = config::get(&at.store, &req.input.bucket, config::WEBSITE).await?;
    Ok(S3Response::new(GetBucketWebsiteOutput {
        error_document: config.error_document,
        index_document: config.index_document,
        redirect_all_requests_to: config.redirect_all_requests_to,
        routing_rules: config.routing_rules,
    }))
}
