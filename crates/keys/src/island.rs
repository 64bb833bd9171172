//! What a gateway seals while it is cut off: to a public key, whose private one comes from the tenant's key.
//!
//! The public key is no secret, so it stays in memory when leases end; and what is sealed to it opens to nobody at the island, also not to
//! who takes the machine. When the metadata are in reach again, whoever may have the tenant's key opens it.

use std::sync::Arc;

use base::AccountId;
use envelope::{Locked, open_to, seal_to, wing_public};
use zeroize::Zeroizing;

use crate::KeyError;
use crate::error::PortionError;
use crate::portions::Portions;
use crate::tenant::TenantKey;

/// What the key pair is derived for, and what is sealed to it.
const CONTEXT: &[u8] = b"island/1";

impl TenantKey {
    fn island_public(&self) -> Result<Vec<u8>, KeyError> {
        Ok(wing_public(&secret_of(self.newest())?)?)
    }

    /// Opens what was sealed to the public key of this one, or of one that was the tenant's before.
    fn open_of_island(&self, about: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut refused = KeyError::Wrong(envelope::EnvelopeError::Refused);
        for kek in self.all() {
            match open_to(&secret_of(kek)?, CONTEXT, about, sealed) {
                Ok(opened) => return Ok(opened),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }
}

fn secret_of(kek: &envelope::Kek) -> Result<Locked, KeyError> {
    Ok(Locked::copy_of(&*kek.derive_secret(CONTEXT)?))
}

impl Portions {
    /// Sees to it that something can be sealed for those tenants whose keys are in use here, when this process is cut off. To be called
    /// every few seconds.
    ///
    /// # Errors
    /// [`PortionError::Key`] never in practice.
    pub fn prepare_islands(&self) -> Result<(), PortionError> {
        for (account, key, version) in self.caches.without_island_key() {
            self.caches.remember_island_key(account, version, key.island_public()?.into());
        }
        Ok(())
    }

    /// Seals a small secret for the tenant, without any secret: it is bound to what it is `about`.
    ///
    /// # Errors
    /// [`PortionError::CutOff`] where this process has not had the tenant's key since it started.
    pub fn seal_at_island(&self, account: AccountId, about: &[u8], secret: &[u8]) -> Result<Vec<u8>, PortionError> {
        let why = "no key to seal for the tenant was had before";
        let public: Arc<[u8]> =
            self.caches.island_key(account).ok_or(PortionError::CutOff { portion: account.to_string(), why })?;
        Ok(seal_to(&public, CONTEXT, about, secret, self.doors.rng.as_ref()).map_err(KeyError::from)?)
    }

    /// Opens what [`Self::seal_at_island`] sealed.
    ///
    /// # Errors
    /// [`PortionError::Key`] where it was sealed for somebody or something else; as the tenant's key is not to be had.
    pub async fn open_of_island(
        &self,
        account: AccountId,
        about: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, PortionError> {
        self.on_lease().await?;
        Ok(self.tenant_key(account).await?.open_of_island(about, sealed)?)
    }
}
