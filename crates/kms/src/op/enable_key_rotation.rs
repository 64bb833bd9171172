//! EnableKeyRotation.

use keys::{ROTATION_DAYS, ROTATION_DAYS_MAX};
use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    rotation_period_in_days: Option<i64>,
}

/// Periods are of 1 day and more (AWS KMS: 90).
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let asked = input.rotation_period_in_days;
    let days = asked.map(|days| validate::between(days, "rotationPeriodInDays", 1, ROTATION_DAYS_MAX.into()));
    let days = days.transpose()?.and_then(|days| u32::try_from(days).ok());
    let mut values = call.values();
    if let Some(days) = days {
        values.add("kms:RotationPeriodInDays", days.to_string());
    }
    let key = call.key("kms:EnableKeyRotation", input.key_id.as_deref(), Aliases::Refused, values).await?;
    key.must_be_enabled()?;
    let described = call.portions().describe(call.account(), key.id, |record| {
        record.rotation_days = match (days, record.rotation_days) {
            (Some(days), _) => days,
            (None, 0) => ROTATION_DAYS,
            (None, days) => days,
        };
        Ok(())
    });
    described.await.map(drop).map_err(|error| key.fault(error))
}
