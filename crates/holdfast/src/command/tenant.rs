//! `holdfast tenant`.

use std::collections::BTreeMap;

use admin::{Done, Held, Hold, NewTenant, SecretTenant, TenantDetail, TenantList};

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
        TenantCommand::Show { name } => {
            let found: TenantDetail = client.call("GET", &format!("/v1/tenants/{}", segment(&name)), NOTHING).await?;
            print(&found, json, |found| render::tenant(found, crate::command::now_ms()))?;
        }
        TenantCommand::Hold { name, kms_key, kms_endpoint, kms_region, kms_profile, lease, dry_run } => {
            let given = [("endpoint", kms_endpoint), ("region", kms_region), ("profile", kms_profile)];
            let given = given.into_iter().filter_map(|(option, value)| Some((option.to_owned(), value?)));
            let options: BTreeMap<String, String> = given.chain([("key".to_owned(), kms_key)]).collect();
            let hold = Hold { kind: awskms::KIND.to_owned(), options, lease_ms: Some(lease), dry_run };
            let held: Held = client.call("POST", &format!("/v1/tenants/{}/half", segment(&name)), Some(&hold)).await?;
            print(&held, json, |held| {
                let (name, key) = (render::clean(&name), render::clean(&held.key));
                if dry_run {
                    return format!("the KMS keeps and gives a half under {key}; nothing was changed\n");
                }
                format!(
                    "tenant {name} opens by {key} only\nold copies of meta/ open by the root key as before: destroy them, then \
                     rotate the keys of its portions\nnext: holdfast tenant show {name}\n"
                )
            })?;
        }
        TenantCommand::Release { name, dry_run } => {
            let path = format!("/v1/tenants/{}/half?dry_run={dry_run}", segment(&name));
            let done: Done = client.call("DELETE", &path, NOTHING).await?;
            let name = render::clean(&name);
            print(&done, json, |_| match dry_run {
                true => "the KMS gives the half; nothing was changed\n".to_owned(),
                false => format!("the root key alone opens tenant {name} again\n"),
            })?;
        }
    }
    Ok(Exit::Ok)
}
