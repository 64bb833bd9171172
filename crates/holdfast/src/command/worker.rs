//! `holdfast worker`.

use store::WorkerReport;

use crate::cli::AdminArgs;
use crate::cli::worker::WorkerCommand;
use crate::command::{NOTHING, client, print};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: WorkerCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        WorkerCommand::List => {
            let workers: Vec<WorkerReport> = client(admin)?.call("GET", "/v1/workers", NOTHING).await?;
            print(&workers, json, |workers| render::workers(workers))?;
            Ok(Exit::Ok)
        }
    }
}
