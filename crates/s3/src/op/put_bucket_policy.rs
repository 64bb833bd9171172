//! PutBucketPolicy.

use policy::{Kind, Policy, is_public};
use s3s::dto::{PublicAccessBlockConfiguration, PutBucketPolicyInput, PutBucketPolicyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::config;
use crate::error::custom;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let bucket = &req.input.bucket;
    let parsed = Policy::parse(req.input.policy.as_bytes(), Kind::Resource { bucket });
    let policy = parsed.map_err(|error| custom("MalformedPolicy", error.reason.to_string()))?;
    let block = config::find::<PublicAccessBlockConfiguration>(&at.store, bucket, config::PUBLIC_ACCESS).await?;
    if block.and_then(|block| block.block_public_policy) == Some(true) && is_public(&policy) {
        return Err(s3_error!(
            AccessDenied,
            "public policies are blocked by the BlockPublicPolicy block public access setting"
        ));
    }
    config::put_document(&at.store, bucket, config::POLICY, req.input.policy.into_bytes()).await?;
    Ok(S3Response::new(PutBucketPolicyOutput {}))
}
