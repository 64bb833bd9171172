//! `/v1/approvals`: what waits for people. The only resource here that users sign for with their own access keys: what takes
//! two people takes two keys. Who has the root's can have made the other one, but not after it asked.

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Extension, Json};
use keys::{Approval, Approver, Standing};
use meta::record::Matter;
use policy::Values;
use serde::{Deserialize, Serialize};
use store::api::Principal;
use store::{Question, Store, judge};

use crate::auth::{header, verified};
use crate::error::Failure;
use crate::home::tenant_in;
use crate::portions::failed;
use crate::{App, sigv4};

/// What a policy of the user must allow, where the request names no groups: on `arn:aws:holdfast:::portion/NAME`, or
/// `arn:aws:holdfast:::user/NAME` where it is about no portion.
const APPROVE: &str = "holdfast:Approve";

/// A request that waits for people, or counts because of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// Its id; the first digits do, if no other begins so.
    pub id: String,
    /// `open`, `seal`, `step-up` or `shred`.
    pub matter: String,
    /// The portion; empty where it is about none.
    pub portion: String,
    /// Who asks.
    pub user: String,
    /// Milliseconds since the Unix epoch.
    pub asked_ms: u64,
    /// People who must approve.
    pub approvals: u8,
    /// Groups, of each of which they must be members.
    pub approvers: Vec<String>,
    /// When time alone decides, milliseconds since the Unix epoch.
    pub by_itself_ms: Option<u64>,
    /// When approvals begin to count, milliseconds since the Unix epoch; `None`: at once.
    #[serde(default)]
    pub not_before_ms: Option<u64>,
    /// Who approved.
    pub approved: Vec<String>,
    /// Who refused.
    pub refused: Option<String>,
    /// `waiting`, `granted` or `refused`.
    pub standing: String,
    /// Until when it is granted or refused, milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
}

/// What a person says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// Yes.
    Approve,
    /// No.
    Refuse,
}

/// A ruling, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What is said.
    pub ruling: Ruling,
    /// `asked_ms` of the request as it was seen: one that was asked anew since is not ruled on.
    pub asked_ms: u64,
}

/// Who signed the request, and the store of the tenant that it is about.
#[derive(Clone)]
pub(crate) struct Person {
    principal: Principal,
    since_ms: u64,
    store: Store,
}

impl From<Approval> for ApprovalRequest {
    fn from(approval: Approval) -> Self {
        let Approval { id, record, standing } = approval;
        let (standing, until_ms) = match standing {
            Standing::Waiting => ("waiting", None),
            Standing::Granted(until_ms) => ("granted", Some(until_ms)),
            Standing::Refused(until_ms) => ("refused", Some(until_ms)),
            Standing::Lapsed => ("lapsed", None),
        };
        let matter = match record.matter {
            Matter::Open(_) => "open",
            Matter::Seal(_) => "seal",
            Matter::StepUp => "step-up",
            Matter::Shred(_) => "shred",
        };
        Self {
            id,
            matter: matter.to_owned(),
            portion: record.portion,
            user: record.name,
            asked_ms: record.asked_ms,
            approvals: record.approvals,
            approvers: record.approvers,
            by_itself_ms: record.after_ms.map(|after| record.asked_ms.saturating_add(after)),
            not_before_ms: (record.floor_ms > 0).then(|| record.asked_ms.saturating_add(record.floor_ms)),
            approved: record.approved.into_iter().map(|(_, name, _)| name).collect(),
            refused: record.refused.map(|(name, _)| name),
            standing: standing.to_owned(),
            until_ms,
        }
    }
}

/// Anybody with an access key passes; what they may do is asked later.
pub(crate) async fn require_person(State(app): State<App>, request: Request, next: Next) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let claimed = header(&head, "authorization").and_then(sigv4::Authorization::parse);
    let access_key = claimed.ok_or(sigv4::SignatureError::Missing)?.access_key.to_owned();
    // A session is as good as the machine that holds it; a person signs with a key of its own.
    let known = match app.store.is_temporary(&access_key) {
        true => None,
        false => app.store.authenticate(&access_key).await?,
    };
    let (secret, principal) = known.ok_or(sigv4::SignatureError::Wrong)?;
    let mut request = verified(head, body, &access_key, &secret).await?;
    let store = match tenant_in(request.uri())? {
        // Only the cluster's root acts for others.
        Some(name) if access_key == app.root.0 => app.store.tenant(&name).await?,
        _ => app.store.of(principal.account()),
    };
    let since_ms = principal.since_ms(&access_key);
    request.extensions_mut().insert(Person { principal, since_ms, store });
    Ok(next.run(request).await)
}

impl Person {
    /// Whether this person may decide a request at all; that it is not its own is asked by who keeps the requests.
    fn may_rule_on(&self, approval: &Approval) -> bool {
        let record = &approval.record;
        let resource = match record.portion.as_str() {
            "" => format!("arn:aws:holdfast:::user/{}", record.name),
            portion => format!("arn:aws:holdfast:::portion/{portion}"),
        };
        let context = &Values::default();
        let question = Question { action: APPROVE, right: None, listed: false, resource: &resource, context };
        let verdict = judge(Some(&self.principal), None, &question);
        let groups = self.principal.who().groups;
        let is_member = !record.approvers.is_empty() && record.approvers.iter().all(|group| groups.contains(group));
        verdict.is_allowed() || (is_member && !verdict.explicit_denial())
    }
}

pub(crate) async fn list(Extension(person): Extension<Person>) -> Result<Json<Vec<ApprovalRequest>>, Failure> {
    let mut all = person.store.portions().approvals(person.store.account()).await.map_err(failed)?;
    // Others see what they decide, or asked for.
    let id = person.principal.who().id;
    all.retain(|one| one.record.principal == id || person.may_rule_on(one));
    Ok(Json(all.into_iter().map(ApprovalRequest::from).collect()))
}

pub(crate) async fn rule(
    Extension(person): Extension<Person>,
    Path(id): Path<String>,
    Json(rule): Json<Rule>,
) -> Result<Json<ApprovalRequest>, Failure> {
    let (portions, account) = (person.store.portions(), person.store.account());
    let may = |approval: &Approval| person.may_rule_on(approval);
    let approver = Approver { who: &person.principal.who(), since_ms: person.since_ms, may: &may };
    let approve = rule.ruling == Ruling::Approve;
    let ruling = keys::Ruling { request: &id, asked_ms: rule.asked_ms, approve };
    Ok(Json(portions.rule_on(account, ruling, &approver).await.map_err(failed)?.into()))
}
