//! One request's authority: who asks, from where, and whether it may.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base::AccountId;
use keys::{Caller, EncryptionContext, NewGrant, PortionError, Portions};
use meta::record::{GrantPrincipal, PortionRecord, PortionState};
use policy::{Policy, Side, Values, Verdict};
use release::Via;
use store::api::Principal;
use store::{Question, Store, about_key, judge_key};

use crate::error::{Code, Fault};
use crate::grants::NO_CONTEXT;
use crate::limits::{ALIAS_MAX, KEY_ID_MAX};
use crate::name::{ALIAS, Named, Place};
use crate::validate;

/// Whether an operation takes aliases for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aliases {
    Taken,
    Refused,
}

/// A key that the caller may do something with.
pub(crate) struct Key {
    pub(crate) id: base::PortionId,
    pub(crate) arn: String,
    pub(crate) record: PortionRecord,
}

/// What is asked of a key, beside the action.
pub(crate) struct Asked<'a> {
    /// What conditions can ask about.
    values: Values,
    context: &'a EncryptionContext,
    /// The grant that is to be made.
    grant: Option<&'a NewGrant>,
}

impl From<Values> for Asked<'_> {
    fn from(values: Values) -> Self {
        Self { values, context: &NO_CONTEXT, grant: None }
    }
}

impl<'a> Asked<'a> {
    /// A grant is to be made.
    pub(crate) fn to_pass_on(values: Values, grant: &'a NewGrant) -> Self {
        Self { grant: Some(grant), ..Self::from(values) }
    }
}

