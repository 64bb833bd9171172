//! Whose turn it is to count in a principal's hour: requests of one principal at once would only undo each other's batches.

use std::collections::HashMap;
use std::sync::Arc;

use base::AccountId;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Principals of which turns are remembered; past it those are forgotten for whom nobody waits.
const PRINCIPALS_MAX: usize = 10_000;

type Queue = Arc<tokio::sync::Mutex<()>>;

/// One queue for each principal. Other processes have their own: against them the versions of rows decide.
#[derive(Default)]
pub(crate) struct Queues(Mutex<HashMap<(AccountId, String), Queue>>);

impl Queues {
    /// Waits for those that came before; the next one's turn begins when the answer is dropped.
    pub(crate) async fn turn(&self, account: AccountId, principal: &str) -> OwnedMutexGuard<()> {
        let queue = self.of(account, principal);
        queue.lock_owned().await
    }

    fn of(&self, account: AccountId, principal: &str) -> Queue {
        let mut queues = self.0.lock();
        if queues.len() >= PRINCIPALS_MAX {
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        queues.entry((account, principal.to_owned())).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn queues_are_forgotten_when_nobody_waits() {
        let queues = Queues::default();
        let first = queues.turn(AccountId::DEFAULT, "first").await;
        for number in 0..2 * PRINCIPALS_MAX {
            drop(queues.turn(AccountId::DEFAULT, &number.to_string()).await);
        }
        assert!(queues.0.lock().len() <= PRINCIPALS_MAX);
        let same = queues.of(AccountId::DEFAULT, "first");
        assert!(same.try_lock().is_err(), "it still is the first one's turn");
        drop(first);
        assert!(same.try_lock().is_ok());
    }
}
