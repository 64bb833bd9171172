//! Encrypt.

use keys::EncryptionContext;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::limits::PLAINTEXT_MAX;
use crate::validate::{self, SYMMETRIC};
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    plaintext: Option<Blob>,
    #[serde(default)]
    encryption_context: EncryptionContext,
    #[serde(default)]
    grant_tokens: Vec<String>,
    encryption_algorithm: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    ciphertext_blob: Blob,
    key_id: String,
    encryption_algorithm: &'static str,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let plaintext = validate::required(input.plaintext, "plaintext")?;
    validate::length(plaintext.0.len(), "plaintext", PLAINTEXT_MAX)?;
    validate::algorithm(input.encryption_algorithm.as_deref(), "encryptionAlgorithm")?;
    validate::grant_tokens(&input.grant_tokens)?;
    let values = call.with_context(&input.encryption_context);
    let key = call.key("kms:Encrypt", input.key_id.as_deref(), Aliases::Taken, values).await?;
    key.must_be_enabled()?;
    validate::dry_run(input.dry_run)?;
    let sealed = call.portions().encrypt(call.account(), key.id, &input.encryption_context, &plaintext.0).await;
    let ciphertext_blob = sealed.map_err(|error| key.fault(error))?.into();
    Ok(Output { ciphertext_blob, key_id: key.arn, encryption_algorithm: SYMMETRIC })
}
