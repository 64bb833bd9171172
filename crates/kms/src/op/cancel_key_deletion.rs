//! CancelKeyDeletion.

use keys::Switch;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_id: String,
}

/// The key stays disabled until somebody enables it.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let key = call.key("kms:CancelKeyDeletion", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let switched = call.portions().switch(call.account(), key.id, Switch::KeepAfterAll).await;
    switched.map_err(|error| key.fault(error))?;
    Ok(Output { key_id: key.arn })
}
