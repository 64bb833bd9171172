//! ListKeys.

use base::PortionId;
use keys::parse_id;
use meta::record::PortionState;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::{Code, Fault};
use crate::limits::{READS_MAX, ROWS};
use crate::page::{self, Pages};

const PAGES: Pages = Pages { default: 100, max: 1_000 };
/// What its markers are called.
const LIST: &str = "keys";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    limit: Option<i64>,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    keys: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key_id: String,
    key_arn: String,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let limit = PAGES.limit(input.limit)?;
    let after = page::after(LIST, input.marker.as_deref())?;
    let invalid = || Fault::new(Code::InvalidMarker, "Invalid Marker");
    let mut after = after.map(|id| parse_id(&id).ok_or_else(invalid)).transpose()?;
    call.may("kms:ListKeys", "*", &call.values())?;
    let mut keys = Vec::new();
    // Shredded ones lie anywhere among all.
    let rows = (limit + 1).max(ROWS / READS_MAX);
    for _ in 0..READS_MAX {
        let (portions, more) = call.portions().list(call.account(), after, rows).await?;
        for portion in portions {
            if keys.len() == limit {
                return Ok(cut(keys, after));
            }
            after = Some(portion.id);
            // A shredded one is remembered, but no key any more.
            if !matches!(portion.record.state, PortionState::Shredded(_)) {
                keys.push(Entry { key_id: keys::dashed(portion.id), key_arn: call.place.key(portion.id) });
            }
        }
        if !more {
            return Ok(Output { keys, next_marker: None, truncated: false });
        }
    }
    Ok(cut(keys, after))
}

/// A page with more behind it.
fn cut(keys: Vec<Entry>, last: Option<PortionId>) -> Output {
    let next_marker = last.map(|id| page::marker(LIST, &id.to_string()));
    Output { keys, truncated: true, next_marker }
}
