//! `holdfast scan`: the service's status, updates and checks; buckets' rules.

use std::path::{Path, PathBuf};

use admin::{BucketScan, BucketScanMode, LastSeen, ReleaseUnclean, Unclean, UncleanPage};
use serde::Serialize;

use crate::cli::scan::{Mode, ScanCommand};
use crate::cli::{AdminArgs, TenantArgs};
use crate::command::{self, NOTHING, asking, data_dir, path, print, say};
use crate::exit::{Exit, Failure};
use crate::render;
use crate::scan::control::{Checked, Client};
use crate::scan::{folder, serve};

pub(crate) async fn run(server: &AdminArgs, what: ScanCommand, json: bool) -> Result<Exit, Failure> {
    let service = Client::new(folder(data_dir(server)));
    match what {
        ScanCommand::Serve(args) => serve::run(server, *args).await,
        ScanCommand::Status => {
            let status = service.status().await?;
            print(&status, json, render::scan::status)?;
            let is_whole = !status.engines.is_empty() && status.engines.iter().all(|engine| engine.down.is_none());
            Ok(if is_whole { Exit::Ok } else { Exit::Degraded })
        }
        ScanCommand::Update { dir } => {
            let updated = service.update(&dir).await?;
            print(&updated, json, |updated| {
                let epoch = updated.epoch;
                match updated.changed {
                    true => format!("used from now on: epoch {epoch}\n"),
                    false => format!("these are used already: epoch {epoch}\n"),
                }
            })?;
            Ok(Exit::Ok)
        }
        ScanCommand::Check { paths } => check(&service, &paths, json).await,
        ScanCommand::Bucket { tenant, bucket, mode, allow_incomplete, defer } => {
            let at = path(&tenant, &["buckets", &bucket, "scan"]);
            let client = command::client(server)?;
            let told: BucketScan = match mode {
                None => client.call("GET", &at, NOTHING).await?,
                Some(mode) => {
                    let set = BucketScan { mode: mode.into(), allow_incomplete, defer };
                    client.call("PUT", &at, Some(&set)).await?
                }
            };
            print(&told, json, |told| render::scan::bucket(&bucket, told))?;
            Ok(Exit::Ok)
        }
        ScanCommand::List { tenant, bucket } => {
            let found = unclean(&command::client(server)?, &tenant, &bucket).await?;
            print(&found, json, |found| render::scan::unclean(found))?;
            Ok(if found.is_empty() { Exit::Ok } else { Exit::No })
        }
        ScanCommand::Release { tenant, bucket, key, version_id, undo } => {
            let at = path(&tenant, &["buckets", &bucket, "scan", "versions"]);
            let asked = ReleaseUnclean { key, version: version_id, released: !undo };
            let told: BucketScan = command::client(server)?.call("POST", &at, Some(&asked)).await?;
            let does = if undo { "is kept back again" } else { "is given out, whatever is found in it" };
            print(&told, json, |_| format!("{}/{} {does}\n", render::clean(&bucket), render::clean(&asked.key)))?;
            Ok(Exit::Ok)
        }
    }
}

async fn unclean(client: &admin::client::Client, tenant: &TenantArgs, bucket: &str) -> Result<Vec<Unclean>, Failure> {
    let (mut found, mut next) = (Vec::new(), None::<LastSeen>);
    loop {
        let after = next.as_ref().map(|next| next.after.clone());
        let version = next.and_then(|next| next.version);
        let at = path(tenant, &["buckets", bucket, "scan", "versions"]);
        let page: UncleanPage =
            client.call("GET", &asking(&at, &[("after", after), ("version", version)]), NOTHING).await?;
        found.extend(page.versions);
        next = page.next;
        if next.is_none() {
            return Ok(found);
        }
    }
}

impl From<Mode> for BucketScanMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Block => Self::Block,
            Mode::Quarantine => Self::Quarantine,
            Mode::Advise => Self::Advise,
            Mode::Off => Self::Off,
        }
    }
}

/// A file and what was said of it.
#[derive(Serialize)]
struct Line {
    path: PathBuf,
    #[serde(flatten)]
    checked: Option<Checked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints a line for each file as soon as it is known.
async fn check(client: &Client, paths: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let (mut found, mut unsure) = (false, false);
    let mut waiting: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        let is_folder = path.symlink_metadata().map_err(Failure::io(path.display()))?.is_dir();
        if is_folder {
            waiting.extend(inside(&path)?);
            continue;
        }
        let line = match client.check(&path).await {
            Ok(checked) => Line { path, checked: Some(checked), error: None },
            Err(failure) => Line { path, checked: None, error: Some(failure.error) },
        };
        let verdict = line.checked.as_ref().map(|checked| checked.verdict.as_str());
        found |= verdict == Some("infected");
        unsure |= !matches!(verdict, Some("clean" | "infected"));
        say(&if json { json_line(&line)? } else { text_line(&line) })?;
    }
    Ok(if found {
        Exit::No
    } else if unsure {
        Exit::Degraded
    } else {
        Exit::Ok
    })
}

/// Plain files and folders of a folder, the last one first.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = Failure::io(folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let kind = entry.file_type().map_err(&failed)?;
        if kind.is_file() || kind.is_dir() {
            paths.push(entry.path());
        }
    }
    paths.sort_by(|a, b| b.cmp(a));
    Ok(paths)
}

fn json_line(line: &Line) -> Result<String, Failure> {
    serde_json::to_string(line).map(|json| json + "\n").map_err(|error| Failure::new(error.to_string()))
}

fn text_line(line: &Line) -> String {
    let said = match (&line.checked, &line.error) {
        (Some(checked), _) if checked.details.is_empty() => checked.verdict.clone(),
        (Some(checked), _) => format!("{} ({})", checked.verdict, checked.details.join(", ")),
        (None, error) => format!("error: {}", error.as_deref().unwrap_or_default()),
    };
    format!("{}: {}\n", render::clean(&line.path.display().to_string()), render::clean(&said))
}
