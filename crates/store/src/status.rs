//! What operators are told.

use base::limits::{COLUMNS, DATA_COLUMNS};
use base::{AccountId, BlobId};
use keys::quorum::Missing;
use meta::record::{BlobRecord, Record, RepairReason, RepairRecord, Resync, SiteRecord, key};
use meta::{Batch, Range, Write, after, stale};
use serde::{Deserialize, Serialize};
use sites::{SiteState, read_marker, write_marker};

use crate::blob::Shape;
use crate::commit::is;
use crate::worker::RepairReport;
use crate::{Error, Store};

/// Rows of the repair queue read for a status; past it the numbers are a lower bound.
const BACKLOG_ROWS_MAX: u64 = 100_000;
/// Blobs in the repair queue whose placement is looked up for a status; past it the worst is assumed.
const PLACED_MAX: usize = 5_000;
/// Columns of a stripe that may be lost.
const SPARE_COLUMNS: u8 = (COLUMNS - DATA_COLUMNS) as u8;
/// Sites that must take a write's five shards, two at most each.
const WRITE_SITES_MIN: usize = 3;

/// The one word that a status opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every site is up and every shard at home: any two sites may be lost.
    Whole,
    /// Everything is readable and writable; fewer further sites may be lost.
    Degraded,
    /// Everything is readable; fewer than three sites take writes, so writes are refused.
    #[serde(rename = "read-only")]
    ReadOnly,
    /// Data is out of reach now, or damaged beyond repair.
    Losing,
}

impl State {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Whole, Self::Degraded, Self::ReadOnly, Self::Losing];

    /// The word itself, as operators and JSON have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Degraded => "degraded",
            Self::ReadOnly => "read-only",
            Self::Losing => "losing",
        }
    }
}

/// The store's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The word.
    pub state: State,
    /// One sentence: which sites, since when, what is at risk.
    pub summary: String,
    /// The five sites, by slot.
    pub sites: Vec<SiteReport>,
    /// Blobs known to have a shard away from home, missing or damaged.
    pub at_risk_blobs: u64,
    /// Their bytes.
    pub at_risk_bytes: u64,
    /// Blobs that repair has still to do, replaced sites included.
    pub repair_backlog: u64,
    /// Blobs a second that repair does now; 0 when it is idle.
    pub repair_rate_per_s: f64,
    /// Seconds until repair is done at that rate.
    pub repair_eta_s: Option<u64>,
    /// How far repair is, and how fast it may go.
    pub repair: RepairReport,
    /// Further sites that may be lost without losing data.
    pub tolerates: u8,
    /// What was found wrong with the set-up at the start.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Buckets.
    pub buckets: u64,
    /// Where events go.
    #[serde(default)]
    pub targets: Vec<TargetReport>,
    /// Background workers.
    pub workers: Vec<WorkerReport>,
    /// When this server started, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Holdfast's version.
    pub version: String,
}

/// One site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteReport {
    /// 0 to 4.
    pub slot: u8,
    /// As configured.
    pub name: String,
    /// As configured.
    pub url: String,
    /// `up`, `slow`, `full`, `read-only`, `down`, `empty` or `foreign`.
    pub state: String,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// What is wrong.
    pub error: Option<String>,
    /// The refill after a replacement.
    pub resync: Option<ResyncReport>,
    /// Shards put since start.
    pub puts: u64,
    /// Shard reads since start.
    pub gets: u64,
    /// Failed operations since start.
    pub errors: u64,
    /// Shards found there with wrong bytes since start.
    #[serde(default)]
    pub damaged: u64,
    /// 95th percentile of puts, milliseconds.
    pub put_p95_ms: f64,
    /// 95th percentile of reads, milliseconds.
    pub get_p95_ms: f64,
}

/// How far a replaced site is refilled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResyncReport {
    /// Blobs done.
    pub done: u64,
    /// All blobs.
    pub total: u64,
}

/// A target of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// Its name.
    pub name: String,
    /// `webhook`, `nats`, or `not configured` when events wait for a target that is gone.
    pub kind: String,
    /// Where it is.
    pub address: String,
    /// Events that wait.
    pub queued: u64,
    /// Events that may wait.
    pub queue_max: u64,
    /// Events delivered, ever.
    pub delivered: u64,
    /// Attempts that failed since start.
    pub failed: u64,
    /// Events dropped, ever, because the queue was full.
    pub dropped: u64,
    /// The last failure, until a delivery succeeds.
    pub last_error: Option<String>,
    /// When the target last took an event, milliseconds since the Unix epoch.
    pub last_delivery_ms: Option<u64>,
}

