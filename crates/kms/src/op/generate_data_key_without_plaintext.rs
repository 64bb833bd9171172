//! GenerateDataKeyWithoutPlaintext.

use serde::Serialize;

use crate::call::Call;
use crate::error::Fault;
use crate::op::generate_data_key::{Input, make};
use crate::wire::Blob;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    ciphertext_blob: Blob,
    key_id: String,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let made = make(call, "kms:GenerateDataKeyWithoutPlaintext", input).await?;
    Ok(Output { ciphertext_blob: made.sealed, key_id: made.key.arn })
}
