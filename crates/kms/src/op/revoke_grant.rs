//! RevokeGrant.

use keys::EndGrant;
use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::token::parse_grant_id;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    grant_id: Option<String>,
    dry_run: Option<bool>,
}

/// Counts at once. What the grantee was given by then, it has.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let id = parse_grant_id(validate::required(input.grant_id.as_deref(), "grantId")?)?;
    let key = call.key("kms:RevokeGrant", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    call.portions().grant(key.id, id).await.map_err(|error| key.fault(error))?;
    validate::dry_run(input.dry_run)?;
    let ended = call.portions().end_grant(call.account(), key.id, id, EndGrant::Revoke).await;
    ended.map_err(|error| key.fault(error))
}
