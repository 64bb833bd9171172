//! `holdfast scrub`.

use std::time::Duration;

use admin::client::Client;
use store::ScrubProgress;

use crate::cli::{AdminArgs, ScrubArgs};
use crate::command::{NOTHING, bar, client, print};
use crate::exit::{Exit, Failure};
use crate::render;

const PATH: &str = "/v1/scrub";

pub(crate) async fn run(admin: &AdminArgs, args: ScrubArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    let scrub: ScrubProgress = if args.status {
        client.call("GET", PATH, NOTHING).await?
    } else if args.stop {
        client.call("DELETE", PATH, NOTHING).await?
    } else {
        let started = client.call("POST", PATH, NOTHING).await?;
        if args.no_wait { started } else { wait(&client).await? }
    };
    print(&scrub, json, render::scrub)?;
    Ok(if scrub.unrepairable > 0 {
        Exit::No
    } else if scrub.last_error.is_some() {
        Exit::Degraded
    } else {
        Exit::Ok
    })
}

async fn wait(client: &Client) -> Result<ScrubProgress, Failure> {
    let bar = bar("scrubbing");
    loop {
        let scrub: ScrubProgress = client.call("GET", PATH, NOTHING).await?;
        bar.set_length(scrub.blobs_total);
        bar.set_position(scrub.blobs_done);
        if !scrub.running {
            bar.finish_and_clear();
            return Ok(scrub);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
