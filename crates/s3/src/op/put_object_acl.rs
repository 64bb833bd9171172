//! PutObjectAcl: ACLs are off; only what changes nothing is taken.

use s3s::dto::{PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{acl, wire};

pub(crate) async fn run(at: &Service, req: S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    at.store.head(&input.bucket, &input.key, version).await.map_err(answer)?;
    let owner = at.store.bucket(&input.bucket).await.map_err(answer)?.owner;
    acl::must_change_nothing(input.acl.as_ref().map(|acl| acl.as_str()), input.access_control_policy.as_ref(), &owner)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
