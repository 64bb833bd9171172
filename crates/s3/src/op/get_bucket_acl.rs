//! GetBucketAcl.

use s3s::dto::{GetBucketAclInput, GetBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{acl, wire};

pub(crate) async fn run(at: &Service, req: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let owner = at.store.bucket(&req.input.bucket).await.map_err(answer)?.owner;
    let acl = acl::of_bucket(&at.store, &req.input.bucket).await?;
    let grants = Some(acl::told(acl.as_ref(), &owner));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(wire::owner(&owner)) }))
}
