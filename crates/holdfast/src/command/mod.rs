//! Commands, one file each.

pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod deploy;
pub(crate) mod gateway;
pub(crate) mod group;
pub(crate) mod island;
pub(crate) mod key_site;
pub(crate) mod ladder;
pub(crate) mod meta;
pub(crate) mod notify;
pub(crate) mod policy;
pub(crate) mod portion;
pub(crate) mod receipts;
pub(crate) mod release;
pub(crate) mod release_policy;
pub(crate) mod root;
pub(crate) mod rotate;
pub(crate) mod scan;
pub(crate) mod scrub;
pub(crate) mod site;
pub(crate) mod site_serve;
pub(crate) mod status;
pub(crate) mod tenant;
pub(crate) mod user;
pub(crate) mod worker;

use std::io::{ErrorKind, Write};
use std::path::Path;

use admin::client::{Client, ClientError};
use base::Clock;
use serde::Serialize;

use crate::cli::{AdminArgs, TenantArgs};
use crate::credentials;
use crate::exit::{Failure, chain};
use crate::render;

/// A client of the running server, with the credentials of the environment or of the data
/// directory.
pub(crate) fn client(args: &AdminArgs) -> Result<Client, Failure> {
    let data_dir = data_dir(args);
    let found = match credentials::from_env()? {
        Some(found) => Some(found),
        None => credentials::from_file(&data_dir.join("credentials"))?,
    };
    let found = found.ok_or_else(|| {
        Failure::usage("there are no credentials")
            .hint("set HOLDFAST_ACCESS_KEY and HOLDFAST_SECRET_KEY, or point --data-dir at the server's data directory")
    })?;
    let client = Client::new(&args.admin, args.admin_ca.as_deref(), found.access_key, found.secret_key)?;
    Ok(client.telling(told_degraded))
}

#[allow(clippy::print_stderr, reason = "data is on stdout")]
fn told_degraded(told: &str) {
    eprintln!("the server says that its answer is less than it should be: {}", render::clean(told));
}

/// Where the server's files are, unless it is said.
pub(crate) fn data_dir(args: &AdminArgs) -> &Path {
    args.data_dir.as_deref().unwrap_or(Path::new("./holdfast-data"))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(chain(&error));
        match error {
            ClientError::Address(_) | ClientError::Authority { .. } => Self { exit: crate::exit::Exit::Usage, ..failure },
            ClientError::Unreachable { .. } => {
                failure.hint("start it with `holdfast serve`, or name its admin address with --admin (https, and --admin-ca, where it has a certificate)")
            }
            ClientError::Refused(problem) => Self { hint: problem.hint, ..failure },
            ClientError::Answer(_) => failure.hint("is that the admin API, and of this version?"),
        }
    }
}

/// Prints data: as JSON, or as text made from it.
pub(crate) fn print<T: Serialize>(data: &T, json: bool, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(data).map_err(|e| Failure::new(e.to_string()))? + "\n"
    } else {
        text(data)
    };
    say(&text)
}

/// Writes to stdout. That the reader has gone is no error.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::io("stdout")(error)),
        _ => Ok(()),
    }
}

pub(crate) fn now_ms() -> u64 {
    base::SystemClock.now_ms()
}

/// Percent-encodes a path segment that a person typed.
pub(crate) fn segment(text: &str) -> String {
    admin::sigv4::encode(text)
}

/// A path of the admin API: segments that a person typed among those that are fixed, in the tenant's
/// world.
pub(crate) fn path(tenant: &TenantArgs, segments: &[&str]) -> String {
    let mut path = "/v1".to_owned();
    for part in segments {
        path.push('/');
        path.push_str(&segment(part));
    }
    asking(&path, &[("tenant", tenant.tenant.clone())])
}

/// The path with what it asks for: values that there are, by name.
pub(crate) fn asking(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut path = path.to_owned();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&format!("{name}={}", segment(value)));
    }
    path
}

/// No request body.
pub(crate) const NOTHING: Option<&()> = None;

/// A progress bar on stderr.
pub(crate) fn bar(what: &'static str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(0);
    let style = indicatif::ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} {per_sec} {eta}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}
