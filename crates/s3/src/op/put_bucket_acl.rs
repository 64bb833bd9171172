//! PutBucketAcl: ACLs are off; only what changes nothing is taken.

use s3s::dto::{PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::acl;
use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(at: &Service, req: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let owner = at.store.bucket(&req.input.bucket).await.map_err(answer)?.owner;
    acl::must_change_nothing(
        req.input.acl.as_ref().map(|acl| acl.as_str()),
        req.input.access_control_policy.as_ref(),
        &owner,
    )?;
    Ok(S3Response::new(PutBucketAclOutput {}))
}
