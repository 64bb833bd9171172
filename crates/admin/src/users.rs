//! `/v1/users`: create, list, delete, grant, revoke.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use store::api::{Grant, Right, UserInfo};

use crate::App;
use crate::error::Failure;
use crate::sites::Done;

/// A user, without the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// Unique name.
    pub name: String,
    /// Access key.
    pub access_key: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Rights per bucket.
    pub grants: Vec<Grant>,
}

/// All users.
pub type UserList = Vec<User>;

/// A user to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Unique name.
    pub name: String,
    /// Both keys or neither; made up when absent.
    pub access_key: Option<String>,
    /// See `access_key`.
    pub secret_key: Option<String>,
}

/// A user just made, with the secret: it is told this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretUser {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// The secret access key.
    pub secret_key: String,
}

/// A right to set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetGrant {
    /// What is allowed.
    pub right: Right,
}

impl From<UserInfo> for User {
    fn from(info: UserInfo) -> Self {
        Self { name: info.name, access_key: info.access_key, created_ms: info.created_ms, grants: info.grants }
    }
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<UserList>, Failure> {
    Ok(Json(app.store.users().await?.into_iter().map(User::from).collect()))
}

pub(crate) async fn create(State(app): State<App>, Json(new): Json<NewUser>) -> Result<Json<SecretUser>, Failure> {
    let credentials = match (new.access_key, new.secret_key) {
        (Some(access), Some(secret)) => Some((access, secret)),
        (None, None) => None,
        _ => return Err(store::Error::Invalid("give both keys or neither").into()),
    };
    let (user, secret_key) = app.store.create_user(&new.name, credentials).await?;
    Ok(Json(SecretUser { user: user.into(), secret_key }))
}

pub(crate) async fn delete(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Done>, Failure> {
    app.store.delete_user(&name).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn grant(
    State(app): State<App>,
    Path((name, bucket)): Path<(String, String)>,
    Json(grant): Json<SetGrant>,
) -> Result<Json<User>, Failure> {
    Ok(Json(app.store.grant(&name, &bucket, Some(grant.right)).await?.into()))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    Path((name, bucket)): Path<(String, String)>,
) -> Result<Json<User>, Failure> {
    Ok(Json(app.store.grant(&name, &bucket, None).await?.into()))
}
