//! `holdfast status`.

use std::time::Duration;

use store::{State, Status};

use crate::cli::{AdminArgs, StatusArgs};
use crate::command::{NOTHING, client, now_ms, print, say};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, args: StatusArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    loop {
        let status: Status = client.call("GET", "/v1/status", NOTHING).await?;
        if args.watch && !json {
            say("\x1b[2J\x1b[H")?;
        }
        print(&status, json, |status| render::status(status, now_ms()))?;
        if !args.watch {
            return Ok(exit(status.state));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn exit(state: State) -> Exit {
    match state {
        State::Whole => Exit::Ok,
        State::Degraded | State::ReadOnly => Exit::Degraded,
        State::Losing => Exit::No,
    }
}
