//! `/v1/users`: users, their access keys, grants, policies and groups, and what they may do.
//! `?tenant=NAME` asks about another tenant than the default one.

use axum::Json;
use axum::extract::{Path, State};
use policy::Values;
use serde::{Deserialize, Serialize};
use store::api::{Grant, KeyEntry, Right, UserInfo};
use store::{Question, explain, judge};

use crate::App;
use crate::error::Failure;
use crate::home::Home;
use crate::sites::Done;

/// A user, without secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// Unique in its tenant.
    pub name: String,
    /// `aws:userid`: never used again, unlike the name.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Access keys.
    pub keys: Vec<KeyEntry>,
    /// Rights per bucket.
    pub grants: Vec<Grant>,
    /// Names of inline policies.
    pub policies: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// All users of a tenant.
pub type UserList = Vec<User>;

/// A user to make, with its first access key: both parts of it or neither; made up when absent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Unique in its tenant.
    pub name: String,
    /// The access key.
    pub access_key: Option<String>,
    /// The secret access key.
    pub secret_key: Option<String>,
}

/// An access key to make: both parts or neither; made up when absent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The access key.
    pub access_key: Option<String>,
    /// The secret access key.
    pub secret_key: Option<String>,
}

fn credentials(access: Option<String>, secret: Option<String>) -> Result<Option<(String, String)>, store::Error> {
    match (access, secret) {
        (Some(access), Some(secret)) => Ok(Some((access, secret))),
        (None, None) => Ok(None),
        _ => Err(store::Error::Invalid("give both keys or neither")),
    }
}

/// An access key just made, with its secret: it is told this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretKey {
    /// The user.
    pub name: String,
    /// The access key.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl SecretKey {
    fn new(name: String, (entry, secret_key): (KeyEntry, String)) -> Self {
        Self { name, access_key: entry.access_key, secret_key, created_ms: entry.created_ms }
    }
}

/// A right to set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetGrant {
    /// What is allowed.
    pub right: Right,
}

/// A user to take everything from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeUser {
    /// What there is to say of it.
    #[serde(default)]
    pub note: String,
}

/// Whether an access key is to work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetKey {
    /// `false`: requests signed with it are refused.
    pub enabled: bool,
}

/// An inline policy: a document in the policy language of IAM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The document, as it was put.
    pub document: String,
}

/// A question: may the user do this?
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct May {
    /// As `s3:GetObject`.
    pub action: String,
    /// As `arn:aws:s3:::bucket/key`.
    pub resource: String,
    /// Values of condition keys, as `aws:SourceIp`.
    #[serde(default)]
    pub with: Vec<(String, String)>,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it may.
    pub allowed: bool,
    /// What decided.
    pub because: String,
}

impl From<UserInfo> for User {
    fn from(info: UserInfo) -> Self {
        let UserInfo { name, id, created_ms, keys, grants, policies, groups } = info;
        Self { name, id, created_ms, keys, grants, policies, groups }
    }
}

type Answer<T> = Result<Json<T>, Failure>;

pub(crate) async fn list(Home(store): Home) -> Answer<UserList> {
    Ok(Json(store.users().await?.into_iter().map(User::from).collect()))
}

pub(crate) async fn create(Home(store): Home, Json(new): Json<NewUser>) -> Answer<SecretKey> {
    let made = store.create_user(&new.name, credentials(new.access_key, new.secret_key)?).await?;
    Ok(Json(SecretKey::new(new.name, made)))
}

pub(crate) async fn get(Home(store): Home, Path(name): Path<String>) -> Answer<User> {
    Ok(Json(store.user(&name).await?.into()))
}

