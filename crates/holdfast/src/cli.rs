//! What can be typed.

pub(crate) mod audit;
pub(crate) mod deploy;
pub(crate) mod gateway;
pub(crate) mod island;
pub(crate) mod ladder;
pub(crate) mod meta;
pub(crate) mod portion;
pub(crate) mod release;
pub(crate) mod scan;
pub(crate) mod site;
pub(crate) mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use portion::{ExposureArgs, PortionArgs};

/// An S3 object store over five sites that loses any two of them without noticing.
#[derive(Parser)]
#[command(name = "holdfast", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach a running server.
#[derive(Args)]
pub(crate) struct AdminArgs {
    /// Admin API of the running server.
    #[arg(long, global = true, value_name = "URL", env = "HOLDFAST_ADMIN", default_value = "http://127.0.0.1:9001")]
    pub(crate) admin: String,
    /// Certificates to trust for https, in PEM [default: the system's].
    #[arg(long, global = true, value_name = "FILE", env = "HOLDFAST_ADMIN_CA")]
    pub(crate) admin_ca: Option<PathBuf>,
    /// Where the server's data and its credentials file are.
    #[arg(long, global = true, value_name = "DIR", env = "HOLDFAST_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The server's configuration file, for `key` and `meta`: it says where the metadata is.
    #[arg(long, global = true, value_name = "FILE", env = "HOLDFAST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the server: S3, KMS, admin API, workers.
    Serve(ServeArgs),
    /// Runs the library of a token for another holdfast, which it reads from and answers on its pipes.
    #[command(hide = true)]
    SealHelper,
    /// Runs a command as itself, which ends when its parent does.
    #[command(hide = true)]
    EndWithParent {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Whole, degraded or losing: the sites, what is at risk, what repair has to do.
    Status(StatusArgs),
    /// Users, their keys, and what they may do.
    User(UserArgs),
    /// Groups of users, with rights and policies of their own.
    Group(GroupArgs),
    /// Tenants: buckets, users and groups that never meet those of others.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Portions of the data, each under a key of its own.
    Portion(PortionArgs),
    /// Release policies: who may open which portion, on what terms (Cedar).
    Policy(release::ReleasePolicyArgs),
    /// Releases of portions: what waits for people, who is denied, who had what.
    Release(release::ReleaseArgs),
    /// The five sites; and serving one to gateways elsewhere.
    #[command(subcommand)]
    Site(SiteCommand),
    /// The scan service: each content is scanned once, for whoever asks.
    #[command(subcommand)]
    Scan(scan::ScanCommand),
    /// Read every shard, find silent corruption and mend it.
    Scrub(ScrubArgs),
    /// The processes that serve this store together.
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Writes at a gateway that is cut off from the metadata: which buckets take them, and what became of them.
    Island(island::IslandArgs),
    /// Background workers.
    #[command(subcommand)]
    Worker(worker::WorkerCommand),
    /// Where event notifications go.
    #[command(subcommand)]
    Notify(worker::NotifyCommand),
    /// The keys that everything is under.
    #[command(subcommand)]
    Key(KeysCommand),
    /// The audit log: works on the data directory, whether the server runs or not.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The metadata: its etcd, and moving it from one engine to another.
    #[command(subcommand)]
    Meta(meta::MetaCommand),
    /// Five machines from one description: their files, and the commands of day one.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// What is answered while something fails: for each operation, dependency and failure. Asks no server.
    Ladder(ladder::LadderArgs),
    /// Check a configuration file, or print an example.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where data lives; made on the first start.
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// S3 endpoint; port 0 takes a free one [default: 127.0.0.1:9000].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Admin API and metrics [default: 127.0.0.1:9001].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_ADMIN_LISTEN")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// KMS API [default: 127.0.0.1:9002].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_KMS_LISTEN")]
    pub(crate) kms_listen: Option<SocketAddr>,
    /// Configuration file; `holdfast config example` prints one.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) k8s: K8sArgs,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "HOLDFAST_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// The certificate of the S3, admin and KMS listeners; without it they speak HTTP.
#[derive(Args, Default)]
pub(crate) struct TlsArgs {
    /// Certificate in PEM, with those between it and the authority's behind it; read again when it changes.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key in PEM, not readable by everybody.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// The KMS v2 plugin of Kubernetes.
#[derive(Args, Default)]
pub(crate) struct K8sArgs {
    /// Unix socket for kube-apiserver (KMS v2), mode 0600.
    #[arg(long, value_name = "PATH", env = "HOLDFAST_K8S_KMS_SOCKET", requires = "k8s_kms_key")]
    pub(crate) k8s_kms_socket: Option<PathBuf>,
    /// The portion whose key Kubernetes' keys are sealed under: its name, its key's id, or alias/NAME.
    #[arg(long, value_name = "KEY", env = "HOLDFAST_K8S_KMS_KEY", requires = "k8s_kms_socket")]
    pub(crate) k8s_kms_key: Option<String>,
}

/// What opens a sealed root key, and what seals one.
#[derive(Args, Default)]
pub(crate) struct PassphraseArgs {
    /// File with the passphrase of a sealed root key, mode 0600; or HOLDFAST_ROOT_PASSPHRASE.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) tpm: TpmArgs,
}

/// The PKCS#11 token, for a root key that is sealed by one.
#[derive(Args, Clone, Default)]
pub(crate) struct TokenArgs {
    /// Library of the PKCS#11 token that seals the root key.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_ROOT_PKCS11_MODULE")]
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, value_name = "LABEL", env = "HOLDFAST_ROOT_PKCS11_TOKEN")]
    pub(crate) pkcs11_token: Option<String>,
    /// The label of the AES key on it.
    #[arg(long, value_name = "LABEL", env = "HOLDFAST_ROOT_PKCS11_KEY")]
    pub(crate) pkcs11_key: Option<String>,
    /// File with the user's PIN, mode 0600; or HOLDFAST_ROOT_PKCS11_PIN.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_ROOT_PKCS11_PIN_FILE")]
    pub(crate) pkcs11_pin_file: Option<PathBuf>,
}

/// The TPM 2.0 of this machine. One that is sealed by it says so itself; only to seal it is named.
#[derive(Args, Clone, Default)]
pub(crate) struct TpmArgs {
    /// Seal the root key by this machine's TPM 2.0.
    #[arg(long, env = "HOLDFAST_ROOT_TPM")]
    pub(crate) tpm: bool,
    /// Only while these registers are as now, as sha256:7; after a change of firmware or Secure Boot shares are needed.
    #[arg(long, value_name = "PCRS", env = "HOLDFAST_ROOT_TPM_PCRS")]
    pub(crate) tpm_pcrs: Option<String>,
    /// The TPM, as tpm2-tools name it [default: TPM2TOOLS_TCTI, else device:/dev/tpmrm0].
    #[arg(long, value_name = "TCTI", env = "HOLDFAST_ROOT_TPM_TCTI")]
    pub(crate) tpm_tcti: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Print again every second until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// In which tenant.
#[derive(Args)]
pub(crate) struct TenantArgs {
    /// The tenant; without it the default one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
}

#[derive(Args)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(subcommand)]
    pub(crate) command: GroupCommand,
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user without rights; the secret is shown this once.
    Create {
        name: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// All users and their rights.
    List,
    /// One user: keys, rights, policies, groups.
    Show { name: String },
    /// Remove a user; its keys stop working at once.
    Delete { name: String },
    /// Let a user read, write or administer a bucket (`*` for all buckets).
    Grant { name: String, bucket: String, right: Right },
    /// Take a user's right on a bucket away; without a bucket everything, for ever and at every gateway, also from what runs.
    Revoke {
        name: String,
        bucket: Option<String>,
        /// What there is to say of it.
        #[arg(long, default_value = "", conflicts_with = "bucket")]
        note: String,
    },
    /// Access keys of a user: two, to change from one to the other.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Inline policies of a user, in the language of IAM.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Whether a user may do something, and what decides it; exit 1 if it may not.
    ///
    /// Asks grants, policies of the user, of its groups and of the bucket; not access control lists.
    May {
        name: String,
        /// As s3:GetObject.
        action: String,
        /// As arn:aws:s3:::BUCKET/KEY.
        resource: String,
        /// The value of a condition key, as aws:SourceIp=10.0.0.1.
        #[arg(long, value_name = "KEY=VALUE")]
        with: Vec<String>,
    },
}

/// An access key to make.
#[derive(Args)]
pub(crate) struct KeyArgs {
    /// Instead of a made-up one.
    #[arg(long, requires = "secret_key")]
    pub(crate) access_key: Option<String>,
    /// Instead of a made-up one; HOLDFAST_NEW_SECRET_KEY keeps it out of the process list.
    #[arg(long, requires = "access_key", env = "HOLDFAST_NEW_SECRET_KEY", hide_env_values = true)]
    pub(crate) secret_key: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make one more, at most five; the secret is shown this once.
    Create {
        name: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// All keys of a user.
    List { name: String },
    /// Refuse requests with a key, and with temporary credentials made with it; can be undone.
    Disable { name: String, access_key: String },
    /// Let a key work again.
    Enable { name: String, access_key: String },
    /// Remove a key for good.
    Delete { name: String, access_key: String },
}

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Put a policy, in place of one of the same name.
    Put {
        name: String,
        policy: String,
        /// The document; - reads it from stdin.
        file: PathBuf,
    },
    /// Print a policy as it was put.
    Get { name: String, policy: String },
    /// The names of all policies.
    List { name: String },
    /// Take a policy away.
    Delete { name: String, policy: String },
}

#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group without members and rights.
    Create { name: String },
    /// All groups and their rights.
    List,
    /// One group: members, rights, policies.
    Show { name: String },
    /// Remove a group; its members lose at once what it gave them.
    Delete { name: String },
    /// Make a user a member.
    Add { name: String, user: String },
    /// End a user's membership.
    Remove { name: String, user: String },
    /// Let members read, write or administer a bucket (`*` for all buckets).
    Grant { name: String, bucket: String, right: Right },
    /// Take the members' right on a bucket away.
    Revoke { name: String, bucket: String },
    /// Inline policies of a group, in the language of IAM.
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant and its administrator, whose secret is shown this once.
    Create { name: String },
    /// All tenants beside the default one.
    List,
    /// Remove a tenant without buckets, groups and users; its administrator goes with it.
    Delete { name: String },
    /// One tenant: who holds a half of its key, and how that stands.
    Show { name: String },
    /// Make the tenant's key take a half that a customer's own KMS holds: without it nothing of the tenant opens.
    Hold {
        name: String,
        /// The customer's key: its ARN, or its id with --kms-region.
        #[arg(long, value_name = "ARN")]
        kms_key: String,
        /// Where the KMS is, over https; without it AWS' own of the region.
        #[arg(long, value_name = "URL")]
        kms_endpoint: Option<String>,
        /// The key's region, where its ARN is not given.
        #[arg(long, value_name = "REGION")]
        kms_region: Option<String>,
        /// The profile of the server's shared credentials file, instead of the AWS variables of its environment.
        #[arg(long, value_name = "NAME")]
        kms_profile: Option<String>,
        /// How long the half counts once the KMS gave it: 1s to 1h.
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = lease)]
        lease: u64,
        /// Only try whether the KMS keeps and gives a half.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take the half back, for which the customer's KMS must give it once more: the root key alone opens the tenant again.
    Release {
        name: String,
        /// Only try whether the KMS gives the half.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Seconds, minutes or an hour, as milliseconds.
fn lease(text: &str) -> Result<u64, String> {
    let (digits, unit_ms) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) if text.ends_with('m') => (digits, 60_000),
        Some(digits) if text.ends_with('h') => (digits, 3_600_000),
        Some(digits) => (digits, 1_000),
        None => (text, 1_000),
    };
    let wrong = || "a time like 30s, 5m or 1h".to_owned();
    let lease_ms = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)).ok_or_else(wrong)?;
    if (1_000..=3_600_000).contains(&lease_ms) { Ok(lease_ms) } else { Err("1s to 1h".to_owned()) }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Right {
    /// List and read.
    Read,
    /// Read, write and delete objects.
    Write,
    /// All that, and create or delete the bucket.
    Admin,
}

