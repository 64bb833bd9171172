//! Decrypt.

use keys::EncryptionContext;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::call::{Aliases, Asked, Call, Key};
use crate::error::{Code, Fault};
use crate::limits::CIPHERTEXT_MAX;
use crate::validate::{self, SYMMETRIC};
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    ciphertext_blob: Option<Blob>,
    #[serde(default)]
    encryption_context: EncryptionContext,
    #[serde(default)]
    grant_tokens: Vec<String>,
    key_id: Option<String>,
    encryption_algorithm: Option<String>,
    recipient: Option<IgnoredAny>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_id: String,
    plaintext: Blob,
    encryption_algorithm: &'static str,
}

/// A ciphertext to open.
pub(crate) struct Sealed<'a> {
    /// What the caller must be allowed.
    pub(crate) action: &'a str,
    pub(crate) ciphertext: &'a [u8],
    pub(crate) context: &'a EncryptionContext,
    /// The key that it must be under.
    pub(crate) under: Option<&'a str>,
    pub(crate) asked: Asked<'a>,
    /// Whether nothing is to be done but to say whether it might be.
    pub(crate) dry_run: Option<bool>,
}

impl Sealed<'_> {
    /// # Errors
    /// `InvalidCiphertextException`, `IncorrectKeyException`, `DryRunOperationException`, or as [`Call::key`].
    pub(crate) async fn open(self, call: &Call<'_>) -> Result<(Key, Zeroizing<Vec<u8>>), Fault> {
        let found = keys::key_of(self.ciphertext);
        let key = match (self.under, found) {
            (Some(_), _) => call.key(self.action, self.under, Aliases::Taken, self.asked).await?,
            (None, Some((name, _))) => {
                let key = call.key_of_id(self.action, name.portion, self.asked).await;
                // It may be another account's: nobody learns which.
                key.map_err(|fault| match fault.code {
                    Code::NotFound => keys::PortionError::Ciphertext.into(),
                    _ => fault,
                })?
            }
            (None, None) => return Err(keys::PortionError::Ciphertext.into()),
        };
        key.must_be_enabled()?;
        match found {
            Some((name, _)) if name.portion == key.id => {}
            Some(_) => return Err(keys::PortionError::OtherKey.into()),
            None => return Err(keys::PortionError::Ciphertext.into()),
        }
        // A dry run has no key released, and spends nothing.
        validate::dry_run(self.dry_run)?;
        let opened = call.portions().decrypt(call.account(), Some(key.id), self.context, self.ciphertext).await;
        let opened = opened.map_err(|error| key.fault(error))?;
        Ok((key, opened.plain))
    }
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let ciphertext = validate::required(input.ciphertext_blob, "ciphertextBlob")?;
    validate::length(ciphertext.0.len(), "ciphertextBlob", CIPHERTEXT_MAX)?;
    validate::algorithm(input.encryption_algorithm.as_deref(), "encryptionAlgorithm")?;
    validate::grant_tokens(&input.grant_tokens)?;
    validate::no_recipient(input.recipient.as_ref())?;
    let sealed = Sealed {
        action: "kms:Decrypt",
        ciphertext: &ciphertext.0,
        context: &input.encryption_context,
        under: input.key_id.as_deref(),
        asked: call.with_context(&input.encryption_context),
        dry_run: input.dry_run,
    };
    let (key, plain) = sealed.open(call).await?;
    Ok(Output { key_id: key.arn, plaintext: plain.into(), encryption_algorithm: SYMMETRIC })
}
