//! Several gateways over one store, each a process with a clock and a network of its own: the real store, keys, leases, islands and repair,
//! over simulated metadata, sites, network and clocks.
//!
//! What befalls them: ways to the metadata cut in one or both directions, or lossy and late; sites that a gateway does not reach, and all
//! that [`Fault`](crate::Fault) says; processes that stand still or die, and torn files of those; clocks that run at their own speed and
//! tell another hour. At most two sites fail at a time, whoever sees it.
//!
//! What must hold, whatever befalls:
//! * what all clients saw of a key is linearizable, and an answer that says how old it may be is no older ([`history`]);
//! * what was taken away from somebody is given at no gateway past the bound, and what was shredded never again;
//! * what an island took is there as a version, once;
//! * when all is well again, the store says so, and holds no shard too many or too few.

mod audit;
mod clients;
mod link;
mod world;

pub use world::{Told, run};
