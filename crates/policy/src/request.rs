//! Who asks, for what, and under which circumstances.

use std::borrow::Cow;
use std::collections::HashMap;

/// An account, under both of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a> {
    /// Twelve digits.
    pub id: &'a str,
    /// The canonical user id, which S3 shows as an owner, of whom this is the account of: each user may have
    /// its own. Empty when there is none.
    pub canonical: &'a str,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Nobody known: the request is not signed.
    Anonymous,
    /// A user of an account.
    User {
        /// Its account.
        account: Account<'a>,
        /// Its name, `aws:username`. Users have no path here: one in a policy's ARN matches nobody.
        name: &'a str,
        /// Its unique id, `aws:userid`.
        id: &'a str,
        /// Its tags, `aws:PrincipalTag/<key>`.
        tags: &'a [(String, String)],
    },
    /// The account itself.
    Root(Account<'a>),
}

impl<'a> Principal<'a> {
    /// The ARN that policies name it by; an anonymous caller has none.
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::User { account, name, .. } => Some(format!("arn:aws:iam::{}:user/{name}", account.id)),
            Self::Root(account) => Some(format!("arn:aws:iam::{}:root", account.id)),
        }
    }

    /// The account it belongs to.
    pub fn account(&self) -> Option<&Account<'a>> {
        match self {
            Self::Anonymous => None,
            Self::User { account, .. } | Self::Root(account) => Some(account),
        }
    }

    /// What the principal itself says about a condition key. `None` when the key is not about the
    /// principal; `Some(None)` when it is and has no value.
    ///
    /// Source: IAM User Guide, "Policy variables", the table of principal key values.
    fn value(&self, key: &str) -> Option<Option<String>> {
        if let Some(wanted) = key.strip_prefix("aws:principaltag/") {
            let Self::User { tags, .. } = self else { return Some(None) };
            // IAM holds that tag keys of users differ in more than case.
            return Some(tags.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone()));
        }
        Some(match (key, self) {
            ("aws:username", Self::User { name, .. }) => Some((*name).to_owned()),
            ("aws:username", _) => None,
            ("aws:userid", Self::Anonymous) => Some("anonymous".to_owned()),
            ("aws:userid", Self::User { id, .. }) => Some((*id).to_owned()),
            ("aws:userid", Self::Root(account)) => Some(account.id.to_owned()),
            ("aws:principalarn", _) => self.arn(),
            ("aws:principalaccount", _) => self.account().map(|account| account.id.to_owned()),
            ("aws:principaltype", Self::Anonymous) => Some("Anonymous".to_owned()),
            ("aws:principaltype", Self::User { .. }) => Some("User".to_owned()),
            ("aws:principaltype", Self::Root(_)) => Some("Account".to_owned()),
            _ => return None,
        })
    }
}

/// Where condition keys get their values from.
pub trait Context: Sync {
    /// The values of a key, `None` or none when the request has it not. The name comes in small
    /// letters up to the first `/`; what follows, a tag's key, comes as the policy has it.
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>>;
}

/// A [`Context`] that is a map.
#[derive(Debug, Clone, Default)]
pub struct Values(HashMap<String, Vec<String>>);

impl Values {
    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and the other's of keys that these have no value of.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (key, values) in other.0 {
            self.0.entry(key).or_insert(values);
        }
        self
    }

    /// Adds one value of a key, whose name may be written in any case (`aws:SourceIp`).
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// As [`Self::with`], in place.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(fold_case(key)).or_default().push(value.into());
    }
}

impl Context for Values {
    fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        self.0.get(key).map(|values| Cow::Borrowed(values.as_slice()))
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// By whom.
    pub principal: Principal<'a>,
    /// The action, as `s3:GetObject`.
    pub action: &'a str,
    /// On what: the ARN of a bucket or an object.
    pub resource: &'a str,
    /// Everything else that conditions may ask about. Keys about the principal (`aws:username`,
    /// `aws:userid`, `aws:PrincipalArn`, `aws:PrincipalAccount`, `aws:PrincipalType`,
    /// `aws:PrincipalTag/...`) are not asked of it: they follow from `principal`.
    pub context: &'a dyn Context,
}

impl Request<'_> {
    /// The values of a condition key; never an empty list.
    pub(crate) fn values(&self, key: &str) -> Option<Cow<'_, [String]>> {
        match self.principal.value(key) {
            Some(value) => value.map(|value| Cow::Owned(vec![value])),
            None => self.context.values(key).filter(|values| !values.is_empty()),
        }
    }
}

/// A condition key's name in the form that [`Context`] is asked for; `None` for what is no name.
pub(crate) fn key_name(written: &str) -> Option<String> {
    let (vendor, name) = written.split_once(':')?;
    let head = name.split('/').next().unwrap_or_default();
    let plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    (plain(vendor) && plain(head)).then(|| fold_case(written))
}

fn fold_case(key: &str) -> String {
    match key.split_once('/') {
        Some((name, tag)) => format!("{}/{tag}", name.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}
