//! PutBucketLifecycleConfiguration.

use s3s::dto::{PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::error::answer;
use crate::rules;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let document = req.input.lifecycle_configuration;
    let document = document.ok_or_else(|| s3_error!(MalformedXML, "the lifecycle configuration is missing"))?;
    let rules = rules::of_document(document)?;
    at.store.put_lifecycle(&req.input.bucket, &rules).await.map_err(answer)?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}
