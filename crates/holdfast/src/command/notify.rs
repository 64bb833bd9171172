//! `holdfast notify`.

use store::{TargetReport, TestReport};

use crate::cli::AdminArgs;
use crate::cli::worker::NotifyCommand;
use crate::command::{NOTHING, client, now_ms, print, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: NotifyCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        NotifyCommand::List => {
            let targets: Vec<TargetReport> = client(admin)?.call("GET", "/v1/notify", NOTHING).await?;
            print(&targets, json, |targets| render::targets(targets, now_ms()))?;
            Ok(Exit::Ok)
        }
        NotifyCommand::Test { name } => {
            let path = format!("/v1/notify/{}/test", segment(&name));
            let report: TestReport = client(admin)?.call("POST", &path, NOTHING).await?;
            print(&report, json, render::test)?;
            Ok(if report.delivered { Exit::Ok } else { Exit::No })
        }
    }
}
