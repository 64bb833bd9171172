//! `holdfast portion`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::TenantArgs;

#[derive(Args)]
pub(crate) struct PortionArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: PortionCommand,
}

#[derive(Subcommand)]
pub(crate) enum PortionCommand {
    /// All portions, oldest first.
    List,
    /// One portion and the versions of its key.
    Show {
        /// Its name, its key's id, or alias/NAME.
        name: String,
    },
    /// Make a portion; rules and SSE-KMS requests may name it.
    Create {
        name: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// Where its key is kept.
        #[arg(long, value_enum, default_value_t = Class::Sealed)]
        class: Class,
        /// How long it is read on at a gateway that cannot reach the metadata.
        #[arg(long, value_enum, default_value_t = CutOff::Bounded)]
        cut_off: CutOff,
    },
    /// How long it is read on at a gateway that cannot reach the metadata, and so does not learn what is taken away.
    CutOff {
        name: String,
        #[arg(value_enum)]
        class: CutOff,
    },
    /// The rules that choose portions for what is written.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// What a leak of the portion's key would open: every part, a line each; and to whom it was released.
    Exposure(ExposureArgs),
    /// Give the key a new version, and move all parts to it; their bytes stay as they are.
    Rotate {
        name: String,
        /// Leave the parts under the versions that they are under.
        #[arg(long)]
        no_rewrap: bool,
        /// Keep the new version, and those after it, there [default: as before].
        #[arg(long, value_enum)]
        class: Option<Class>,
    },
    /// After a leak: give the key a new version, and seal all parts anew under fresh DEKs; their bytes are written again.
    Rekey {
        name: String,
        /// Only count what would be written again.
        #[arg(long)]
        dry_run: bool,
    },
    /// Open nothing with the key, until it is enabled again.
    Disable { name: String },
    /// Let the key open again.
    Enable { name: String },
    /// Destroy the key, and so all that is under it; until the days are over `keep` takes it back.
    Shred {
        name: String,
        /// 0 to 30.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=30))]
        days: u32,
        /// The name once more, where it is to be at once.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// Only count what would be lost.
        #[arg(long)]
        dry_run: bool,
    },
    /// Do not shred it; its key stays disabled.
    Keep { name: String },
    /// Give its key AWS's default key policy again, for when nobody may change the one that it has.
    DefaultPolicy { name: String },
    /// What the sites signed when the portion was shredded; --json prints the file for `verify-receipts`.
    Receipts {
        /// Its name while it is being shredded, its key's id ever after.
        #[arg(required_unless_present = "key_id")]
        name: Option<String>,
        /// Its key's id, whichever tenant's it was: also of one that was deleted.
        #[arg(long, value_name = "ID", conflicts_with = "name")]
        key_id: Option<String>,
    },
    /// Check receipts, whether a server runs or not: 0 if they prove a shredding, 1 if not.
    VerifyReceipts {
        /// What `receipts --json` printed; - reads it from stdin.
        file: PathBuf,
        /// A site's key, from `holdfast site keys` at a time when you trusted it; again for each site. Without any, the
        /// keys in the file count.
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Move what was written before there were portions from its bucket's key to portions.
    Migrate {
        /// Only tell whether that is under way.
        #[arg(long)]
        status: bool,
    },
}

/// Where the versions of a portion's key are kept.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Class {
    /// In the metadata, under the tenant's key.
    Sealed,
    /// In five shares, one at each site; three give the key, and once three are destroyed no backup does.
    Quorum,
}

impl From<Class> for admin::PortionClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Sealed => Self::Sealed,
            Class::Quorum => Self::Quorum,
        }
    }
}

/// How long a portion is read on at a gateway that cannot reach the metadata.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CutOff {
    /// 10 seconds: for what nobody may read who was denied it.
    Strict,
    /// 15 minutes.
    Bounded,
    /// 24 hours: for what may rather be read too long than not at all.
    Available,
}

impl From<CutOff> for admin::CutOff {
    fn from(class: CutOff) -> Self {
        match class {
            CutOff::Strict => Self::Strict,
            CutOff::Bounded => Self::Bounded,
            CutOff::Available => Self::Available,
        }
    }
}

#[derive(Args)]
pub(crate) struct ExposureArgs {
    /// The portion's name, its key's id, or alias/NAME.
    #[arg(required_unless_present = "principal")]
    pub(crate) name: Option<String>,
    /// What a leak of everything that was released to this user would open, instead of one portion's.
    #[arg(long, value_name = "USER", conflicts_with_all = ["name", "key_version"])]
    pub(crate) principal: Option<String>,
    /// Of this version of the key only.
    #[arg(long)]
    pub(crate) key_version: Option<u32>,
    /// Count, do not list.
    #[arg(long)]
    pub(crate) summary: bool,
}

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// Print the rules as they were put.
    Get,
    /// Put rules in place of those that were.
    Put {
        /// JSON; - reads it from stdin.
        file: PathBuf,
    },
    /// Which portion an object would belong to.
    Test {
        /// BUCKET/KEY.
        object: String,
        /// A tag of it.
        #[arg(long, value_name = "NAME=VALUE")]
        tag: Vec<String>,
        /// Its content type.
        #[arg(long)]
        content_type: Option<String>,
        /// Ask these rules instead of those in force.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}
