//! GenerateDataKey.

use keys::EncryptionContext;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call, Key};
use crate::error::Fault;
use crate::limits::RANDOM_MAX;
use crate::validate;
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    #[serde(default)]
    encryption_context: EncryptionContext,
    number_of_bytes: Option<i64>,
    key_spec: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
    recipient: Option<IgnoredAny>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    ciphertext_blob: Blob,
    plaintext: Blob,
    key_id: String,
}

/// A data key that was made.
pub(crate) struct Made {
    pub(crate) key: Key,
    pub(crate) plain: Blob,
    pub(crate) sealed: Blob,
}

/// What this operation and the one that tells no plaintext do.
///
/// # Errors
/// As [`run`].
pub(crate) async fn make(call: &Call<'_>, action: &str, input: Input) -> Result<Made, Fault> {
    validate::word(input.key_spec.as_deref(), "keySpec", &["AES_256", "AES_128"], &[])?;
    let bytes = match (input.key_spec.as_deref(), input.number_of_bytes) {
        (Some("AES_128"), None) => 16,
        (Some(_), None) => 32,
        (None, Some(bytes)) => validate::between(bytes, "numberOfBytes", 1, RANDOM_MAX)?,
        _ => return Err(Fault::invalid("Please specify either number of bytes or key spec.")),
    };
    validate::grant_tokens(&input.grant_tokens)?;
    validate::no_recipient(input.recipient.as_ref())?;
    let context = &input.encryption_context;
    let key = call.key(action, input.key_id.as_deref(), Aliases::Taken, call.with_context(context)).await?;
    key.must_be_enabled()?;
    validate::dry_run(input.dry_run)?;
    let bytes = usize::try_from(bytes).unwrap_or_default();
    let made = call.portions().data_key(call.account(), key.id, context, bytes).await;
    let (plain, sealed) = made.map_err(|error| key.fault(error))?;
    Ok(Made { key, plain: plain.into(), sealed: sealed.into() })
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let Made { key, plain, sealed } = make(call, "kms:GenerateDataKey", input).await?;
    Ok(Output { ciphertext_blob: sealed, plaintext: plain, key_id: key.arn })
}
