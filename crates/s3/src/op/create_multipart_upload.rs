//! CreateMultipartUpload.

use s3s::dto::{ChecksumAlgorithm, ChecksumType, CreateMultipartUploadInput, CreateMultipartUploadOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::api::{ChecksumKind, NewObject};

use crate::acl::{self, Of};
use crate::checksum::Algorithm;
use crate::error::answer;
use crate::service::Service;
use crate::{access, encryption, rules, wire};

pub(crate) async fn run(
    at: &Service,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let owner = access::principal(&req)?.name().to_owned();
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    let checksum = checksum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let asked = encryption::asked(at, &authority, (&input.bucket, &input.key), &req.headers).await?;
    let meta = wire::object_meta(&req.headers, input.metadata)?;
    let wanted = checksum.map(|(algorithm, kind)| (algorithm.name().to_owned(), kind));
    let acl = acl::of_new(&at.store, &input.bucket, &req.headers, Of::Object).await?;
    let new = NewObject { meta, encrypt: asked.encrypt, acl };
    let upload = at.store.create_upload(&input.bucket, &input.key, new, wanted, &owner).await.map_err(answer)?;
    let (abort_date, abort_rule_id) = rules::abort(at, &input.bucket, &upload).await?;
    let told = encryption::Told::of(&upload.encryption, asked.customer.as_ref(), &at.kms());
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum.map(|(_, kind)| wire::checksum_type(kind)),
        key: Some(input.key),
        bucket_key_enabled: told.bucket_key,
        abort_date,
        abort_rule_id,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        ssekms_encryption_context: told.context,
        upload_id: Some(upload.upload.to_string()),
        ..Default::default()
    }))
}

/// The algorithm asked for and what it is to cover. CRC-64 covers the object, the others the
/// parts' checksums, when nothing is said; SHA over the whole object cannot be had from parts.
fn checksum(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(Algorithm, ChecksumKind)>> {
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(InvalidRequest, "x-amz-checksum-type needs x-amz-checksum-algorithm")),
        };
    };
    let known = Algorithm::by_name(algorithm.as_str());
    let algorithm = known.ok_or_else(|| s3_error!(InvalidRequest, "checksum algorithm provided is unsupported"))?;
    let kind = match kind.map(ChecksumType::as_str) {
        None if algorithm == Algorithm::Crc64Nvme => ChecksumKind::FullObject,
        None | Some(ChecksumType::COMPOSITE) => ChecksumKind::Composite,
        Some(ChecksumType::FULL_OBJECT) => ChecksumKind::FullObject,
        Some(_) => return Err(s3_error!(InvalidRequest, "value for x-amz-checksum-type header is invalid")),
    };
    let sha = matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256);
    match (algorithm, kind) {
        (Algorithm::Crc64Nvme, ChecksumKind::Composite) => {}
        (_, ChecksumKind::FullObject) if sha => {}
        _ => return Ok(Some((algorithm, kind))),
    }
    Err(s3_error!(InvalidRequest, "the checksum type cannot be used with the {} checksum algorithm", algorithm.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        use ChecksumKind::{Composite, FullObject};
        let table = [
            (Some("CRC32"), None, Ok(Some(Composite))),
            (Some("CRC64NVME"), None, Ok(Some(FullObject))),
            (Some("CRC32C"), Some("FULL_OBJECT"), Ok(Some(FullObject))),
            (Some("SHA256"), Some("COMPOSITE"), Ok(Some(Composite))),
            (Some("SHA256"), Some("FULL_OBJECT"), Err(())),
            (Some("CRC64NVME"), Some("COMPOSITE"), Err(())),
            (Some("MD5"), None, Err(())),
            (Some("CRC32"), Some("HALF"), Err(())),
            (None, Some("COMPOSITE"), Err(())),
            (None, None, Ok(None)),
        ];
        for (algorithm, kind, expected) in table {
            let given = algorithm.map(|name| ChecksumAlgorithm::from(name.to_owned()));
            let asked = kind.map(|kind| ChecksumType::from(kind.to_owned()));
            let told = checksum(given.as_ref(), asked.as_ref()).map(|sum| sum.map(|(_, kind)| kind)).map_err(|_| ());
            assert_eq!(told, expected, "{algorithm:?} {kind:?}");
        }
    }
}
