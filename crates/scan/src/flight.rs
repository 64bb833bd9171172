//! One scan, for all who wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use meta::record::{ContentId, Epoch, Verdict};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::ScanError;
use crate::queue::{JobId, Lane};

/// What came of it.
pub(crate) type Landed = Result<Verdict, ScanError>;

/// Epochs of all engines, in their order.
pub(crate) type Epochs = Vec<Epoch>;

/// A scan that is under way.
#[derive(Debug)]
pub(crate) struct Flight {
    state: Mutex<State>,
    landed: watch::Sender<Option<Landed>>,
}

#[derive(Debug)]
struct State {
    lane: Lane,
    job: Option<JobId>,
}

impl Flight {
    /// Waits for its end.
    pub(crate) async fn landed(&self) -> Landed {
        let mut landed = self.landed.subscribe();
        let seen = landed.wait_for(Option::is_some).await.ok().and_then(|seen| seen.clone());
        seen.unwrap_or_else(|| Err(ScanError::Unavailable("the scan was given up".to_owned())))
    }

    /// The most urgent of those who wait.
    pub(crate) fn lane(&self) -> Lane {
        self.state.lock().lane
    }

    /// It waits as this job; who joins raises it.
    pub(crate) fn is_job(&self, job: Option<JobId>) {
        self.state.lock().job = job;
    }

    fn join(&self, lane: Lane) -> Option<JobId> {
        let mut state = self.state.lock();
        if lane >= state.lane {
            return None;
        }
        state.lane = lane;
        state.job
    }
}

/// What one who asks has to do.
pub(crate) enum Boarded {
    /// Nobody scans it: it is his to begin.
    First(Arc<Flight>),
    /// It is under way; this job is to be raised to his lane.
    Joined(Arc<Flight>, Option<JobId>),
}

/// What becomes of a flight.
pub(crate) struct Landing {
    flights: Arc<Flights>,
    content: ContentId,
    epochs: Epochs,
    landed: Landed,
}

impl Landing {
    pub(crate) fn lands(mut self, landed: Landed) {
        self.landed = landed;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.land(self.content, &self.epochs, self.landed.clone());
    }
}

/// All that are under way. A scan by older definitions is another one.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<(ContentId, Epochs), Arc<Flight>>>);

impl Flights {
    pub(crate) fn board(&self, content: ContentId, epochs: &Epochs, lane: Lane) -> Boarded {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&(content, epochs.clone())) {
            return Boarded::Joined(flight.clone(), flight.join(lane));
        }
        let state = Mutex::new(State { lane, job: None });
        let flight = Arc::new(Flight { state, landed: watch::Sender::new(None) });
        flights.insert((content, epochs.clone()), flight.clone());
        Boarded::First(flight)
    }

    /// Lands the flight when it is dropped, however its scan ended.
    pub(crate) fn landing(self: &Arc<Self>, content: ContentId, epochs: &Epochs) -> Landing {
        let landed = Err(ScanError::Unavailable("the scan came to no end".to_owned()));
        Landing { flights: self.clone(), content, epochs: epochs.clone(), landed }
    }

    /// It ended: who asks from now on finds what was learnt.
    pub(crate) fn land(&self, content: ContentId, epochs: &Epochs, landed: Landed) {
        if let Some(flight) = self.0.lock().remove(&(content, epochs.clone())) {
            flight.landed.send_replace(Some(landed));
        }
    }
}
