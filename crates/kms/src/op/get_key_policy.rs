//! GetKeyPolicy.

use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::key_policy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    policy_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    policy: String,
    policy_name: &'static str,
}

/// There is the one name; without one it is meant.
///
/// # Errors
/// `NotFoundException`.
pub(crate) fn known(name: Option<&str>) -> Result<(), Fault> {
    match name {
        None | Some(key_policy::NAME) => Ok(()),
        Some(_) => Err(Fault::new(Code::NotFound, "No such policy exists")),
    }
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let key = call.key("kms:GetKeyPolicy", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    known(input.policy_name.as_deref())?;
    let policy = match key.record.policy.is_empty() {
        true => key_policy::document(call.account()).to_string(),
        false => key.record.policy,
    };
    Ok(Output { policy, policy_name: key_policy::NAME })
}
