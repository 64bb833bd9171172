//! `holdfast audit`.

use std::path::PathBuf;

use clap::Subcommand;

use super::PassphraseArgs;

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// How much there is of it, how fast it grows, and how long its disk has room; exit 1 when that is too short.
    ///
    /// Whether it is whole, `verify` tells.
    Status,
    /// Read all of the log and compute it anew; exit 1 if it is not whole.
    ///
    /// Without --key the signature is checked against the key that the root key beside the log gives, if it can be
    /// read.
    Verify {
        /// The log's folder, instead of the one in the data directory.
        dir: Option<PathBuf>,
        /// The verifier key, as `holdfast audit key` prints it and you have kept it.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Entries, newest last; those of the last second may be missing.
    List {
        /// The first entry; without it the newest ones.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// Print a proof that an entry is in the log, for who has the verifier key and the entry.
    Prove {
        /// The number of the entry.
        entry: u64,
    },
    /// Print the verifier key, which is no secret: keep it where nobody of this machine can change it.
    Key {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}
