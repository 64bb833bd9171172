//! `holdfast scan`, as it can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{LogFormat, TenantArgs};

#[derive(Subcommand)]
pub(crate) enum ScanCommand {
    /// Start the scan service: ClamAV behind one cache of verdicts, for clients of clamd and of ICAP.
    Serve(Box<ScanServeArgs>),
    /// Engines, queue, hit rate. Exit code 75 where something cannot be scanned now.
    Status,
    /// Use the definitions in a folder, beside those that freshclam fetches. Returns when they are used; what was used before is, until then.
    Update {
        /// It has files that ClamAV loads: .cvd .cld .hdb .hsb .ndb .ldb and their like. They are copied.
        dir: PathBuf,
    },
    /// What a bucket does about malware: shows it, or sets it with --mode.
    Bucket {
        #[command(flatten)]
        tenant: TenantArgs,
        bucket: String,
        /// When versions are looked at, and what follows. It holds for what the bucket has already.
        #[arg(long, value_enum)]
        mode: Option<Mode>,
        /// Treat what could not be looked at as a whole (encrypted archives, bombs) as clean.
        #[arg(long, requires = "mode")]
        allow_incomplete: bool,
        /// With block: store and keep back what cannot be looked at now, instead of refusing it.
        #[arg(long, requires = "mode")]
        defer: bool,
    },
    /// Versions of a bucket that are not known to be clean. Exit code 1 if there are any.
    List {
        #[command(flatten)]
        tenant: TenantArgs,
        bucket: String,
    },
    /// Give a version out whatever was found in it.
    Release {
        #[command(flatten)]
        tenant: TenantArgs,
        bucket: String,
        key: String,
        /// The version [default: the newest].
        #[arg(long, value_name = "ID")]
        version_id: Option<String>,
        /// Keep it back again.
        #[arg(long)]
        undo: bool,
    },
    /// Scan files as clients do. Exit code 1 if something was found, 75 if something could not be looked at as a whole.
    Check {
        /// Files. Of a folder all that is in it; symbolic links are not followed.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Before they are stored: what is infected is refused. Uploads in parts are looked at once they are stored, and kept back until then.
    Block,
    /// Once they are stored; nobody reads them before they are known to be clean.
    Quarantine,
    /// Once they are stored; readers are told in a header.
    Advise,
    /// They are not.
    Off,
}

#[derive(Args)]
pub(crate) struct ScanServeArgs {
    #[command(flatten)]
    pub(crate) doors: DoorArgs,
    /// Metrics (/metrics) and health (/health) [default: none].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_SCAN_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "HOLDFAST_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// What clients come by, and what they are told. clamd's and ICAP's protocols have neither passwords nor encryption: an address of other machines
/// belongs on a network of those who may ask.
#[derive(Args)]
pub(crate) struct DoorArgs {
    /// clamd over TCP.
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_CLAMD_LISTEN", default_value = "127.0.0.1:3310")]
    pub(crate) clamd_listen: Door,
    /// clamd on a Unix socket: clients may pass descriptors, root and the server's user may name files [default: none].
    #[arg(long, value_name = "PATH", env = "HOLDFAST_CLAMD_SOCKET")]
    pub(crate) clamd_socket: Option<PathBuf>,
    /// Mode of that socket: who may write to it may ask.
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = mode)]
    pub(crate) clamd_socket_mode: u32,
    /// ICAP.
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_ICAP_LISTEN", default_value = "127.0.0.1:1344")]
    pub(crate) icap_listen: Door,
    /// Definitions that freshclam fetches; looked at every ten seconds [default: /var/lib/clamav, where it is].
    #[arg(long, value_name = "DIR", env = "HOLDFAST_SCAN_DEFINITIONS")]
    pub(crate) definitions: Option<PathBuf>,
    /// YARA rules (.yar, .yara) that contents must pass as well; looked at every ten seconds [default: none].
    #[arg(long, value_name = "DIR", env = "HOLDFAST_YARA")]
    pub(crate) yara: Option<PathBuf>,
    /// The program that ClamAV's scans are done by.
    #[arg(long, value_name = "PROGRAM", env = "HOLDFAST_CLAMD", default_value = "clamd")]
    pub(crate) clamd: PathBuf,
    /// Scans at once; one of several is only for what is short and on access [default: one more than twice the processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) slots: Option<u16>,
    /// What clamd's clients are told of a content that could not be looked at as a whole.
    #[arg(long, value_enum, default_value_t = ClamdIncomplete::Found)]
    pub(crate) clamd_incomplete: ClamdIncomplete,
    /// What ICAP's clients are told of one.
    #[arg(long, value_enum, default_value_t = IcapIncomplete::Error)]
    pub(crate) icap_incomplete: IcapIncomplete,
    /// What ICAP's clients are told while there is no verdict to be had.
    #[arg(long, value_enum, default_value_t = IcapUnavailable::Refuse)]
    pub(crate) icap_unavailable: IcapUnavailable,
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door(pub(crate) Option<SocketAddr>);

impl std::str::FromStr for Door {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            address => address
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| format!("{address:?} is no address like 127.0.0.1:3310, and not \"off\"")),
        }
    }
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no mode like 660"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClamdIncomplete {
    /// That something was found, as clamd does with AlertExceedsMax.
    Found,
    /// An error.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IcapIncomplete {
    /// An error that says why.
    Error,
    /// That it is infected.
    Block,
    /// Nothing but a header.
    Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IcapUnavailable {
    /// To come again.
    Refuse,
    /// Contents pass unscanned, and a header says so.
    Pass,
}
