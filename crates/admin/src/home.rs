//! Which tenant's users and groups a request is about.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use store::{DEFAULT_TENANT, Store};

use crate::App;
use crate::error::Failure;

#[derive(Deserialize)]
struct Tenant {
    tenant: Option<String>,
}

/// The store of the tenant that `?tenant=` names; without it the default one's.
pub(crate) struct Home(pub(crate) Store);

impl FromRequestParts<App> for Home {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Query(asked) = Query::<Tenant>::try_from_uri(&parts.uri)
            .map_err(|_| store::Error::Invalid("the query is not tenant=NAME"))?;
        Ok(Self(app.store.tenant(asked.tenant.as_deref().unwrap_or(DEFAULT_TENANT)).await?))
    }
}
