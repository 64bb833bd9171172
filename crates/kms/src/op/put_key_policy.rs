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
}

/// Changes nothing: the one policy that is taken is the one that is there.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let policy = validate::required(input.policy, "policy")?;
    let key = call.key("kms:PutKeyPolicy", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    key.must_stay()?;
    known(input.policy_name.as_deref())?;
    key_policy::check(call.account(), &policy)
}
