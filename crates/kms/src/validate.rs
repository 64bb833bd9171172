//! What requests must satisfy, and AWS's words for what does not.

use std::fmt::Display;

use serde::de::IgnoredAny;

use crate::error::{Code, Fault};
use crate::limits::{GRANT_TOKENS_MAX, PRINCIPAL_MAX};
use crate::name::ALIAS;
use crate::token::grant_of;

/// The one kind of key there is.
pub(crate) const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";
/// Algorithms that AWS KMS knows beside it.
const OTHER_ALGORITHMS: [&str; 3] = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"];

fn unsatisfied(value: impl Display, member: &str, constraint: impl Display) -> Fault {
    Fault::invalid(format!(
        "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: Member must {constraint}"
    ))
}

/// A member that must be there.
pub(crate) fn required<T>(value: Option<T>, member: &str) -> Result<T, Fault> {
    value.ok_or_else(|| unsatisfied("null", member, "not be null"))
}

/// A text, or bytes, of 1 to `max`. The value itself is not told: it may be a secret.
pub(crate) fn length(length: usize, member: &str, max: usize) -> Result<(), Fault> {
    let told = |constraint: String| {
        Err(Fault::invalid(format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length {constraint}"
        )))
    };
    match length {
        0 => told("greater than or equal to 1".to_owned()),
        length if length > max => told(format!("less than or equal to {max}")),
        _ => Ok(()),
    }
}

/// A number of `min` to `max`.
pub(crate) fn between(value: i64, member: &str, min: i64, max: i64) -> Result<i64, Fault> {
    if value < min {
        return Err(unsatisfied(format!("'{value}'"), member, format!("have value greater than or equal to {min}")));
    }
    if value > max {
        return Err(unsatisfied(format!("'{value}'"), member, format!("have value less than or equal to {max}")));
    }
    Ok(value)
}

/// One of a set of words. `ours`: what there is; `theirs`: what AWS KMS has beside.
pub(crate) fn word(value: Option<&str>, member: &str, ours: &[&str], theirs: &[&str]) -> Result<(), Fault> {
    match value {
        None => Ok(()),
        Some(value) if ours.contains(&value) => Ok(()),
        Some(value) if theirs.contains(&value) => Err(Fault::unsupported(format!("{member} {value} is not supported"))),
        Some(value) => {
            let all = [ours, theirs].concat().join(", ");
            Err(unsatisfied(format!("'{value}'"), member, format!("satisfy enum value set: [{all}]")))
        }
    }
}

/// `EncryptionAlgorithm` and its like.
pub(crate) fn algorithm(value: Option<&str>, member: &str) -> Result<(), Fault> {
    match value {
        // A key of ours can do the one only, which AWS calls the wrong usage of this key.
        Some(value) if OTHER_ALGORITHMS.contains(&value) => {
            Err(Fault::unsupported(format!("{member} {value} is not supported: keys are {SYMMETRIC}")))
        }
        value => word(value, member, &[SYMMETRIC], &OTHER_ALGORITHMS),
    }
}

/// `GrantTokens`: what they name counts without them, but what names nothing is refused, as by AWS.
pub(crate) fn grant_tokens(tokens: &[String]) -> Result<(), Fault> {
    if tokens.len() > GRANT_TOKENS_MAX {
        return length(tokens.len(), "grantTokens", GRANT_TOKENS_MAX);
    }
    tokens.iter().try_for_each(|token| grant_of(token).map(drop))
}

/// At most so many pairs.
pub(crate) fn pairs(count: usize, member: &str, max: usize) -> Result<(), Fault> {
    length(count.max(1), member, max)
}

/// The name of a grant.
pub(crate) fn name(value: &str, member: &str) -> Result<(), Fault> {
    length(value.chars().count(), member, PRINCIPAL_MAX)?;
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte)) {
        return Ok(());
    }
    Err(unsatisfied(format!("'{value}'"), member, "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"))
}

/// Nitro enclaves: an answer for one would have to be sealed for it.
pub(crate) fn no_recipient(recipient: Option<&IgnoredAny>) -> Result<(), Fault> {
    none(recipient, "Recipient")
}

/// A member that cannot be done.
pub(crate) fn none<T>(value: Option<&T>, member: &str) -> Result<(), Fault> {
    value.map_or(Ok(()), |_| Err(Fault::unsupported(format!("{member} is not supported"))))
}

/// All went well, and nothing is to be done.
pub(crate) fn dry_run(asked: Option<bool>) -> Result<(), Fault> {
    match asked {
        Some(true) => Err(Fault::new(Code::DryRun, "The request would have succeeded, but the DryRun option is set.")),
        _ => Ok(()),
    }
}

/// The name of an alias to make, without its prefix.
pub(crate) fn alias(value: Option<&str>) -> Result<&str, Fault> {
    let whole = required(value, "aliasName")?;
    length(whole.chars().count(), "aliasName", crate::limits::ALIAS_MAX)?;
    if !whole.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte)) {
        let pattern = "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$";
        return Err(unsatisfied(format!("'{whole}'"), "aliasName", pattern));
    }
    let name = whole.strip_prefix(ALIAS).filter(|name| !name.is_empty() && !name.contains(':'));
    let name = name.ok_or_else(|| {
        Fault::new(
            Code::InvalidAlias,
            format!("Invalid identifier: an alias is {ALIAS} and a name of A-Z a-z 0-9 / _ -"),
        )
    })?;
    if name.starts_with("aws/") {
        return Err(Fault::new(Code::NotAuthorized, "Aliases that begin with alias/aws/ are reserved"));
    }
    Ok(name)
}
