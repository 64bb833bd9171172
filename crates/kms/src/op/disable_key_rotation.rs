//! DisableKeyRotation.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
}

/// By age, that is: the caps on parts and bytes under one version stay.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let key = call.key("kms:DisableKeyRotation", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    key.must_be_enabled()?;
    let described = call.portions().describe(call.account(), key.id, |record| {
        record.rotation_days = 0;
        Ok(())
    });
    described.await.map(drop).map_err(|error| key.fault(error))
}
