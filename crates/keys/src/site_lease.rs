//! The lease that a process goes on by: how long what it remembers may count without another look at the metadata.
//!
//! What takes something away moves the head ([`meta::Revoking`]). A linearizable read of the head is a lease of [`SITE_LEASE_MS`],
//! counted from before the read was sent, by a clock that goes on while the machine sleeps, less one in a hundred for clocks that run
//! slow. It counts only once everything that was remembered under another head is forgotten. So a process that reaches the metadata
//! follows within the time between two looks, and one that is cut off, or paused, opens nothing more after ten seconds.
//!
//! Unless what it opens may be opened longer ([`CutOff`]): read only, for who accepts old answers ([`meta::stale`]), with keys that it was
//! using when it was cut off, and without what would have to be written down.

use base::{AccountId, PortionId};
use meta::record::{CutOff, PortionRecord, key};
use meta::{Version, stale};
use parking_lot::Mutex;

use crate::error::PortionError;
use crate::portions::Portions;

/// Milliseconds that a look at the head counts at most.
pub const SITE_LEASE_MS: u64 = 10_000;
/// What of it counts here: this machine's clock may run 1 % slower than true time.
const COUNTED_MS: u64 = SITE_LEASE_MS / 100 * 99;
/// A key that was used so many milliseconds before the metadata were seen last, or later, is in use.
const IN_USE_MS: u64 = 15 * 60 * 1000;

/// When the head was seen last, and which.
#[derive(Default)]
pub(crate) struct SiteLease(Mutex<State>);

#[derive(Default)]
struct State {
    head: Option<Version>,
    /// By [`base::Clock::passed_ms`]; 0: none was ever had.
    until_ms: u64,
    /// When the look was sent that it is until then by.
    sent_ms: u64,
    /// Heads that were seen.
    heads: u64,
}

/// What a lease was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseMark(u64);

impl SiteLease {
    /// What the lease is now, while it counts.
    fn mark(&self, passed_ms: u64) -> Option<LeaseMark> {
        let state = self.0.lock();
        (passed_ms < state.until_ms).then_some(LeaseMark(state.heads))
    }

    /// A look that was sent at `sent_ms` saw this head. `forget` is called before the lease counts, if it is another one.
    fn seen(&self, head: Option<Version>, sent_ms: u64, forget: impl FnOnce()) {
        let mut state = self.0.lock();
        if state.heads == 0 || state.head != head {
            forget();
            state.heads += 1;
            state.head = head;
        }
        state.until_ms = state.until_ms.max(sent_ms.saturating_add(COUNTED_MS));
        state.sent_ms = state.sent_ms.max(sent_ms);
    }

    /// What the last lease was, and how long it has been over; `None`: there never was one.
    fn over(&self, passed_ms: u64) -> Option<(LeaseMark, u64)> {
        let state = self.0.lock();
        (state.heads > 0).then(|| (LeaseMark(state.heads), passed_ms.saturating_sub(state.until_ms)))
    }

    /// How long ago a look was sent that found something.
    fn age_ms(&self, passed_ms: u64) -> u64 {
        passed_ms.saturating_sub(self.0.lock().sent_ms)
    }
}

impl Portions {
    /// Looks at the head. To be called twice a second or so: it is how soon what others take away is gone here.
    ///
    /// # Errors
    /// A metadata error: the lease that there is goes on until its end.
    pub async fn renew_site_lease(&self) -> Result<(), PortionError> {
        let sent_ms = self.doors.clock.passed_ms();
        let head = self.meta.get(&[key::head_key()]).await?.pop().flatten().map(|row| row.version);
        self.site_lease.seen(head, sent_ms, || self.caches.forget_everything());
        Ok(())
    }

    /// What the lease is now; `None` while none counts.
    pub fn lease_mark(&self) -> Option<LeaseMark> {
        self.site_lease.mark(self.doors.clock.passed_ms())
    }

    /// Sees to it that what is remembered may count.
    ///
    /// # Errors
    /// A metadata error: nothing is to be opened or sealed.
    pub async fn on_lease(&self) -> Result<LeaseMark, PortionError> {
        if let Some(mark) = self.lease_mark() {
            return Ok(mark);
        }
        self.renew_site_lease().await?;
        // A read that took longer than a lease gave none.
        self.lease_mark().ok_or_else(|| unseen("a look at them took longer than a lease"))
    }

    /// The same to open something; for who accepts old answers also by a lease that was. Then each key says how long it may be over:
    /// see [`Self::must_open_cut_off`].
    ///
    /// # Errors
    /// A metadata error: nothing is to be opened.
    pub async fn on_lease_to_open(&self) -> Result<LeaseMark, PortionError> {
        // An answer that is old already was read while the metadata were out of reach: nobody waits for them again.
        let refused = match (self.lease_mark(), stale::age_ms()) {
            (Some(mark), _) => return Ok(mark),
            (None, Some(_)) => unseen("they are out of reach"),
            (None, None) => match self.on_lease().await {
                Ok(mark) => return Ok(mark),
                Err(refused) => refused,
            },
        };
        let passed = self.doors.clock.passed_ms();
        match self.site_lease.over(passed) {
            Some((mark, over_ms)) if stale::is_accepted() && over_ms < CutOff::Available.limit_ms() => {
                stale::note(self.site_lease.age_ms(passed));
                Ok(mark)
            }
            _ => Err(refused),
        }
    }

