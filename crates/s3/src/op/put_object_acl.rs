//! PutObjectAcl.

use s3s::dto::{PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::EventName;

use crate::acl::{self, Of};
use crate::error::answer;
use crate::service::Service;
use crate::wire;

pub(crate) async fn run(at: &Service, req: S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = req.input;
    let version = wire::version_id(input.version_id)?;
    at.store.head(&input.bucket, &input.key, version).await.map_err(answer)?;
    let document = input.access_control_policy;
    let acl = acl::of_put(&at.store, &input.bucket, &req.headers, document, Of::Object).await?;
    let changed = at.store.change_object(&input.bucket, &input.key, version, |object| {
        object.acl.clone_from(&acl);
        object.told = Some(EventName::AclPut);
        Ok(())
    });
    changed.await.map_err(answer)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