#[derive(Subcommand)]
pub(crate) enum SiteCommand {
    /// Serve a folder of this machine as a site, for gateways elsewhere (S3, bucket `site`).
    Serve(Box<site::SiteServeArgs>),
    /// State, since when, latency.
    List,
    /// What the sites sign receipts with, of all times: keep it where the server cannot change it.
    Keys,
    /// Give the slot of a lost site to the empty one that now stands at its place, and refill it.
    Replace {
        name: String,
        /// Even if the site is in service or carries a marker.
        #[arg(long)]
        force: bool,
        /// Even if keys of class quorum are lost with what it has.
        #[arg(long)]
        lose_keys: bool,
        /// Do not wait for the refill.
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Args)]
pub(crate) struct ScrubArgs {
    /// Start and return.
    #[arg(long, conflicts_with_all = ["status", "stop"])]
    pub(crate) no_wait: bool,
    /// Show the running or last scrub.
    #[arg(long, conflicts_with = "stop")]
    pub(crate) status: bool,
    /// Stop the running scrub.
    #[arg(long)]
    pub(crate) stop: bool,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// The root key: works on the data directory, whether the server runs or not.
    #[command(subcommand)]
    Root(RootCommand),
    /// Machines that have the root key wrapped to a key pair of their own: works on the data directory.
    ///
    /// On the machine: `key site create NAME`, and carry site.pub to one that has the root key. There, with the server
    /// stopped: `key root wrap site.pub --out FILE`, and carry FILE back. On the machine: `key root accept FILE`.
    #[command(subcommand)]
    Site(KeySiteCommand),
    /// What a leak of a portion's key would open; the same as `portion exposure`.
    Exposure {
        #[command(flatten)]
        tenant: TenantArgs,
        #[command(flatten)]
        exposure: ExposureArgs,
    },
}

