//! `holdfast site serve`, as it can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{LogFormat, TlsArgs};

#[derive(Args)]
pub(crate) struct SiteServeArgs {
    /// The site's folder. It is not made: one that is missing may be a disk that is not mounted.
    pub(crate) dir: PathBuf,
    /// Where gateways come; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_SITE_LISTEN", default_value = "127.0.0.1:9100")]
    pub(crate) listen: SocketAddr,
    /// Metrics (/metrics) and health (/health), without credentials and TLS [default: none].
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_SITE_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// File with the access key and its secret, mode 0600, made on the first start [default: DIR.credentials]; or
    /// HOLDFAST_SITE_ACCESS_KEY and HOLDFAST_SITE_SECRET_KEY.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_SITE_CREDENTIALS")]
    pub(crate) credentials: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Listen without TLS for other machines. What passes is sealed and requests are signed, but who can change it can do harm.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Memory for bodies in flight, all connections together, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=65536))]
    pub(crate) body_memory_mib: u64,
    /// Connections at once; more wait.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) connections: u32,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "HOLDFAST_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}
