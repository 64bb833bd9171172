//! CreateGrant.

use base::SystemRng;
use keys::NewGrant;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Asked, Call};
use crate::error::Fault;
use crate::grants::{self, GrantConstraints};
use crate::{token, validate};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    grantee_principal: Option<String>,
    retiring_principal: Option<String>,
    operations: Option<Vec<String>>,
    #[serde(default)]
    constraints: GrantConstraints,
    #[serde(default)]
    grant_tokens: Vec<String>,
    name: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    grant_token: String,
    grant_id: String,
}

/// May also be done by a grant that allows it, for what that grant itself allows.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let grantee = validate::required(input.grantee_principal, "granteePrincipal")?;
    let operations = grants::operations(&validate::required(input.operations, "operations")?)?;
    if let Some(name) = &input.name {
        validate::name(name, "name")?;
    }
    validate::grant_tokens(&input.grant_tokens)?;
    let constraints = input.constraints.checked()?;
    // Only to who may ask: to others it is not told who is a user. The principals are looked up once more below.
    let retiring = input.retiring_principal;
    let claimed = |arn: &str| meta::record::GrantPrincipal { arn: arn.to_owned(), id: String::new() };
    let mut new = NewGrant {
        name: input.name,
        grantee: claimed(&grantee),
        retiring: retiring.as_deref().map(claimed),
        operations,
        constraints,
    };
    let mut values = call.values();
    grants::about_grant(&mut values, &new);
    let asked = Asked::to_pass_on(values, &new);
    let key = call.key("kms:CreateGrant", input.key_id.as_deref(), Aliases::Refused, asked).await?;
    new.grantee = grants::principal(call, &grantee, "granteePrincipal").await?;
    new.retiring = match &retiring {
        Some(arn) => Some(grants::principal(call, arn, "retiringPrincipal").await?),
        None => None,
    };
    key.must_be_enabled()?;
    validate::dry_run(input.dry_run)?;
    let made = call.portions().create_grant(call.account(), key.id, new).await;
    let id = made.map_err(|error| key.fault(error))?;
    Ok(Output { grant_token: token::token(key.id, id, &SystemRng), grant_id: id.to_string() })
}
