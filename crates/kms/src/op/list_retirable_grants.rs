//! ListRetirableGrants.

use base::PortionId;
use keys::parse_id;
use meta::record::KeyGrantId;
use serde::Deserialize;

use crate::call::Call;
use crate::error::{Code, Fault};
use crate::grants::{self, GrantEntry, GrantPage};
use crate::limits::READS_MAX;
use crate::page::{self, Pages};
use crate::token::parse_grant_id;
use crate::validate;

const PAGES: Pages = Pages { default: 50, max: 100 };
/// What its markers are called.
const LIST: &str = "retirable";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    retiring_principal: Option<String>,
    limit: Option<i64>,
    marker: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<GrantPage, Fault> {
    let limit = PAGES.limit(input.limit)?;
    let invalid = || Fault::new(Code::InvalidMarker, "Invalid Marker");
    let after = page::after(LIST, input.marker.as_deref())?;
    let mut after = after.map(|text| parse(&text).ok_or_else(invalid)).transpose()?;
    let arn = validate::required(input.retiring_principal, "retiringPrincipal")?;
    call.may("kms:ListRetirableGrants", "*", &call.values())?;
    let retiring = grants::principal(call, &arn, "retiringPrincipal").await?;
    let mut found = Vec::new();
    // Some of a page may have ended since.
    for _ in 0..READS_MAX {
        let some;
        (some, after) = call.portions().retirable_grants(call.account(), &retiring, after, limit - found.len()).await?;
        found.extend(some);
        if after.is_none() || found.len() == limit {
            break;
        }
    }
    let next_marker = after.map(|(key, id)| page::marker(LIST, &format!("{key}/{id}")));
    let grants = found.into_iter().map(|grant| GrantEntry::of(call, grant)).collect();
    Ok(GrantPage { grants, truncated: next_marker.is_some(), next_marker })
}

fn parse(text: &str) -> Option<(PortionId, KeyGrantId)> {
    let (key, grant) = text.split_once('/')?;
    Some((parse_id(key)?, parse_grant_id(grant).ok()?))
}
