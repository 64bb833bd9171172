//! GenerateRandom.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::Fault;
use crate::limits::RANDOM_MAX;
use crate::validate;
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    number_of_bytes: Option<i64>,
    custom_key_store_id: Option<String>,
    recipient: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    plaintext: Blob,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let bytes = validate::required(input.number_of_bytes, "numberOfBytes")?;
    let bytes = validate::between(bytes, "numberOfBytes", 1, RANDOM_MAX)?;
    validate::none(input.custom_key_store_id.as_ref(), "CustomKeyStoreId")?;
    validate::no_recipient(input.recipient.as_ref())?;
    call.may("kms:GenerateRandom", "*", &call.values())?;
    Ok(Output { plaintext: call.portions().random(usize::try_from(bytes).unwrap_or_default()).into() })
}
