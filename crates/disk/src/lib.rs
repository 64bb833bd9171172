//! Partitions and file systems inside disk images, without trusting them: no mount, no root, and each byte may be a lie.
//!
//! What cannot be read is a [`Problem`] with a place, never silence. Nothing here waits for a network or starts a thread: whoever reads decides where.

pub mod blocks;
pub mod ext4;
mod le;
pub mod partition;
mod problem;
pub mod volume;

pub use blocks::{Blocks, Part};
pub use problem::Problem;
