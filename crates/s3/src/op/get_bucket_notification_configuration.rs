//! GetBucketNotificationConfiguration: empty while none was put.

use s3s::dto::{
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput, NotificationConfiguration,
};
use s3s::{S3Request, S3Response, S3Result};

use crate::config;
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let config = config::find::<NotificationConfiguration>(&at.store, &req.input.bucket, config::NOTIFICATION).await?;
    let config = config.unwrap_or_default();
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
        event_bridge_configuration: config.event_bridge_configuration,
        lambda_function_configurations: config.lambda_function_configurations,
        queue_configurations: config.queue_configurations,
        topic_configurations: config.topic_configurations,
    }))
}
