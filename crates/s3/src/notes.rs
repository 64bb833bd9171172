//! What the layers of one request tell each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::body::BodyFault;

/// Travels in the request's extensions.
#[derive(Debug)]
pub(crate) struct Notes {
    /// The request's id, 16 hex digits.
    pub id: String,
    /// The operation, known once the request was routed.
    pub operation: OnceLock<&'static str>,
    /// What was wrong with a document body: the framework answers `InternalError` for it.
    pub fault: OnceLock<BodyFault>,
}

/// Makes request ids: unique in a process, unlike between processes.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(crate) fn new(rng: &dyn base::Rng) -> Self {
        let mut seed = [0; 8];
        rng.fill(&mut seed);
        Self(AtomicU64::new(u64::from_le_bytes(seed)))
    }

    pub(crate) fn notes(&self) -> Arc<Notes> {
        // An odd step walks through all 2^64 values before one repeats.
        let id = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        Arc::new(Notes { id: format!("{id:016X}"), operation: OnceLock::new(), fault: OnceLock::new() })
    }
}
