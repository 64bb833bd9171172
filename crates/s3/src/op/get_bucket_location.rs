//! GetBucketLocation.

use s3s::dto::{BucketLocationConstraint, GetBucketLocationInput, GetBucketLocationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    // S3 tells of its first region by telling none.
    let named = at.region != "us-east-1";
    let location_constraint = named.then(|| BucketLocationConstraint::from(at.region.clone()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}
