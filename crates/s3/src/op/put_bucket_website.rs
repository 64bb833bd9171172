//! PutBucketWebsite.

use s3s::dto::{PutBucketWebsiteInput, PutBucketWebsiteOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::service::Service;
use crate::{config, website};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    website::validate(&req.input.website_configuration)?;
    config::put(&at.store, &req.input.bucket, config::WEBSITE, &req.input.website_configuration).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput {}))
}