/// A background worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its name.
    pub name: String,
    /// `idle`, `running` or `stopped`.
    pub state: String,
    /// Things waiting.
    pub queue: u64,
    /// Things done since start.
    pub done: u64,
    /// The last failure, until a pass succeeds.
    pub last_error: Option<String>,
    /// Done and total of the current pass.
    pub progress: Option<(u64, u64)>,
    /// Bytes of what is done, where the worker moves bytes and not things; 0 for others.
    #[serde(default)]
    pub bytes: u64,
}

impl WorkerReport {
    pub(crate) fn idle(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: "idle".to_owned(),
            queue: 0,
            done: 0,
            last_error: None,
            progress: None,
            bytes: 0,
        }
    }
}

/// How far a scrub is, or what the last one found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubProgress {
    /// Whether it runs.
    pub running: bool,
    /// When it began, milliseconds since the Unix epoch; 0 if none ever ran.
    pub started_ms: u64,
    /// When it ended.
    pub finished_ms: Option<u64>,
    /// Blobs done.
    pub blobs_done: u64,
    /// All blobs.
    pub blobs_total: u64,
    /// Shards looked at.
    pub shards_checked: u64,
    /// Bytes read.
    pub bytes_checked: u64,
    /// Shards with wrong bytes.
    pub damaged: u64,
    /// Shards missing at live sites.
    pub missing: u64,
    /// Shards rebuilt or moved home.
    pub mended: u64,
    /// Shards that could not be rebuilt.
    pub unrepairable: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// How a site is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replace {
    /// Even if the site is in service or carries a marker.
    pub force: bool,
    /// Even if keys in shares are lost with what it has.
    pub lose_keys: bool,
}

/// A finished scrub's outcome, for callers that wait.
pub type ScrubSummary = ScrubProgress;

