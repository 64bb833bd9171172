//! PutObject.

use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, S3Result};
use store::api::NewObject;
use store::stale;

use crate::acl::{self, Of};
use crate::body::Upload;
use crate::degraded::{self, DEGRADED};
use crate::error::answer;
use crate::lock;
use crate::service::Service;
use crate::wire::{self, Sums};
use crate::{access, encryption};

pub(crate) async fn run(at: &Service, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    let condition = wire::write_condition(input.if_match, input.if_none_match)?;
    let asked = encryption::asked(at, &authority, (&input.bucket, &input.key), &req.headers).await?;
    let meta = wire::object_meta(&req.headers, input.metadata)?;
    lock::needs_digest(&req.headers)?;
    let acl = acl::of_new(&at.store, &input.bucket, &req.headers, Of::Object).await?;
    let new = NewObject { meta, encrypt: asked.encrypt, acl };
    let mut body = Upload::new(&req.headers, input.body, req.trailing_headers, None)?;
    let size = body.size;
    if stale::age_ms().is_some() {
        let taken = at.store.put_at_island(&input.bucket, &input.key, new, size, &condition, &mut body).await;
        let taken = taken.map_err(answer)?;
        let sums = Sums::of(taken.checksum.as_ref());
        let mut told = S3Response::new(PutObjectOutput {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            checksum_type: sums.kind,
            e_tag: Some(wire::etag(taken.etag)),
            ..Default::default()
        });
        told.headers.insert(DEGRADED, degraded::deferred(&taken.id));
        return Ok(told);
    }
    let info = at.store.put(&input.bucket, &input.key, new, size, &condition, &mut body).await.map_err(answer)?;
    let (version_id, expiration) = at.told(&info, true).await?;
    let told = encryption::Told::of(&info.encryption, asked.customer.as_ref(), &at.kms());
    let sums = Sums::of(info.checksum.as_ref());
    let mut response = S3Response::new(PutObjectOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(wire::etag(info.etag)),
        bucket_key_enabled: told.bucket_key,
        expiration,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        ssekms_encryption_context: told.context,
        version_id,
        ..Default::default()
    });
    if info.scan.is_some() {
        response.headers.insert(DEGRADED, degraded::unscanned());
    }
    Ok(response)
}
