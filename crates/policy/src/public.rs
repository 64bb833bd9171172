//! Whether a bucket policy is public.
//!
//! Source: S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public".
//! A policy is public unless everything it allows, it allows to fixed principals or under a condition
//! that pins one of a few keys to fixed values. Denials do not count.

use ipnet::IpNet;

use crate::condition::{Condition, Set};
use crate::operator::Wanted;
use crate::pattern::Template;
use crate::principal::{PrincipalRule, Who};
use crate::{Effect, Policy, Statement};

/// The broadest ranges of addresses that are still somebody's. The guide excepts RFC 1918's, all of
/// which are within this anyway.
const V4_PREFIX_MIN: u8 = 8;
const V6_PREFIX_MIN: u8 = 32;

/// Keys that limit a grant when their values are fixed. The guide counts "an AWS principal, user, role"
/// among them, which the keys about the principal are.
const PINNING_KEYS: [&str; 11] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    ACCESS_POINT,
];

const ACCESS_POINT: &str = "s3:dataaccesspointarn";

/// Whether S3 would call this bucket policy public. A user's policy never is.
pub fn is_public(policy: &Policy) -> bool {
    policy.statements.iter().any(|statement| statement.effect == Effect::Allow && grants_to_anyone(statement))
}

fn grants_to_anyone(statement: &Statement) -> bool {
    let anyone = match &statement.principal {
        PrincipalRule::Bearer => false,
        PrincipalRule::In(list) => !list.iter().all(Who::fixed),
        PrincipalRule::NotIn(_) => true,
    };
    anyone && !statement.conditions.iter().any(pins)
}

fn pins(condition: &Condition) -> bool {
    // These hold also when the request has not the key, or has another value.
    if condition.negated || condition.if_exists || condition.set == Set::All {
        return false;
    }
    match &condition.wanted {
        Wanted::Ip(ranges) => condition.key == "aws:sourceip" && ranges.iter().all(narrow),
        Wanted::Text(values) | Wanted::TextIgnoreCase(values) | Wanted::TextLike(values) => {
            is_pinning(condition) && values.iter().all(|value| text_is_fixed(&condition.key, value))
        }
        Wanted::Arn(values) => {
            is_pinning(condition)
                && values.iter().all(|value| value.parts().is_some_and(|parts| arn_is_fixed(&condition.key, parts)))
        }
        _ => false,
    }
}

fn is_pinning(condition: &Condition) -> bool {
    PINNING_KEYS.contains(&condition.key.as_str())
}

fn narrow(range: &IpNet) -> bool {
    match range {
        IpNet::V4(range) => range.prefix_len() >= V4_PREFIX_MIN,
        IpNet::V6(range) => range.prefix_len() >= V6_PREFIX_MIN,
    }
}

fn text_is_fixed(key: &str, value: &Template) -> bool {
    match value.fixed() {
        // The id that every unsigned request has names nobody.
        Some(fixed) => !(key == "aws:userid" && fixed.eq_ignore_ascii_case("anonymous")),
        None => arn_is_fixed(key, &value.split_at_colons(6)),
    }
}

/// No wildcard and no variable, but for the name in an access point's ARN: its account is who counts.
fn arn_is_fixed(key: &str, parts: &[Template]) -> bool {
    let fixed = |part: &Template| part.fixed().is_some();
    match parts {
        [head @ .., account, name] if key == ACCESS_POINT && parts.len() == 6 => {
            let named = account.fixed().is_some_and(|account| !account.is_empty());
            head.iter().all(fixed) && named && (fixed(name) || name.starts_with("accesspoint/"))
        }
        parts => parts.iter().all(fixed),
    }
}
