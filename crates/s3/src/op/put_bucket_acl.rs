//! PutBucketAcl.

use s3s::dto::{PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::acl::{self, Of};
use crate::config;
use crate::service::Service;

pub(crate) async fn run(at: &Service, req: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let (bucket, document) = (req.input.bucket, req.input.access_control_policy);
    match acl::of_put(&at.store, &bucket, &req.headers, document, Of::Bucket).await? {
        Some(acl) => acl::put_bucket(&at.store, &bucket, &acl).await?,
        None => config::delete(&at.store, &bucket, config::ACL).await?,
    }
    Ok(S3Response::new(PutBucketAclOutput {}))
}
