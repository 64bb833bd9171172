//! Keys in shares: each version of a key of class quorum exists only as five shares, one at each site; three give it.
//!
//! [`ShareHolder`] is who holds shares: [`SiteShares`] at a site, [`MemoryShares`] in tests. The formats are specified in
//! `docs/spec/quorum.md`, the reasons are in `docs/design/0013-quorum.md`.

pub mod conformance;
mod epochs;
mod holder;
mod memory;
pub mod receipt;
mod site;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::Rng;
use base::limits::COLUMNS;
use envelope::{EnvelopeError, Joined, Kek, Point, deal, join};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meta::record::SharesRecord;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};
use tokio::time::{Instant, timeout, timeout_at};

use crate::KeyError;
use crate::error::PortionError;
use crate::tenant::TenantKey;
use crate::wrap::{KeyName, PortionKey};

pub use epochs::{EpochMemory, EpochPlace, Missing};
pub(crate) use holder::drawer_of;
pub use holder::{Destroyed, EpochId, HolderError, SHARE_LEN, ShareHolder, ShareName, SiteIdentity};
pub use memory::{MemoryShares, Mood};
pub use site::SiteShares;

/// Shares that give a key.
pub const NEEDED: usize = 3;
/// Queues of those who wait for keys. Two keys in one queue wait for each other, a little.
const QUEUES: usize = 64;
/// Shares remembered as bad until they are made anew.
const SUSPECTS_MAX: usize = 10_000;

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For a share that is read or put, and in all for a key.
    pub within: Duration,
    /// For the other sites once enough have a share of a new key.
    pub straggler: Duration,
    /// For a site that destroys shares. It seals others anew, of which there may be thousands.
    pub destroy: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(5),
            straggler: Duration::from_millis(1500),
            destroy: Duration::from_secs(120),
        }
    }
}

/// Five holders of shares.
pub struct Quorum {
    pub(crate) holders: [Arc<dyn ShareHolder>; COLUMNS],
    pub(crate) bounds: Bounds,
    queues: Vec<tokio::sync::Mutex<()>>,
    /// Held by who destroys shares or makes them anew: none is made anew of what is being destroyed.
    pub(crate) upkeep: tokio::sync::Mutex<()>,
    suspects: Mutex<HashSet<(usize, ShareName)>>,
    woken: Notify,
}

impl Quorum {
    /// Holders in the order of their sites' slots.
    pub fn new(holders: [Arc<dyn ShareHolder>; COLUMNS], bounds: Bounds) -> Self {
        Self {
            holders,
            bounds,
            queues: (0..QUEUES).map(|_| tokio::sync::Mutex::default()).collect(),
            upkeep: tokio::sync::Mutex::default(),
            suspects: Mutex::default(),
            woken: Notify::new(),
        }
    }

    /// Says that shares are to be put right.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Resolves when somebody said so since the last call.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Whether no site has a share of anything. A site without its epoch keys may have some: it cannot say.
    pub(crate) fn is_empty(&self) -> bool {
        self.holders.iter().all(|holder| holder.identity().is_ok() && holder.drawers().is_empty())
    }

    pub(crate) fn site(&self, slot: usize) -> String {
        let identity = self.holders.get(slot).map(|holder| holder.identity());
        identity.and_then(Result::ok).map_or_else(|| format!("site {slot}"), |site| site.name)
    }

    fn why(&self, failed: &[(usize, HolderError)]) -> String {
        let told: Vec<String> = failed.iter().map(|(slot, error)| format!("{} {error}", self.site(*slot))).collect();
        if told.is_empty() { "they do not fit together".to_owned() } else { told.join("; ") }
    }

    fn unavailable(&self, name: &str, have: usize, why: String) -> PortionError {
        metrics::counter!("holdfast_quorum_unavailable_total").increment(1);
        PortionError::KeyUnavailable { name: name.to_owned(), have, need: NEEDED, why }
    }

