//! GetBucketAcl: ACLs are off, so the bucket's owner has full control.

use s3s::dto::{GetBucketAclInput, GetBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{acl, wire};

pub(crate) async fn run(at: &Service, req: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let owner = at.store.bucket(&req.input.bucket).await.map_err(answer)?.owner;
    let grants = Some(vec![acl::full_control(&owner)]);
    Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(wire::owner(&owner)) }))
}
