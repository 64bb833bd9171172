//! What the tables of tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

use policy::{Account, Decision, Kind, Policy, PolicyError, Principal, Request, Values};

pub const BUCKET: &str = "b";
pub const HERE: Account<'_> = Account { id: "111122223333", canonical: "c0ffee" };
pub const THERE: Account<'_> = Account { id: "444455556666", canonical: "decaf" };
pub const ROOT: Principal<'_> = Principal::Root(HERE);

/// A user of an account, without tags; its canonical id is its name, as in the store.
pub fn user<'a>(account: Account<'a>, name: &'a str) -> Principal<'a> {
    Principal::User { account: Account { canonical: name, ..account }, name, id: "AIDAEXAMPLE", tags: &[] }
}

pub fn bucket_policy(document: &str) -> Result<Policy, PolicyError> {
    Policy::parse(document.as_bytes(), Kind::Resource { bucket: BUCKET })
}

pub fn stored_policy(document: &str) -> Result<Policy, PolicyError> {
    Policy::stored(document.as_bytes(), Kind::Resource { bucket: BUCKET })
}

pub fn identity_policy(document: &str) -> Result<Policy, PolicyError> {
    Policy::parse(document.as_bytes(), Kind::Identity)
}

/// A document of the current version around statements.
pub fn document(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}

/// A user's policy of these statements.
pub fn identity(statements: &str) -> Policy {
    identity_policy(&document(statements)).unwrap_or_else(|e| panic!("{e}: {statements}"))
}

/// A bucket policy of these statements.
pub fn bucket(statements: &str) -> Policy {
    bucket_policy(&document(statements)).unwrap_or_else(|e| panic!("{e}: {statements}"))
}

pub fn context(values: &[(&str, &str)]) -> Values {
    values.iter().fold(Values::default(), |context, (key, value)| context.with(key, *value))
}

pub fn allows(policy: &Policy, principal: Principal<'_>, action: &str, resource: &str, context: &Values) -> bool {
    matches!(policy.decide(&Request { principal, action, resource, context }), Decision::Allow(_))
}
