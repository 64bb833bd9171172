//! `/v1/release`: release policies, what they would decide, denials, and who had which portion. `?tenant=NAME` as for users.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query};
use base::AccountId;
use keys::{Answer as Decided, Ask, Caller, KUBERNETES, PortionError, Who};
use meta::record::DenialReason;
use release::{Action, Budget, Outcome, Policies, Via};
use serde::{Deserialize, Serialize};
use store::{Error, Store};

use crate::error::Failure;
use crate::home::{Home, by_root};
use crate::portions::failed;
use crate::sites::Done;
use crate::users::Document;

/// Decisions of one simulation, at most: some seconds.
const DECISIONS_MAX: usize = 20_000;
/// The account's root, in lists of users.
const ROOT: &str = "root";
/// Rows in one answer.
const PAGE: usize = 1000;

/// A document of release policies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleasePolicy {
    /// Its name.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Its length.
    pub bytes: usize,
}

/// A release to judge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRelease {
    /// The user; `None`: who does not sign.
    pub user: Option<String>,
    /// The portion's name, its key's id, or alias/NAME.
    pub portion: String,
    /// `open` or `seal`.
    pub action: ReleaseAction,
    /// By which door.
    pub via: ReleaseVia,
    /// Whether by temporary credentials.
    #[serde(default)]
    pub temporary: bool,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// When, milliseconds since the Unix epoch; `None`: now.
    pub at_ms: Option<u64>,
    /// A document to put beside those in force before it is judged.
    pub with: Option<NamedDocument>,
}

/// A document and its name; one of the same name is replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedDocument {
    /// The name.
    pub name: String,
    /// The text; `None`: it is taken away.
    pub document: Option<String>,
}

/// What a release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseAction {
    /// To open what is under the key.
    Open,
    /// To seal more under it.
    Seal,
}

/// By which door a release is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseVia {
    /// The S3 API.
    S3,
    /// The KMS API.
    Kms,
    /// The plugin of Kubernetes.
    Kubernetes,
}

/// What was, or would be, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDecision {
    /// `release`, `pend` (people or time decide) or `deny`.
    pub outcome: String,
    /// The policies that decide, as `DOCUMENT#ID`.
    pub by: Vec<String>,
    /// Why, or on what terms, in words.
    pub because: Vec<String>,
}

/// A change to simulate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// The change; `None`: who could open what today.
    pub change: Option<NamedDocument>,
    /// For this portion alone.
    pub portion: Option<String>,
    /// For this user alone.
    pub user: Option<String>,
    /// By which door.
    pub via: ReleaseVia,
    /// From this address.
    pub address: Option<IpAddr>,
}

/// What becomes of one user and one portion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Simulated {
    /// The user.
    pub user: String,
    /// The portion.
    pub portion: String,
    /// Today.
    pub before: ReleaseDecision,
    /// After the change.
    pub after: Option<ReleaseDecision>,
}

/// Who could open what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Simulation {
    /// With a change, only what changes; without one, only what is not denied.
    pub rows: Vec<Simulated>,
    /// Pairs of a user and a portion that were judged.
    pub judged: usize,
    /// Whether there are more pairs than one simulation judges: name a portion or a user.
    pub cut: bool,
}

/// A denial to put.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Why.
    pub reason: DenyReason,
    /// What there is to say of it.
    #[serde(default)]
    pub note: String,
}

/// Why somebody is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyReason {
    /// For ever: the user comes back as another one.
    Revoked,
    /// For ever: what it acts by was lost.
    Lost,
    /// Until it is lifted.
    Quarantined,
}

/// A denial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denied {
    /// The user's name then.
    pub user: String,
    /// Its unique id.
    pub id: String,
    /// Why.
    pub reason: DenyReason,
    /// What there is to say of it.
    pub note: String,
    /// Who denied it.
    pub by: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// A principal that had a portion's key released to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// The user's name then.
    pub user: String,
    /// Its unique id.
    pub id: String,
    /// The portion.
    pub portion: String,
    /// The id of its key.
    pub key: String,
    /// Milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// The last hour in which it was released, milliseconds since the Unix epoch.
    pub last_hour_ms: u64,
    /// Hours in which it was released.
    pub hours: u64,
}

