//! `/v1/groups`: groups, their members, grants and policies. `?tenant=NAME` as for users.

use axum::Json;
use axum::extract::Path;
use serde::{Deserialize, Serialize};
use store::api::{Grant, GroupInfo};

use crate::error::Failure;
use crate::home::Home;
use crate::sites::Done;
use crate::users::{Document, SetGrant};

/// A group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Unique in its tenant.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Rights of its members.
    pub grants: Vec<Grant>,
    /// Names of inline policies.
    pub policies: Vec<String>,
    /// Names of members; only told of one group by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
}

/// All groups of a tenant.
pub type GroupList = Vec<Group>;

/// A group to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// Unique in its tenant.
    pub name: String,
}

impl From<GroupInfo> for Group {
    fn from(info: GroupInfo) -> Self {
        let GroupInfo { name, created_ms, grants, policies } = info;
        Self { name, created_ms, grants, policies, members: None }
    }
}

type Answer<T> = Result<Json<T>, Failure>;

pub(crate) async fn list(Home(store): Home) -> Answer<GroupList> {
    Ok(Json(store.groups().await?.into_iter().map(Group::from).collect()))
}

pub(crate) async fn create(Home(store): Home, Json(new): Json<NewGroup>) -> Answer<Group> {
    Ok(Json(store.create_group(&new.name).await?.into()))
}

pub(crate) async fn get(Home(store): Home, Path(name): Path<String>) -> Answer<Group> {
    let (info, members) = store.group(&name).await?;
    Ok(Json(Group { members: Some(members), ..info.into() }))
}

pub(crate) async fn delete(Home(store): Home, Path(name): Path<String>) -> Answer<Done> {
    store.delete_group(&name).await?;
    Ok(Json(Done {}))
}

pub(crate) async fn grant(
    Home(store): Home,
    Path((name, bucket)): Path<(String, String)>,
    Json(grant): Json<SetGrant>,
) -> Answer<Group> {
    Ok(Json(store.grant_group(&name, &bucket, Some(grant.right)).await?.into()))
}

pub(crate) async fn revoke(Home(store): Home, Path((name, bucket)): Path<(String, String)>) -> Answer<Group> {
    Ok(Json(store.grant_group(&name, &bucket, None).await?.into()))
}

pub(crate) async fn put_policy(
    Home(store): Home,
    Path((name, policy)): Path<(String, String)>,
    Json(put): Json<Document>,
) -> Answer<Group> {
    Ok(Json(store.put_group_policy(&name, &policy, &put.document).await?.into()))
}

pub(crate) async fn get_policy(Home(store): Home, Path((name, policy)): Path<(String, String)>) -> Answer<Document> {
    Ok(Json(Document { document: store.group_policy(&name, &policy).await? }))
}

pub(crate) async fn delete_policy(Home(store): Home, Path((name, policy)): Path<(String, String)>) -> Answer<Group> {
    Ok(Json(store.delete_group_policy(&name, &policy).await?.into()))
}