/// A request whose signature was found right.
pub(crate) struct Call<'a> {
    /// The caller's tenant's.
    pub(crate) store: &'a Store,
    /// Changed in the caller's name.
    portions: Portions,
    principal: &'a Principal,
    /// Where its names are looked for.
    pub(crate) place: Place<'a>,
    /// What conditions can ask about any request.
    values: Values,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        store: &'a Store,
        principal: &'a Principal,
        region: &'a str,
        peer: Option<IpAddr>,
        mut values: Values,
    ) -> Self {
        let account = principal.account();
        values.add("kms:CallerAccount", account.to_string());
        let caller = Caller::new(account, principal.who(), Via::Kms, principal.session().is_some(), peer);
        let portions = store.portions().by(principal.name()).for_caller(Arc::new(caller));
        Self { store, portions, principal, place: Place { region, account }, values }
    }

    pub(crate) fn portions(&self) -> &Portions {
        &self.portions
    }

    pub(crate) fn account(&self) -> AccountId {
        self.place.account
    }

    /// What conditions can ask about, to be added to.
    pub(crate) fn values(&self) -> Values {
        self.values.clone()
    }

    /// Who calls, as grants know it.
    pub(crate) fn me(&self) -> GrantPrincipal {
        self.principal.in_grants()
    }

    pub(crate) fn is_root(&self) -> bool {
        self.principal.is_root()
    }

    /// A key is asked for something under an encryption context.
    pub(crate) fn with_context<'c>(&self, context: &'c EncryptionContext) -> Asked<'c> {
        Asked { values: self.values(), context, grant: None }
    }

    /// Whether the caller may do `action` on `resource`.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub(crate) fn may(&self, action: &str, resource: &str, values: &Values) -> Result<(), Fault> {
        self.told(action, resource, self.verdict(None, (action, resource), values, false))
    }

    /// The same for what policies alone cannot allow: a grant does, or not.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub(crate) fn by_word_of_grant(
        &self,
        action: &str,
        resource: &str,
        values: &Values,
        granted: bool,
    ) -> Result<(), Fault> {
        let nobody_allows = Verdict::Denied { explicit: false, by: Side::Identity, statement: None };
        match self.verdict(None, (action, resource), values, true) {
            Verdict::Allowed if !granted => self.told(action, resource, nobody_allows),
            verdict => self.told(action, resource, verdict),
        }
    }

    /// `of_key`: the key's own policy. `granted`: whether a grant allows it, beside the policies. One that denies,
    /// denies nevertheless, and a session's must allow it, too.
    fn verdict<'v>(
        &'v self,
        of_key: Option<&'v Policy>,
        (action, resource): (&str, &str),
        values: &Values,
        granted: bool,
    ) -> Verdict<'v> {
        let question = Question { action, right: None, listed: granted, resource, context: values };
        judge_key(self.principal, of_key, &question)
    }

    /// Whether the caller may still change a key's policy once it is this one.
    pub(crate) fn may_change_again(&self, policy: &Policy, arn: &str, tags: &BTreeMap<String, String>) -> bool {
        let values = self.values().or(about_key(self.account(), tags, &NO_CONTEXT));
        self.verdict(Some(policy), ("kms:PutKeyPolicy", arn), &values, false).is_allowed()
    }

    fn told(&self, action: &str, resource: &str, verdict: Verdict<'_>) -> Result<(), Fault> {
        let Verdict::Denied { explicit, by, .. } = verdict else { return Ok(()) };
        let of = match by {
            Side::Identity => "identity-based",
            Side::Session => "session",
            Side::Resource => "resource-based",
        };
        let why = match explicit {
            true => format!("with an explicit deny in {} {of} policy", if by == Side::Identity { "an" } else { "a" }),
            false => format!("because no {of} policy allows the {action} action"),
        };
        let who = self.principal.arn();
        let words = format!("User: {who} is not authorized to perform: {action} on resource: {resource} {why}");
        Err(Fault::new(Code::AccessDenied, words))
    }

    /// The key that `KeyId` names, once it is known that the caller may do `action` with it.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidArnException`, `AccessDeniedException`, `NotFoundException`, or the
    /// metadata's.
    pub(crate) async fn key(
        &self,
        action: &str,
        named: Option<&str>,
        aliases: Aliases,
        asked: impl Into<Asked<'_>>,
    ) -> Result<Key, Fault> {
        let text = self.checked(named, "keyId")?;
        let mut asked = asked.into();
        match self.place.read(text)? {
            Named::Id(id) => self.key_of_id(action, id, asked).await,
            Named::Alias(_) if aliases == Aliases::Refused => {
                Err(Fault::new(Code::NotFound, format!("Invalid keyId '{text}'")))
            }
            Named::Alias(name) => {
                asked.values.add("kms:RequestAlias", format!("{ALIAS}{name}"));
                let (id, record) = self.aliased(&name).await?;
                self.judged(action, id, Some(record), asked).await
            }
        }
    }

    /// The same, for a key that is known by its id.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub(crate) async fn key_of_id(&self, action: &str, id: base::PortionId, asked: Asked<'_>) -> Result<Key, Fault> {
        let found = match self.portions().get(self.account(), id).await {
            Ok(portion) => Some(portion.record),
            Err(PortionError::NoSuchPortion(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.judged(action, id, found, asked).await
    }

    /// Whether `KeyId` could name something.
    fn checked<'t>(&self, named: Option<&'t str>, member: &str) -> Result<&'t str, Fault> {
        let text = validate::required(named, member)?;
        validate::length(text.chars().count(), member, KEY_ID_MAX)?;
        Ok(text)
    }

    /// What an alias, without its prefix, names.
    ///
    /// # Errors
    /// `NotFoundException`, or the metadata's.
    pub(crate) async fn aliased(&self, name: &str) -> Result<(base::PortionId, PortionRecord), Fault> {
        let gone = || Fault::new(Code::NotFound, format!("Alias {} is not found.", self.place.alias(name)));
        if name.is_empty() || name.len() > ALIAS_MAX {
            return Err(gone());
        }
        match self.portions().find(self.account(), &format!("{ALIAS}{name}")).await {
            Ok(portion) => Ok((portion.id, portion.record)),
            Err(PortionError::NoSuchPortion(_)) => Err(gone()),
            Err(error) => Err(error.into()),
        }
    }

    /// The permission first: who has none is not told whether there is such a key.
    async fn judged(
        &self,
        action: &str,
        id: base::PortionId,
        found: Option<PortionRecord>,
        asked: Asked<'_>,
    ) -> Result<Key, Fault> {
        let arn = self.place.key(id);
        let Asked { values, context, grant } = asked;
        let none = BTreeMap::new();
        let tags = found.as_ref().map_or(&none, |record| &record.tags);
        let values = values.or(about_key(self.account(), tags, context));
        let own = match &found {
            Some(record) => self.store.key_policy(id, &record.policy)?,
            None => None,
        };
        let mut verdict = self.verdict(own.as_deref(), (action, &arn), &values, false);
        // Grants are asked where no policy speaks: what most requests do costs no look at them.
        let unspoken = matches!(verdict, Verdict::Denied { explicit: false, by: Side::Identity | Side::Resource, .. });
        if unspoken && found.is_some() {
            let granted = match grant {
                Some(new) => self.portions().may_pass_on(id, &self.me(), &new.operations, &new.constraints).await?,
                None => self.portions().granted(id, &self.me(), action, context).await?,
            };
            if granted {
                verdict = self.verdict(own.as_deref(), (action, &arn), &values, true);
            }
        }
        self.told(action, &arn, verdict)?;
        match found {
            Some(record) if !matches!(record.state, PortionState::Shredded(_)) => Ok(Key { id, arn, record }),
            _ => Err(Fault::of_key(&arn, PortionError::NoSuchPortion(String::new()))),
        }
    }
}

impl Key {
    /// Refuses a key that opens nothing now. What seals and opens looks again; a dry run does not come so far.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`.
    pub(crate) fn must_be_enabled(&self) -> Result<(), Fault> {
        self.must_stay()?;
        match self.record.state {
            PortionState::Disabled => Err(self.fault(PortionError::Disabled(String::new()))),
            _ => Ok(()),
        }
    }

    /// Refuses a key that is about to go.
    ///
    /// # Errors
    /// `KMSInvalidStateException`.
    pub(crate) fn must_stay(&self) -> Result<(), Fault> {
        match self.record.state {
            PortionState::PendingShred(at_ms) => {
                Err(self.fault(PortionError::PendingShred { name: String::new(), at_ms }))
            }
            _ => Ok(()),
        }
    }

    /// A portion's error, told with the key's ARN.
    pub(crate) fn fault(&self, error: PortionError) -> Fault {
        Fault::of_key(&self.arn, error)
    }
}
