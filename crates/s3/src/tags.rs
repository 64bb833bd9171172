//! Tags of objects and buckets (S3: at most 10 on an object, 50 on a bucket).

use std::collections::BTreeMap;

use s3s::dto::{Tag, Tagging};
use s3s::xml::{Deserialize, Deserializer};
use s3s::{S3Result, s3_error};
use store::api::ObjectMeta;

use crate::error::{custom, malformed};

/// Most tags of an object.
pub(crate) const OBJECT_MAX: usize = 10;
/// Most tags of a bucket.
pub(crate) const BUCKET_MAX: usize = 50;
/// Longest key, characters.
const KEY_MAX: usize = 128;
/// Longest value, characters.
const VALUE_MAX: usize = 256;

/// What the scan says, told among an object's tags. A client that writes back what it read leaves it out, whatever it says.
pub(crate) const SCAN: &str = "holdfast-scan";

/// The tags of an `x-amz-tagging` header: a query string.
///
/// # Errors
/// `InvalidArgument` or `InvalidTag`.
pub(crate) fn of_header(value: &http::HeaderValue) -> S3Result<BTreeMap<String, String>> {
    let text = value.to_str().map_err(|_| s3_error!(InvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."))?;
    let mut tags = BTreeMap::new();
    for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
        check(&key, &value)?;
        if key == SCAN {
            continue;
        }
        if tags.insert(key.into_owned(), value.into_owned()).is_some() {
            return Err(s3_error!(
                InvalidArgument,
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
            ));
        }
    }
    if tags.len() > OBJECT_MAX {
        return Err(too_many(OBJECT_MAX));
    }
    Ok(tags)
}

/// The tags of a request's document.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`, `BadRequest` for more than `max`.
pub(crate) fn of_set(set: Vec<Tag>, max: usize) -> S3Result<BTreeMap<String, String>> {
    if set.len() > max {
        return Err(too_many(max));
    }
    let mut tags = BTreeMap::new();
    for tag in set {
        let (Some(key), Some(value)) = (tag.key, tag.value) else {
            return Err(s3_error!(MalformedXML, "a tag needs a Key and a Value"));
        };
        check(&key, &value)?;
        if key == SCAN {
            continue;
        }
        if tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// The tags of a form's `tagging` field: the document of PutObjectTagging.
///
/// # Errors
/// As [`of_set`].
pub(crate) fn of_document(document: &str) -> S3Result<BTreeMap<String, String>> {
    let tagging = Tagging::deserialize(&mut Deserializer::new(document.as_bytes())).map_err(|_| malformed())?;
    of_set(tagging.tag_set, OBJECT_MAX)
}

fn too_many(max: usize) -> s3s::S3Error {
    custom("BadRequest", format!("Object tags cannot be greater than {max}"))
}

fn check(key: &str, value: &str) -> S3Result<()> {
    let sane = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
    let of_system = key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    if key.is_empty() || key.chars().count() > KEY_MAX || !sane(key) || of_system {
        return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
    }
    if value.chars().count() > VALUE_MAX || !sane(value) {
        return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
    }
    Ok(())
}

/// As the wire has them.
pub(crate) fn set_of(tags: BTreeMap<String, String>) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

/// `x-amz-tagging-count`: told when there are any.
pub(crate) fn count(meta: &ObjectMeta) -> Option<i32> {
    i32::try_from(meta.tags.len()).ok().filter(|count| *count > 0)
}
