//! Whom a statement is about.
//!
//! Source: IAM User Guide, "AWS JSON policy elements: Principal" and "NotPrincipal".

use crate::Effect;
use crate::json::Json;
use crate::request::Principal;

/// An entry of `Principal` or `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// `*`, anonymous callers included.
    Everyone,
    /// An account, by its id or its root's ARN.
    Account(String),
    /// Who owns things under this canonical user id: here a user, who is meant itself.
    Canonical(String),
    /// One user, by ARN; also roles and sessions, which match nobody here.
    Arn(String),
    /// A service or an identity provider: matches nobody here.
    Other(String),
}

/// How a statement's principals relate to who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Matched {
    No,
    /// Its account is named: the account may pass on what it is granted, but only its own policies say
    /// to whom. A denial to the account denies all in it.
    Account,
    Itself,
}

impl Who {
    fn matches(&self, principal: &Principal<'_>) -> Matched {
        let account = |same: bool| match principal {
            _ if !same => Matched::No,
            Principal::Root(_) => Matched::Itself,
            _ => Matched::Account,
        };
        match self {
            Self::Everyone => Matched::Itself,
            Self::Account(id) => account(principal.account().is_some_and(|account| account.id == id)),
            Self::Canonical(id) if principal.account().is_some_and(|account| account.canonical == id) => {
                Matched::Itself
            }
            Self::Arn(arn) if principal.arn().as_deref() == Some(arn) => Matched::Itself,
            Self::Canonical(_) | Self::Arn(_) | Self::Other(_) => Matched::No,
        }
    }

    /// Whether it can mean somebody of an account, and nobody of another one by name.
    pub(crate) fn may_be_of(&self, account: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Account(id) => id == account,
            Self::Arn(arn) => arn.split(':').nth(4) == Some(account),
            Self::Canonical(_) | Self::Other(_) => false,
        }
    }

    /// Whether it names someone rather than anyone.
    pub(crate) fn fixed(&self) -> bool {
        match self {
            Self::Everyone => false,
            Self::Account(_) | Self::Canonical(_) | Self::Arn(_) => true,
            Self::Other(name) => !name.contains(['*', '?']),
        }
    }
}

/// A statement's `Principal` or `NotPrincipal`.
#[derive(Debug, Clone)]
pub(crate) enum PrincipalRule {
    /// In a user's policy: whoever it hangs on.
    Bearer,
    In(Vec<Who>),
    NotIn(Vec<Who>),
}

impl PrincipalRule {
    /// The ARNs in it.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let list = match self {
            Self::Bearer => &[],
            Self::In(list) | Self::NotIn(list) => list.as_slice(),
        };
        list.iter().filter_map(|who| match who {
            Who::Arn(arn) => Some(arn.as_str()),
            _ => None,
        })
    }

    pub(crate) fn matches(&self, effect: Effect, principal: &Principal<'_>) -> Matched {
        let strongest = |list: &[Who]| list.iter().map(|who| who.matches(principal)).max().unwrap_or(Matched::No);
        match self {
            Self::Bearer => Matched::Itself,
            Self::In(list) => strongest(list),
            // The guide spares a user from a denial only when it is listed itself: its account, which
            // must be listed beside it, does not spare the account's other users. For an `Allow` the
            // narrow reading is the other one.
            Self::NotIn(list) => {
                let spared = match effect {
                    Effect::Deny => Matched::Itself,
                    Effect::Allow => Matched::Account,
                };
                if strongest(list) >= spared { Matched::No } else { Matched::Itself }
            }
        }
    }
}

/// Reads `Principal` or `NotPrincipal`; `None` for what is no principal.
pub(crate) fn parse(element: &Json) -> Option<Vec<Who>> {
    if let Some(text) = element.as_str() {
        return (text == "*").then(|| vec![Who::Everyone]);
    }
    let mut list = Vec::new();
    for (kind, ids) in element.as_object()? {
        for id in ids.as_strings()? {
            list.push(match kind.as_str() {
                "AWS" => aws(id)?,
                "CanonicalUser" if !id.is_empty() => Who::Canonical(id.to_owned()),
                "Service" | "Federated" if !id.is_empty() => Who::Other(id.to_owned()),
                _ => return None,
            });
        }
    }
    (!list.is_empty()).then_some(list)
}

fn aws(id: &str) -> Option<Who> {
    if id == "*" {
        return Some(Who::Everyone);
    }
    if is_account(id) {
        return Some(Who::Account(id.to_owned()));
    }
    let (service, rest) = id.strip_prefix("arn:aws:")?.split_once("::")?;
    let (account, who) = rest.split_once(':')?;
    // A wildcard must not look like a name: the guide allows it only as the whole of the principal.
    if !is_account(account) || id.contains(['*', '?']) {
        return None;
    }
    match (service, who.split_once('/')) {
        ("iam", None) if who == "root" => Some(Who::Account(account.to_owned())),
        ("iam", Some(("user" | "role", name))) if !name.is_empty() => Some(Who::Arn(id.to_owned())),
        ("sts", Some(("assumed-role" | "federated-user", name))) if !name.is_empty() => Some(Who::Arn(id.to_owned())),
        _ => None,
    }
}

/// Account ids are twelve digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
