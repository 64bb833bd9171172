//! GetObjectAcl.

use s3s::dto::{GetObjectAclInput, GetObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;
use crate::{acl, wire};

pub(crate) async fn run(at: &Service, req: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    let info = at.store.head(&input.bucket, &input.key, version).await.map_err(answer)?;
    let owner = at.store.bucket(&input.bucket).await.map_err(answer)?.owner;
    let grants = Some(acl::told(info.acl.as_ref(), &owner));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner: Some(wire::owner(&owner)), ..Default::default() }))
}
