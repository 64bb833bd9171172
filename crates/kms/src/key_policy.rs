//! The key policy that every key has: AWS's default one, by which the account's own policies decide.
//!
//! There are no others yet. It is told to clients that ask, and taken from those that put it; what says
//! anything else is refused, because it would not be kept to.

use base::AccountId;
use serde_json::{Value, json};

use crate::error::{Code, Fault};

/// Its name, and the only one that AWS KMS knows.
pub(crate) const NAME: &str = "default";
/// Bytes of a document (AWS KMS).
const DOCUMENT_MAX: usize = 32_768;

/// The document.
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

/// Takes a document that says what is so.
///
/// # Errors
/// `MalformedPolicyDocumentException`, `UnsupportedOperationException`.
pub(crate) fn check(account: AccountId, text: &str) -> Result<(), Fault> {
    let parsed = serde_json::from_str(text).ok().filter(|_| text.len() <= DOCUMENT_MAX);
    let Some(Value::Object(given)) = parsed else {
        return Err(Fault::new(Code::MalformedPolicy, "the policy is no JSON object of at most 32,768 bytes"));
    };
    if says_the_same(account, &Value::Object(given)) {
        return Ok(());
    }
    Err(Fault::unsupported(
        "a key policy other than the default one is not supported; give rights by policies of users and groups",
    ))
}

/// Whatever its names are, and whether lists of one are lists.
fn says_the_same(account: AccountId, given: &Value) -> bool {
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
    fn only_the_default_is_taken() {
        let account = AccountId::DEFAULT;
        let with = |pointer: &str, value: Value| {
            let mut document = document(account);
            *document.pointer_mut(pointer).unwrap() = value;
            check(account, &document.to_string()).map_err(|fault| fault.code)
        };
        assert_eq!(with("/Id", json!("x")), Ok(()));
        assert_eq!(with("/Statement/0/Action", json!(["kms:*"])), Ok(()));
        assert_eq!(with("/Statement/0/Principal/AWS", json!("000000000000")), Ok(()));
        for (pointer, value) in [
            ("/Statement/0/Effect", json!("Deny")),
            ("/Statement/0/Action", json!("kms:Encrypt")),
            ("/Statement/0/Action", json!(["kms:*", "s3:*"])),
            ("/Statement/0/Principal", json!("*")),
            ("/Statement/0/Principal/AWS", json!("arn:aws:iam::000000000001:root")),
            ("/Statement/0/Principal/AWS", json!("arn:aws:iam::000000000000:user/ann")),
            ("/Statement/0/Resource", json!("arn:aws:kms:*:*:key/x")),
            ("/Statement", json!([])),
            ("/Statement", json!("x")),
        ] {
            assert_eq!(with(pointer, value.clone()), Err(Code::Unsupported), "{pointer} {value}");
        }
        let mut conditional = document(account);
        conditional["Statement"][0]["Condition"] = json!({});
        assert_eq!(check(account, &conditional.to_string()).unwrap_err().code, Code::Unsupported);
        for text in ["", "[]", "{"] {
            assert_eq!(check(account, text).unwrap_err().code, Code::MalformedPolicy, "{text}");
        }
    }
}
