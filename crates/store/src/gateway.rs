//! Several processes, the gateways, that serve one store: which of them live, what they hold, which one leads.
//!
//! Each writes a row every [`BEAT_MS`]. Nothing is compared between clocks of different machines, only counted by one's own:
//! * **The fence.** What makes bytes visible names the own row ([`Store::fence`]). A gateway whose row stood still for [`DEAD_MS`] loses
//!   it to whoever notices: then it is dead, whatever it believes, for it commits nothing that it wrote bytes for, and starts again as another
//!   one.
//! * **Two more beats.** What was found removable at some moment may go when every other gateway that was there has either gone, or told
//!   its holds in a row that it began after that moment and after its younger holds had come of age ([`Store::others_hold`]).
//! * **The leader** does what one does for all. Two leaders for a moment waste work and harm nothing.
//!
//! Where the engine is not shared there is one gateway, which leads, and none of this costs anything.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use base::GatewayId;
use base::limits::COLUMNS;
use meta::record::{GatewayRecord, Latency, Record, SiteRecord, key};
use meta::{Batch, Check, CommitError, Key, Version, Write, each_row};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pin::Held;
use crate::{Error, Store};

/// Milliseconds between two rows of a gateway. A hold as old as that is told.
pub(crate) const BEAT_MS: u64 = 3_000;
/// Milliseconds after which a row that stands still is taken for a dead gateway's. Far longer than a commit takes, since what a
/// gateway wrote bytes for is lost with its row.
const DEAD_MS: u64 = 30_000;
/// Milliseconds that a leader goes on without having seen that it is.
const LEAD_MS: u64 = 10_000;
/// Beats until a row tells all holds that there were at a moment: one may have been begun before it, the second is begun after
/// it, and at the third all holds of that moment are old enough to be told.
const BEATS: u64 = 3;
/// Most holds that a row tells: 64 KiB, half of what a row may have.
const HOLDS_MAX: usize = 4_096;
/// Milliseconds that a clock may be off the middle of all gateways' before it decides nothing that cannot be undone.
const CLOCK_OFF_MS: u64 = 60_000;

/// What this process knows of itself and of the others.
#[derive(Default)]
pub(crate) struct Gateways {
    state: Mutex<State>,
    /// Wakes who waits for the others' next rows.
    pub(crate) beaten: Notify,
}

#[derive(Default)]
struct State {
    /// `None`: nobody else serves the store.
    own: Option<GatewayId>,
    beat: u64,
    /// Which one leads, as it was seen last.
    leader: Option<GatewayId>,
    /// When it was seen last that this one leads, by the time that never goes back.
    led_ms: Option<u64>,
    others: HashMap<GatewayId, Other>,
    clock_off_ms: Option<i64>,
}

/// Another gateway's row.
#[derive(Clone)]
struct Other {
    version: Version,
    /// When this version was seen first.
    seen_ms: u64,
    record: GatewayRecord,
}

/// The others at a moment, and their beats.
pub(crate) struct Witness(HashMap<GatewayId, u64>);

/// A gateway, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GatewayReport {
    /// Its id, new with every start.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The version of its software.
    pub software: String,
    /// Milliseconds since the Unix epoch, by its own clock.
    pub started_ms: u64,
    /// Milliseconds since its row was seen to change; 0 for the one that was asked.
    pub silent_ms: u64,
    /// Milliseconds that its clock is ahead of that of the one that was asked, roughly.
    pub ahead_ms: i64,
    /// Whether it does what one does for all.
    pub leads: bool,
    /// Whether it is the one that was asked.
    pub is_this: bool,
}

impl Gateways {
    fn own(&self) -> Option<GatewayId> {
        self.state.lock().own
    }
}

