//! GetBucketLifecycleConfiguration.

use s3s::dto::{GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::rules;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let found = at.store.lifecycle(&req.input.bucket).await.map_err(answer)?;
    let output = GetBucketLifecycleConfigurationOutput { rules: Some(rules::to_wire(found)), ..Default::default() };
    Ok(S3Response::with_headers(output, rules::transition_size(&at.store, &req.input.bucket).await?))
}
