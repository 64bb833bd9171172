//! RetireGrant.

use keys::EndGrant;
use meta::record::KeyOperation;
use serde::Deserialize;

use crate::call::Call;
use crate::error::{Code, Fault};
use crate::name::Named;
use crate::token::{grant_of, parse_grant_id};
use crate::validate;

const ACTION: &str = "kms:RetireGrant";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    grant_token: Option<String>,
    key_id: Option<String>,
    grant_id: Option<String>,
    dry_run: Option<bool>,
}

/// May be done by the account's root, by the grant's retiring principal, and by its grantee if the grant says so. A policy
/// can deny it, and not allow it.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let (key, id) = match (&input.grant_token, &input.key_id, &input.grant_id) {
        (Some(token), None, None) => grant_of(token)?,
        (None, Some(key), Some(id)) => match call.place.read(key)? {
            Named::Id(key) => (key, parse_grant_id(id)?),
            Named::Alias(_) => return Err(Fault::new(Code::NotFound, format!("Invalid keyId '{key}'"))),
        },
        _ => return Err(Fault::invalid("Please specify either a grant token, or a key ID and a grant ID.")),
    };
    let portions = call.portions();
    // Who may not retire it is not told whether it is there.
    let found = match portions.get(call.account(), key).await {
        Ok(_) => portions.grant(key, id).await,
        Err(error) => Err(error),
    };
    let me = call.me();
    let mine = found.as_ref().is_ok_and(|grant| {
        let record = &grant.record;
        record.retiring.as_ref() == Some(&me)
            || (record.grantee == me && record.operations.contains(&KeyOperation::RetireGrant))
    });
    let arn = call.place.key(key);
    call.by_word_of_grant(ACTION, &arn, &call.values(), mine || call.is_root())?;
    found.map_err(|error| Fault::of_key(&arn, error))?;
    validate::dry_run(input.dry_run)?;
    let ended = portions.end_grant(call.account(), key, id, EndGrant::Retire).await;
    ended.map_err(|error| Fault::of_key(&arn, error))
}