    /// The turn to ask for a key: of many who want the same, one asks and the others find it remembered.
    pub(crate) async fn queue(&self, name: KeyName, portion: &str) -> Result<MutexGuard<'_, ()>, PortionError> {
        let at = (usize::from(drawer_of(name.portion)) + name.version as usize) % QUEUES;
        let turn = timeout(self.bounds.within, self.queues[at].lock()).await;
        turn.map_err(|_| self.unavailable(portion, 0, "others have waited for them long already".to_owned()))
    }

    /// Makes a version of a key: it is in at least three shares, durably, and nowhere else.
    ///
    /// # Errors
    /// [`PortionError::KeyUnavailable`].
    pub(crate) async fn make(
        &self,
        tenant: &TenantKey,
        key: KeyName,
        portion: &str,
        rng: &dyn Rng,
    ) -> Result<SharesRecord, PortionError> {
        let kek = Kek::generate(rng);
        let mut set = [0; 16];
        rng.fill(&mut set);
        let name = ShareName { key, set };
        let verifier = kek.verifier(&tenant.quorum_context(&name)).map_err(KeyError::from)?;
        let points =
            deal(&kek, NEEDED as u8, COLUMNS as u8, rng).map_err(|_| KeyError::Wrong(EnvelopeError::Refused))?;
        let mut running = FuturesUnordered::new();
        for (slot, point) in points.iter().enumerate() {
            let share = tenant.seal_share(&name, point, rng)?;
            running.push(async move { (slot, self.put(slot, &name, &share).await) });
        }
        let (mut done, mut failed) = (0, Vec::new());
        let mut until = Instant::now() + self.bounds.within;
        while let Ok(Some((slot, put))) = timeout_at(until, running.next()).await {
            match put {
                Ok(()) => done += 1,
                Err(error) => failed.push((slot, error)),
            }
            if done == NEEDED {
                until = until.min(Instant::now() + self.bounds.straggler);
            }
        }
        if done < NEEDED {
            return Err(self.unavailable(portion, done, self.why(&failed)));
        }
        if done < COLUMNS {
            tracing::warn!(portion, version = key.version, shares = done, "a key was made in fewer than five shares");
            self.wake();
        }
        Ok(SharesRecord { set, verifier })
    }

    async fn put(&self, slot: usize, name: &ShareName, share: &[u8]) -> Result<(), HolderError> {
        let put = timeout(self.bounds.within, self.holders[slot].put(name, share)).await;
        put.unwrap_or_else(|_| Err(late()))
    }

    /// A version of a key.
    ///
    /// # Errors
    /// [`PortionError::KeyUnavailable`].
    pub(crate) async fn open(
        &self,
        tenant: &TenantKey,
        key: KeyName,
        portion: &str,
        shares: &SharesRecord,
    ) -> Result<PortionKey, PortionError> {
        let (joined, absent) = self.gather(tenant, key, portion, shares).await;
        // Not in what sets it right: while the site takes no writes, that would ask itself again and again.
        if absent {
            self.wake();
        }
        let joined = joined?;
        Ok(PortionKey::new(key, joined.key))
    }

    /// Asks all holders at once until three shares give the key that the verifier knows; and whether one said that it has none.
    pub(crate) async fn gather(
        &self,
        tenant: &TenantKey,
        key: KeyName,
        portion: &str,
        shares: &SharesRecord,
    ) -> (Result<Joined, PortionError>, bool) {
        let name = ShareName { key, set: shares.set };
        let context = tenant.quorum_context(&name);
        let is_it = |key: &Kek| key.is_verified_by(&context, &shares.verifier);
        let mut running: FuturesUnordered<_> =
            (0..COLUMNS).map(|slot| async move { (slot, self.read(slot, tenant, &name).await) }).collect();
        let (mut points, mut failed): (Vec<Point>, Vec<_>) = (Vec::new(), Vec::new());
        let mut absent = false;
        while let Some((slot, read)) = running.next().await {
            match read {
                Ok(point) => points.push(point),
                Err(error) => {
                    if error == HolderError::Damaged {
                        self.suspect(slot, name);
                    }
                    absent |= error == HolderError::Absent;
                    failed.push((slot, error));
                    continue;
                }
            }
            if let Some(joined) = join(&points, NEEDED as u8, is_it) {
                for number in &joined.false_points {
                    self.suspect(usize::from(number - 1), name);
                }
                return (Ok(joined), absent);
            }
        }
        (Err(self.unavailable(portion, points.len(), self.why(&failed))), absent)
    }

    pub(crate) async fn read(&self, slot: usize, tenant: &TenantKey, name: &ShareName) -> Result<Point, HolderError> {
        let read = timeout(self.bounds.within, self.holders[slot].get(name)).await;
        let share = read.unwrap_or_else(|_| Err(late()))?;
        tenant.open_share(name, slot as u8 + 1, &share).map_err(|_| HolderError::Damaged)
    }

    /// A share that is not what was put: told, and made anew by the next pass.
    pub(crate) fn suspect(&self, slot: usize, name: ShareName) {
        let mut suspects = self.suspects.lock();
        if suspects.len() < SUSPECTS_MAX && suspects.insert((slot, name)) {
            metrics::counter!("holdfast_quorum_false_shares_total").increment(1);
            let (site, portion, version) = (self.site(slot), name.key.portion, name.key.version);
            tracing::error!(%site, %portion, version, "a site gave a false share; it will be made anew");
            drop(suspects);
            self.wake();
        }
    }

    /// Whether a site gave a false share.
    pub(crate) fn suspects(&self, slot: usize, name: &ShareName) -> bool {
        self.suspects.lock().contains(&(slot, *name))
    }

    /// Sees to it that a site has a share, whose value others gave; whether it had to be put. One that is false makes
    /// room first, which is safe since three others are true; `wanted` as in [`ShareHolder::destroy`].
    pub(crate) async fn replace(
        &self,
        slot: usize,
        tenant: &TenantKey,
        name: &ShareName,
        point: &Point,
        share: &[u8],
        wanted: &[ShareName],
    ) -> Result<bool, HolderError> {
        match self.read(slot, tenant, name).await {
            Ok(found) if verify_slices_are_equal(found.value(), point.value()).is_ok() => {
                self.suspects.lock().remove(&(slot, *name));
                return Ok(false);
            }
            Ok(_) | Err(HolderError::Damaged) => {
                let is_it = |found: &ShareName| found == name;
                let destroyed = self.holders[slot].destroy(name.drawer(), &is_it, wanted);
                timeout(self.bounds.destroy, destroyed).await.unwrap_or_else(|_| Err(late()))?;
            }
            Err(HolderError::Absent) => {}
            Err(error) => return Err(error),
        }
        self.put(slot, name, share).await?;
        self.suspects.lock().remove(&(slot, *name));
        Ok(true)
    }
}

fn late() -> HolderError {
    HolderError::Away("it did not answer in time".to_owned())
}
