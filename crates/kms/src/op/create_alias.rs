//! CreateAlias.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    alias_name: Option<String>,
    target_key_id: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let alias = validate::alias(input.alias_name.as_deref())?;
    let target = validate::required(input.target_key_id.as_deref(), "targetKeyId")?;
    let arn = call.place.alias(alias);
    call.may("kms:CreateAlias", &arn, &call.values())?;
    let key = call.key("kms:CreateAlias", Some(target), Aliases::Refused, call.values()).await?;
    key.must_stay()?;
    match call.portions().create_alias(call.account(), alias, key.id).await {
        Err(keys::PortionError::AliasExists(_)) => {
            Err(Fault::new(Code::AlreadyExists, format!("An alias with the name {arn} already exists")))
        }
        made => made.map_err(|error| key.fault(error)),
    }
}
