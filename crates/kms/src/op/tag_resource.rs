//! TagResource.

use std::collections::BTreeMap;

use policy::Values;
use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::limits::TAGS_MAX;
use crate::validate;
use crate::wire::Tag;

/// Most characters of a tag's key and of its value (AWS KMS).
const CHARACTERS: (usize, usize) = (128, 256);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    tags: Option<Vec<Tag>>,
}

/// Tags that a key may have.
///
/// # Errors
/// `TagException`, `LimitExceededException`.
pub(crate) fn checked(tags: Vec<Tag>) -> Result<BTreeMap<String, String>, Fault> {
    let mut map = BTreeMap::new();
    for Tag { tag_key, tag_value } in tags {
        let wrong = |why: &str| Err(Fault::new(Code::Tag, format!("the tag {tag_key:?} {why}")));
        if !(1..=CHARACTERS.0).contains(&tag_key.chars().count()) {
            return wrong("has a key of none or more than 128 characters");
        }
        if tag_value.chars().count() > CHARACTERS.1 {
            return wrong("has a value of more than 256 characters");
        }
        if tag_key.starts_with("aws:") {
            return wrong("begins with aws:, which is reserved");
        }
        if map.insert(tag_key.clone(), tag_value).is_some() {
            return wrong("is given twice");
        }
    }
    if map.len() > TAGS_MAX { Err(too_many()) } else { Ok(map) }
}

fn too_many() -> Fault {
    Fault::new(Code::LimitExceeded, format!("a key has at most {TAGS_MAX} tags"))
}

/// What conditions can ask about tags to be set.
pub(crate) fn about_tags(values: &mut Values, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        values.add(&format!("aws:RequestTag/{key}"), value);
        values.add("aws:TagKeys", key);
    }
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let tags = checked(validate::required(input.tags, "tags")?)?;
    let mut values = call.values();
    about_tags(&mut values, &tags);
    let key = call.key("kms:TagResource", input.key_id.as_deref(), Aliases::Refused, values).await?;
    key.must_stay()?;
    let names = key.record.tags.keys().chain(tags.keys()).collect::<std::collections::BTreeSet<_>>();
    if names.len() > TAGS_MAX {
        return Err(too_many());
    }
    let described = call.portions().describe(call.account(), key.id, |record| {
        record.tags.extend(tags.clone());
        Ok(())
    });
    described.await.map(drop).map_err(|error| key.fault(error))
}
