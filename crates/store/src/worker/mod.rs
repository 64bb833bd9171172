//! Background work: probes, repair, collection, sweep, scrub. Each worker has a name, a state and
//! a last error that operators can list.

mod collect;
mod deliver;
mod depart;
mod expire;
mod halves;
mod mend;
mod pace;
mod plan;
mod progress;
mod refill;
mod repair;
mod reseal;
mod rewrap;
mod scrub;
mod sweep;
mod throttle;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base::{BodyId, PortionId};
use meta::record::Record;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use collect::Collected;
pub use deliver::TestReport;
pub use expire::{Expired, LIFECYCLE};
pub use mend::Mended;
pub use pace::RepairOptions;
pub use progress::{RepairChange, RepairReport, RiskReport};
pub use reseal::RekeyProgress;
pub use rewrap::Rewrapped;
pub use sweep::Swept;
pub use throttle::RepairBounds;

use crate::gateway::{BEAT_MS, Witness};
use crate::journal::checkpoint::Last;
use crate::pin::Held;
use crate::screen::LastPass;
use crate::status::WorkerReport;
use crate::{Error, Store};

/// Pause between repair passes when nothing wakes the worker.
const REPAIR_EVERY: Duration = Duration::from_secs(5);
/// Pause between collections.
const COLLECT_EVERY: Duration = Duration::from_secs(5);
/// Longest pause between lifecycle passes; when a day is made shorter, they come more often.
const LIFECYCLE_EVERY: Duration = Duration::from_secs(3600);
/// Pause between looks for keys that were rotated or are to be shredded.
const REWRAP_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for plaintext keys that count no more: they are gone after one and a half leases.
const STALE_KEYS_EVERY: Duration = Duration::from_millis(keys::LEASE_MS / 2);
/// Between two looks whether a checkpoint of the metadata is due.
const CHECKPOINT_LOOKS_EVERY: Duration = Duration::from_secs(10);
/// Between two looks whether this gateway leads now.
const FOLLOWER_LOOKS_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at what is not scanned by the newest definitions.
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// Between two looks at what was taken away from somebody: so soon it is noticed here.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause between sweeps, and between readings of all shares of keys.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// The first of each comes this long after the start, so that it finds what a crash left.
const SWEEP_FIRST: Duration = Duration::from_secs(60);

/// What the workers share and tell.
pub(crate) struct Workers {
    pub(crate) reports: Mutex<BTreeMap<String, WorkerReport>>,
    pub(crate) repair: repair::Repairs,
    pub(crate) paced: pace::Paced,
    pub(crate) scrub: scrub::Scrub,
    pub(crate) wake_repair: Notify,
    pub(crate) wake_rewrap: Notify,
    pub(crate) wake_rekey: Notify,
    pub(crate) wake_scan: Notify,
    /// Versions that are looked at now.
    pub(crate) scanning: Mutex<HashSet<BodyId>>,
    pub(crate) last_scan: Mutex<LastPass>,
    pub(crate) rests: rewrap::Rests,
    pub(crate) rekeys: Mutex<BTreeMap<PortionId, RekeyProgress>>,
    /// Whether a pass of rekeys is under way.
    pub(crate) rekeying: AtomicBool,
    pub(crate) pace: reseal::Pace,
    pub(crate) checkpointed: Mutex<Last>,
    /// What is to be collected once all others were heard of.
    pub(crate) collecting: Mutex<Option<(HashSet<Held>, Witness)>>,
}

impl Workers {
    pub(crate) fn new(repair: &RepairOptions) -> Self {
        Self {
            reports: Mutex::default(),
            repair: repair::Repairs::default(),
            paced: pace::Paced::new(repair.bounds),
            scrub: scrub::Scrub::default(),
            wake_repair: Notify::new(),
            wake_rewrap: Notify::new(),
            wake_rekey: Notify::new(),
            wake_scan: Notify::new(),
            scanning: Mutex::default(),
            last_scan: Mutex::default(),
            rests: rewrap::Rests::default(),
            rekeys: Mutex::default(),
            rekeying: AtomicBool::new(false),
            pace: reseal::Pace::default(),
            checkpointed: Mutex::default(),
            collecting: Mutex::default(),
        }
    }

    /// Changes a worker's report.
    pub(crate) fn report(&self, name: &str, change: impl FnOnce(&mut WorkerReport)) {
        let mut reports = self.reports.lock();
        change(reports.entry(name.to_owned()).or_insert_with(|| WorkerReport::idle(name)));
    }
}

