//! CopyObject.

use base::limits::PART_SIZE_MAX;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use store::Error;
use store::api::{CopyChanges, CopySource as Source, Encrypt, NEVER_COPIED, ObjectInfo, ReadCondition, WriteCondition};

use crate::access::{self, Authority};
use crate::acl::{self, Of};
use crate::encryption::{self, Customer};
use crate::error::{answer, not_implemented};
use crate::service::Service;
use crate::wire::{self, Sums};

/// Times that a source which is replaced meanwhile is judged anew.
pub(crate) const SOURCE_ATTEMPTS: usize = 5;

pub(crate) async fn run(at: &Service, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let authority = access::authority(&req)?.clone();
    let input = req.input;
    let condition = write_condition(&req.headers)?;
    let mut from = source(
        input.copy_source,
        wire::read_condition(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        encryption::source_customer(&req.headers)?,
    )?;
    let asked = encryption::asked(at, &authority, (&input.bucket, &input.key), &req.headers).await?;
    let replaces = input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
    let retags = input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
    let same = from.bucket == input.bucket && from.key == input.key && from.version.is_none();
    let changes = !matches!(asked.encrypt, Encrypt::Default | Encrypt::Said(_))
        || NEVER_COPIED.iter().any(|name| req.headers.contains_key(*name));
    if !replaces && !retags && !changes && same {
        return Err(s3_error!(
            InvalidRequest,
            "this copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes"
        ));
    }
    let acl = acl::of_new(&at.store, &input.bucket, &req.headers, Of::Object).await?;
    let given = wire::object_meta(&req.headers, input.metadata)?;
    let (lock, tags) = (given.lock, retags.then(|| given.tags.clone()));
    let mut own_headers = given.headers.clone();
    own_headers.retain(|name, _| NEVER_COPIED.contains(&name.as_str()));
    let changes = CopyChanges { meta: replaces.then_some(given), own_headers, tags, lock, encrypt: asked.encrypt, acl };
    let mut attempts = SOURCE_ATTEMPTS;
    let (info, source_version) = loop {
        let info = judged_source(at, &authority, &mut from).await?;
        if info.size > PART_SIZE_MAX {
            return Err(s3_error!(
                InvalidRequest,
                "the copy source is larger than {PART_SIZE_MAX} bytes; copy it by parts"
            ));
        }
        if let Some(asked) = &input.checksum_algorithm
            && info.checksum.as_ref().is_none_or(|known| known.algorithm != asked.as_str())
        {
            return Err(not_implemented("a checksum of another algorithm for a copy"));
        }
        let (source_version, _) = at.told(&info, false).await?;
        attempts -= 1;
        match at.store.copy(&from, &input.bucket, &input.key, &changes, &condition).await {
            Err(Error::SourceChanged) if attempts > 0 => {}
            copied => break (copied.map_err(answer)?, source_version),
        }
    };
    let (version_id, expiration) = at.told(&info, true).await?;
    let told = encryption::Told::of(&info.encryption, asked.customer.as_ref(), &at.kms());
    let sums = Sums::of(info.checksum.as_ref());
    let result = CopyObjectResult {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(wire::etag(info.etag)),
        last_modified: Some(wire::timestamp(info.modified_ms)),
    };
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        version_id,
        bucket_key_enabled: told.bucket_key,
        expiration,
        server_side_encryption: told.method,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_md5,
        ssekms_key_id: told.kms_key,
        ssekms_encryption_context: told.context,
        ..Default::default()
    }))
}

/// The source of a copy, which access control has found readable.
///
/// # Errors
/// `NotImplemented` for access points and outposts, `InvalidArgument` for a wrong version id.
pub(crate) fn source(source: CopySource, condition: ReadCondition, customer: Option<Customer>) -> S3Result<Source> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            let version = wire::version_id(version_id)?;
            let customer = customer.map(|customer| customer.key);
            let (bucket, key) = (bucket.into_string(), key.into_string());
            Ok(Source { bucket, key, version, condition, customer, judged: None })
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(not_implemented("copying from an access point or outpost"))
        }
    }
}

/// What is at the source, whose key the caller may use. The copy takes this and nothing that came there since.
///
/// # Errors
/// `AccessDenied`, or the store's.
pub(crate) async fn judged_source(at: &Service, authority: &Authority, from: &mut Source) -> S3Result<ObjectInfo> {
    let info = at.store.head(&from.bucket, &from.key, from.version).await.map_err(source_error)?;
    encryption::may_open(at, authority, (&from.bucket, &from.key), &info.encryption).await?;
    from.judged = Some((info.body_id, info.encryption.clone()));
    Ok(info)
}

/// The answer to a source that cannot be read.
fn source_error(error: store::Error) -> s3s::S3Error {
    if matches!(error, store::Error::DeleteMarker { named: true, .. }) {
        return s3_error!(
            InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by version id."
        );
    }
    answer(error)
}

/// Conditions on the target: newer than the framework's model of the operation.
fn write_condition(headers: &http::HeaderMap) -> S3Result<WriteCondition> {
    let read = |name: http::HeaderName| {
        let parse = |value: &http::HeaderValue| {
            let parsed = s3s::dto::ETagCondition::parse_http_header(value.as_bytes());
            parsed.map_err(|_| s3_error!(InvalidArgument, "a condition of the request is not an ETag"))
        };
        headers.get(name).map(parse).transpose()
    };
    wire::write_condition(read(http::header::IF_MATCH)?, read(http::header::IF_NONE_MATCH)?)
}
