//! `holdfast tenant`.

use admin::{Done, NewTenant, SecretTenant, TenantList};

use crate::cli::{AdminArgs, TenantCommand};
use crate::command::{NOTHING, client, print, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: TenantCommand, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    match command {
        TenantCommand::Create { name } => {
            let made: SecretTenant = client.call("POST", "/v1/tenants", Some(&NewTenant { name })).await?;
            print(&made, json, |made| {
                let name = render::clean(&made.tenant.name);
                let next = format!("holdfast user create NAME --tenant {name}");
                let text = render::secret("tenant", &name, &made.access_key, &made.secret_key, &next);
                format!("account     {}\n{text}", made.tenant.account)
            })?;
        }
        TenantCommand::List => {
            let tenants: TenantList = client.call("GET", "/v1/tenants", NOTHING).await?;
            print(&tenants, json, |tenants| render::tenants(tenants, crate::command::now_ms()))?;
        }
        TenantCommand::Delete { name } => {
            let done: Done = client.call("DELETE", &format!("/v1/tenants/{}", segment(&name)), NOTHING).await?;
            print(&done, json, |_| format!("tenant {} is gone, and its administrator\n", render::clean(&name)))?;
        }
    }
    Ok(Exit::Ok)
}
