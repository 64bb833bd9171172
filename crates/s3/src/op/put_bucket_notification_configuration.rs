//! PutBucketNotificationConfiguration: an empty one removes what was there.
//!
//! `x-amz-skip-destination-validation` leaves the test event out. An ARN must name a target in any case:
//! nothing could ever be delivered to another.

use s3s::dto::{PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::answer;
use crate::notification;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let input = req.input;
    let targets = at.store.target_names().await.map_err(answer)?;
    let rules = notification::of_document(&input.bucket, input.notification_configuration, &targets)?;
    let test = !input.skip_destination_validation.unwrap_or(false);
    at.store.put_notification(&rules, test).await.map_err(answer)?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput {}))
}