    /// Whether there is a lease, by which a portion's key may be used: it is in use then.
    pub(crate) fn uses_on_lease(&self, account: AccountId, id: PortionId) -> bool {
        let on_lease = self.lease_mark().is_some();
        if on_lease {
            self.caches.used(account, id, self.doors.clock.passed_ms());
        }
        on_lease
    }

    /// Whether a portion's key may open something now, though there may be no lease.
    ///
    /// # Errors
    /// [`PortionError::CutOff`].
    pub(crate) fn must_open_cut_off(
        &self,
        account: AccountId,
        id: PortionId,
        record: &PortionRecord,
    ) -> Result<(), PortionError> {
        if self.uses_on_lease(account, id) {
            return Ok(());
        }
        let now = self.doors.clock.passed_ms();
        let over_ms = self.over_ms(now);
        let seen_ms = now.saturating_sub(self.site_lease.age_ms(now));
        let in_use = self.caches.was_used(account, id, seen_ms.saturating_sub(IN_USE_MS));
        let why = match record.cut_off {
            _ if !stale::is_accepted() => "only reads go on",
            limit if over_ms >= limit.limit_ms() => limit.name(),
            _ if !in_use => "not in use here when that began",
            _ => return Ok(()),
        };
        Err(PortionError::CutOff { portion: record.name.clone(), why })
    }

    /// Whether what is known of names in a portion may be told now, though there may be no lease: for as long as the portion's key
    /// may open what is under it. One that was not made yet goes by the default.
    ///
    /// # Errors
    /// [`PortionError::CutOff`], or a metadata error.
    pub async fn must_tell_cut_off(&self, account: AccountId, name: &str) -> Result<(), PortionError> {
        if self.lease_mark().is_some() {
            return Ok(());
        }
        match self.find(account, name).await {
            Ok(portion) => self.tells_cut_off(name, portion.record.cut_off),
            Err(PortionError::NoSuchPortion(_)) => self.tells_cut_off(name, CutOff::default()),
            Err(error) => Err(error),
        }
    }

    /// The same for one that is there.
    ///
    /// # Errors
    /// As [`Self::must_tell_cut_off`]; [`PortionError::NoSuchPortion`].
    pub async fn must_tell_cut_off_of(&self, account: AccountId, id: PortionId) -> Result<(), PortionError> {
        if self.lease_mark().is_some() {
            return Ok(());
        }
        let known = self.known(account, id).await?;
        self.tells_cut_off(&known.name, known.cut_off)
    }

    fn tells_cut_off(&self, name: &str, cut_off: CutOff) -> Result<(), PortionError> {
        if stale::is_accepted() && self.over_ms(self.doors.clock.passed_ms()) < cut_off.limit_ms() {
            return Ok(());
        }
        Err(PortionError::CutOff { portion: name.to_owned(), why: cut_off.name() })
    }

    /// Whether what no portion says anything about may be opened.
    ///
    /// # Errors
    /// [`PortionError::CutOff`] without a lease.
    pub(crate) fn must_be_on_lease(&self) -> Result<(), PortionError> {
        match self.lease_mark() {
            Some(_) => Ok(()),
            None => Err(PortionError::CutOff { portion: "of no name".to_owned(), why: CutOff::Strict.name() }),
        }
    }

    /// Milliseconds since the last lease ended.
    fn over_ms(&self, passed_ms: u64) -> u64 {
        self.site_lease.over(passed_ms).map_or(u64::MAX, |(_, over_ms)| over_ms)
    }
}

fn unseen(why: &str) -> PortionError {
    PortionError::Meta(meta::MetaError::Unavailable(format!("the metadata were not seen for too long: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_before_it_was_asked_for() {
        let lease = SiteLease::default();
        assert_eq!(lease.mark(0), None, "never looked");
        lease.seen(None, 1_000, || ());
        assert!(lease.mark(10_899).is_some());
        assert_eq!(lease.mark(10_900), None);
        // A look that was sent before, and came back later, takes nothing back.
        lease.seen(None, 500, || ());
        assert!(lease.mark(10_899).is_some());
    }

    #[test]
    fn forgets_before_it_counts() {
        let lease = SiteLease::default();
        let mut forgotten = 0;
        lease.seen(None, 0, || forgotten += 1);
        let first = lease.mark(1);
        lease.seen(None, 3_000, || forgotten += 1);
        assert_eq!(lease.mark(1), first, "the same head");
        lease.seen(Some(Version(7)), 6_000, || forgotten += 1);
        assert_ne!(lease.mark(1), first);
        assert_eq!(forgotten, 2);
    }
}
