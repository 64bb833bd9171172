//! Metadata out of reach: who asks for them is refused at once, instead of after the engine's patience, or is told what a copy nearby has.
//!
//! The look at the head ([`keys::Portions::renew_site_lease`]), twice a second, is the one call that goes on asking. While it fails the
//! others would, too, each after five seconds; a client that is told at once goes to another gateway.
//!
//! What is asked for a request that accepts old answers ([`meta::stale`]) is read from the nearest copy. How old that is says the
//! gateway's own row in it: it has the time of this process's own clock. A copy that does not know this gateway, or from before
//! something was taken away that this process knows of, answers nothing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::{Clock, GatewayId};
use meta::record::{GatewayRecord, Record, key};
use meta::{Batch, CommitError, Engine, Key, MetaError, Nearby, Page, Range, Row, Version, stale};
use parking_lot::Mutex;

const AWAY: &str = "the metadata cannot be reached from this gateway; others may reach them";

/// Longer than an engine's own patience ([`Engine`]s that others use have five seconds): one that has none keeps nobody waiting either.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// The same for changes, which an engine may have to ask about again before it knows.
const COMMIT_WITHIN: Duration = Duration::from_secs(12);

/// A read that ends.
async fn bound<T>(read: impl Future<Output = Result<T, MetaError>>) -> Result<T, MetaError> {
    let late = |_| MetaError::Unavailable(format!("no answer in {} seconds", ANSWER_WITHIN.as_secs()));
    tokio::time::timeout(ANSWER_WITHIN, read).await.map_err(late)?
}

/// An engine that is not asked while it is known not to answer.
pub(crate) struct Reach {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    away: AtomicBool,
    /// What a copy must have, to be believed.
    known: Mutex<Known>,
}

#[derive(Default, Clone, Copy)]
struct Known {
    own: Option<GatewayId>,
    head: Option<Version>,
}

impl Reach {
    pub(crate) fn over(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Self {
        metrics::gauge!("holdfast_metadata_reachable").set(1.0);
        Self { engine, clock, away: AtomicBool::new(false), known: Mutex::default() }
    }

    /// As which this process is in the rows from now on.
    pub(crate) fn joined(&self, own: GatewayId) {
        self.known.lock().own = Some(own);
    }

    /// Whether no strong answer is to be had.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), MetaError> {
        if self.is_away() { Err(MetaError::Unavailable(AWAY.to_owned())) } else { Ok(()) }
    }

    fn looked(&self, found: Result<&[Option<Row>], &MetaError>) {
        if let Ok([Some(head)]) = found {
            self.known.lock().head = Some(head.version);
        }
        let reached = found.is_ok();
        let was_away = self.away.swap(!reached, Ordering::Relaxed);
        if was_away == reached {
            metrics::gauge!("holdfast_metadata_reachable").set(f64::from(u8::from(reached)));
            if reached {
                tracing::info!("the metadata are in reach again");
            } else {
                tracing::error!("{AWAY}: until they are, what is not strong is told as that, and the rest is refused");
            }
        }
    }

    /// What a copy nearby has, whether or not that is the newest: for guesses that a commit checks.
    ///
    /// # Errors
    /// The engine's, also where there is but one copy.
    pub(crate) async fn glance(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        bound(self.engine.nearby(keys, None)).await.map(|near| near.rows)
    }

    /// What a copy nearby has, where that is accepted instead of `refused`.
    async fn old(&self, keys: &[Key], range: Option<Range>, refused: MetaError) -> Result<Nearby, MetaError> {
        let known = *self.known.lock();
        let (true, Some(own)) = (stale::is_accepted(), known.own) else { return Err(refused) };
        let keys: Vec<Key> = keys.iter().cloned().chain([key::gateway_key(own), key::head_key()]).collect();
        let mut found = bound(self.engine.nearby(&keys, range)).await?;
        let (head, row) = (found.rows.pop().flatten(), found.rows.pop().flatten());
        let unknown = |what: &str| MetaError::Unavailable(format!("{AWAY}, and the copy at hand {what}"));
        if head.map(|head| head.version) < known.head {
            return Err(unknown("is from before something was taken away"));
        }
        let row = row.ok_or_else(|| unknown("does not know this gateway"))?;
        let then_ms =
            GatewayRecord::decode(&row.value).map_err(|error| MetaError::Corrupt(error.to_string()))?.passed_ms;
        stale::note(self.clock.passed_ms().saturating_sub(then_ms));
        Ok(found)
    }
}

#[async_trait]
impl Engine for Reach {
    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        if keys == [key::head_key()] {
            let found = bound(self.engine.get(keys)).await;
            self.looked(found.as_deref());
            return found;
        }
        let found = match self.check() {
            Ok(()) => bound(self.engine.get(keys)).await,
            Err(away) => Err(away),
        };
        match found {
            Err(refused @ MetaError::Unavailable(_)) => Ok(self.old(keys, None, refused).await?.rows),
            found => found,
        }
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        let found = match self.check() {
            Ok(()) => bound(self.engine.range(range.clone())).await,
            Err(away) => Err(away),
        };
        match found {
            Err(refused @ MetaError::Unavailable(_)) => Ok(self.old(&[], Some(range), refused).await?.page),
            found => found,
        }
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        // What was read from a copy is told, and never decides what is written.
        let asked = match stale::age_ms() {
            None => self.check(),
            Some(_) => Err(MetaError::Unavailable(AWAY.to_owned())),
        };
        match asked {
            Ok(()) => {
                let count = batches.len();
                let unknown = |_| {
                    let late = format!("no answer in {} seconds", COMMIT_WITHIN.as_secs());
                    vec![Err(CommitError::Unknown(late)); count]
                };
                let committed = tokio::time::timeout(COMMIT_WITHIN, self.engine.commit_group(batches)).await;
                committed.unwrap_or_else(unknown)
            }
            // Nothing was sent, so nothing happens.
            Err(_) => batches.iter().map(|_| Err(CommitError::Unavailable(AWAY.to_owned()))).collect(),
        }
    }
}
