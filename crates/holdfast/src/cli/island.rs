//! `holdfast island`.

use clap::{Args, Subcommand};

use super::TenantArgs;

#[derive(Args)]
pub(crate) struct IslandArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: IslandCommand,
}

#[derive(Subcommand)]
pub(crate) enum IslandCommand {
    /// What the gateway that is asked took while it was cut off and has not told yet; and versions that came late and are not the newest.
    List,
    /// Let gateways that are cut off from the metadata take new versions for a bucket, which they tell when they are not any more.
    Accept {
        /// It must keep versions.
        bucket: String,
    },
    /// Let them refuse.
    Refuse { bucket: String },
    /// Whether they do.
    Show { bucket: String },
    /// Tell what was taken, though its writer may not write there any more.
    Tell {
        /// As `list` has it.
        id: String,
    },
    /// Throw away what was taken; its writer was told that it was stored.
    Drop {
        /// As `list` has it.
        id: String,
        /// The id once more.
        #[arg(long, value_name = "ID")]
        confirm: Option<String>,
    },
    /// List a version that came late no more. All versions stay.
    Seen {
        /// As `list` has it.
        id: String,
    },
}
