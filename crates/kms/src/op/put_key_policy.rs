//! PutKeyPolicy.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::op::get_key_policy::known;
use crate::{key_policy, validate};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    policy_name: Option<String>,
    policy: Option<String>,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let policy = validate::required(input.policy, "policy")?;
    let key = call.key("kms:PutKeyPolicy", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    key.must_stay()?;
    known(input.policy_name.as_deref())?;
    let checked = key_policy::checked(call, policy).await?;
    if !input.bypass_policy_lockout_safety_check {
        key_policy::locks_nobody_out(call, &checked, &key.arn, &key.record.tags)?;
    }
    call.portions().put_key_policy(call.account(), key.id, &checked.text).await.map_err(|error| key.fault(error))?;
    Ok(())
}
