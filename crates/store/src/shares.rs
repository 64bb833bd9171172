//! Shares of keys at the sites: who holds them, and when they are looked after.

use std::array;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::AccountId;
use base::limits::COLUMNS;
use keys::quorum::{EpochPlace, Missing, NEEDED, ShareHolder, SiteIdentity, SiteShares};
use keys::{PortionError, Tended};
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

/// The words for more than two sites whose epoch files are on one device: with it every key in shares is lost.
fn crowded(sites: &[String; COLUMNS], devices: &[Option<u64>; COLUMNS]) -> Option<String> {
    let on = |device: u64| -> Vec<&str> {
        let together = sites.iter().zip(devices).filter(|(_, at)| **at == Some(device));
        together.map(|(site, _)| site.as_str()).collect()
    };
    let most = devices.iter().flatten().map(|device| on(*device)).max_by_key(Vec::len)?;
    (most.len() > COLUMNS - NEEDED).then(|| {
        format!(
            "the epoch files of {} lie on one device: who loses it loses every portion of class quorum; give sites an `epochs` \
             folder on a disk of their own",
            most.join(", ")
        )
    })
}

impl Store {
    /// The site that its marker tells holds the shares of its slot. Without its epoch keys it holds none, and the rest
    /// goes on.
    ///
    /// # Errors
    /// [`PortionError::NoEpochKeys`], which is logged as well.
    pub(crate) async fn settle_shares(&self, marker: Marker, missing: Missing) -> Result<(), PortionError> {
        let Marker { cluster, slot, name, created_ms } = marker;
        let holder = &self.0.shares[usize::from(slot) % COLUMNS];
        let identity = SiteIdentity { cluster, slot, name: name.clone(), since_ms: created_ms };
        holder.settle(identity, missing).await.map_err(|why| {
            tracing::error!(site = %name, error = %why, "a site holds no shares of keys");
            PortionError::NoEpochKeys { site: name, why: why.to_string() }
        })
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
    async fn settle_again(&self) -> Result<(), Error> {
        for holder in &self.0.shares {
            if holder.identity().is_ok() {
                continue;
            }
            let slot = holder.slot();
            if let Some((record, _)) = self.record::<SiteRecord>(key::site_key(slot)).await? {
                // Told in the log, and tried again.
                let _ = self.settle_shares(self.marker(slot, &record), self.missing_epochs(slot).await?).await;
            }
        }
        Ok(())
    }

    /// The accounts that may have keys in shares.
    async fn with_shares(&self) -> Result<Vec<AccountId>, Error> {
        let mut accounts: Vec<_> = self.each_tenant().await?.iter().map(Self::account).collect();
        // Tenants that were deleted have shares until all sites destroyed them.
        each_row(self.0.meta.as_ref(), key::departed(), |row_key, _| {
            accounts.extend(key::departed_of(row_key));
            Ok::<_, Error>(())
        })
        .await?;
        Ok(accounts)
    }

    /// Whether keys in shares would be lost with what a site has.
    ///
    /// # Errors
    /// A metadata or key error.
    pub(crate) async fn keys_rest_on(&self, slot: u8) -> Result<bool, Error> {
        let accounts = self.with_shares().await?;
        Ok(self.0.portions.resting_on(&accounts, slot).await? > 0)
    }

    /// Reads all shares, to find those that rot; the next pass over shares makes them anew.
    ///
    /// # Errors
    /// A metadata or key error.
    pub(crate) async fn read_shares(&self) -> Result<(), Error> {
        let accounts = self.with_shares().await?;
        let (read, rotten) = self.0.portions.read_shares(&accounts).await?;
        self.0.workers.report("share-scrub", |report| {
            report.done += read;
            report.last_error =
                (rotten > 0).then(|| format!("{rotten} of {read} shares did not open; they are made anew"));
        });
        Ok(())
    }

    /// What is to be told of where the epoch keys lie. Waits for the disks.
    pub(crate) async fn look_at_epochs(&self) {
        let Some(files) = self.0.options.epochs.clone() else { return };
        let sites: [String; COLUMNS] = array::from_fn(|slot| self.0.pool.view(slot as u8).name);
        let look = move || {
            let device = |file: &PathBuf| std::fs::metadata(file).ok().map(|found| found.dev());
            crowded(&sites, &files.each_ref().map(device))
        };
        if let Ok(Some(warning)) = tokio::task::spawn_blocking(look).await {
            tracing::warn!("{warning}");
            *self.0.warnings.lock() = vec![warning];
        }
    }

    /// One pass over the shares of all tenants' keys.
    ///
    /// # Errors
    /// A metadata or key error.
    pub async fn tend_shares(&self) -> Result<Tended, Error> {
        self.settle_again().await?;
        let accounts = self.with_shares().await?;
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
        let done = self.tend_shares().await;
        let settled = self.0.shares.iter().all(|holder| holder.identity().is_ok());
        let left = done.as_ref().map_or(true, |done| done.lacking + done.waiting > 0) || !settled;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_epoch_files_on_a_device_are_fine_and_three_are_told() {
        let sites: [String; COLUMNS] = array::from_fn(|slot| format!("dc{slot}"));
        let (a, b, c) = (Some(1), Some(2), Some(3));
        let table = [
            ([a, b, c, a, b], None),
            ([a, a, None, None, None], None),
            ([None; COLUMNS], None),
            ([a, b, a, c, a], Some("dc0, dc2, dc4 lie")),
            ([b, b, b, b, b], Some("dc0, dc1, dc2, dc3, dc4 lie")),
        ];
        for (devices, expected) in table {
            let told = crowded(&sites, &devices);
            assert_eq!(told.is_some(), expected.is_some(), "{devices:?}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{devices:?}");
        }
    }
}
