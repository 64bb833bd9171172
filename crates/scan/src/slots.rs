//! The [`Queue`], for those who wait in it.

use std::collections::HashMap;
use std::sync::Arc;

use base::Clock;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::queue::{Job, JobId, Lane, Queue};

/// Slots that scans are done in.
pub(crate) struct Slots {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    waiting: HashMap<JobId, oneshot::Sender<()>>,
}

/// A place in the queue, then a slot. Dropped, it is the next one's.
pub(crate) struct Turn {
    slots: Arc<Slots>,
    id: JobId,
    begins: oneshot::Receiver<()>,
}

impl Slots {
    pub(crate) fn new(clock: Arc<dyn Clock>, slots: usize) -> Arc<Self> {
        let state = State { queue: Queue::new(slots), waiting: HashMap::new() };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    pub(crate) fn enter(self: &Arc<Self>, job: Job) -> Turn {
        let (sender, begins) = oneshot::channel();
        let now = self.clock.passed_ms();
        let id = {
            let mut state = self.state.lock();
            let id = state.queue.push(job, now);
            state.waiting.insert(id, sender);
            id
        };
        self.start();
        Turn { slots: self.clone(), id, begins }
    }

    pub(crate) fn raise(&self, id: JobId, lane: Lane) {
        self.state.lock().queue.raise(id, lane);
        // The slot of its new lane may be free.
        self.start();
    }

    pub(crate) fn depths(&self) -> [usize; 4] {
        self.state.lock().queue.depths()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().queue.waiting()
    }

    pub(crate) fn running(&self) -> usize {
        self.state.lock().queue.running()
    }

    pub(crate) fn backlog_ms(&self, lane: Lane) -> u64 {
        self.state.lock().queue.backlog_ms(lane)
    }

    fn start(&self) {
        let now = self.clock.passed_ms();
        let mut state = self.state.lock();
        while let Some(id) = state.queue.start(now) {
            // Who is gone meanwhile gives it back when it is dropped.
            if let Some(waits) = state.waiting.remove(&id) {
                let _ = waits.send(());
            }
        }
    }
}

impl Turn {
    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    /// Returns when the slot is here.
    pub(crate) async fn begins(&mut self) {
        // The sender lives as long as it waits.
        let _ = (&mut self.begins).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state.lock();
            state.queue.remove(self.id);
            state.waiting.remove(&self.id);
        }
        self.slots.start();
    }
}
