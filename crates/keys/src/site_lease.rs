//! The lease that a process goes on by: how long what it remembers may count without another look at the metadata.
//!
//! What takes something away moves the head ([`meta::Revoking`]). A linearizable read of the head is a lease of [`SITE_LEASE_MS`],
//! counted from before the read was sent, by a clock that goes on while the machine sleeps, less one in a hundred for clocks that run
//! slow. It counts only once everything that was remembered under another head is forgotten. So a process that reaches the metadata
//! follows within the time between two looks, and one that is cut off, or paused, opens nothing more after ten seconds.

use meta::Version;
use meta::record::key;
use parking_lot::Mutex;

use crate::error::PortionError;
use crate::portions::Portions;

/// Milliseconds that a look at the head counts at most.
pub const SITE_LEASE_MS: u64 = 10_000;
/// What of it counts here: this machine's clock may run 1 % slower than true time.
const COUNTED_MS: u64 = SITE_LEASE_MS / 100 * 99;

/// When the head was seen last, and which.
#[derive(Default)]
pub(crate) struct SiteLease(Mutex<State>);

#[derive(Default)]
struct State {
    head: Option<Version>,
    /// By [`base::Clock::passed_ms`]; 0: none was ever had.
    until_ms: u64,
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
        self.lease_mark().ok_or_else(|| {
            PortionError::Meta(meta::MetaError::Unavailable(
                "a look at the metadata took longer than a lease".to_owned(),
            ))
        })
    }
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
