//! ReEncrypt.

use keys::EncryptionContext;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::limits::CIPHERTEXT_MAX;
use crate::op::decrypt::Sealed;
use crate::validate::{self, SYMMETRIC};
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    ciphertext_blob: Option<Blob>,
    #[serde(default)]
    source_encryption_context: EncryptionContext,
    source_key_id: Option<String>,
    destination_key_id: Option<String>,
    #[serde(default)]
    destination_encryption_context: EncryptionContext,
    source_encryption_algorithm: Option<String>,
    destination_encryption_algorithm: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    ciphertext_blob: Blob,
    source_key_id: String,
    key_id: String,
    source_encryption_algorithm: &'static str,
    destination_encryption_algorithm: &'static str,
}

/// May be done by who may `kms:ReEncryptFrom` the one key and `kms:ReEncryptTo` the other.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let ciphertext = validate::required(input.ciphertext_blob, "ciphertextBlob")?;
    validate::length(ciphertext.0.len(), "ciphertextBlob", CIPHERTEXT_MAX)?;
    validate::algorithm(input.source_encryption_algorithm.as_deref(), "sourceEncryptionAlgorithm")?;
    validate::algorithm(input.destination_encryption_algorithm.as_deref(), "destinationEncryptionAlgorithm")?;
    validate::grant_tokens(&input.grant_tokens)?;
    let destination = validate::required(input.destination_key_id.as_deref(), "destinationKeyId")?;

    // Judged before anything is opened.
    let values = call.with_context(&input.destination_encryption_context);
    let to = call.key("kms:ReEncryptTo", Some(destination), Aliases::Taken, values).await?;
    to.must_be_enabled()?;
    let sealed = Sealed {
        action: "kms:ReEncryptFrom",
        ciphertext: &ciphertext.0,
        context: &input.source_encryption_context,
        under: input.source_key_id.as_deref(),
        asked: call.with_context(&input.source_encryption_context),
        dry_run: input.dry_run,
    };
    let (from, plain) = sealed.open(call).await?;
    let context = &input.destination_encryption_context;
    let ciphertext = call.portions().encrypt(call.account(), to.id, context, &plain).await;
    Ok(Output {
        ciphertext_blob: ciphertext.map_err(|error| to.fault(error))?.into(),
        source_key_id: from.arn,
        key_id: to.arn,
        source_encryption_algorithm: SYMMETRIC,
        destination_encryption_algorithm: SYMMETRIC,
    })
}
