//! PutBucketLifecycleConfiguration.

use s3s::dto::{PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::error::answer;
use crate::service::Service;
use crate::unsupported::TRANSITION_SIZE;
use crate::{config, rules};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let document = req.input.lifecycle_configuration;
    let document = document.ok_or_else(|| s3_error!(MalformedXML, "the lifecycle configuration is missing"))?;
    let rules = rules::of_document(document)?;
    let bucket = &req.input.bucket;
    // The size first: whoever asks again after a failure puts both.
    match req.headers.get(TRANSITION_SIZE) {
        Some(size) => {
            config::put_document(&at.store, bucket, config::TRANSITION_SIZE, size.as_bytes().to_vec()).await?;
        }
        None => config::delete(&at.store, bucket, config::TRANSITION_SIZE).await?,
    }
    at.store.put_lifecycle(bucket, &rules).await.map_err(answer)?;
    let headers = rules::transition_size(&at.store, bucket).await?;
    Ok(S3Response::with_headers(PutBucketLifecycleConfigurationOutput::default(), headers))
}
