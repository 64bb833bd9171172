//! GetBucketNotificationConfiguration: empty while none was put.

use s3s::dto::{GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::notification;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let rules = at.store.notification(&req.input.bucket).await.map_err(answer)?;
    Ok(S3Response::new(notification::to_wire(rules)))
}
