//! `holdfast gateway`.

use store::GatewayReport;

use crate::cli::AdminArgs;
use crate::cli::gateway::GatewayCommand;
use crate::command::{NOTHING, client, print};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: GatewayCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        GatewayCommand::List => {
            let gateways: Vec<GatewayReport> = client(admin)?.call("GET", "/v1/gateways", NOTHING).await?;
            print(&gateways, json, |gateways| render::gateways(gateways))?;
            Ok(Exit::Ok)
        }
    }
}
