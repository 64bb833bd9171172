//! What can be typed after `holdfast meta`.

use clap::{Args, Subcommand};

use super::PassphraseArgs;

#[derive(Subcommand)]
pub(crate) enum MetaCommand {
    /// How the members of etcd stand, and what to see to; exit 75 if there is something, 1 without a majority.
    Status,
    /// Make the files of etcd's members as small as their rows, one member after the other, the leader last.
    Defrag(DefragArgs),
    /// Copy all metadata to an empty engine, and compare; every server of either must be stopped.
    Migrate(MigrateArgs),
    /// All of the metadata is lost: make it anew, in an empty engine, from what lies at the sites; three of the five are enough.
    Rebuild(Box<RebuildArgs>),
}

#[derive(Args)]
pub(crate) struct RebuildArgs {
    /// Read everything and say what would be made; write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on without changes that are at none of the sites that answer.
    #[arg(long)]
    pub(crate) leave_missing: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct DefragArgs {
    /// Only this member, as the address has it [default: all].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) member: Option<String>,
}

#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// Where the metadata is: embedded:DATA_DIR or etcd://HOST,.../PREFIX.
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// Where it shall be: embedded:DATA_DIR or etcd://HOST,.../PREFIX.
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// An option of an etcd to copy from, as in meta_options: ca=FILE.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) from_option: Vec<String>,
    /// An option of an etcd to copy to.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) to_option: Vec<String>,
    /// Go on with a migration that was cut off, from the same place.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Count what there is to copy, and look whether it may be; write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}
