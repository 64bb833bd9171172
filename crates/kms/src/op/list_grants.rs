//! ListGrants.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::grants::{self, GrantEntry, GrantPage};
use crate::page::{self, Pages};
use crate::token::parse_grant_id;

const PAGES: Pages = Pages { default: 50, max: 100 };
/// What its markers are called.
const LIST: &str = "grants";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    grant_id: Option<String>,
    grantee_principal: Option<String>,
    limit: Option<i64>,
    marker: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<GrantPage, Fault> {
    let limit = PAGES.limit(input.limit)?;
    let invalid = |_| Fault::new(Code::InvalidMarker, "Invalid Marker");
    let after = page::after(LIST, input.marker.as_deref())?;
    let after = after.map(|id| parse_grant_id(&id).map_err(invalid)).transpose()?;
    let wanted = input.grant_id.as_deref().map(parse_grant_id).transpose()?;
    let key = call.key("kms:ListGrants", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let grantee = match &input.grantee_principal {
        Some(arn) => Some(grants::principal(call, arn, "granteePrincipal").await?),
        None => None,
    };
    let (found, more) = match wanted {
        Some(id) => {
            let grant = call.portions().grant(key.id, id).await.map_err(|error| key.fault(error))?;
            let fits = grantee.is_none_or(|grantee| grantee == grant.record.grantee);
            (if fits { vec![grant] } else { Vec::new() }, false)
        }
        None => call.portions().grants(key.id, grantee.as_ref(), after, limit).await?,
    };
    let next_marker = found.last().filter(|_| more).map(|last| page::marker(LIST, &last.id.to_string()));
    let grants = found.into_iter().map(|grant| GrantEntry::of(call, grant)).collect();
    Ok(GrantPage { grants, truncated: more, next_marker })
}
