//! PutBucketRequestPayment: nobody is charged here, so that the bucket's owner may be.

use s3s::dto::{Payer, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput};
use s3s::{S3Request, S3Response, S3Result};

use crate::error::{answer, malformed, not_implemented};
use crate::service::Service;

pub(crate) async fn run(
    at: &Service,
    req: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    at.store.bucket(&req.input.bucket).await.map_err(answer)?;
    match req.input.request_payment_configuration.payer.as_str() {
        Payer::BUCKET_OWNER => {}
        Payer::REQUESTER => return Err(not_implemented("a bucket whose requesters pay")),
        _ => return Err(malformed()),
    }
    Ok(S3Response::new(PutBucketRequestPaymentOutput {}))
}
