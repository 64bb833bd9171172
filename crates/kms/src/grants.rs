//! What requests say of grants, and what is told of them.

use std::collections::{BTreeMap, BTreeSet};

use keys::{Constraints, EncryptionContext, Grant};
use meta::record::{GrantPrincipal, KeyOperation};
use policy::Values;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::{Code, Fault};
use crate::limits::{CONSTRAINT_PAIRS_MAX, CONSTRAINT_VALUE_MAX, PRINCIPAL_MAX};
use crate::validate;
use crate::wire::seconds;

/// Operations that grants of other kinds of keys may have.
const OTHER_OPERATIONS: [&str; 8] = [
    "Sign",
    "Verify",
    "GetPublicKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
];

/// `Constraints`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GrantConstraints {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_subset: Option<EncryptionContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_equals: Option<EncryptionContext>,
}

impl GrantConstraints {
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn checked(self) -> Result<Constraints, Fault> {
        let maps = [
            (&self.encryption_context_subset, "encryptionContextSubset"),
            (&self.encryption_context_equals, "encryptionContextEquals"),
        ];
        for (map, member) in maps.into_iter().filter_map(|(map, member)| Some((map.as_ref()?, member))) {
            validate::pairs(map.len(), member, CONSTRAINT_PAIRS_MAX)?;
            for text in map.iter().flat_map(|(name, value)| [name, value]) {
                validate::length(text.chars().count().max(1), member, CONSTRAINT_VALUE_MAX)?;
            }
        }
        Ok(Constraints { equals: self.encryption_context_equals, subset: self.encryption_context_subset })
    }
}

/// `Operations`.
///
/// # Errors
/// `ValidationException`, also for what only other kinds of keys can do.
pub(crate) fn operations(names: &[String]) -> Result<BTreeSet<KeyOperation>, Fault> {
    if names.is_empty() {
        return validate::length(0, "operations", OTHER_OPERATIONS.len()).map(|()| BTreeSet::new());
    }
    let known = KeyOperation::ALL.map(KeyOperation::name);
    let mut found = BTreeSet::new();
    for name in names {
        if OTHER_OPERATIONS.contains(&name.as_str()) {
            return Err(Fault::invalid(format!(
                "The operation {name} is not supported on this key: keys are {}",
                validate::SYMMETRIC
            )));
        }
        validate::word(Some(name), "operations", &known, &[])?;
        found.extend(KeyOperation::named(name));
    }
    Ok(found)
}

/// Who is named: a user of the caller's account, or the account's root. Temporary credentials act as their user.
///
/// # Errors
/// `InvalidArnException` for everybody else, or the metadata's.
pub(crate) async fn principal(call: &Call<'_>, arn: &str, member: &str) -> Result<GrantPrincipal, Fault> {
    validate::length(arn.chars().count(), member, PRINCIPAL_MAX)?;
    let nobody = || Fault::new(Code::InvalidArn, format!("ARN does not refer to a valid principal: {arn}"));
    let account = call.account().to_string();
    let who = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(':'));
    let who = who.filter(|(of, _)| *of == account).map(|(_, who)| who).ok_or_else(nobody)?;
    let id = match who.strip_prefix("user/") {
        Some(name) => match call.store.user(name).await {
            Ok(user) => user.id,
            Err(store::Error::NoSuchUser(_)) => return Err(nobody()),
            Err(error) => return Err(error.into()),
        },
        None if who == "root" => account,
        None => return Err(nobody()),
    };
    Ok(GrantPrincipal { arn: arn.to_owned(), id })
}

/// What conditions can ask about a grant to make (Service Authorization Reference, AWS KMS).
pub(crate) fn about_grant(values: &mut Values, new: &keys::NewGrant) {
    values.add("kms:GranteePrincipal", &new.grantee.arn);
    if let Some(retiring) = &new.retiring {
        values.add("kms:RetiringPrincipal", &retiring.arn);
    }
    for operation in &new.operations {
        values.add("kms:GrantOperations", operation.name());
    }
    let Constraints { equals, subset } = &new.constraints;
    for (map, kind) in [(equals, "EncryptionContextEquals"), (subset, "EncryptionContextSubset")] {
        let Some(map) = map else { continue };
        values.add("kms:GrantConstraintType", kind);
        for (name, value) in map {
            values.add(&format!("kms:EncryptionContext:{name}"), value);
            values.add("kms:EncryptionContextKeys", name);
        }
    }
}

/// A grant, as clients know it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GrantEntry {
    key_id: String,
    grant_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    creation_date: f64,
    grantee_principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_principal: Option<String>,
    issuing_account: String,
    operations: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<GrantConstraints>,
}

impl GrantEntry {
    pub(crate) fn of(call: &Call<'_>, grant: Grant) -> Self {
        let record = grant.record;
        let none = record.equals.is_none() && record.subset.is_none();
        let constraints =
            GrantConstraints { encryption_context_subset: record.subset, encryption_context_equals: record.equals };
        Self {
            key_id: call.place.key(grant.portion),
            grant_id: grant.id.to_string(),
            name: record.name,
            creation_date: seconds(record.created_ms),
            grantee_principal: record.grantee.arn,
            retiring_principal: record.retiring.map(|retiring| retiring.arn),
            issuing_account: format!("arn:aws:iam::{}:root", call.account()),
            operations: record.operations.into_iter().map(KeyOperation::name).collect(),
            constraints: (!none).then_some(constraints),
        }
    }
}

/// A page of grants, as ListGrants and ListRetirableGrants tell it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GrantPage {
    pub(crate) grants: Vec<GrantEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_marker: Option<String>,
    pub(crate) truncated: bool,
}

/// No context: what a grant is asked about that takes none.
pub(crate) static NO_CONTEXT: EncryptionContext = BTreeMap::new();