impl Store {
    /// The store's state, from what is known now; no site is asked.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn status(&self) -> Result<Status, Error> {
        let mut sites = Vec::new();
        let total = *self.0.workers.repair.resync_total.lock();
        let mut resync_left = 0_u64;
        for slot in 0..COLUMNS as u8 {
            let report = self.site_report(slot, total).await?;
            // One walk fills all of them.
            let left = report.resync.as_ref().map_or(0, |resync| resync.total.saturating_sub(resync.done));
            resync_left = resync_left.max(left);
            sites.push(report);
        }
        let dead = dead_slots(&sites);
        let Backlog { blobs, bytes, tolerates: queued } = self.backlog(&dead).await?;
        let repair = self.repair_report().await?;
        // The gateway that leads has read all of the queue, and counted what it walks over.
        let counted: u64 = repair.queued.iter().map(|class| class.blobs).sum();
        let backlog = if blobs < BACKLOG_ROWS_MAX { blobs } else { blobs.max(counted) };
        let backlog = backlog + resync_left.max(repair.to_walk);
        let scrub = self.scrub_progress();
        let (state, tolerates) = judge(&sites, backlog, queued, scrub.unrepairable);
        let mut warnings = self.0.warnings.lock().clone();
        let (state, cut_off) = match (self.is_away(), state) {
            (true, State::Whole | State::Degraded) => (State::ReadOnly, true),
            (is_away, state) => (state, is_away),
        };
        if cut_off {
            warnings.push(format!(
                "this gateway is cut off from the metadata: it reads on, from a copy that is {} s old, as long as portions say (`holdfast \
                 portion cut-off`), and writes where buckets say (`holdfast island`)",
                stale::age_ms().unwrap_or_default().div_ceil(1000)
            ));
        }
        Ok(Status {
            state,
            summary: summary(state, &sites, blobs, backlog, scrub.unrepairable),
            sites,
            at_risk_blobs: blobs,
            at_risk_bytes: bytes,
            repair_backlog: backlog,
            repair_rate_per_s: repair.blobs_per_s,
            repair_eta_s: repair.eta_s.filter(|_| backlog > 0),
            repair,
            tolerates,
            warnings,
            buckets: self.count(key::buckets(AccountId::DEFAULT)).await?
                + self.count(key::all_tenants_buckets()).await?,
            targets: self.targets(),
            workers: self.workers(),
            started_ms: self.0.started_ms,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    async fn site_report(&self, slot: u8, total: u64) -> Result<SiteReport, Error> {
        let view = self.0.pool.view(slot);
        let record = self.record::<SiteRecord>(key::site_key(slot)).await?;
        let resync = record.and_then(|(record, _)| record.resync);
        Ok(SiteReport {
            slot,
            name: view.name,
            url: view.url,
            state: view.state.word().to_owned(),
            since_ms: view.since_ms,
            error: view.error,
            resync: resync.map(|resync| ResyncReport { done: resync.done, total: total.max(resync.done) }),
            puts: view.puts,
            gets: view.gets,
            errors: view.errors,
            damaged: view.damaged,
            put_p95_ms: view.put_p95_ms,
            get_p95_ms: view.get_p95_ms,
        })
    }

    /// What is in the repair queue, and how many further sites its blobs can lose.
    async fn backlog(&self, dead: &[bool; COLUMNS]) -> Result<Backlog, Error> {
        let (mut from, to) = key::repairs();
        let mut found = Backlog { blobs: 0, bytes: 0, tolerates: Some(SPARE_COLUMNS) };
        let mut placed = 0;
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 1000 }).await?;
            let mut queued = Vec::with_capacity(page.rows.len());
            for (row_key, row) in &page.rows {
                let record = RepairRecord::decode(&row.value)?;
                found.blobs += 1;
                found.bytes += record.bytes;
                queued.extend(key::blob_of(row_key).map(|blob| (blob, record)));
            }
            if placed < PLACED_MAX {
                placed += queued.len();
                found.tolerates = found.tolerates.min(self.weakest(&queued, dead).await?);
            } else if !queued.is_empty() {
                found.tolerates = found.tolerates.min(Some(0));
            }
            match page.rows.last() {
                Some((last, _)) if page.more && found.blobs < BACKLOG_ROWS_MAX => from = after(last),
                _ => return Ok(found),
            }
        }
    }

    /// Further sites that each of these blobs survives; `None` when one is out of reach now.
    async fn weakest(&self, queued: &[(BlobId, RepairRecord)], dead: &[bool; COLUMNS]) -> Result<Option<u8>, Error> {
        let keys: Vec<_> = queued.iter().map(|(blob, _)| key::blob_key(*blob)).collect();
        let mut weakest = Some(SPARE_COLUMNS);
        for ((blob, repair), row) in queued.iter().zip(self.0.meta.get(&keys).await?) {
            let Some(row) = row else { continue };
            let record = BlobRecord::decode(&row.value)?;
            let shape = Shape::of_blob(*blob, &record);
            // What was handed off is whole where it lies; for other reasons columns are gone.
            let lost = if repair.reason == RepairReason::HandedOff { 0 } else { repair.columns };
            let some_at_home = record.away.len() < shape.segments() as usize;
            let at_home = some_at_home.then(|| shape.home(0));
            let away = record.away.iter().map(|placement| placement.slots);
            for slots in at_home.into_iter().chain(away) {
                weakest = weakest.min(survives(&slots, dead, lost));
            }
        }
        Ok(weakest)
    }

    /// Gives a slot to the empty site that now stands at its place, and starts to refill it.
    /// Without `force` the site must be out of service and carry no marker. In any case three others must have a share of every
    /// key in shares, unless `lose_keys`: its own end with its epoch keys, also where they lie on a disk that is only not mounted.
    ///
    /// # Errors
    /// [`Error::NoSuchSite`], [`Error::Invalid`] when the site is in service or is not empty, or keys would be lost,
    /// [`Error::Site`] when it cannot be written, or a metadata error; [`keys::PortionError::NoEpochKeys`] when the site is replaced
    /// and gets no epoch keys.
    pub async fn replace_site(&self, name: &str, how: Replace) -> Result<(), Error> {
        let Replace { force, lose_keys } = how;
        let slot = self.0.pool.slot_of(name).ok_or_else(|| Error::NoSuchSite(name.to_owned()))?;
        let site = self.0.pool.site(slot);
        self.0.pool.probe_all().await;
        if !force && self.0.pool.state(slot).readable() {
            return Err(Error::Invalid("the site is in service; use --force to refill it all the same"));
        }
        if !force && read_marker(site.as_ref()).await?.is_some() {
            return Err(Error::Invalid(match self.0.pool.state(slot) {
                SiteState::Foreign => {
                    "the place carries another cluster's marker, or that of an old disk; empty it, or use --force to take it over"
                }
                // It did not answer a moment ago.
                _ => {
                    "the site is back, with its marker; look at `holdfast site list`, or use --force to refill it all the same"
                }
            }));
        }
        if !lose_keys && self.keys_rest_on(slot).await? {
            return Err(Error::Invalid(
                "keys of class quorum have shares at fewer than three other sites, and would be lost with this one's epoch keys: \
                 bring the others back, mount the disks with their epoch files, and wait until `holdfast worker list` has no error of \
                 `shares`; or bring this site's own disk back; use --lose-keys to replace it all the same",
            ));
        }
        let site_key = key::site_key(slot);
        let now_ms = self.now_ms();
        let begin = self.place_to_join(slot).await?;
        let marker = self
            .until_won(|| async {
                let found = self.record::<SiteRecord>(site_key.clone()).await?;
                let (mut record, version) = found.ok_or_else(|| Error::NoSuchSite(name.to_owned()))?;
                // Later than the site before it, also by a clock that went back: else its epoch keys would not end.
                record.since_ms = now_ms.max(record.since_ms.saturating_add(1));
                record.resync = Some(Resync::after(begin.clone(), now_ms));
                let marker = self.marker(slot, &record);
                let writes = vec![Write::Put(site_key.clone(), record.encode())];
                Ok((Batch { checks: vec![is(site_key.clone(), version)], writes }, marker))
            })
            .await?;
        write_marker(site.as_ref(), &marker).await?;
        self.0.pool.expect(slot, marker.clone());
        let settled = self.settle_shares(marker, Missing::IsFirst).await;
        self.0.portions.record_site_keys().await?;
        self.0.quorum.wake();
        *self.0.workers.repair.resync_total.lock() = self.count(key::blobs()).await?;
        self.0.pool.probe_all().await;
        self.0.workers.wake_repair.notify_one();
        // The refill goes on; that it holds no shares must be known all the same.
        settled.map_err(Error::Portion)
    }
}

