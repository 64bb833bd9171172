//! `holdfast user`.

use admin::{Done, NewUser, SecretUser, SetGrant, User, UserList};
use store::api::Right as Granted;

use crate::cli::{AdminArgs, Right, UserCommand};
use crate::command::{NOTHING, client, print, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: UserCommand, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    match command {
        UserCommand::Create { name, access_key, secret_key } => {
            let new = NewUser { name, access_key, secret_key };
            let made: SecretUser = client.call("POST", "/v1/users", Some(&new)).await?;
            print(&made, json, |made| {
                format!(
                    "user        {}\naccess key  {}\nsecret key  {}\n\nThe secret is not shown again. Next: holdfast user grant {} BUCKET read|write|admin\n",
                    render::clean(&made.user.name),
                    made.user.access_key,
                    made.secret_key,
                    render::clean(&made.user.name),
                )
            })?;
        }
        UserCommand::List => {
            let users: UserList = client.call("GET", "/v1/users", NOTHING).await?;
            print(&users, json, |users| render::users(users))?;
        }
        UserCommand::Delete { name } => {
            let done: Done = client.call("DELETE", &format!("/v1/users/{}", segment(&name)), NOTHING).await?;
            print(&done, json, |_| format!("user {} is gone; its key no longer works\n", render::clean(&name)))?;
        }
        UserCommand::Grant { name, bucket, right } => {
            let path = grant_path(&name, &bucket);
            let user: User = client.call("PUT", &path, Some(&SetGrant { right: granted(right) })).await?;
            print(&user, json, |user| render::users(std::slice::from_ref(user)))?;
        }
        UserCommand::Revoke { name, bucket } => {
            let user: User = client.call("DELETE", &grant_path(&name, &bucket), NOTHING).await?;
            print(&user, json, |user| render::users(std::slice::from_ref(user)))?;
        }
    }
    Ok(Exit::Ok)
}

fn grant_path(name: &str, bucket: &str) -> String {
    format!("/v1/users/{}/grants/{}", segment(name), segment(bucket))
}

fn granted(right: Right) -> Granted {
    match right {
        Right::Read => Granted::Read,
        Right::Write => Granted::Write,
        Right::Admin => Granted::Admin,
    }
}
