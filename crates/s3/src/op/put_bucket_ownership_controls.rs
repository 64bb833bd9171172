//! PutBucketOwnershipControls: the bucket's owner owns everything in it; ACLs are off.

use s3s::dto::{ObjectOwnership, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::config;
use crate::error::not_implemented;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let config = &req.input.ownership_controls;
    let [rule] = config.rules.as_slice() else {
        return Err(s3_error!(MalformedXML, "an OwnershipControls has exactly one Rule"));
    };
    match rule.object_ownership.as_str() {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => {}
        ObjectOwnership::BUCKET_OWNER_PREFERRED | ObjectOwnership::OBJECT_WRITER => {
            return Err(not_implemented("object ownership other than BucketOwnerEnforced"));
        }
        _ => return Err(s3_error!(MalformedXML, "unknown ObjectOwnership")),
    }
    config::put(&at.store, &req.input.bucket, config::OWNERSHIP, config).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
}
