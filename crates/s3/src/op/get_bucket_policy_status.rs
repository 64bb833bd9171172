//! GetBucketPolicyStatus.

use policy::{Kind, Policy, is_public};
use s3s::dto::{GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let document = config::document(&at.store, &req.input.bucket, config::POLICY).await?;
    let policy = Policy::stored(&document, Kind::Resource { bucket: &req.input.bucket });
    let policy_status = PolicyStatus { is_public: Some(policy.is_ok_and(|policy| is_public(&policy))) };
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(policy_status) }))
}
