//! `holdfast worker` and `holdfast notify`.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum WorkerCommand {
    /// State, queue, last error.
    List,
}

#[derive(Subcommand)]
pub(crate) enum NotifyCommand {
    /// Targets: what waits, what was delivered and dropped, the last error.
    List,
    /// Send a test event to a target and say what happened.
    Test { name: String },
}