impl Store {
    pub(crate) fn spawn_workers(&self) {
        self.spawn_loop("probe", |store| async move {
            store.0.pool.probe_all().await;
            tokio::time::sleep(store.0.pool.options().probe_every).await;
            Ok(())
        });
        self.spawn_led("repair", |store| async move {
            let changed = store.0.pool.changed();
            let done = store.repair_pass().await;
            if !store.leads() {
                // It may lead again in a moment, and then goes on.
                return done;
            }
            tokio::select! {
                () = changed => {}
                () = store.0.workers.wake_repair.notified() => {}
                () = tokio::time::sleep(store.repair_pause(REPAIR_EVERY)) => {}
            }
            done
        });
        self.spawn_led("collect", |store| async move {
            let done = store.collect_garbage().await.map(drop);
            tokio::time::sleep(COLLECT_EVERY).await;
            done
        });
        if self.0.options.scanner.is_some() {
            self.spawn_led("scan", |store| async move {
                let done = store.scan_what_is_new().await;
                tokio::select! {
                    () = store.0.workers.wake_scan.notified() => {}
                    () = tokio::time::sleep(SCAN_EVERY) => {}
                }
                done
            });
        }
        self.spawn_led("lifecycle", |store| async move {
            let done = store.expire().await.map(drop);
            tokio::time::sleep(LIFECYCLE_EVERY.min(store.0.options.lifecycle_day.duration() / 4)).await;
            done
        });
        self.spawn_led("rewrap", |store| async move {
            let done = store.shred_and_rewrap().await.map(drop);
            let done = store.take_tenants_apart().await.and(done);
            tokio::select! {
                () = store.0.workers.wake_rewrap.notified() => {}
                () = tokio::time::sleep(REWRAP_EVERY) => {}
            }
            done
        });
        if let Some(journal) = self.0.journal.clone() {
            self.0.tasks.spawn(journal.tell(self.0.stop.clone()));
            self.spawn_led("checkpoint", |store| async move {
                let done = store.checkpoint_when_due().await;
                tokio::time::sleep(CHECKPOINT_LOOKS_EVERY).await;
                done
            });
        }
        self.spawn_led("shares", |store| async move { store.tend_and_wait().await });
        self.spawn_led("share-scrub", |store| async move {
            tokio::time::sleep(SWEEP_FIRST).await;
            let done = store.read_shares().await;
            tokio::time::sleep(SWEEP_EVERY).await;
            done
        });
        self.spawn_led("rekey", |store| async move {
            let done = store.rekey_pass(&mut Rewrapped::default()).await;
            tokio::select! {
                () = store.0.workers.wake_rekey.notified() => {}
                () = tokio::time::sleep(REWRAP_EVERY) => {}
            }
            done
        });
        self.spawn_loop("keys", |store| async move {
            tokio::time::sleep(STALE_KEYS_EVERY).await;
            store.portions().drop_stale_keys();
            Ok(())
        });
        self.spawn_loop("lease", |store| async move {
            let done = store.portions().renew_site_lease().await.map_err(Error::from);
            tokio::time::sleep(LOOK_EVERY).await;
            done
        });
        self.spawn_loop("gateway", |store| async move {
            store.end_window();
            let done = store.keep_place().await;
            let done = store.pace_repair().await.and(done);
            tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
            done
        });
        self.spawn_loop("released", |store| async move {
            store.0.portions.write_down_owed().await;
            tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
            Ok(())
        });
        if self.0.island.is_some() {
            self.spawn_loop("island", |store| async move {
                let done = store.merge_island().await.map(drop);
                tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
                done
            });
        }
        self.spawn_loop("halves", |store| async move { store.look_after_halves().await });
        self.spawn_led("sweep", |store| async move {
            tokio::time::sleep(SWEEP_FIRST).await;
            let done = store.sweep(sweep::ORPHAN_AGE_MS).await.map(drop);
            let done = store.0.portions.remove_lapsed_requests().await.map(drop).map_err(Error::from).and(done);
            tokio::time::sleep(SWEEP_EVERY).await;
            done
        });
        self.spawn_delivery();
    }

    /// The same, where only one of all gateways does the work: the one that leads.
    fn spawn_led<F>(&self, name: impl Into<String>, step: impl Fn(Store) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let step = std::sync::Arc::new(step);
        self.spawn_loop(name, move |store| {
            let step = step.clone();
            async move {
                if store.leads() {
                    return step(store).await;
                }
                tokio::time::sleep(FOLLOWER_LOOKS_EVERY).await;
                Ok(())
            }
        });
    }

    /// Runs `step` again and again until shutdown; an error is reported and the loop goes on.
    fn spawn_loop<F>(&self, name: impl Into<String>, step: impl Fn(Store) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let name = name.into();
        self.0.workers.report(&name, |_| {});
        let store = self.clone();
        self.0.tasks.spawn(async move {
            let stop = store.0.stop.clone();
            loop {
                // Dropping a step half-way is safe: each commits in whole batches.
                let done = tokio::select! {
                    () = stop.cancelled() => break,
                    done = step(store.clone()) => done,
                };
                if let Err(error) = done {
                    tracing::warn!(worker = %name, %error, "worker failed; it goes on");
                    store.0.workers.report(&name, |report| report.last_error = Some(error.to_string()));
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
            }
            store.0.workers.report(&name, |report| report.state = "stopped".to_owned());
        });
    }

    /// What the workers are doing.
    pub fn workers(&self) -> Vec<WorkerReport> {
        self.0.workers.reports.lock().values().cloned().collect()
    }
}

/// A row's record. One that cannot be read is told and passed over: it must not stop the others.
pub(crate) fn readable<R: Record>(row_key: &[u8], value: &[u8]) -> Option<R> {
    let record = R::decode(value);
    if let Err(error) = &record {
        tracing::error!(row = %row_key.escape_ascii(), %error, "a row cannot be read; it is passed over");
    }
    record.ok()
}