impl State {
    /// Takes in the rows as they are at `passed_ms`. Returns those that stood still for too long.
    fn saw(
        &mut self,
        rows: Vec<(GatewayId, Version, GatewayRecord)>,
        passed_ms: u64,
        now_ms: u64,
    ) -> Vec<(GatewayId, Version)> {
        let mut others = HashMap::new();
        let mut dead = Vec::new();
        for (id, version, record) in rows {
            if Some(id) == self.own {
                continue;
            }
            let known = self.others.remove(&id).filter(|known| known.version == version);
            let other = known.unwrap_or(Other { version, seen_ms: passed_ms, record });
            if passed_ms.saturating_sub(other.seen_ms) >= DEAD_MS {
                dead.push((id, version));
            }
            others.insert(id, other);
        }
        self.others = others;
        self.clock_off_ms =
            off_the_middle(self.others.values().map(|other| other.ahead_ms(passed_ms, now_ms)).collect());
        dead
    }
}

impl Other {
    fn ahead_ms(&self, passed_ms: u64, now_ms: u64) -> i64 {
        let then = self.record.now_ms.saturating_add(passed_ms.saturating_sub(self.seen_ms));
        then.cast_signed().saturating_sub(now_ms.cast_signed())
    }
}

/// How far the own clock is off the middle of all, when that is too far. Two clocks do not tell which of them is wrong.
fn off_the_middle(mut ahead: Vec<i64>) -> Option<i64> {
    ahead.push(0);
    ahead.sort_unstable();
    let middle = ahead[ahead.len() / 2];
    (ahead.len() >= 3 && middle.unsigned_abs() > CLOCK_OFF_MS).then_some(-middle)
}

