//! `holdfast site`.

use std::time::Duration;

use admin::client::Client;
use admin::{Done, SiteKey, SiteList};

use crate::cli::{AdminArgs, SiteCommand};
use crate::command::{NOTHING, bar, client, now_ms, print, segment};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(admin: &AdminArgs, command: SiteCommand, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    match command {
        // Needs no running server: see `site_serve`.
        SiteCommand::Serve(_) => {}
        SiteCommand::List => {
            let sites: SiteList = client.call("GET", "/v1/sites", NOTHING).await?;
            print(&sites, json, |sites| render::sites(sites, now_ms()))?;
        }
        SiteCommand::Keys => {
            let keys: Vec<SiteKey> = client.call("GET", "/v1/site-keys", NOTHING).await?;
            let text = |keys: &Vec<SiteKey>| keys.iter().map(|key| format!("{}\n", key.key)).collect();
            print(&keys, json, text)?;
        }
        SiteCommand::Replace { name, force, lose_keys, no_wait } => {
            let path = format!("/v1/sites/{}/replace?force={force}&lose_keys={lose_keys}", segment(&name));
            let _: Done = client.call("POST", &path, NOTHING).await?;
            if !no_wait {
                wait(&client, &name).await?;
            }
            let sites: SiteList = client.call("GET", "/v1/sites", NOTHING).await?;
            print(&sites, json, |sites| render::sites(sites, now_ms()))?;
        }
    }
    Ok(Exit::Ok)
}

/// Shows the refill until it is done. Interrupting it stops the watching, not the refill.
async fn wait(client: &Client, name: &str) -> Result<(), Failure> {
    let bar = bar("refilling");
    loop {
        let sites: SiteList = client.call("GET", "/v1/sites", NOTHING).await?;
        let site = sites.into_iter().find(|site| site.name == name);
        match site.and_then(|site| site.resync) {
            None => {
                bar.finish_and_clear();
                return Ok(());
            }
            Some(resync) => {
                bar.set_length(resync.total);
                bar.set_position(resync.done);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
