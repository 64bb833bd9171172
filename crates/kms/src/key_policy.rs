//! Key policies: who of the account may do what with a key, and under which circumstances.
//!
//! Where none was put, a key has AWS's default one, by which the account's own policies decide. What is taken is what
//! is kept to: statements whose `Resource` is `*`, about users and the root of the key's account, with actions and
//! condition keys that keys have here. All else is refused (`docs/reference/kms.md`).
//!
//! Source: AWS KMS Developer Guide, "Key policies in AWS KMS"; API Reference, `PutKeyPolicy`.

use std::collections::BTreeMap;

use base::AccountId;
use policy::{Kind, Policy};
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::{Code, Fault};

/// Its name, and the only one that AWS KMS knows.
pub(crate) const NAME: &str = "default";

/// The document where none was put.
pub(crate) fn document(account: AccountId) -> Value {
    json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
            "Action": "kms:*",
            "Resource": "*"
        }]
    })
}

/// A policy that a key can have.
pub(crate) struct Checked {
    /// What is recorded: empty for the default one.
    pub(crate) text: String,
    policy: Policy,
}

/// Takes a document whose principals there are.
///
/// # Errors
/// `MalformedPolicyDocumentException`, or the metadata's.
pub(crate) async fn checked(call: &Call<'_>, text: String) -> Result<Checked, Fault> {
    let account = call.account();
    let id = account.to_string();
    let parsed = Policy::parse(text.as_bytes(), Kind::Key { account: &id });
    let policy = parsed.map_err(|error| Fault::new(Code::MalformedPolicy, error.to_string()))?;
    let nobody = || {
        let words = "Policy contains a statement with one or more invalid principals.";
        Fault::new(Code::MalformedPolicy, words)
    };
    for arn in policy.named() {
        // A name that is nobody's would be whoever is called so later.
        let name = arn.strip_prefix(&format!("arn:aws:iam::{id}:user/")).ok_or_else(nobody)?;
        match call.store.user(name).await {
            Ok(_) => {}
            Err(store::Error::NoSuchUser(_)) => return Err(nobody()),
            Err(error) => return Err(error.into()),
        }
    }
    let is_default = serde_json::from_str::<Value>(&text).is_ok_and(|given| says_the_default(account, &given));
    Ok(Checked { text: if is_default { String::new() } else { text }, policy })
}

/// Refuses a policy under which the caller could not put another.
///
/// # Errors
/// `MalformedPolicyDocumentException`.
pub(crate) fn locks_nobody_out(
    call: &Call<'_>,
    checked: &Checked,
    arn: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), Fault> {
    if checked.text.is_empty() || call.may_change_again(&checked.policy, arn, tags) {
        return Ok(());
    }
    let words = "The new key policy will not allow you to update the key policy in the future.";
    Err(Fault::new(Code::MalformedPolicy, words))
}

/// Whatever its names are, and whether lists of one are lists.
fn says_the_default(account: AccountId, given: &Value) -> bool {
    let root = format!("arn:aws:iam::{account}:root");
    let only = |value: &Value, known: &[&str]| {
        value.as_object().is_some_and(|fields| fields.keys().all(|name| known.contains(&name.as_str())))
    };
    let statement = one(&given["Statement"]);
    let principal = one(&statement["Principal"]["AWS"]);
    only(given, &["Version", "Id", "Statement"])
        && only(statement, &["Sid", "Effect", "Principal", "Action", "Resource"])
        && only(&statement["Principal"], &["AWS"])
        && statement["Effect"] == "Allow"
        && (*principal == root || *principal == account.to_string())
        && *one(&statement["Action"]) == "kms:*"
        && *one(&statement["Resource"]) == "*"
}

fn one(value: &Value) -> &Value {
    match value.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_known_in_all_its_forms() {
        let account = AccountId::DEFAULT;
        let with = |pointer: &str, value: Value| {
            let mut document = document(account);
            *document.pointer_mut(pointer).unwrap() = value;
            says_the_default(account, &document)
        };
        for (pointer, value, is) in [
            ("/Id", json!("x"), true),
            ("/Statement/0/Action", json!(["kms:*"]), true),
            ("/Statement/0/Principal/AWS", json!("000000000000"), true),
            ("/Statement/0/Effect", json!("Deny"), false),
            ("/Statement/0/Action", json!("kms:Encrypt"), false),
            ("/Statement/0/Action", json!(["kms:*", "s3:*"]), false),
            ("/Statement/0/Principal", json!("*"), false),
            ("/Statement/0/Principal/AWS", json!("arn:aws:iam::000000000000:user/ann"), false),
            ("/Statement", json!([]), false),
            ("/Statement", json!("x"), false),
        ] {
            assert_eq!(with(pointer, value.clone()), is, "{pointer} {value}");
        }
        let mut conditional = document(account);
        conditional["Statement"][0]["Condition"] = json!({});
        assert!(!says_the_default(account, &conditional));
    }
}