/// Holders, by portion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HolderPage {
    /// Some of them.
    pub holders: Vec<Holder>,
    /// What to ask with `from` for the rest; `None`: that was all.
    pub next: Option<String>,
}

type Answer<T> = Result<Json<T>, Failure>;

impl From<ReleaseAction> for Action {
    fn from(action: ReleaseAction) -> Self {
        match action {
            ReleaseAction::Open => Self::Open,
            ReleaseAction::Seal => Self::Seal,
        }
    }
}

impl From<ReleaseVia> for Via {
    fn from(via: ReleaseVia) -> Self {
        match via {
            ReleaseVia::S3 => Self::S3,
            ReleaseVia::Kms => Self::Kms,
            ReleaseVia::Kubernetes => Self::Kubernetes,
        }
    }
}

impl From<DenyReason> for DenialReason {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::Revoked => Self::Revoked,
            DenyReason::Lost => Self::Lost,
            DenyReason::Quarantined => Self::Quarantined,
        }
    }
}

impl From<DenialReason> for DenyReason {
    fn from(reason: DenialReason) -> Self {
        match reason {
            DenialReason::Revoked => Self::Revoked,
            DenialReason::Lost => Self::Lost,
            DenialReason::Quarantined => Self::Quarantined,
        }
    }
}

fn told(answer: Decided) -> ReleaseDecision {
    let Decided { denied, decision } = answer;
    if let Some(reason) = denied {
        let because = vec![format!("a denial: {reason:?}").to_lowercase()];
        return ReleaseDecision { outcome: "deny".to_owned(), by: Vec::new(), because };
    }
    let release::Decision { outcome, by, failed } = decision;
    match outcome {
        Outcome::Deny => {
            let none = (by.is_empty() && failed.is_empty()).then(|| "no policy permits it".to_owned());
            let because = failed.into_iter().map(|why| format!("a policy failed: {why}")).chain(none).collect();
            ReleaseDecision { outcome: "deny".to_owned(), by, because }
        }
        Outcome::Release(terms) => {
            let outcome = if terms.pend.is_some() { "pend" } else { "release" };
            let pends = terms.pend.iter().map(|pend| {
                let mut words = Vec::new();
                if pend.approvals > 0 {
                    let of = match pend.approvers.as_slice() {
                        [] => String::new(),
                        groups => format!(" of {}", groups.join(" and ")),
                    };
                    words.push(format!("{} approvals{of}", pend.approvals));
                }
                words.extend(pend.after_ms.map(|after| format!("{} minutes", after / 60_000)));
                let floor = match pend.floor_ms {
                    0 => String::new(),
                    floor => format!(", {} minutes in any case", floor / 60_000),
                };
                format!("waits for {}{floor}, then for {} minutes", words.join(" or "), pend.valid_ms / 60_000)
            });
            let mut because: Vec<String> = pends.collect();
            because.extend(budget(&terms.budget));
            because.extend(terms.record_first.then(|| "is recorded before it is released".to_owned()));
            ReleaseDecision { outcome: outcome.to_owned(), by, because }
        }
    }
}

fn budget(budget: &Budget) -> Option<String> {
    let limits = [("portions", budget.portions), ("objects", budget.objects), ("bytes", budget.bytes)];
    let limits: Vec<String> =
        limits.into_iter().filter_map(|(what, limit)| limit.map(|limit| format!("{limit} {what}"))).collect();
    let over = if budget.step_up { "more waits for approval" } else { "no more" };
    (!limits.is_empty()).then(|| format!("at most {} an hour, {over}", limits.join(", ")))
}

pub(crate) async fn policies(Home(store): Home) -> Answer<Vec<ReleasePolicy>> {
    let documents = store.portions().release_policies(store.account()).await.map_err(failed)?;
    let told = documents.into_iter().map(|(name, record)| ReleasePolicy {
        name,
        modified_ms: record.modified_ms,
        bytes: record.document.len(),
    });
    Ok(Json(told.collect()))
}

pub(crate) async fn get_policy(Home(store): Home, Path(name): Path<String>) -> Answer<Document> {
    let documents = store.portions().release_policies(store.account()).await.map_err(failed)?;
    let found = documents.into_iter().find(|(known, _)| *known == name);
    let (_, record) = found.ok_or_else(|| failed(PortionError::NoSuchPolicy(name)))?;
    Ok(Json(Document { document: record.document }))
}

