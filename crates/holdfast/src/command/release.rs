//! `holdfast release`.

use admin::client::Client;
use admin::{ApprovalRequest, Denied, Deny, Done, Holder, HolderPage, Rule, Ruling};

use crate::cli::release::{DenyReason, ReleaseArgs, ReleaseCommand};
use crate::cli::{AdminArgs, TenantArgs};
use crate::command::{NOTHING, asking, client, now_ms, path, print};
use crate::exit::{Exit, Failure};
use crate::render::release as render;

pub(crate) async fn run(admin: &AdminArgs, args: ReleaseArgs, json: bool) -> Result<Exit, Failure> {
    let client = client(admin)?;
    let tenant = &args.tenant;
    match args.command {
        ReleaseCommand::List => {
            let found: Vec<ApprovalRequest> = client.call("GET", &path(tenant, &["approvals"]), NOTHING).await?;
            print(&found, json, |found| render::approvals(found, now_ms()))?;
        }
        ReleaseCommand::Approve { request } => rule(&client, tenant, &request, Ruling::Approve, json).await?,
        ReleaseCommand::Refuse { request } => rule(&client, tenant, &request, Ruling::Refuse, json).await?,
        ReleaseCommand::Deny { user, reason, note } => {
            let reason = match reason {
                DenyReason::Revoked => admin::DenyReason::Revoked,
                DenyReason::Lost => admin::DenyReason::Lost,
                DenyReason::Quarantined => admin::DenyReason::Quarantined,
            };
            let at = path(tenant, &["release", "denials", &user]);
            let denied: Denied = client.call("PUT", &at, Some(&Deny { reason, note })).await?;
            print(&denied, json, |denied| render::denials(std::slice::from_ref(denied), now_ms()))?;
            eprintln!(
                "here at once, at other gateways within 10 seconds; `holdfast release holders --user` tells what it had"
            );
        }
        ReleaseCommand::Readmit { user } => {
            let done: Done = client.call("DELETE", &path(tenant, &["release", "denials", &user]), NOTHING).await?;
            print(&done, json, |_| "the quarantine is lifted\n".to_owned())?;
        }
        ReleaseCommand::Denials => {
            let found: Vec<Denied> = client.call("GET", &path(tenant, &["release", "denials"]), NOTHING).await?;
            print(&found, json, |found| render::denials(found, now_ms()))?;
        }
        ReleaseCommand::ResetBudget { user } => {
            let done: Done = client.call("DELETE", &path(tenant, &["release", "budgets", &user]), NOTHING).await?;
            print(&done, json, |_| "the hour begins anew\n".to_owned())?;
        }
        ReleaseCommand::Holders { portion, user } => {
            let found = holders(&client, tenant, portion, user.as_deref()).await?;
            print(&found, json, |found| render::holders(found, now_ms()))?;
        }
    }
    Ok(Exit::Ok)
}

/// Looks a request up and rules on that, not on what may be asked anew meanwhile.
async fn rule(client: &Client, tenant: &TenantArgs, request: &str, ruling: Ruling, json: bool) -> Result<(), Failure> {
    let found: Vec<ApprovalRequest> = client.call("GET", &path(tenant, &["approvals"]), NOTHING).await?;
    let wanted = request.to_ascii_lowercase();
    let mut like = found.iter().filter(|one| one.id.starts_with(&wanted));
    // What is not among those that the signer decides, the server says why.
    let (id, asked_ms) = match (like.next(), like.next()) {
        (Some(only), None) => (only.id.as_str(), only.asked_ms),
        _ => (request, 0),
    };
    let rule = Rule { ruling, asked_ms };
    let ruled: ApprovalRequest = client.call("PUT", &path(tenant, &["approvals", id]), Some(&rule)).await?;
    print(&ruled, json, |ruled| render::approvals(std::slice::from_ref(ruled), now_ms()))
}

/// Who had a portion, or any; of them one user.
pub(crate) async fn holders(
    client: &Client,
    tenant: &TenantArgs,
    portion: Option<String>,
    user: Option<&str>,
) -> Result<Vec<Holder>, Failure> {
    let at = path(tenant, &["release", "holders"]);
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let asked = asking(&at, &[("portion", portion.clone()), ("from", from)]);
        let page: HolderPage = client.call("GET", &asked, NOTHING).await?;
        found.extend(page.holders.into_iter().filter(|one| user.is_none_or(|user| one.user == user || one.id == user)));
        from = page.next;
        if from.is_none() {
            return Ok(found);
        }
    }
}