impl Store {
    /// Becomes a gateway among others, where the engine is one that others use.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn join(&self) -> Result<(), Error> {
        if !self.0.meta.is_shared() {
            return Ok(());
        }
        let own = GatewayId::random(self.0.options.doors.rng.as_ref());
        let writes = vec![Write::Put(key::gateway_key(own), self.gateway_record(1).encode())];
        self.0.meta.commit(Batch { checks: vec![Check::Absent(key::gateway_key(own))], writes }).await?;
        if let Some(reach) = &self.0.reach {
            reach.joined(own);
        }
        let mut state = self.0.gateways.state.lock();
        (state.own, state.beat, state.led_ms) = (Some(own), 1, None);
        Ok(())
    }

    /// Leaves, so that the others need not wait until it is taken for dead.
    pub(crate) async fn leave(&self) {
        let Some(own) = self.0.gateways.own() else { return };
        let batch = Batch { checks: vec![], writes: vec![Write::Delete(key::gateway_key(own))] };
        if let Err(error) = self.0.meta.commit(batch).await {
            tracing::warn!(%error, "the other gateways could not be told that this one stops; they notice within half a minute");
        }
    }

    /// What a batch names that makes bytes visible which this process wrote: that nobody took it for dead meanwhile. To be asked for before
    /// the first byte is written.
    pub(crate) fn fence(&self) -> Vec<Check> {
        self.0.gateways.own().map(|own| Check::Present(key::gateway_key(own))).into_iter().collect()
    }

    /// Whether this process does what one does for all.
    pub(crate) fn leads(&self) -> bool {
        let passed = self.0.options.doors.clock.passed_ms();
        let state = self.0.gateways.state.lock();
        match state.own {
            None => true,
            Some(_) => {
                state.clock_off_ms.is_none() && state.led_ms.is_some_and(|led| passed.saturating_sub(led) < LEAD_MS)
            }
        }
    }

    /// The time, for what cannot be undone.
    ///
    /// # Errors
    /// [`Error::ClockOff`] where most other gateways have another time.
    pub(crate) fn undisputed_ms(&self) -> Result<u64, Error> {
        match self.0.gateways.state.lock().clock_off_ms {
            Some(off_ms) => Err(Error::ClockOff { off_s: off_ms / 1000 }),
            None => Ok(self.now_ms()),
        }
    }

    /// Tells the others that this one lives and what it holds, looks after them, and leads if nobody does.
    ///
    /// # Errors
    /// A metadata error.
    pub async fn keep_place(&self) -> Result<(), Error> {
        if self.0.gateways.own().is_none() {
            return Ok(());
        }
        self.beat().await?;
        self.0.portions.prepare_islands()?;
        self.follow_sites().await?;
        for (dead, version) in self.look_at_gateways().await? {
            let row_key = key::gateway_key(dead);
            let batch =
                Batch { checks: vec![Check::Is(row_key.clone(), version)], writes: vec![Write::Delete(row_key)] };
            match self.0.meta.commit(batch).await {
                Ok(()) => tracing::warn!(gateway = %dead, "a gateway was not heard of for half a minute: it is out"),
                // It lives, or another one was faster.
                Err(CommitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.gateways.beaten.notify_waiters();
        self.stand_for_leader().await
    }

    /// Takes over which sites fill the slots: another gateway may have replaced one.
    async fn follow_sites(&self) -> Result<(), Error> {
        let keys: Vec<Key> = (0..COLUMNS as u8).map(key::site_key).collect();
        for (slot, row) in (0..).zip(self.0.meta.get(&keys).await?) {
            let Some(row) = row else { continue };
            let marker = self.marker(slot, &SiteRecord::decode(&row.value)?);
            if self.0.pool.expects(slot).is_some_and(|expected| expected != marker) {
                tracing::warn!(site = %marker.name, slot, "another gateway replaced a site");
                self.0.pool.expect(slot, marker);
                self.0.pool.probe_all().await;
            }
        }
        Ok(())
    }

    async fn beat(&self) -> Result<(), Error> {
        let (own, beat) = {
            let state = self.0.gateways.state.lock();
            let Some(own) = state.own else { return Ok(()) };
            (own, state.beat + 1)
        };
        let row_key = key::gateway_key(own);
        let writes = vec![Write::Put(row_key.clone(), self.gateway_record(beat).encode())];
        match self.0.meta.commit(Batch { checks: vec![Check::Present(row_key)], writes }).await {
            Ok(()) => {
                let mut state = self.0.gateways.state.lock();
                if state.own == Some(own) {
                    state.beat = beat;
                }
                Ok(())
            }
            Err(CommitError::Failed { .. }) => {
                tracing::warn!(
                    gateway = %own,
                    "this gateway was taken for dead: it was cut off, or stopped, for half a minute. What it was writing is refused, and it goes \
                     on as another one"
                );
                metrics::counter!("holdfast_gateway_expelled_total").increment(1);
                if meta::era(self.0.meta.as_ref()).await?.0 != self.0.era {
                    tracing::error!(
                        "the metadata came into another engine, or under another root key, while this gateway was out: it ends"
                    );
                    self.0.outdated.cancel();
                    return Err(Error::Expelled);
                }
                self.join().await
            }
            Err(error) => Err(error.into()),
        }
    }

    fn gateway_record(&self, beat: u64) -> GatewayRecord {
        let passed = self.0.options.doors.clock.passed_ms();
        let held = self.0.pins.held_for(BEAT_MS, passed);
        let holds_more = held.len() > HOLDS_MAX;
        let (mut blobs, mut bodies) = (Vec::new(), Vec::new());
        for held in held.into_iter().take(HOLDS_MAX) {
            match held {
                Held::Blob(blob) => blobs.push(blob),
                Held::Body(body) => bodies.push(body),
            }
        }
        GatewayRecord {
            name: self.0.options.gateway.clone(),
            started_ms: self.0.started_ms,
            now_ms: self.now_ms(),
            beat,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            blobs,
            bodies,
            holds_more,
            passed_ms: passed,
            foreground: self.0.workers.paced.told(),
        }
    }

    /// What clients of the others waited for, as far as it was not taken in before; `known` remembers what was.
    pub(crate) fn windows_of_others(&self, known: &mut HashMap<GatewayId, Version>) -> Vec<(GatewayId, Vec<Latency>)> {
        let state = self.0.gateways.state.lock();
        known.retain(|id, _| state.others.contains_key(id));
        let fresh = state.others.iter().filter(|(id, other)| known.insert(**id, other.version) != Some(other.version));
        fresh.map(|(id, other)| (*id, other.record.foreground.clone())).collect()
    }

    /// Reads all rows. Returns those of the dead.
    async fn look_at_gateways(&self) -> Result<Vec<(GatewayId, Version)>, Error> {
        let mut rows = Vec::new();
        each_row(self.0.meta.as_ref(), key::gateways(), |row_key, row| {
            if let Some(id) = key::gateway_of(row_key) {
                rows.push((id, row.version, GatewayRecord::decode(&row.value)?));
            }
            Ok::<_, Error>(())
        })
        .await?;
        let passed = self.0.options.doors.clock.passed_ms();
        let now = self.now_ms();
        let mut state = self.0.gateways.state.lock();
        let was_off = state.clock_off_ms.is_some();
        let before: HashSet<GatewayId> = state.others.keys().copied().collect();
        let dead = state.saw(rows, passed, now);
        if let (Some(journal), true) = (&self.0.journal, before.iter().any(|id| !state.others.contains_key(id))) {
            // What it meant to do in its last moment nobody tells any more: the next checkpoint does.
            journal.bytes.store(u64::MAX / 2, Ordering::Relaxed);
        }
        metrics::gauge!("holdfast_gateways").set(state.others.len() as f64 + 1.0);
        metrics::gauge!("holdfast_clock_off_seconds").set(state.clock_off_ms.unwrap_or_default() as f64 / 1000.0);
        if let (Some(off_ms), false) = (state.clock_off_ms, was_off) {
            tracing::error!(
                off_s = off_ms / 1000,
                "this machine's clock is off most other gateways': until it is right, nothing is done here that goes by the time and cannot be undone"
            );
        }
        Ok(dead)
    }

    async fn stand_for_leader(&self) -> Result<(), Error> {
        let Some(own) = self.0.gateways.own() else { return Ok(()) };
        let asked_ms = self.0.options.doors.clock.passed_ms();
        let row = self.row(key::leader_key()).await?;
        let leader = row.as_ref().and_then(|row| Some(GatewayId::from_bytes(row.value.as_ref().try_into().ok()?)));
        let is_own = leader == Some(own);
        let (is_off, other_leads) = {
            let mut state = self.0.gateways.state.lock();
            let is_off = state.clock_off_ms.is_some();
            state.leader = leader;
            state.led_ms = (is_own && !is_off).then_some(asked_ms);
            (is_off, leader.is_some_and(|leader| state.others.contains_key(&leader)))
        };
        match &row {
            Some(row) if is_own && is_off => return self.step_down(row.version).await,
            _ if is_own || is_off || other_leads => return Ok(()),
            _ => {}
        }
        let mut checks = vec![
            Check::unchanged(key::leader_key(), row.map(|row| row.version)),
            Check::Present(key::gateway_key(own)),
        ];
        checks.extend(leader.map(|gone| Check::Absent(key::gateway_key(gone))));
        let writes = vec![Write::Put(key::leader_key(), own.as_bytes().to_vec().into())];
        match self.0.meta.commit(Batch { checks, writes }).await {
            Ok(()) => {
                tracing::info!(gateway = %own, "this gateway leads now");
                let mut state = self.0.gateways.state.lock();
                (state.leader, state.led_ms) = (Some(own), Some(asked_ms));
                Ok(())
            }
            Err(CommitError::Failed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves the lead to the others: by a wrong clock none of what one does for all is done, and while the row is there nobody else does it.
    async fn step_down(&self, led_by: Version) -> Result<(), Error> {
        let row_key = key::leader_key();
        let batch = Batch { checks: vec![Check::Is(row_key.clone(), led_by)], writes: vec![Write::Delete(row_key)] };
        match self.0.meta.commit(batch).await {
            Ok(()) => {
                tracing::warn!("this machine's clock is off: another gateway leads from now on");
                Ok(())
            }
            Err(CommitError::Failed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The others as they are now. What is found removable before this is called may go when [`Self::others_hold`] says so.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn witness(&self) -> Result<Witness, Error> {
        if self.0.gateways.own().is_some() {
            self.look_at_gateways().await?;
        }
        let state = self.0.gateways.state.lock();
        Ok(Witness(state.others.iter().map(|(id, other)| (*id, other.record.beat)).collect()))
    }

    /// What the others held at the moment of the witness and hold still; `None` while that is not known yet. What this process holds is not
    /// in it.
    ///
    /// # Errors
    /// A metadata error.
    pub(crate) async fn others_hold(&self, witness: &Witness) -> Result<Option<HashSet<Held>>, Error> {
        if witness.0.is_empty() {
            return Ok(Some(HashSet::new()));
        }
        self.look_at_gateways().await?;
        let state = self.0.gateways.state.lock();
        let mut held = HashSet::new();
        for (id, beat) in &witness.0 {
            // Gone is gone: the fence keeps what it wrote from ever being seen.
            let Some(other) = state.others.get(id) else { continue };
            if other.record.beat < beat + BEATS || other.record.holds_more {
                return Ok(None);
            }
            held.extend(other.record.blobs.iter().copied().map(Held::Blob));
            held.extend(other.record.bodies.iter().copied().map(Held::Body));
        }
        Ok(Some(held))
    }

    /// The gateways that serve the store, by name.
    pub fn gateways(&self) -> Vec<GatewayReport> {
        let (passed, now) = (self.0.options.doors.clock.passed_ms(), self.now_ms());
        let leads = self.leads();
        let state = self.0.gateways.state.lock();
        let mut all: Vec<GatewayReport> = state
            .others
            .iter()
            .map(|(id, other)| GatewayReport {
                id: id.to_string(),
                name: other.record.name.clone(),
                software: other.record.software.clone(),
                started_ms: other.record.started_ms,
                silent_ms: passed.saturating_sub(other.seen_ms),
                ahead_ms: other.ahead_ms(passed, now),
                leads: state.leader == Some(*id),
                is_this: false,
            })
            .collect();
        all.extend(state.own.map(|own| GatewayReport {
            id: own.to_string(),
            name: self.0.options.gateway.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.0.started_ms,
            silent_ms: 0,
            ahead_ms: 0,
            leads,
            is_this: true,
        }));
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_clocks() {
        let hour = 3_600_000;
        for (others, off) in [
            (vec![], None),
            // Nobody knows which of two is wrong.
            (vec![hour], None),
            (vec![hour, hour], Some(-hour)),
            (vec![hour, 0], None),
            (vec![-hour, 0, 0, 0], None),
            (vec![-hour, -hour, -hour, -hour], Some(hour)),
            (vec![30_000, 30_000, 30_000, 30_000], None),
        ] {
            assert_eq!(off_the_middle(others.clone()), off, "{others:?}");
        }
    }

    #[test]
    fn a_row_that_stands_still_is_dead() {
        let mut state = State { own: Some(GatewayId::from_bytes([1; 16])), ..State::default() };
        let record = GatewayRecord {
            name: String::new(),
            started_ms: 0,
            now_ms: 0,
            beat: 1,
            software: String::new(),
            blobs: vec![],
            bodies: vec![],
            holds_more: false,
            passed_ms: 0,
            foreground: vec![],
        };
        let other = GatewayId::from_bytes([2; 16]);
        let mut saw = |version: u128, at: u64| {
            let rows = vec![
                (other, Version(version), record.clone()),
                (GatewayId::from_bytes([1; 16]), Version(9), record.clone()),
            ];
            state.saw(rows, at, 0)
        };
        assert_eq!(saw(1, 0), []);
        assert_eq!(saw(1, DEAD_MS - 1), []);
        assert_eq!(saw(2, DEAD_MS), [], "it moved");
        assert_eq!(saw(2, 2 * DEAD_MS - 1), []);
        assert_eq!(saw(2, 2 * DEAD_MS), [(other, Version(2))]);
    }
}
