//! UploadPart.

use s3s::dto::{UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::NewPart;

use crate::body::Upload;
use crate::checksum::Algorithm;
use crate::error::answer;
use crate::service::Service;
use crate::wire::{self, Sums};
use crate::{access, encryption};

pub(crate) async fn run(at: &Service, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    encryption::not_chosen(&req.headers)?;
    let customer = encryption::customer(&req.headers)?;
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    let upload = wire::upload_id(&input.upload_id)?;
    let number = wire::part_number(input.part_number)?;
    let open = at.store.upload(&input.bucket, &input.key, upload).await.map_err(answer)?;
    encryption::may_seal(at, &authority, (&input.bucket, &input.key), &open.encryption).await?;
    let wanted = open.checksum.as_ref().and_then(|(name, _)| Algorithm::by_name(name));
    let mut body = Upload::new(&req.headers, input.body, req.trailing_headers, wanted)?;
    if let (Some(wanted), Some(given)) = (wanted, body.algorithm())
        && wanted != given
    {
        return Err(s3_error!(
            InvalidRequest,
            "checksum type mismatch occurred, expected checksum type: {}, actual checksum type: {}",
            wanted.name(),
            given.name()
        ));
    }
    let size = body.size;
    let new = NewPart { upload, number, customer: customer.as_ref().map(|customer| customer.key.clone()) };
    let part = at.store.put_part(&input.bucket, &input.key, &new, size, &mut body).await.map_err(answer)?;
    let told = encryption::Told::of(&open.encryption, customer.as_ref(), &at.kms());
    let sums = Sums::of(part.checksum.as_ref());
    Ok(S3Response::new(UploadPartOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(wire::etag(part.etag)),
        bucket_key_enabled: told.bucket_key,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        ..Default::default()
    }))
}
