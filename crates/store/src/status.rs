//! What operators are told.

use base::limits::COLUMNS;
use meta::record::{Record, RepairRecord, Resync, SiteRecord, key};
use meta::{Batch, Range, Write};
use serde::{Deserialize, Serialize};
use sites::{SiteState, read_marker, write_marker};

use crate::bucket::after;
use crate::commit::is;
use crate::{Error, Store};

/// Rows of the repair queue read for a status; past it the numbers are a lower bound.
const BACKLOG_ROWS_MAX: u64 = 100_000;

/// The one word that a status opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every site is up and every shard at home: any two sites may be lost.
    Whole,
    /// Everything is readable and writable; fewer further sites may be lost.
    Degraded,
    /// Data is out of reach now, or damaged beyond repair.
    Losing,
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
    /// Further sites that may be lost without losing data.
    pub tolerates: u8,
    /// Buckets.
    pub buckets: u64,
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
}

impl WorkerReport {
    pub(crate) fn idle(name: &str) -> Self {
        Self { name: name.to_owned(), state: "idle".to_owned(), queue: 0, done: 0, last_error: None, progress: None }
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
        let mut resync_left = 0;
        for slot in 0..COLUMNS as u8 {
            let report = self.site_report(slot, total).await?;
            resync_left += report.resync.as_ref().map_or(0, |resync| resync.total.saturating_sub(resync.done));
            sites.push(report);
        }
        let (blobs, bytes) = self.backlog().await?;
        let backlog = blobs + resync_left;
        let rate = *self.0.workers.repair.rate.lock();
        let scrub = self.scrub_progress();
        let (state, tolerates) = judge(&sites, backlog, scrub.unrepairable);
        Ok(Status {
            state,
            summary: summary(state, &sites, blobs, backlog, scrub.unrepairable),
            sites,
            at_risk_blobs: blobs,
            at_risk_bytes: bytes,
            repair_backlog: backlog,
            repair_rate_per_s: rate,
            repair_eta_s: (rate > 0.0 && backlog > 0).then(|| (backlog as f64 / rate).ceil() as u64),
            tolerates,
            buckets: self.count(key::buckets()).await?,
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
            put_p95_ms: view.put_p95_ms,
            get_p95_ms: view.get_p95_ms,
        })
    }

    /// Blobs and bytes in the repair queue.
    async fn backlog(&self) -> Result<(u64, u64), Error> {
        let (mut from, to) = key::repairs();
        let (mut blobs, mut bytes) = (0, 0);
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 5000 }).await?;
            for (_, row) in &page.rows {
                blobs += 1;
                bytes += RepairRecord::decode(&row.value)?.bytes;
            }
            match page.rows.last() {
                Some((last, _)) if page.more && blobs < BACKLOG_ROWS_MAX => from = after(last),
                _ => return Ok((blobs, bytes)),
            }
        }
    }

    /// Gives a slot to the empty site that now stands at its place, and starts to refill it.
    /// Without `force` the site must be out of service and carry no marker.
    ///
    /// # Errors
    /// [`Error::NoSuchSite`], [`Error::Invalid`] when the site is in service or is not empty,
    /// [`Error::Site`] when it cannot be written, or a metadata error.
    pub async fn replace_site(&self, name: &str, force: bool) -> Result<(), Error> {
        let slot = self.0.pool.slot_of(name).ok_or_else(|| Error::NoSuchSite(name.to_owned()))?;
        let site = self.0.pool.site(slot);
        self.0.pool.probe_all().await;
        if !force && self.0.pool.state(slot).readable() {
            return Err(Error::Invalid("the site is in service; use --force to refill it all the same"));
        }
        if !force && read_marker(site.as_ref()).await?.is_some() && self.0.pool.state(slot) == SiteState::Foreign {
            return Err(Error::Invalid(
                "the place carries another cluster's marker; empty it, or use --force to take it over",
            ));
        }
        let site_key = key::site_key(slot);
        let now_ms = self.now_ms();
        let marker = self
            .until_won(|| async {
                let found = self.record::<SiteRecord>(site_key.clone()).await?;
                let (mut record, version) = found.ok_or_else(|| Error::NoSuchSite(name.to_owned()))?;
                record.since_ms = now_ms;
                record.resync = Some(Resync { started_ms: now_ms, cursor: Vec::new(), done: 0 });
                let marker = self.marker(slot, &record);
                let writes = vec![Write::Put(site_key.clone(), record.encode())];
                Ok((Batch { checks: vec![is(site_key.clone(), version)], writes }, marker))
            })
            .await?;
        write_marker(site.as_ref(), &marker).await?;
        self.0.pool.expect(slot, marker);
        *self.0.workers.repair.resync_total.lock() = self.count(key::blobs()).await?;
        self.0.pool.probe_all().await;
        self.0.workers.wake_repair.notify_one();
        Ok(())
    }
}

/// The word, and how many further sites may go.
fn judge(sites: &[SiteReport], backlog: u64, unrepairable: u64) -> (State, u8) {
    let unreadable = sites.iter().filter(|site| !matches!(site.state.as_str(), "up" | "slow" | "full" | "read-only"));
    let unreadable = unreadable.count();
    let incomplete = sites.iter().filter(|site| site.resync.is_some() && site.state == "up").count();
    let lacking = unreadable + incomplete;
    let tolerates = if unrepairable > 0 { 0 } else { 2usize.saturating_sub(lacking) as u8 };
    let state = if unreadable > 2 || unrepairable > 0 {
        State::Losing
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
        State::Losing => format!("data is out of reach: {bad}"),
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
            (up, 7, 0, State::Degraded, 2),
            (["down", "up", "up", "up", "up"], 0, 0, State::Degraded, 1),
            (["down", "up", "empty", "up", "up"], 0, 0, State::Degraded, 0),
            (["down", "up", "empty", "up", "foreign"], 0, 0, State::Losing, 0),
            (["full", "read-only", "slow", "up", "up"], 0, 0, State::Degraded, 2),
            (up, 0, 1, State::Losing, 0),
        ];
        for (states, backlog, unrepairable, state, tolerates) in table {
            assert_eq!(judge(&sites(states), backlog, unrepairable), (state, tolerates), "{states:?}");
        }
    }
}