struct Backlog {
    blobs: u64,
    bytes: u64,
    /// Further sites that every blob in the queue survives; `None` when one is out of reach.
    tolerates: Option<u8>,
}

fn readable(site: &SiteReport) -> bool {
    matches!(site.state.as_str(), "up" | "slow" | "full" | "read-only")
}

/// Which slots cannot be counted on for old shards: not readable, or not refilled yet.
fn dead_slots(sites: &[SiteReport]) -> [bool; COLUMNS] {
    std::array::from_fn(|slot| sites.get(slot).is_none_or(|site| !readable(site) || site.resync.is_some()))
}

/// How many further sites may go, whichever they are, before a stripe so placed is lost. `None`:
/// more columns are gone already than can be spared.
fn survives(slots: &[u8; COLUMNS], dead: &[bool; COLUMNS], lost: u8) -> Option<u8> {
    let mut unreachable = 0;
    let mut loads = Vec::new();
    for (slot, dead) in dead.iter().enumerate() {
        let load = slots.iter().filter(|at| usize::from(**at) == slot).count() as u8;
        if *dead { unreachable += load } else { loads.push(load) }
    }
    // What was found missing was found so at the dead sites, as a rule: not counted twice.
    let mut spare = SPARE_COLUMNS.checked_sub(unreachable.max(lost))?;
    // The worst case: the sites with the most columns go first.
    loads.sort_unstable_by_key(|load| std::cmp::Reverse(*load));
    let mut sites = 0;
    for load in loads {
        match spare.checked_sub(load) {
            Some(rest) if load > 0 => (spare, sites) = (rest, sites + 1),
            _ => break,
        }
    }
    Some(sites)
}

/// The word, and how many further sites may go.
fn judge(sites: &[SiteReport], backlog: u64, queued: Option<u8>, unrepairable: u64) -> (State, u8) {
    let lacking = dead_slots(sites).iter().filter(|dead| **dead).count() as u8;
    let unreadable = sites.iter().filter(|site| !readable(site)).count();
    let writable = sites.iter().filter(|site| site.state == "up").count();
    if unreadable > usize::from(SPARE_COLUMNS) || unrepairable > 0 {
        return (State::Losing, 0);
    }
    let Some(queued) = queued else { return (State::Losing, 0) };
    let tolerates = SPARE_COLUMNS.saturating_sub(lacking).min(queued);
    let state = if writable < WRITE_SITES_MIN {
        State::ReadOnly
    } else if lacking > 0 || backlog > 0 || sites.iter().any(|site| site.state != "up") {
        State::Degraded
    } else {
        State::Whole
    };
    (state, tolerates)
}