pub(crate) async fn delete(Home(store): Home, Path(name): Path<String>) -> Answer<Done> {
    store.delete_user(&name).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn grant(
    Home(store): Home,
    Path((name, bucket)): Path<(String, String)>,
    Json(grant): Json<SetGrant>,
) -> Answer<User> {
    Ok(Json(store.grant(&name, &bucket, Some(grant.right)).await?.into()))
}

pub(crate) async fn revoke(Home(store): Home, Path((name, bucket)): Path<(String, String)>) -> Answer<User> {
    Ok(Json(store.grant(&name, &bucket, None).await?.into()))
}

pub(crate) async fn revoke_all(
    Home(store): Home,
    Path(name): Path<String>,
    Json(revoke): Json<RevokeUser>,
) -> Answer<User> {
    Ok(Json(store.revoke_user(&name, "root", &revoke.note).await?.into()))
}

pub(crate) async fn create_key(
    Home(store): Home,
    Path(name): Path<String>,
    Json(new): Json<NewKey>,
) -> Answer<SecretKey> {
    let made = store.create_access_key(&name, credentials(new.access_key, new.secret_key)?).await?;
    Ok(Json(SecretKey::new(name, made)))
}

pub(crate) async fn set_key(
    Home(store): Home,
    Path((name, access_key)): Path<(String, String)>,
    Json(set): Json<SetKey>,
) -> Answer<User> {
    Ok(Json(store.enable_access_key(&name, &access_key, set.enabled).await?.into()))
}

pub(crate) async fn delete_key(Home(store): Home, Path((name, key)): Path<(String, String)>) -> Answer<User> {
    Ok(Json(store.delete_access_key(&name, &key).await?.into()))
}

pub(crate) async fn put_policy(
    Home(store): Home,
    Path((name, policy)): Path<(String, String)>,
    Json(put): Json<Document>,
) -> Answer<User> {
    Ok(Json(store.put_user_policy(&name, &policy, &put.document).await?.into()))
}

pub(crate) async fn get_policy(Home(store): Home, Path((name, policy)): Path<(String, String)>) -> Answer<Document> {
    Ok(Json(Document { document: store.user_policy(&name, &policy).await? }))
}

pub(crate) async fn delete_policy(Home(store): Home, Path((name, policy)): Path<(String, String)>) -> Answer<User> {
    Ok(Json(store.delete_user_policy(&name, &policy).await?.into()))
}

pub(crate) async fn join(Home(store): Home, Path((name, group)): Path<(String, String)>) -> Answer<User> {
    Ok(Json(store.join_group(&name, &group).await?.into()))
}

pub(crate) async fn leave(Home(store): Home, Path((name, group)): Path<(String, String)>) -> Answer<User> {
    Ok(Json(store.leave_group(&name, &group).await?.into()))
}

pub(crate) async fn may(
    State(app): State<App>,
    Home(store): Home,
    Path(name): Path<String>,
    Json(may): Json<May>,
) -> Answer<Judgement> {
    let principal = store.principal_of(&name).await?;
    let path = may.resource.strip_prefix("arn:aws:s3:::").filter(|path| !path.is_empty());
    let path = path.ok_or(store::Error::Invalid("a resource is arn:aws:s3:::BUCKET or arn:aws:s3:::BUCKET/KEY"))?;
    let bucket = path.split('/').next().unwrap_or_default();
    let right = (app.endpoint.right_for)(&may.action)
        .ok_or(store::Error::Invalid("there is no such action here; docs/reference/s3.md lists them"))?;
    let policy = match store.bucket_policy(bucket).await {
        Err(store::Error::NoSuchBucket(_)) => None,
        found => found?,
    };
    let mut context = Values::default();
    for (key, value) in may.with {
        context.add(&key, value);
    }
    let context = context.or((app.endpoint.circumstances)());
    let right = right.map(|right| (right, bucket));
    let question = Question { action: &may.action, right, listed: false, resource: &may.resource, context: &context };
    let allowed = judge(Some(&principal), policy.as_deref(), &question).is_allowed();
    Ok(Json(Judgement { allowed, because: explain(&principal, policy.as_deref(), &question) }))
}
