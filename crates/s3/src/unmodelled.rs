//! What S3 has in documents and the framework's model of them lacks: it would be dropped in silence.

use std::sync::Arc;

use http::Extensions;
use s3s::S3Result;
use s3s::dto::Tag;
use s3s::xml::{DeError, DeResult, Deserialize, Deserializer};

use crate::error::malformed;
use crate::notes::Notes;

/// Reads the document of a request, which the framework has taken already, once more. `None`: it had none.
///
/// # Errors
/// `MalformedXML`.
pub(crate) fn read<T: for<'x> Deserialize<'x>>(extensions: &Extensions) -> S3Result<Option<T>> {
    let document = extensions.get::<Arc<Notes>>().and_then(|notes| notes.document.get());
    let document = document.filter(|document| !document.is_empty());
    document.map(|document| T::deserialize(&mut Deserializer::new(document)).map_err(|_| malformed())).transpose()
}

/// Goes over an element that is of no interest.
fn skip(d: &mut Deserializer<'_>) -> DeResult {
    d.for_each_element(|d, _| skip(d))
}

/// The tags of a `CreateBucketConfiguration`.
pub(crate) struct NewBucketTags(pub Option<Vec<Tag>>);

impl<'xml> Deserialize<'xml> for NewBucketTags {
    fn deserialize(d: &mut Deserializer<'xml>) -> DeResult<Self> {
        let mut tags = None;
        d.named_element("CreateBucketConfiguration", |d| {
            d.for_each_element(|d, name| match name {
                b"Tags" if tags.is_some() => Err(DeError::DuplicateField),
                b"Tags" => {
                    tags = Some(d.list_content("Tag")?);
                    Ok(())
                }
                _ => skip(d),
            })
        })?;
        Ok(Self(tags))
    }
}