pub(crate) async fn put_policy(Home(store): Home, Path(name): Path<String>, Json(put): Json<Document>) -> Answer<Done> {
    by_root(&store).put_release_policy(store.account(), &name, &put.document).await.map_err(failed)?;
    Ok(Json(Done {}))
}

pub(crate) async fn delete_policy(Home(store): Home, Path(name): Path<String>) -> Answer<Done> {
    by_root(&store).delete_release_policy(store.account(), &name).await.map_err(failed)?;
    Ok(Json(Done {}))
}

async fn rules(store: &Store, change: Option<&NamedDocument>) -> Result<Option<Arc<dyn Policies>>, Error> {
    let Some(NamedDocument { name, document }) = change else { return Ok(None) };
    let rules = store.portions().release_rules_with(store.account(), name, document.as_deref()).await;
    rules.map(Some).map_err(failed)
}

pub(crate) async fn test(Home(store): Home, Json(test): Json<TestRelease>) -> Answer<ReleaseDecision> {
    let TestRelease { user, portion, action, via, temporary, address, at_ms, with } = test;
    let who = match &user {
        Some(name) => whom(&store, name).await?,
        None => Who::anonymous(),
    };
    let caller = Caller::new(store.account(), who, via.into(), temporary, address);
    let portion = store.portions().find(store.account(), &portion).await.map_err(failed)?.id;
    let ask = Ask { caller: &caller, portion, action: action.into(), at_ms };
    let rules = rules(&store, with.as_ref()).await?;
    let answer = store.portions().would_release(store.account(), &ask, rules.as_deref()).await.map_err(failed)?;
    Ok(Json(told(answer)))
}

/// A user, the account's root, which is none, or the plugin of Kubernetes, which is the default tenant's.
async fn whom(store: &Store, name: &str) -> Result<Who, Error> {
    match name {
        ROOT => Ok(store.root_of_account().who()),
        KUBERNETES if store.account() == AccountId::DEFAULT => Ok(Who::kubernetes()),
        name => Ok(store.principal_of(name).await?.who()),
    }
}

