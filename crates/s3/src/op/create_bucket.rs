//! CreateBucket.

use s3s::dto::{
    CreateBucketInput, CreateBucketOutput, ObjectOwnership, OwnershipControls, OwnershipControlsRule, Tagging,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::Error;
use store::api::Right;

use super::put_bucket_ownership_controls;
use crate::acl::{self, Of};
use crate::error::{answer, not_implemented};
use crate::service::Service;
use crate::unmodelled::{self, NewBucketTags};
use crate::{access, config, tags, wire};

/// Beginnings and endings that S3 keeps for itself ("General purpose bucket naming rules"). What else
/// a name may not be, the framework knows.
const KEPT_STARTS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const KEPT_ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Any location constraint is taken: the bucket is where the five sites are.
pub(crate) async fn run(at: &Service, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    if let Some(configuration) = &req.input.create_bucket_configuration
        && (configuration.bucket.is_some() || configuration.location.is_some())
    {
        return Err(not_implemented("a directory bucket"));
    }
    let name = &req.input.bucket;
    if KEPT_STARTS.iter().any(|start| name.starts_with(start)) || KEPT_ENDS.iter().any(|end| name.ends_with(end)) {
        return Err(s3_error!(InvalidBucketName, "the bucket name {name} is of a kind that S3 keeps for itself"));
    }
    let tags = unmodelled::read(&req.extensions)?.and_then(|NewBucketTags(tags)| tags);
    let tags = tags.map(|tags| tags::of_set(tags, tags::BUCKET_MAX)).transpose()?;
    let tags = tags.filter(|tags| !tags.is_empty());
    let owner = access::principal(&req)?.name();
    let lock = req.input.object_lock_enabled_for_bucket.unwrap_or(false);
    let object_ownership = req.input.object_ownership.clone();
    let asks = [
        (acl::needs_to_be_on(&req.headers), "s3:PutBucketAcl"),
        (object_ownership.is_some(), "s3:PutBucketOwnershipControls"),
        (tags.is_some(), "s3:PutBucketTagging"),
        (lock, "s3:PutBucketObjectLockConfiguration"),
        (lock, "s3:PutBucketVersioning"),
    ];
    for (_, action) in asks.into_iter().filter(|(asked, _)| *asked) {
        access::authority(&req)?.check(action, Some(Right::Admin), name, None).await?;
    }
    let enforced = || ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let object_ownership = object_ownership.unwrap_or_else(enforced);
    let controls = OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] };
    if put_bucket_ownership_controls::validate(&controls)? && acl::needs_to_be_on(&req.headers) {
        return Err(acl::with_enforced());
    }
    acl::check_new_bucket(&req.headers)?;
    match at.store.create_bucket(&req.input.bucket, owner, lock).await {
        Ok(bucket) => {
            config::put(&at.store, &bucket.name, config::OWNERSHIP, &controls).await?;
            if let Some(tags) = tags {
                let tagging = Tagging { tag_set: tags::set_of(tags) };
                config::put(&at.store, &bucket.name, config::TAGGING, &tagging).await?;
            }
            if let Some(acl) = acl::of_new(&at.store, &bucket.name, &req.headers, Of::Bucket).await? {
                acl::put_bucket(&at.store, &bucket.name, &acl).await?;
            }
            let location = Some(format!("/{}", wire::url_encode(&bucket.name)));
            Ok(S3Response::new(CreateBucketOutput { location }))
        }
        Err(Error::BucketExists { owner: other, .. }) if other == owner => {
            Err(s3_error!(BucketAlreadyOwnedByYou, "you own a bucket of this name already"))
        }
        Err(error) => Err(answer(error)),
    }
}
