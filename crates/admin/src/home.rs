//! Which tenant's users and groups a request is about.

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::Deserialize;
use store::{DEFAULT_TENANT, Store};

use crate::App;
use crate::error::Failure;

#[derive(Deserialize)]
struct Tenant {
    tenant: Option<String>,
}

/// What `?tenant=` names.
///
/// # Errors
/// For a query that cannot be read.
pub(crate) fn tenant_in(uri: &Uri) -> Result<Option<String>, Failure> {
    let asked = Query::<Tenant>::try_from_uri(uri);
    let Query(asked) = asked.map_err(|_| store::Error::Invalid("the query is not tenant=NAME"))?;
    Ok(asked.tenant)
}

/// The store of the tenant that `?tenant=` names; without it the default one's.
pub(crate) struct Home(pub(crate) Store);

impl FromRequestParts<App> for Home {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let asked = tenant_in(&parts.uri)?;
        Ok(Self(app.store.tenant(asked.as_deref().unwrap_or(DEFAULT_TENANT)).await?))
    }
}

/// The portions of a store, changed in the name of who signs requests of this API: the root.
pub(crate) fn by_root(store: &Store) -> keys::Portions {
    store.portions().by("root")
}
