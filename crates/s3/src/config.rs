//! Sub-resources of buckets that are kept as the XML that S3 shows of them.

use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use s3s::{S3Result, s3_error};
use store::{Error, Store};

use crate::error::answer;

/// The names of sub-resources in the store, which are S3's query parameters.
pub(crate) const ACL: &str = "acl";
pub(crate) const CORS: &str = "cors";
pub(crate) const ENCRYPTION: &str = "encryption";
pub(crate) use store::POLICY;
pub(crate) use store::worker::LIFECYCLE;
pub(crate) const OWNERSHIP: &str = "ownershipControls";
pub(crate) const PUBLIC_ACCESS: &str = "publicAccessBlock";
/// The text of a header that comes with lifecycle rules; none for S3's default.
pub(crate) const TRANSITION_SIZE: &str = "lifecycle-transition-size";
pub(crate) const TAGGING: &str = "tagging";
pub(crate) const WEBSITE: &str = "website";

/// The document of a sub-resource, as it was put.
///
/// # Errors
/// S3's own code for each sub-resource that is not there; `NoSuchBucket`.
pub(crate) async fn document(store: &Store, bucket: &str, name: &'static str) -> S3Result<Vec<u8>> {
    Ok(store.bucket_config(bucket, name).await.map_err(answer)?.document)
}

/// # Errors
/// `NoSuchBucket`.
pub(crate) async fn put_document(store: &Store, bucket: &str, name: &'static str, document: Vec<u8>) -> S3Result<()> {
    store.put_bucket_config(bucket, name, document).await.map_err(answer)
}

/// A sub-resource.
///
/// # Errors
/// As [`document`].
pub(crate) async fn get<T: for<'x> Deserialize<'x>>(store: &Store, bucket: &str, name: &'static str) -> S3Result<T> {
    read(&document(store, bucket, name).await?, name)
}

/// A sub-resource, for those who are not told whether there is such a bucket.
///
/// # Errors
/// As [`document`]; of a bucket that does not exist, what is said of one without the sub-resource.
pub(crate) async fn get_blindly<T: for<'x> Deserialize<'x>>(
    store: &Store,
    bucket: &str,
    name: &'static str,
) -> S3Result<T> {
    match store.bucket_config(bucket, name).await {
        Ok(config) => read(&config.document, name),
        Err(Error::NoSuchBucket(_)) => Err(answer(Error::NoSuchConfig(name))),
        Err(error) => Err(answer(error)),
    }
}

/// A sub-resource, or `None` where none was put.
///
/// # Errors
/// `NoSuchBucket`.
pub(crate) async fn find<T: for<'x> Deserialize<'x>>(
    store: &Store,
    bucket: &str,
    name: &'static str,
) -> S3Result<Option<T>> {
    match store.bucket_config(bucket, name).await {
        Ok(config) => read(&config.document, name).map(Some),
        Err(Error::NoSuchConfig(_)) => Ok(None),
        Err(error) => Err(answer(error)),
    }
}

/// Puts a sub-resource that was found valid.
///
/// # Errors
/// `NoSuchBucket`.
pub(crate) async fn put<T: Serialize>(store: &Store, bucket: &str, name: &'static str, value: &T) -> S3Result<()> {
    put_document(store, bucket, name, write(value)?).await
}

/// A document of ours.
///
/// # Errors
/// `InternalError`, never in practice.
pub(crate) fn write<T: Serialize>(value: &T) -> S3Result<Vec<u8>> {
    let mut document = Vec::new();
    let written = value.serialize(&mut Serializer::new(&mut document));
    written.map_err(|_| s3_error!(InternalError, "the configuration cannot be written"))?;
    Ok(document)
}

/// Removes a sub-resource; an absent one is no error.
///
/// # Errors
/// `NoSuchBucket`.
pub(crate) async fn delete(store: &Store, bucket: &str, name: &'static str) -> S3Result<()> {
    store.delete_bucket_config(bucket, name).await.map_err(answer)
}

/// Reads a document of ours.
pub(crate) fn read<T: for<'x> Deserialize<'x>>(document: &[u8], name: &str) -> S3Result<T> {
    let mut reader = Deserializer::new(document);
    T::deserialize(&mut reader).map_err(|error| {
        tracing::error!(name, %error, "a stored bucket configuration cannot be read");
        s3_error!(InternalError, "the stored {name} configuration cannot be read")
    })
}
