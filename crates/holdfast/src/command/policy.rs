//! `holdfast user policy` and `holdfast group policy`.

use std::io::Read;
use std::path::Path;

use admin::Document;
use admin::client::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::{PolicyCommand, TenantArgs};
use crate::command::{NOTHING, path, print, say};
use crate::exit::{Exit, Failure};
use crate::render;

/// Bytes of a policy that are worth sending: the server takes fewer.
const DOCUMENT_MAX: u64 = 1 << 20;

/// Runs one command on the policies of a user or group; `kind` is its path, `T` what the server tells
/// of it, `names` the policies that this names.
pub(crate) async fn run<T: Serialize + DeserializeOwned>(
    client: &Client,
    tenant: &TenantArgs,
    kind: &str,
    names: fn(&T) -> &[String],
    command: PolicyCommand,
    json: bool,
) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Put { name, policy, file } => {
            let put = Document { document: read(&file)? };
            let at = path(tenant, &[kind, &name, "policies", &policy]);
            let told: T = client.call("PUT", &at, Some(&put)).await?;
            print(&told, json, |told| render::names(names(told)))?;
        }
        PolicyCommand::Get { name, policy } => {
            let at = path(tenant, &[kind, &name, "policies", &policy]);
            let found: Document = client.call("GET", &at, NOTHING).await?;
            // As it was put, to be put again; JSON already.
            say(&(found.document.trim_end().to_owned() + "\n"))?;
        }
        PolicyCommand::List { name } => {
            let told: T = client.call("GET", &path(tenant, &[kind, &name]), NOTHING).await?;
            print(&names(&told).to_vec(), json, |names| render::names(names))?;
        }
        PolicyCommand::Delete { name, policy } => {
            let at = path(tenant, &[kind, &name, "policies", &policy]);
            let told: T = client.call("DELETE", &at, NOTHING).await?;
            print(&told, json, |told| render::names(names(told)))?;
        }
    }
    Ok(Exit::Ok)
}

/// A document from a file, or from stdin (`-`).
pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(DOCUMENT_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(DOCUMENT_MAX).read_to_string(&mut text))
    };
    read.map_err(Failure::io(file.display()))?;
    Ok(text)
}
