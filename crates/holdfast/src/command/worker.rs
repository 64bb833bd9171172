//! `holdfast worker`.

use store::{RepairChange, RepairReport, WorkerReport};

use crate::cli::AdminArgs;
use crate::cli::worker::{RepairArgs, WorkerCommand};
use crate::command::{NOTHING, client, now_ms, print};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: WorkerCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        WorkerCommand::List => {
            let workers: Vec<WorkerReport> = client(admin)?.call("GET", "/v1/workers", NOTHING).await?;
            print(&workers, json, |workers| render::workers(workers))?;
            Ok(Exit::Ok)
        }
        WorkerCommand::Repair(args) => {
            let change = change(&args);
            let client = client(admin)?;
            let report: RepairReport = match change {
                RepairChange { paused: None, max_bytes_per_s: None } => {
                    client.call("GET", "/v1/repair", NOTHING).await?
                }
                change => client.call("PUT", "/v1/repair", Some(&change)).await?,
            };
            print(&report, json, |report| render::repair::screen(report, now_ms()))?;
            Ok(Exit::Ok)
        }
    }
}

fn change(args: &RepairArgs) -> RepairChange {
    let paused = if args.pause { Some(true) } else { args.resume.then_some(false) };
    RepairChange { paused, max_bytes_per_s: args.max_mib_per_s.map(|mib| u64::from(mib) << 20) }
}
