//! Reads of rows that come at the same moment are sent as one: each costs etcd a look at who leads, and both sides a call.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Inner;
use super::read::GETS_MAX;
use crate::{Key, MetaError, Row};

type Found = Result<Vec<Option<Row>>, MetaError>;

/// Reads that wait to be sent.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Vec<(Vec<Key>, oneshot::Sender<Found>)>>);

impl Waiting {
    /// Takes reads with at most [`GETS_MAX`] keys together; the first one whatever it has.
    fn take(&self) -> Vec<(Vec<Key>, oneshot::Sender<Found>)> {
        let mut waiting = self.0.lock();
        let mut keys = 0;
        let fits = |(asked, _): &&(Vec<Key>, _)| {
            let is_first = keys == 0;
            keys += asked.len();
            is_first || keys <= GETS_MAX
        };
        let count = waiting.iter().take_while(fits).count();
        waiting.drain(..count).collect()
    }
}

impl Inner {
    /// As [`crate::Engine::get`]. It waits for nobody: what is sent together had come before the runtime was at it.
    pub(crate) async fn get_together(self: &Arc<Self>, keys: &[Key]) -> Found {
        let (send, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = self.together.0.lock();
            waiting.push((keys.to_vec(), send));
            waiting.len() == 1
        };
        if is_first {
            tokio::spawn(Arc::clone(self).send_waiting());
        }
        answer.await.unwrap_or_else(|_| Err(MetaError::Unavailable("the task that reads ended".to_owned())))
    }

    async fn send_waiting(self: Arc<Self>) {
        // Others that are about to ask do so first.
        tokio::task::yield_now().await;
        loop {
            let taken = self.together.take();
            if taken.is_empty() {
                return;
            }
            let inner = Arc::clone(&self);
            tokio::spawn(async move { inner.read_for(taken).await });
        }
    }

    async fn read_for(&self, asked: Vec<(Vec<Key>, oneshot::Sender<Found>)>) {
        let keys: Vec<Key> = asked.iter().flat_map(|(keys, _)| keys).cloned().collect();
        let mut found = self.get(&keys).await.map(Vec::into_iter);
        for (keys, answer) in asked {
            // Whoever asked may be gone.
            let _ = answer.send(match &mut found {
                Ok(rows) => Ok(rows.by_ref().take(keys.len()).collect()),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together() {
        let waiting = Waiting::default();
        for count in [3 * GETS_MAX, GETS_MAX - 1, 1, 1, GETS_MAX] {
            waiting.0.lock().push((vec![Key::new(); count], oneshot::channel().0));
        }
        let sizes = || waiting.take().iter().map(|(keys, _)| keys.len()).collect::<Vec<_>>();
        assert_eq!(sizes(), [3 * GETS_MAX], "more than fits goes alone");
        assert_eq!(sizes(), [GETS_MAX - 1, 1]);
        assert_eq!(sizes(), [1]);
        assert_eq!(sizes(), [GETS_MAX]);
        assert!(sizes().is_empty());
    }
}
