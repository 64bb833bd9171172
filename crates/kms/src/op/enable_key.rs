//! EnableKey.

use keys::Switch;
use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let key = call.key("kms:EnableKey", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let switched = call.portions().switch(call.account(), key.id, Switch::Enable).await;
    switched.map(drop).map_err(|error| key.fault(error))
}
