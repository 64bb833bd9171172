//! RotateKeyOnDemand.

use meta::record::Begun;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::limits::ON_DEMAND_MAX;

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

/// What is under earlier versions stays there, as in AWS KMS; `holdfast portion` can move a portion's parts.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let key = call.key("kms:RotateKeyOnDemand", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    key.must_be_enabled()?;
    let versions = call.portions().versions(key.id).await?;
    if versions.iter().filter(|version| version.begun == Begun::OnDemand).count() >= ON_DEMAND_MAX {
        let words = format!("{} has reached the limit of {ON_DEMAND_MAX} on-demand rotations.", key.arn);
        return Err(Fault::new(Code::LimitExceeded, words));
    }
    let rotated = call.portions().rotate(call.account(), key.id, false).await;
    rotated.map_err(|error| key.fault(error))?;
    Ok(Output { key_id: keys::dashed(key.id) })
}
