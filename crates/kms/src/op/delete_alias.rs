//! DeleteAlias.

use serde::Deserialize;

use crate::call::Call;
use crate::error::Fault;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    alias_name: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    const ACTION: &str = "kms:DeleteAlias";
    let alias = validate::alias(input.alias_name.as_deref())?;
    call.may(ACTION, &call.place.alias(alias), &call.values())?;
    let (key, _) = call.aliased(alias).await?;
    call.may(ACTION, &call.place.key(key), &call.values())?;
    Ok(call.portions().delete_alias(call.account(), alias).await?)
}
