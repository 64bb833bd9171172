//! `holdfast scan`: status, update, check.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::AdminArgs;
use crate::cli::scan::ScanCommand;
use crate::command::{data_dir, print, say};
use crate::exit::{Exit, Failure};
use crate::render;
use crate::scan::control::{Checked, Client};
use crate::scan::{folder, serve};

pub(crate) async fn run(admin: &AdminArgs, command: ScanCommand, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(folder(data_dir(admin)));
    match command {
        ScanCommand::Serve(args) => serve::run(admin, *args).await,
        ScanCommand::Status => {
            let status = client.status().await?;
            print(&status, json, render::scan::status)?;
            let is_whole = !status.engines.is_empty() && status.engines.iter().all(|engine| engine.down.is_none());
            Ok(if is_whole { Exit::Ok } else { Exit::Degraded })
        }
        ScanCommand::Update { dir } => {
            let updated = client.update(&dir).await?;
            print(&updated, json, |updated| {
                let epoch = updated.epoch;
                match updated.changed {
                    true => format!("used from now on: epoch {epoch}\n"),
                    false => format!("these are used already: epoch {epoch}\n"),
                }
            })?;
            Ok(Exit::Ok)
        }
        ScanCommand::Check { paths } => check(&client, &paths, json).await,
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
