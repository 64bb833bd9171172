//! What the KMS API does with a portion's key: messages sealed and opened, data keys made.
//!
//! A ciphertext is `HFK1`, the portion's id (16), the key version (4, big endian), and what
//! `docs/spec/wrap.md` calls a small secret, for the context below. The encryption context is bound, not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AccountId, PortionId};
use release::Action;
use zeroize::Zeroizing;

use crate::error::PortionError;
use crate::lease::Lease;
use crate::portions::Portions;
use crate::wrap::KeyName;

/// First bytes of a ciphertext.
const MAGIC: &[u8] = b"HFK1";

/// What a caller binds a ciphertext to.
pub type EncryptionContext = BTreeMap<String, String>;

/// An opened ciphertext.
pub struct Opened {
    /// The key that it was under.
    pub key: KeyName,
    /// What was sealed.
    pub plain: Zeroizing<Vec<u8>>,
}

impl Portions {
    /// Seals a message under the newest version of a portion's key.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, [`PortionError::Key`] for more than
    /// 1 MiB, or a metadata error.
    pub async fn encrypt(
        &self,
        account: AccountId,
        id: PortionId,
        context: &EncryptionContext,
        plain: &[u8],
    ) -> Result<Vec<u8>, PortionError> {
        self.release_to_caller(account, id, Action::Seal).await?;
        let key = self.to_give_out(account, id).await?;
        let name = key.name();
        let sealed = key.seal(&bound(account, name, context), plain, self.doors.rng.as_ref())?;
        Ok([MAGIC, name.portion.as_bytes(), &name.version.to_be_bytes(), &sealed].concat())
    }

    /// The version that is sealed under from now on: the next one, where the newest is too old for more.
    ///
    /// # Errors
    /// [`PortionError::NoSuchPortion`], the state that forbids it, or a metadata error.
    pub async fn newest(&self, account: AccountId, id: PortionId) -> Result<KeyName, PortionError> {
        Ok(self.to_give_out(account, id).await?.name())
    }

    /// Opens a ciphertext. `under`: it must be under this portion's key.
    ///
    /// # Errors
    /// [`PortionError::Ciphertext`], [`PortionError::OtherKey`], the state that forbids it, or a
    /// metadata error.
    pub async fn decrypt(
        &self,
        account: AccountId,
        under: Option<PortionId>,
        context: &EncryptionContext,
        ciphertext: &[u8],
    ) -> Result<Opened, PortionError> {
        let (name, sealed) = key_of(ciphertext).ok_or(PortionError::Ciphertext)?;
        if under.is_some_and(|id| id != name.portion) {
            return Err(PortionError::OtherKey);
        }
        // Not of this account, or never: nobody learns which.
        let hidden = |error| match error {
            PortionError::NoSuchPortion(_) | PortionError::NoSuchVersion { .. } => PortionError::Ciphertext,
            error => error,
        };
        // No site gives a share for somebody to whom nothing is released.
        let lease = self.release_to_caller(account, name.portion, Action::Open).await.map_err(hidden)?;
        let key = self.to_open(account, name).await.map_err(hidden)?;
        let plain = key.open(&bound(account, name, context), sealed).map_err(|_| PortionError::Ciphertext)?;
        if let (Some(lease), Some(caller)) = (lease, &self.caller) {
            self.spend(&lease, caller, 1, plain.len() as u64).await?;
        }
        Ok(Opened { key: name, plain })
    }

    /// Whether the caller would get anything sealed and opened now: both are released to it, as if it had asked for them.
    ///
    /// # Errors
    /// [`PortionError::Release`], [`PortionError::UnreadablePolicies`], or as [`Self::release`].
    pub async fn must_be_released(&self, account: AccountId, id: PortionId) -> Result<(), PortionError> {
        for action in [Action::Open, Action::Seal] {
            self.release_to_caller(account, id, action).await?;
        }
        Ok(())
    }

    async fn release_to_caller(
        &self,
        account: AccountId,
        id: PortionId,
        action: Action,
    ) -> Result<Option<Arc<Lease>>, PortionError> {
        match &self.caller {
            Some(caller) => self.release(caller, account, id, action).await.map(Some),
            None => Ok(None),
        }
    }

    /// Random bytes, and the same sealed under a portion's key.
    ///
    /// # Errors
    /// As [`Self::encrypt`].
    pub async fn data_key(
        &self,
        account: AccountId,
        id: PortionId,
        context: &EncryptionContext,
        bytes: usize,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), PortionError> {
        let plain = self.random(bytes);
        let sealed = self.encrypt(account, id, context, &plain).await?;
        Ok((plain, sealed))
    }

    /// Random bytes fit for keys.
    pub fn random(&self, bytes: usize) -> Zeroizing<Vec<u8>> {
        let mut random = Zeroizing::new(vec![0; bytes]);
        self.doors.rng.fill(&mut random);
        random
    }
}

/// The key that a ciphertext says it is under, and the rest of it.
pub fn key_of(ciphertext: &[u8]) -> Option<(KeyName, &[u8])> {
    let (portion, rest) = ciphertext.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
    let (version, sealed) = rest.split_first_chunk::<4>()?;
    Some((KeyName { portion: PortionId::from_bytes(*portion), version: u32::from_be_bytes(*version) }, sealed))
}

/// Lengths before texts, so that no two contexts share an encoding; sorted by the map.
fn bound(account: AccountId, name: KeyName, context: &EncryptionContext) -> Vec<u8> {
    let mut bound = b"kms/1".to_vec();
    bound.extend_from_slice(&account.to_bytes());
    bound.extend_from_slice(name.portion.as_bytes());
    bound.extend_from_slice(&name.version.to_be_bytes());
    for text in context.iter().flat_map(|(key, value)| [key, value]) {
        bound.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bound.extend_from_slice(text.as_bytes());
    }
    bound
}
