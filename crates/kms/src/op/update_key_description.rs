//! UpdateKeyDescription.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::limits::DESCRIPTION_MAX;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    description: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let description = validate::required(input.description, "description")?;
    if !description.is_empty() {
        validate::length(description.chars().count(), "description", DESCRIPTION_MAX)?;
    }
    let key = call.key("kms:UpdateKeyDescription", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    key.must_stay()?;
    let described = call.portions().describe(call.account(), key.id, |record| {
        record.description.clone_from(&description);
        Ok(())
    });
    described.await.map(drop).map_err(|error| key.fault(error))
}
