//! UpdateAlias.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    alias_name: Option<String>,
    target_key_id: Option<String>,
}

/// May be done by who may do it with the alias, with the key that it names, and with the one that it will
/// name.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    const ACTION: &str = "kms:UpdateAlias";
    let alias = validate::alias(input.alias_name.as_deref())?;
    let target = validate::required(input.target_key_id.as_deref(), "targetKeyId")?;
    call.may(ACTION, &call.place.alias(alias), &call.values())?;
    let (before, _) = call.aliased(alias).await?;
    call.may(ACTION, &call.place.key(before), &call.values())?;
    let key = call.key(ACTION, Some(target), Aliases::Refused, call.values()).await?;
    key.must_stay()?;
    Ok(call.portions().update_alias(call.account(), alias, key.id).await?)
}
