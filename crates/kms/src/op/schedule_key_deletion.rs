//! ScheduleKeyDeletion.

use keys::Switch;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::metadata;
use crate::validate;

/// Shortest and longest wait, days; the longest counts when nothing is said.
const DAYS: (i64, i64) = (7, 30);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    pending_window_in_days: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<f64>,
    key_state: &'static str,
    pending_window_in_days: u32,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let days = input.pending_window_in_days.unwrap_or(DAYS.1);
    let days = validate::between(days, "pendingWindowInDays", DAYS.0, DAYS.1)?;
    let days = u32::try_from(days).unwrap_or(keys::SHRED_DAYS_MAX);
    let mut values = call.values();
    values.add("kms:ScheduleKeyDeletionPendingWindowInDays", days.to_string());
    let key = call.key("kms:ScheduleKeyDeletion", input.key_id.as_deref(), Aliases::Refused, values).await?;
    let switched = call.portions().switch(call.account(), key.id, Switch::Shred { days }).await;
    let record = switched.map_err(|error| key.fault(error))?.record;
    Ok(Output {
        deletion_date: metadata::deletion(&record),
        key_state: metadata::state(&record),
        pending_window_in_days: days,
        key_id: key.arn,
    })
}
