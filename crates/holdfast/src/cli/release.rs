//! What can be typed about releases.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::TenantArgs;

#[derive(Args)]
pub(crate) struct ReleasePolicyArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: ReleasePolicyCommand,
}

#[derive(Subcommand)]
pub(crate) enum ReleasePolicyCommand {
    /// All documents.
    List,
    /// Print a document as it was put.
    Get { name: String },
    /// Put a document, in place of one of the same name; the first one denies what it does not permit.
    Put {
        name: String,
        /// Cedar; - reads it from stdin.
        file: PathBuf,
        /// Only tell what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a document away; with the last one everything is released again.
    Delete {
        name: String,
        /// Only tell what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Report every mistake in files; asks no server. Exit 1 if there is one.
    Check {
        /// Cedar.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Whether a portion would be released to a user, and why; exit 1 if not. Nothing is asked for or counted.
    Test(PolicyTestArgs),
    /// Who could open what: today, or what a change of the documents would change.
    Simulate(PolicySimulateArgs),
    /// Print the schema: what policies can speak of.
    Schema,
}

/// In what circumstances.
#[derive(Args)]
pub(crate) struct CircumstancesArgs {
    /// By which door.
    #[arg(long, value_enum, default_value_t = Door::S3)]
    pub(crate) via: Door,
    /// From this address.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<std::net::IpAddr>,
}

#[derive(Args)]
pub(crate) struct PolicyTestArgs {
    /// The user; `root` for the root, `-` for who does not sign.
    pub(crate) user: String,
    /// The portion's name, its key's id, or alias/NAME.
    pub(crate) portion: String,
    /// To write under it, not to open it.
    #[arg(long)]
    pub(crate) seal: bool,
    #[command(flatten)]
    pub(crate) circumstances: CircumstancesArgs,
    /// By temporary credentials.
    #[arg(long)]
    pub(crate) temporary: bool,
    /// When, as 2026-12-24T18:00:00Z, instead of now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Judge with this document put beside those in force.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The name that the document would have: it replaces one of the same name.
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) put_as: Option<String>,
}

#[derive(Args)]
pub(crate) struct PolicySimulateArgs {
    /// With this document put.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The name that the document would have: it replaces one of the same name.
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) put_as: Option<String>,
    /// With this document taken away.
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) delete: Option<String>,
    /// This portion alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) portion: Option<String>,
    /// This user alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) circumstances: CircumstancesArgs,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Door {
    /// The S3 API.
    S3,
    /// The KMS API.
    Kms,
    /// The plugin of Kubernetes.
    Kubernetes,
}

#[derive(Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: ReleaseCommand,
}

#[derive(Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Requests that wait for people, and those that count: of them what the signer decides or asked for.
    List,
    /// Approve a request of somebody else. Signs with HOLDFAST_ACCESS_KEY and HOLDFAST_SECRET_KEY: they may be any user's.
    Approve {
        /// Its id, or how it begins.
        request: String,
    },
    /// Refuse a request, also one that was granted.
    Refuse {
        /// Its id, or how it begins.
        request: String,
    },
    /// Release nothing more to a user, whatever policies say.
    Deny {
        user: String,
        /// Revoked and lost are for ever: the user can only come back as another one.
        #[arg(long, value_enum, default_value_t = DenyReason::Quarantined)]
        reason: DenyReason,
        /// What there is to say of it.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Lift a quarantine.
    Readmit { user: String },
    /// Who is denied, and why.
    Denials,
    /// Let the hour of a user's budget begin anew: after a wrong clock has put it ahead.
    ResetBudget { user: String },
    /// Who had the keys of which portions.
    Holders {
        /// Of this portion alone.
        #[arg(long, value_name = "NAME")]
        portion: Option<String>,
        /// This user alone.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DenyReason {
    Revoked,
    Lost,
    Quarantined,
}
