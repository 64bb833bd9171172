//! PutBucketOwnershipControls: turns ACLs on or off.

use s3s::dto::{ObjectOwnership, OwnershipControls, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::error::answer;
use crate::service::Service;
use crate::{acl, config};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let (bucket, controls) = (&req.input.bucket, &req.input.ownership_controls);
    let enforced = validate(controls)?;
    // Turning ACLs off must not shut out whom a bucket's ACL had let in without a word.
    if enforced && let Some(acl) = acl::of_bucket(&at.store, bucket).await? {
        let owner = at.store.bucket(bucket).await.map_err(answer)?.owner;
        if acl::lets_others_in(&acl, &owner) {
            return Err(acl::with_enforced());
        }
    }
    config::put(&at.store, bucket, config::OWNERSHIP, controls).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
}

/// Whether the controls turn ACLs off.
///
/// # Errors
/// `MalformedXML`.
pub(super) fn validate(controls: &OwnershipControls) -> S3Result<bool> {
    let [rule] = controls.rules.as_slice() else {
        return Err(s3_error!(MalformedXML, "an OwnershipControls has exactly one Rule"));
    };
    match rule.object_ownership.as_str() {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(true),
        ObjectOwnership::BUCKET_OWNER_PREFERRED | ObjectOwnership::OBJECT_WRITER => Ok(false),
        _ => Err(s3_error!(MalformedXML, "unknown ObjectOwnership")),
    }
}
