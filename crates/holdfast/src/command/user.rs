//! `holdfast user`.

use admin::client::Client;
use admin::{Done, Judgement, May, NewKey, NewUser, RevokeUser, SecretKey, SetGrant, SetKey, User, UserList};
use store::api::Right as Granted;

use crate::cli::{AdminArgs, KeyArgs, KeyCommand, Right, TenantArgs, UserArgs, UserCommand};
use crate::command::{NOTHING, client, path, policy, print};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, args: UserArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    let tenant = &args.tenant;
    match args.command {
        UserCommand::Create { name, key: KeyArgs { access_key, secret_key } } => {
            let new = NewUser { name, access_key, secret_key };
            let made: SecretKey = client.call("POST", &path(tenant, &["users"]), Some(&new)).await?;
            print(&made, json, |made| {
                let name = render::clean(&made.name);
                let next = format!("holdfast user grant {name} BUCKET read|write|admin{}", typed(tenant));
                render::secret("user", &made.name, &made.access_key, &made.secret_key, &next)
            })?;
        }
        UserCommand::List => {
            let users: UserList = client.call("GET", &path(tenant, &["users"]), NOTHING).await?;
            print(&users, json, |users| render::users(users))?;
        }
        UserCommand::Show { name } => {
            let user: User = client.call("GET", &path(tenant, &["users", &name]), NOTHING).await?;
            print(&user, json, render::user)?;
        }
        UserCommand::Delete { name } => {
            let done: Done = client.call("DELETE", &path(tenant, &["users", &name]), NOTHING).await?;
            let name = render::clean(&name);
            let told = format!(
                "user {name} is gone; its keys no longer work\nACLs and bucket policies may still name {name}: take that out before a new user gets the name\n"
            );
            print(&done, json, |_| told)?;
        }
        UserCommand::Grant { name, bucket, right } => {
            let at = path(tenant, &["users", &name, "grants", &bucket]);
            let user: User = client.call("PUT", &at, Some(&SetGrant { right: granted(right) })).await?;
            print(&user, json, |user| render::users(std::slice::from_ref(user)))?;
        }
        UserCommand::Revoke { name, bucket: None, note } => {
            let at = path(tenant, &["users", &name, "revoke"]);
            let user: User = client.call("POST", &at, Some(&RevokeUser { note })).await?;
            print(&user, json, |user| {
                let name = render::clean(&user.name);
                format!(
                    "user {name} is revoked: gateways that reach the metadata cut it off within a second, others within eleven\nto let the person come back: holdfast user delete {name}{tenant}; holdfast user create {name}{tenant}\n",
                    tenant = typed(tenant)
                )
            })?;
        }
        UserCommand::Revoke { name, bucket: Some(bucket), .. } => {
            let at = path(tenant, &["users", &name, "grants", &bucket]);
            let user: User = client.call("DELETE", &at, NOTHING).await?;
            print(&user, json, |user| render::users(std::slice::from_ref(user)))?;
        }
        UserCommand::Key(command) => key(&client, tenant, command, json).await?,
        UserCommand::Policy(command) => {
            return policy::run::<User>(&client, tenant, "users", |user| &user.policies, command, json).await;
        }
        UserCommand::May { name, action, resource, with } => {
            let with = with.iter().map(|pair| condition(pair)).collect::<Result<_, _>>()?;
            let may = May { action, resource, with };
            let told: Judgement = client.call("POST", &path(tenant, &["users", &name, "may"]), Some(&may)).await?;
            print(&told, json, |told| {
                format!("{}: {}\n", if told.allowed { "yes" } else { "no" }, render::clean(&told.because))
            })?;
            return Ok(if told.allowed { Exit::Ok } else { Exit::No });
        }
    }
    Ok(Exit::Ok)
}

async fn key(client: &Client, tenant: &TenantArgs, command: KeyCommand, json: bool) -> Result<(), Failure> {
    let user: User = match command {
        KeyCommand::Create { name, key: KeyArgs { access_key, secret_key } } => {
            let new = NewKey { access_key, secret_key };
            let made: SecretKey = client.call("POST", &path(tenant, &["users", &name, "keys"]), Some(&new)).await?;
            return print(&made, json, |made| {
                let name = render::clean(&made.name);
                let next = format!("change to it, then holdfast user key disable {name} OLD-KEY{}", typed(tenant));
                render::secret("user", &made.name, &made.access_key, &made.secret_key, &next)
            });
        }
        KeyCommand::List { name } => client.call("GET", &path(tenant, &["users", &name]), NOTHING).await?,
        KeyCommand::Disable { name, access_key } => set(client, tenant, &name, &access_key, false).await?,
        KeyCommand::Enable { name, access_key } => set(client, tenant, &name, &access_key, true).await?,
        KeyCommand::Delete { name, access_key } => {
            client.call("DELETE", &path(tenant, &["users", &name, "keys", &access_key]), NOTHING).await?
        }
    };
    print(&user.keys, json, |keys| render::keys(keys, crate::command::now_ms()))
}

async fn set(client: &Client, tenant: &TenantArgs, name: &str, key: &str, enabled: bool) -> Result<User, Failure> {
    Ok(client.call("PUT", &path(tenant, &["users", name, "keys", key]), Some(&SetKey { enabled })).await?)
}

/// The tenant as it has to be typed again.
fn typed(tenant: &TenantArgs) -> String {
    tenant.tenant.as_ref().map_or_else(String::new, |tenant| format!(" --tenant {}", render::clean(tenant)))
}

fn condition(pair: &str) -> Result<(String, String), Failure> {
    let pair = pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| Failure::usage("--with takes KEY=VALUE, as aws:SourceIp=10.0.0.1"))
}

pub(crate) fn granted(right: Right) -> Granted {
    match right {
        Right::Read => Granted::Read,
        Right::Write => Granted::Write,
        Right::Admin => Granted::Admin,
    }
}
