//! Five sites in one process, with failure drawn from a seed, and an auditor that knows what was
//! acknowledged.
//!
//! The store is the real one, over in-memory metadata and in-memory sites, on a paused clock and
//! a single thread: the same seed gives the same run. At any moment at most two sites may fail,
//! lose or damage data; within that promise no request may fail and no acknowledged byte may be
//! lost. A failing seed names the command that repeats it.
//!
//! [`fleet`] has several gateways, each with a clock and a network of its own.
//!
//! The tests of the degradation ladder fail the same sites in the ways that its cells name.

mod auditor;
mod chance;
pub mod fleet;
mod run;
pub mod seeds;
mod site;
mod whole;

pub use chance::Chance;
pub use run::{Outcome, SimClock, run_seed};
pub use site::{Fault, SimSite};
pub use whole::Whole;
