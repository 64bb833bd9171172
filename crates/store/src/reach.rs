//! Metadata out of reach: everything that asks for them is refused at once, instead of after the engine's patience.
//!
//! The look at the head ([`keys::Portions::renew_site_lease`]), twice a second, is the one call that goes on asking. While it fails the
//! others would, too, each after five seconds; a client that is told at once goes to another gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use meta::record::key;
use meta::{Batch, CommitError, Engine, Key, MetaError, Page, Range, Row, Version};

const AWAY: &str = "the metadata cannot be reached from this gateway; others may reach them";

/// An engine that is not asked while it is known not to answer.
pub(crate) struct Reach {
    engine: Arc<dyn Engine>,
    away: AtomicBool,
}

impl Reach {
    /// Only where the engine is elsewhere: of one in this process the parts that can be read are still worth reading.
    pub(crate) fn over(engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
        if !engine.is_shared() {
            return engine;
        }
        metrics::gauge!("holdfast_metadata_reachable").set(1.0);
        Arc::new(Self { engine, away: AtomicBool::new(false) })
    }

    fn check(&self) -> Result<(), MetaError> {
        if self.away.load(Ordering::Relaxed) { Err(MetaError::Unavailable(AWAY.to_owned())) } else { Ok(()) }
    }

    fn looked(&self, reached: bool) {
        let was_away = self.away.swap(!reached, Ordering::Relaxed);
        if was_away == reached {
            metrics::gauge!("holdfast_metadata_reachable").set(f64::from(u8::from(reached)));
            if reached {
                tracing::info!("the metadata are in reach again");
            } else {
                tracing::error!("{AWAY}: requests are refused until they are");
            }
        }
    }
}

#[async_trait]
impl Engine for Reach {
    fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, MetaError> {
        if keys == [key::head_key()] {
            let found = self.engine.get(keys).await;
            self.looked(found.is_ok());
            return found;
        }
        self.check()?;
        self.engine.get(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, MetaError> {
        self.check()?;
        self.engine.range(range).await
    }

    async fn commit_group(&self, batches: Vec<Batch>) -> Vec<Result<Version, CommitError>> {
        match self.check() {
            Ok(()) => self.engine.commit_group(batches).await,
            // Nothing was sent, so nothing happens.
            Err(_) => batches.iter().map(|_| Err(CommitError::Unavailable(AWAY.to_owned()))).collect(),
        }
    }
}
