//! `holdfast worker` and `holdfast notify`.

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum WorkerCommand {
    /// State, queue, last error.
    List,
    /// How far repair is, how fast it may go and why; or stop it, let it go on, change its limit, at all gateways.
    Repair(RepairArgs),
}

#[derive(Args)]
pub(crate) struct RepairArgs {
    /// Move nothing until --resume; data that lost shards stays at risk.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) pause: bool,
    /// Go on.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Most MiB in a second, over what the configuration says; 0: what it says.
    #[arg(long, value_name = "MIB")]
    pub(crate) max_mib_per_s: Option<u32>,
}

#[derive(Subcommand)]
pub(crate) enum NotifyCommand {
    /// Targets: what waits, what was delivered and dropped, the last error.
    List,
    /// Send a test event to a target and say what happened.
    Test { name: String },
}
