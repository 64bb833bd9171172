//! Shares of keys at the sites: who holds them, and when they are looked after.

use std::array;
use std::sync::Arc;
use std::time::Duration;

use base::limits::COLUMNS;
use keys::Tended;
use keys::quorum::{EpochPlace, Missing, ShareHolder, SiteIdentity, SiteShares};
use meta::each_row;
use meta::record::{SiteRecord, key};
use sites::{Marker, Pool, SiteState};
use tokio::time::Instant;

use crate::{Error, Options, Store};

/// Longest pause between looks at all shares.
const EVERY: Duration = Duration::from_secs(3600);
/// The same while something is left to do.
const AGAIN: Duration = Duration::from_secs(60);
/// Shortest pause between looks that somebody asks for: each lists all that the sites have.
const PAUSE: Duration = Duration::from_secs(5);
/// Pause between looks at the states of the sites.
const STATES_EVERY: Duration = Duration::from_secs(1);

/// A holder for each site of the pool.
pub(crate) fn holders(pool: &Arc<Pool>, options: &Options) -> [Arc<SiteShares>; COLUMNS] {
    array::from_fn(|slot| {
        let place = match &options.epochs {
            Some(files) => EpochPlace::File(files[slot].clone()),
            None => EpochPlace::Memory(Arc::default()),
        };
        Arc::new(SiteShares::new(pool.clone(), slot as u8, place, options.doors.rng.clone()))
    })
}

impl Store {
    /// The site that its marker tells holds the shares of its slot. Without its epoch keys it holds none, and the rest
    /// goes on.
    pub(crate) async fn settle_shares(&self, marker: Marker, missing: Missing) {
        let Marker { cluster, slot, name, created_ms } = marker;
        let holder = &self.0.shares[usize::from(slot) % COLUMNS];
        let identity = SiteIdentity { cluster, slot, name: name.clone(), since_ms: created_ms };
        if let Err(error) = holder.settle(identity, missing).await {
            tracing::error!(site = %name, %error, "a site holds no shares of keys");
        }
    }

    /// What a slot's epoch keys are if they are not there: lost, where a site in it ever signed with its own.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn missing_epochs(&self, slot: u8) -> Result<Missing, Error> {
        // What lies in memory is never there at a start.
        let had = self.0.options.epochs.is_some() && self.0.portions.has_site_key(slot).await?;
        Ok(if had { Missing::IsLost } else { Missing::IsFirst })
    }

    /// Sites whose epoch keys were not to be had: their disk may be mounted by now.
    async fn settle_again(&self) -> Result<bool, Error> {
        let mut settled = true;
        for holder in &self.0.shares {
            if holder.identity().is_ok() {
                continue;
            }
            let slot = holder.slot();
            if let Some((record, _)) = self.record::<SiteRecord>(key::site_key(slot)).await? {
                self.settle_shares(self.marker(slot, &record), self.missing_epochs(slot).await?).await;
            }
            settled &= holder.identity().is_ok();
        }
        Ok(settled)
    }

    /// One pass over the shares of all tenants' keys.
    ///
    /// # Errors
    /// A metadata or key error.
    pub async fn tend_shares(&self) -> Result<Tended, Error> {
        let mut accounts: Vec<_> = self.each_tenant().await?.iter().map(Self::account).collect();
        // Tenants that were deleted have shares until all sites destroyed them.
        each_row(self.0.meta.as_ref(), key::departed(), |row_key, _| {
            accounts.extend(key::departed_of(row_key));
            Ok::<_, Error>(())
        })
        .await?;
        let done = self.0.portions.tend(&accounts).await;
        self.0.workers.report("shares", |report| {
            report.state = "idle".to_owned();
            if let Ok(done) = &done {
                report.done += done.made + done.destroyed + done.receipts;
                report.last_error = (done.unavailable > 0)
                    .then(|| format!("{} keys have fewer than three shares within reach", done.unavailable));
            }
        });
        Ok(done?)
    }

    /// Looks after shares until something asks for it again.
    pub(crate) async fn tend_and_wait(&self) -> Result<(), Error> {
        let states = || -> [SiteState; COLUMNS] { array::from_fn(|slot| self.0.pool.state(slot as u8)) };
        let seen = states();
        let settled = self.settle_again().await;
        let done = self.tend_shares().await;
        let left = done.as_ref().map_or(true, |done| done.lacking + done.waiting > 0) || !settled.unwrap_or(false);
        let (begun, until) = (Instant::now(), Instant::now() + if left { AGAIN } else { EVERY });
        while Instant::now() < until && states() == seen {
            tokio::select! {
                () = self.0.quorum.woken(), if begun.elapsed() >= PAUSE => break,
                () = tokio::time::sleep(STATES_EVERY) => {}
            }
        }
        done.map(drop)
    }
}
