//! `holdfast group`.

use admin::{Done, Group, GroupList, NewGroup, SetGrant, User};

use crate::cli::{AdminArgs, GroupArgs, GroupCommand};
use crate::command::user::granted;
use crate::command::{NOTHING, client, path, policy, print};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, args: GroupArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    let tenant = &args.tenant;
    let one = |group: &Group| render::groups(std::slice::from_ref(group));
    match args.command {
        GroupCommand::Create { name } => {
            let made: Group = client.call("POST", &path(tenant, &["groups"]), Some(&NewGroup { name })).await?;
            print(&made, json, one)?;
        }
        GroupCommand::List => {
            let groups: GroupList = client.call("GET", &path(tenant, &["groups"]), NOTHING).await?;
            print(&groups, json, |groups| render::groups(groups))?;
        }
        GroupCommand::Show { name } => {
            let group: Group = client.call("GET", &path(tenant, &["groups", &name]), NOTHING).await?;
            print(&group, json, render::group)?;
        }
        GroupCommand::Delete { name } => {
            let done: Done = client.call("DELETE", &path(tenant, &["groups", &name]), NOTHING).await?;
            print(&done, json, |_| format!("group {} is gone, and what it gave\n", render::clean(&name)))?;
        }
        GroupCommand::Add { name, user } => {
            let at = path(tenant, &["users", &user, "groups", &name]);
            let user: User = client.call("PUT", &at, NOTHING).await?;
            print(&user, json, render::user)?;
        }
        GroupCommand::Remove { name, user } => {
            let at = path(tenant, &["users", &user, "groups", &name]);
            let user: User = client.call("DELETE", &at, NOTHING).await?;
            print(&user, json, render::user)?;
        }
        GroupCommand::Grant { name, bucket, right } => {
            let at = path(tenant, &["groups", &name, "grants", &bucket]);
            let group: Group = client.call("PUT", &at, Some(&SetGrant { right: granted(right) })).await?;
            print(&group, json, one)?;
        }
        GroupCommand::Revoke { name, bucket } => {
            let at = path(tenant, &["groups", &name, "grants", &bucket]);
            let group: Group = client.call("DELETE", &at, NOTHING).await?;
            print(&group, json, one)?;
        }
        GroupCommand::Policy(command) => {
            return policy::run::<Group>(&client, tenant, "groups", |group| &group.policies, command, json).await;
        }
    }
    Ok(Exit::Ok)
}
