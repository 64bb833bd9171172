//! DescribeKey.

use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::metadata::KeyMetadata;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_metadata: KeyMetadata,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    validate::grant_tokens(&input.grant_tokens)?;
    let key = call.key("kms:DescribeKey", input.key_id.as_deref(), Aliases::Taken, call.values()).await?;
    Ok(Output { key_metadata: KeyMetadata::of(call, key) })
}
