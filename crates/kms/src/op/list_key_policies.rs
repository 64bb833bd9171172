//! ListKeyPolicies.

use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::key_policy;
use crate::page::{self, Pages};

const PAGES: Pages = Pages { default: 100, max: 1_000 };

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    limit: Option<i64>,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    policy_names: [&'static str; 1],
    truncated: bool,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    PAGES.limit(input.limit)?;
    // No page of it ever had another behind it.
    page::after("policies", input.marker.as_deref())?;
    call.key("kms:ListKeyPolicies", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    Ok(Output { policy_names: [key_policy::NAME], truncated: false })
}
