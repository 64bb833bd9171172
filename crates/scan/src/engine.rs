//! The seam to what looks for malware.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meta::record::{Epoch, Verdict};

use crate::spool::Content;

/// Why an engine said nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It ended, or was ended, with the content in it.
    #[error("the engine ended during the scan")]
    Died,
    /// It had ended before it was asked.
    #[error("the engine had ended before the scan")]
    Gone,
    /// It gave no sign for so long, and was ended.
    #[error("the engine was silent for {} s and was ended", .0.as_secs())]
    Silent(Duration),
    /// It said that it cannot, in these words.
    #[error("the engine failed: {0}")]
    Failed(String),
}

/// An engine with definitions of one epoch. As long as somebody has it, these are what it scans with.
#[async_trait]
pub trait Loaded: Send + Sync {
    /// What it is.
    fn epoch(&self) -> Epoch;

    /// For people: the engine's build and what its definitions say of themselves.
    fn version(&self) -> String;

    /// Looks at a content.
    ///
    /// # Errors
    /// The engine's; what it could not look at is a verdict.
    async fn scan(self: Arc<Self>, content: &Arc<Content>) -> Result<Verdict, EngineError>;
}

/// An engine: whatever happens to it, it has a name.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What its verdicts are kept by.
    fn name(&self) -> &'static str;

    /// With its newest definitions, whether or not it can be asked now: what it said by them stands. `None`: it has none.
    fn epoch(&self) -> Option<Epoch>;

    /// Itself with its newest definitions. One that is about to start is waited for.
    ///
    /// # Errors
    /// Why it cannot be asked, for people.
    async fn loaded(&self, patience: Duration) -> Result<Arc<dyn Loaded>, String>;

    /// What an operator sees of it.
    fn state(&self) -> EngineState;
}

/// What an operator sees of an engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EngineState {
    /// Its name.
    pub name: String,
    /// Of its definitions.
    pub epoch: Option<u64>,
    /// Its build, and what its definitions say of themselves.
    pub version: String,
    /// Why it cannot be asked now.
    pub down: Option<String>,
    /// Its process, if it is one.
    pub pid: Option<u32>,
    /// How often it ended by itself since the service started.
    pub deaths: u64,
    /// Why its newest definitions are not used.
    pub refused: Option<String>,
}
