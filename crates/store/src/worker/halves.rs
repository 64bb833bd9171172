//! Looks after the halves of tenants' keys that customers hold: asks for them before their leases end, and drops what
//! is under those that ended.

use std::time::Duration;

use crate::{Error, Store};

/// Shortest pause between two looks: a keeper may be slow to say no.
const PAUSE: Duration = Duration::from_millis(100);

impl Store {
    /// One look, and the pause after it.
    pub(crate) async fn look_after_halves(&self) -> Result<(), Error> {
        self.0.portions.find_halves().await?;
        let (due, next_ms) = self.0.portions.look_after_halves();
        for account in due {
            // A keeper that does not answer must not keep other tenants waiting, nor the end of a lease.
            let portions = self.0.portions.clone();
            self.0.tasks.spawn(async move { portions.renew_half(account).await });
        }
        tokio::select! {
            () = self.0.portions.halves_changed() => {}
            () = tokio::time::sleep(PAUSE.max(Duration::from_millis(next_ms))) => {}
        }
        Ok(())
    }
}