#[derive(Subcommand)]
pub(crate) enum RootCommand {
    /// Print shares of the root key, for people to keep; some of them give it back.
    Split {
        /// How many.
        #[arg(long, default_value_t = 5)]
        shares: u8,
        /// How many of them give the key back; fewer tell nothing about it.
        #[arg(long, default_value_t = 3)]
        threshold: u8,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Write the root key from shares; sealed if there is a passphrase, a token or a TPM. Never over another.
    Recover {
        #[command(flatten)]
        shares: SharesArgs,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// A drill: whether shares give the root key that is there; exit 1 if not. Writes nothing.
    Check {
        #[command(flatten)]
        shares: SharesArgs,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Seal the file of the root key by a passphrase, a PKCS#11 token or a TPM, which the server then needs to start.
    ///
    /// Sealed by one of them and given another, it is sealed by the other; to a passphrase only with --to.
    Seal(SealToArgs),
    /// Put the root key back in clear.
    Unseal(SealArgs),
    /// Make another root key, and wrap anew all that is under it; the server must be stopped.
    ///
    /// Cut off, it is gone on with by the next run; until it is finished the server does not start.
    Rotate(RotateArgs),
    /// Wrap the root key to another machine's public key; the server must be stopped.
    ///
    /// The fingerprint is read from the machine's own screen, not from what came with the file: whoever has the other half of
    /// the public key has the root key.
    Wrap {
        /// The machine's public key, as its `key site create` wrote it.
        site: PathBuf,
        /// The fingerprint that the machine printed.
        #[arg(long, value_name = "FINGERPRINT")]
        fingerprint: String,
        /// Where to write the wrapped root key; never over another file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Take a root key that was wrapped to this machine's site key.
    Accept {
        /// What `key root wrap` wrote.
        wrap: PathBuf,
        /// Put it in the place of the root key file that is there, which then is gone.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeySiteCommand {
    /// Make this machine's key pair: site.key, which stays here sealed, and site.pub.
    Create {
        /// What others call this machine: 1 to 32 characters of a-z, 0-9 and -.
        name: String,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Seal site.key by a passphrase, a PKCS#11 token or a TPM, which the server then needs to start.
    ///
    /// Sealed by one of them and given another, it is sealed by the other; to a passphrase only with --to.
    Seal(SealToArgs),
    /// Put site.key back in clear.
    Unseal(SealArgs),
    /// The machines that the root key is wrapped to; the server must be stopped.
    List,
    /// Wrap the next root key to a machine no more; the server must be stopped.
    ///
    /// It keeps the root key that it has: where it is not trusted any more, run `key root rotate` then.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Where shares come from.
#[derive(Args)]
pub(crate) struct SharesArgs {
    /// File with a share on each line, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SealArgs {
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// Do all of it but the writing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct SealToArgs {
    #[command(flatten)]
    pub(crate) seal: SealArgs,
    /// What shall seal it; without it the token or the TPM that is named, and a passphrase if none is.
    #[arg(long, value_name = "SEAL")]
    pub(crate) to: Option<SealKind>,
}

/// What seals a root key or a site's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SealKind {
    Passphrase,
    Pkcs11,
    Tpm,
}

#[derive(Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// Look at all that is to be wrapped anew, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave rows that do not open now; they never will again.
    #[arg(long)]
    pub(crate) leave_damaged: bool,
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every mistake in a file.
    Check { file: PathBuf },
    /// Print a commented example.
    Example,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn leases_are_read_as_people_write_them() {
        let table = [
            ("1", Some(1_000)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("60m", Some(3_600_000)),
        ];
        let wrong =
            ["", "0", "0s", "61m", "2h", "5d", "-1s", "1.5m", "m", "99999999999999999999h"].map(|text| (text, None));
        for (text, expected) in table.into_iter().chain(wrong) {
            assert_eq!(lease(text).ok(), expected, "{text}");
        }
    }
}
