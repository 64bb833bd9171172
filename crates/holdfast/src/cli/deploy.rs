//! What can be typed after `holdfast deploy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum DeployCommand {
    /// Write all files for all machines: configurations, certificates, secrets, units, and what to do with them.
    ///
    /// Run again it keeps secrets and certificates, and writes what follows from changes of the description.
    Plan(PlanArgs),
    /// Make certificates anew that end soon; the authorities' keys must be at their place in DIR/ca.
    Renew(RenewArgs),
    /// Print a commented description.
    Example,
}

/// A description, and the folder of its plan.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// The description of the five sites.
    pub(crate) file: PathBuf,
    /// Where the files go; its secrets belong to nobody else.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Only tell what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also write a compose.yaml, with the five machines as containers of one host, for trying out.
    #[arg(long)]
    pub(crate) compose: bool,
    /// Overwrite what was edited by hand; never secrets.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    /// Those that end within so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 60, value_parser = clap::value_parser!(i64).range(0..=3650))]
    pub(crate) within_days: i64,
    /// All of them, under new keys: after a key has leaked.
    #[arg(long)]
    pub(crate) new_keys: bool,
}
