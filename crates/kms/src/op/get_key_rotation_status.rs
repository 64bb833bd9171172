//! GetKeyRotationStatus.

use meta::record::PortionState;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::wire::seconds;

const DAY_MS: u64 = 24 * 3600 * 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_rotation_enabled: bool,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<f64>,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let key = call.key("kms:GetKeyRotationStatus", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let days = Some(key.record.rotation_days).filter(|days| *days > 0);
    let newest = call.portions().version(key.id, key.record.version).await?;
    let enabled = key.record.state == PortionState::Enabled;
    let next = newest.zip(days).filter(|_| enabled);
    Ok(Output {
        // While a key waits to be deleted, its rotation is told as off (AWS KMS).
        key_rotation_enabled: days.is_some() && !matches!(key.record.state, PortionState::PendingShred(_)),
        key_id: keys::dashed(key.id),
        rotation_period_in_days: days,
        next_rotation_date: next.map(|(newest, days)| seconds(newest.created_ms + u64::from(days) * DAY_MS)),
    })
}
