//! PutBucketWebsite.

use s3s::dto::{PutBucketWebsiteInput, PutBucketWebsiteOutput, WebsiteConfiguration};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    validate(&req.input.website_configuration)?;
    config::put(&at.store, &req.input.bucket, config::WEBSITE, &req.input.website_configuration).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput {}))
}

/// S3's rules for a website configuration.
fn validate(config: &WebsiteConfiguration) -> S3Result<()> {
    if let Some(all) = &config.redirect_all_requests_to {
        let alone =
            config.index_document.is_none() && config.error_document.is_none() && config.routing_rules.is_none();
        if !alone || all.host_name.is_empty() {
            return Err(s3_error!(
                InvalidArgument,
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            ));
        }
        return Ok(());
    }
    let Some(index) = &config.index_document else {
        return Err(s3_error!(
            InvalidArgument,
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        ));
    };
    if index.suffix.is_empty() || index.suffix.contains('/') {
        return Err(s3_error!(InvalidArgument, "The IndexDocument Suffix is not well formed"));
    }
    Ok(())
}