/// A user from before the plugin's name was reserved. Policies cannot tell it from the plugin, so denials do not either.
async fn namesake(store: &Store, name: &str) -> Result<Option<Who>, Error> {
    if name != KUBERNETES || store.account() != AccountId::DEFAULT {
        return Ok(None);
    }
    match store.principal_of(name).await {
        Ok(user) => Ok(Some(user.who())),
        Err(Error::NoSuchUser(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whom, and which portions, a simulation is about.
async fn pairs(store: &Store, simulate: &Simulate) -> Result<(Vec<Caller>, Vec<keys::Portion>), Error> {
    let names = match &simulate.user {
        Some(name) => vec![name.clone()],
        None => {
            let users = store.users().await?.into_iter().map(|user| user.name);
            std::iter::once(ROOT.to_owned()).chain(users.filter(|name| name != ROOT)).collect()
        }
    };
    let mut callers = Vec::with_capacity(names.len());
    for name in names {
        let who = whom(store, &name).await?;
        callers.push(Caller::new(store.account(), who, simulate.via.into(), false, simulate.address));
    }
    let portions = match &simulate.portion {
        Some(name) => vec![store.portions().find(store.account(), name).await.map_err(failed)?],
        None => store.portions().list(store.account(), None, DECISIONS_MAX).await.map_err(failed)?.0,
    };
    Ok((callers, portions))
}

pub(crate) async fn simulate(Home(store): Home, Json(simulate): Json<Simulate>) -> Answer<Simulation> {
    let rules = rules(&store, simulate.change.as_ref()).await?;
    let (callers, portions) = pairs(&store, &simulate).await?;
    let mut told_rows = Simulation { rows: Vec::new(), judged: 0, cut: false };
    for portion in &portions {
        for caller in &callers {
            if told_rows.judged == DECISIONS_MAX {
                told_rows.cut = true;
                return Ok(Json(told_rows));
            }
            told_rows.judged += 1;
            let ask = Ask { caller, portion: portion.id, action: Action::Open, at_ms: None };
            let judge = async |rules: Option<&dyn Policies>| {
                store.portions().would_release(store.account(), &ask, rules).await.map(told).map_err(failed)
            };
            let before = judge(None).await?;
            let after = match &rules {
                Some(rules) => Some(judge(Some(rules.as_ref())).await?),
                None => None,
            };
            let matters = match &after {
                // Which policy says so is no change to whom it is said of.
                Some(after) => (&after.outcome, &after.because) != (&before.outcome, &before.because),
                None => before.outcome != "deny",
            };
            if matters {
                let (user, portion) = (caller.name().to_owned(), portion.record.name.clone());
                told_rows.rows.push(Simulated { user, portion, before, after });
            }
        }
    }
    Ok(Json(told_rows))
}

pub(crate) async fn denials(Home(store): Home) -> Answer<Vec<Denied>> {
    let denials = store.portions().denials(store.account()).await.map_err(failed)?;
    Ok(Json(denials.into_iter().map(|denial| denied(denial.principal, denial.record)).collect()))
}

fn denied(id: String, record: meta::record::DenialRecord) -> Denied {
    let meta::record::DenialRecord { reason, name, note, by, since_ms } = record;
    Denied { user: name, id, reason: reason.into(), note, by, since_ms }
}

pub(crate) async fn deny(Home(store): Home, Path(user): Path<String>, Json(deny): Json<Deny>) -> Answer<Denied> {
    if user == ROOT {
        return Err(Error::Invalid("the root is not denied: it could lift that; change its credentials").into());
    }
    let who = whom(&store, &user).await?;
    let denial = by_root(&store).deny(store.account(), &who, deny.reason.into(), &deny.note).await.map_err(failed)?;
    if let Some(namesake) = namesake(&store, &user).await? {
        by_root(&store).deny(store.account(), &namesake, deny.reason.into(), &deny.note).await.map_err(failed)?;
    }
    Ok(Json(denied(who.id, denial)))
}

pub(crate) async fn readmit(Home(store): Home, Path(user): Path<String>) -> Answer<Done> {
    let who = whom(&store, &user).await?;
    by_root(&store).readmit(store.account(), &who).await.map_err(failed)?;
    if let Some(namesake) = namesake(&store, &user).await? {
        match by_root(&store).readmit(store.account(), &namesake).await {
            // It was not denied, or for ever.
            Ok(()) | Err(PortionError::Invalid(_)) => {}
            Err(error) => return Err(failed(error).into()),
        }
    }
    Ok(Json(Done {}))
}

pub(crate) async fn reset_budget(Home(store): Home, Path(user): Path<String>) -> Answer<Done> {
    let who = whom(&store, &user).await?;
    by_root(&store).reset_budget(store.account(), &who).await.map_err(failed)?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(crate) struct HoldersAsked {
    portion: Option<String>,
    from: Option<String>,
}

pub(crate) async fn holders(Home(store): Home, Query(asked): Query<HoldersAsked>) -> Answer<HolderPage> {
    let portions = store.portions();
    let account = store.account();
    let of = match &asked.portion {
        Some(name) => Some(portions.find(account, name).await.map_err(failed)?.id),
        None => None,
    };
    let from = asked.from.map(|from| hex::decode(from).map_err(|_| Error::Invalid("`from` is what `next` was")));
    let from = from.transpose()?.map(meta::Key::from);
    let (found, next) = portions.holders(account, of, from, PAGE).await.map_err(failed)?;
    let mut holders = Vec::with_capacity(found.len());
    let mut last: Option<(base::PortionId, String)> = None;
    for holder in found {
        let name = match &last {
            Some((id, name)) if *id == holder.portion => name.clone(),
            _ => match portions.get(account, holder.portion).await {
                Ok(portion) => portion.record.name,
                Err(PortionError::NoSuchPortion(_)) => keys::dashed(holder.portion),
                Err(error) => return Err(failed(error).into()),
            },
        };
        last = Some((holder.portion, name.clone()));
        let meta::record::ReleasedRecord { name: user, first_ms, last_hour_ms, hours } = holder.record;
        let key = keys::dashed(holder.portion);
        holders.push(Holder { user, id: holder.principal, portion: name, key, first_ms, last_hour_ms, hours });
    }
    Ok(Json(HolderPage { holders, next: next.map(hex::encode) }))
}
