//! ListAliases.

use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::limits::{READS_MAX, ROWS};
use crate::name::ALIAS;
use crate::page::{self, Pages};
use crate::wire::seconds;

const PAGES: Pages = Pages { default: 50, max: 100 };
/// What its markers are called.
const LIST: &str = "aliases";

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
    aliases: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    alias_name: String,
    alias_arn: String,
    target_key_id: String,
    creation_date: f64,
    last_updated_date: f64,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    const ACTION: &str = "kms:ListAliases";
    let limit = PAGES.limit(input.limit)?;
    let mut after = page::after(LIST, input.marker.as_deref())?;
    // AWS asks for the right on all keys, also where one is named.
    call.may(ACTION, "*", &call.values())?;
    let of = match &input.key_id {
        Some(named) => Some(call.key(ACTION, Some(named), Aliases::Refused, call.values()).await?.id),
        None => None,
    };
    let mut entries = Vec::new();
    // Aliases of one key lie anywhere among all.
    let rows = if of.is_some() { ROWS } else { limit };
    for _ in 0..READS_MAX {
        let (aliases, more) = call.portions().aliases(call.account(), after.as_deref(), rows).await?;
        for alias in aliases {
            if entries.len() == limit {
                return Ok(cut(entries, after));
            }
            after = Some(alias.name.clone());
            if of.is_none_or(|of| of == alias.record.portion) {
                entries.push(Entry {
                    alias_arn: call.place.alias(&alias.name),
                    target_key_id: keys::dashed(alias.record.portion),
                    creation_date: seconds(alias.record.created_ms),
                    last_updated_date: seconds(alias.record.updated_ms),
                    alias_name: format!("{ALIAS}{}", alias.name),
                });
            }
        }
        if !more {
            return Ok(Output { aliases: entries, next_marker: None, truncated: false });
        }
        if entries.len() == limit {
            break;
        }
    }
    Ok(cut(entries, after))
}

/// A page with more behind it.
fn cut(aliases: Vec<Entry>, last: Option<String>) -> Output {
    let next_marker = last.map(|last| page::marker(LIST, &last));
    Output { aliases, truncated: true, next_marker }
}
