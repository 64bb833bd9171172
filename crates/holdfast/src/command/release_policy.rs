//! `holdfast policy`: release policies.

use std::path::{Path, PathBuf};

use admin::client::Client;
use admin::{
    Document, Done, NamedDocument, ReleaseAction, ReleaseDecision, ReleasePolicy, ReleaseVia, Simulate, Simulation,
    TestRelease,
};
use cedar::{Cedar, SCHEMA};
use release::{Language, Mistakes};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::release::{
    CircumstancesArgs, Door, PolicySimulateArgs, PolicyTestArgs, ReleasePolicyArgs, ReleasePolicyCommand,
};
use crate::cli::{AdminArgs, TenantArgs};
use crate::command::{NOTHING, client, now_ms, path, policy, print, say};
use crate::exit::{Exit, Failure};
use crate::render::release as render;

/// What a document is called that has no name yet.
const UNNAMED: &str = "new";

pub(crate) async fn run(admin: &AdminArgs, args: ReleasePolicyArgs, json: bool) -> Result<Exit, Failure> {
    let tenant = &args.tenant;
    let at = |name: &str| path(tenant, &["release", "policies", name]);
    match args.command {
        ReleasePolicyCommand::Schema => say(SCHEMA)?,
        ReleasePolicyCommand::Check { files } => return check(&files),
        ReleasePolicyCommand::List => {
            let found: Vec<ReleasePolicy> =
                client(admin)?.call("GET", &path(tenant, &["release", "policies"]), NOTHING).await?;
            print(&found, json, |found| render::policies(found, now_ms()))?;
        }
        ReleasePolicyCommand::Get { name } => {
            let found: Document = client(admin)?.call("GET", &at(&name), NOTHING).await?;
            say(&(found.document.trim_end().to_owned() + "\n"))?;
        }
        ReleasePolicyCommand::Put { name, file, dry_run } => {
            let client = client(admin)?;
            let document = policy::read(&file)?;
            if dry_run {
                let change = NamedDocument { name, document: Some(document) };
                return changes(&client, tenant, change, json).await;
            }
            let done: Done = client.call("PUT", &at(&name), Some(&Document { document })).await?;
            print(&done, json, |_| "in force here at once, at other gateways within 10 seconds\n".to_owned())?;
        }
        ReleasePolicyCommand::Delete { name, dry_run } => {
            let client = client(admin)?;
            if dry_run {
                return changes(&client, tenant, NamedDocument { name, document: None }, json).await;
            }
            let done: Done = client.call("DELETE", &at(&name), NOTHING).await?;
            print(&done, json, |_| "gone\n".to_owned())?;
        }
        ReleasePolicyCommand::Test(args) => return test(&client(admin)?, tenant, args, json).await,
        ReleasePolicyCommand::Simulate(args) => {
            let PolicySimulateArgs { file, put_as, delete, portion, user, circumstances } = args;
            let change = match (file, delete) {
                (Some(file), _) => Some(named(&file, put_as)?),
                (None, Some(name)) => Some(NamedDocument { name, document: None }),
                (None, None) => None,
            };
            let CircumstancesArgs { via, address } = circumstances;
            let simulate = Simulate { change, portion, user, via: via.into(), address };
            simulated(&client(admin)?, tenant, &simulate, json).await?;
        }
    }
    Ok(Exit::Ok)
}

impl From<Door> for ReleaseVia {
    fn from(door: Door) -> Self {
        match door {
            Door::S3 => Self::S3,
            Door::Kms => Self::Kms,
            Door::Kubernetes => Self::Kubernetes,
        }
    }
}

fn named(file: &Path, name: Option<String>) -> Result<NamedDocument, Failure> {
    let document = Some(policy::read(file)?);
    Ok(NamedDocument { name: name.unwrap_or_else(|| UNNAMED.to_owned()), document })
}

/// Reads what there is to read without a server.
fn check(files: &[PathBuf]) -> Result<Exit, Failure> {
    let mut texts = Vec::new();
    for file in files {
        texts.push((file.display().to_string(), policy::read(file)?));
    }
    let documents: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match may_be_put(&documents) {
        Ok(()) => {
            say(&format!("no mistakes in {} files\n", files.len()))?;
            Ok(Exit::Ok)
        }
        Err(mistakes) => {
            say(&format!("{mistakes}\n"))?;
            Ok(Exit::No)
        }
    }
}

/// Whether a server of this version would take the documents.
fn may_be_put(documents: &[(&str, &str)]) -> Result<(), Mistakes> {
    Cedar.parse(documents)?;
    // Each for itself: it would be put so.
    documents.iter().try_for_each(|document| match Cedar.parse(&[*document])?.is_empty() {
        true => Err(Mistakes::no_policy(document.0)),
        false => Ok(()),
    })
}

async fn test(client: &Client, tenant: &TenantArgs, args: PolicyTestArgs, json: bool) -> Result<Exit, Failure> {
    let PolicyTestArgs { user, portion, seal, circumstances, temporary, at, file, put_as } = args;
    let test = TestRelease {
        user: (user != "-").then_some(user),
        portion,
        action: if seal { ReleaseAction::Seal } else { ReleaseAction::Open },
        via: circumstances.via.into(),
        temporary,
        address: circumstances.address,
        at_ms: at.as_deref().map(moment).transpose()?,
        with: file.as_deref().map(|file| named(file, put_as)).transpose()?,
    };
    let decision: ReleaseDecision = client.call("POST", &path(tenant, &["release", "test"]), Some(&test)).await?;
    print(&decision, json, render::decision)?;
    Ok(if decision.outcome == "deny" { Exit::No } else { Exit::Ok })
}

fn moment(text: &str) -> Result<u64, Failure> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let ms = parsed.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    ms.ok_or_else(|| Failure::usage("a time is like 2026-12-24T18:00:00Z"))
}

async fn changes(client: &Client, tenant: &TenantArgs, change: NamedDocument, json: bool) -> Result<Exit, Failure> {
    let change = Some(change);
    let simulate = Simulate { change, portion: None, user: None, via: ReleaseVia::S3, address: None };
    simulated(client, tenant, &simulate, json).await?;
    Ok(Exit::Ok)
}

async fn simulated(client: &Client, tenant: &TenantArgs, simulate: &Simulate, json: bool) -> Result<(), Failure> {
    let told: Simulation = client.call("POST", &path(tenant, &["release", "simulate"]), Some(simulate)).await?;
    print(&told, json, render::simulation)?;
    if told.cut {
        eprintln!("there are more pairs than {}: name a --portion or a --user for the rest", told.judged);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_policy_is_no_document() {
        let fine = ("a.cedar", "permit(principal, action, resource);");
        assert_eq!(may_be_put(&[fine]), Ok(()));
        for text in ["", "// permit(principal, action, resource);"] {
            let told = may_be_put(&[fine, ("b.cedar", text)]).unwrap_err().to_string();
            assert!(told.starts_with("b.cedar: there is no policy in it"), "{told}");
        }
    }
}
