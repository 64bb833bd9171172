//! ListResourceTags.

use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::page::{self, Pages};
use crate::wire::Tag;

const PAGES: Pages = Pages { default: 50, max: 50 };
/// What its markers are called.
const LIST: &str = "tags";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    limit: Option<i64>,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let limit = PAGES.limit(input.limit)?;
    let after = page::after(LIST, input.marker.as_deref())?;
    let key = call.key("kms:ListResourceTags", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let mut rest = key.record.tags.into_iter().filter(|(name, _)| after.as_ref().is_none_or(|after| name > after));
    let tags: Vec<Tag> = rest.by_ref().take(limit).map(|(tag_key, tag_value)| Tag { tag_key, tag_value }).collect();
    let more = rest.next().is_some();
    let next_marker = tags.last().filter(|_| more).map(|last| page::marker(LIST, &last.tag_key));
    Ok(Output { tags, truncated: more, next_marker })
}