fn summary(state: State, sites: &[SiteReport], blobs: u64, backlog: u64, unrepairable: u64) -> String {
    let bad: Vec<String> =
        sites.iter().filter(|site| site.state != "up").map(|site| format!("{} is {}", site.name, site.state)).collect();
    let bad = bad.join(", ");
    match state {
        State::Whole => "all five sites are up and every shard is at home".to_owned(),
        State::Losing if unrepairable > 0 => format!("{unrepairable} shards cannot be rebuilt from what is in reach"),
        State::Losing if bad.is_empty() => "blobs are out of reach until they are repaired".to_owned(),
        State::Losing => format!("data is out of reach: {bad}"),
        State::ReadOnly => format!("writes are refused until three sites take them: {bad}; every read is answered"),
        State::Degraded if bad.is_empty() => format!("all sites are up; {backlog} blobs are being repaired"),
        State::Degraded if blobs == 0 => format!("{bad}; every read and write is still answered"),
        State::Degraded => format!("{bad}; {blobs} blobs have shards away from home"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(states: [&str; 5]) -> Vec<SiteReport> {
        let report = |slot: usize, state: &str| SiteReport {
            slot: slot as u8,
            name: format!("dc{slot}"),
            url: String::new(),
            state: state.to_owned(),
            since_ms: 0,
            error: None,
            resync: None,
            puts: 0,
            gets: 0,
            errors: 0,
            damaged: 0,
            put_p95_ms: 0.0,
            get_p95_ms: 0.0,
        };
        states.iter().enumerate().map(|(slot, state)| report(slot, state)).collect()
    }

    #[test]
    fn the_word() {
        let up = ["up"; 5];
        let table = [
            (up, 0, 0, State::Whole, 2),
            (["full", "full", "down", "up", "up"], 0, 0, State::ReadOnly, 1),
            (up, 7, 0, State::Degraded, 2),
            (["down", "up", "up", "up", "up"], 0, 0, State::Degraded, 1),
            (["down", "up", "empty", "up", "up"], 0, 0, State::Degraded, 0),
            (["down", "up", "empty", "up", "foreign"], 0, 0, State::Losing, 0),
            (["full", "read-only", "up", "up", "up"], 0, 0, State::Degraded, 2),
            (["full", "read-only", "slow", "up", "up"], 0, 0, State::ReadOnly, 2),
            (up, 0, 1, State::Losing, 0),
        ];
        for (states, backlog, unrepairable, state, tolerates) in table {
            assert_eq!(judge(&sites(states), backlog, Some(2), unrepairable), (state, tolerates), "{states:?}");
        }
        assert_eq!(judge(&sites(up), 1, Some(1), 0), (State::Degraded, 1));
        assert_eq!(judge(&sites(up), 1, None, 0), (State::Losing, 0));
    }

    #[test]
    fn a_stripe_survives() {
        let none = [false; 5];
        let dead = |slots: &[usize]| std::array::from_fn(|slot| slots.contains(&slot));
        // (placement, dead slots, columns lost) -> further sites that may go
        let table = [
            ([0, 1, 2, 3, 4], none, 0, Some(2)),
            ([0, 1, 2, 3, 4], none, 1, Some(1)),
            ([0, 1, 2, 3, 4], dead(&[4]), 0, Some(1)),
            ([0, 1, 2, 3, 4], dead(&[3, 4]), 0, Some(0)),
            ([0, 1, 2, 3, 4], dead(&[2, 3, 4]), 0, None),
            ([2, 2, 3, 3, 4], none, 0, Some(1)),
            ([2, 2, 3, 3, 4], dead(&[0, 1]), 0, Some(1)),
            ([2, 2, 3, 3, 4], dead(&[4]), 0, Some(0)),
            ([2, 2, 3, 3, 4], dead(&[2]), 0, Some(0)),
            ([2, 2, 3, 3, 4], dead(&[2, 4]), 0, None),
            ([0, 0, 1, 2, 3], dead(&[4]), 0, Some(1)),
            ([0, 1, 2, 3, 4], none, 3, None),
            ([0, 1, 2, 3, 4], dead(&[3, 4]), 1, Some(0)),
            ([0, 1, 2, 3, 4], dead(&[4]), 2, Some(0)),
        ];
        for (slots, dead, lost, expected) in table {
            assert_eq!(survives(&slots, &dead, lost), expected, "{slots:?} {dead:?} {lost}");
        }
    }
}
