//! One request's authority: who asks, from where, and whether it may.

use std::net::IpAddr;
use std::sync::Arc;

use base::AccountId;
use keys::{Caller, EncryptionContext, PortionError, Portions};
use meta::record::{PortionRecord, PortionState};
use policy::{Side, Values, Verdict};
use release::Via;
use store::api::Principal;
use store::{Question, Store, judge};

use crate::error::{Code, Fault};
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

/// A request whose signature was found right.
pub(crate) struct Call<'a> {
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
        Self { portions, principal, place: Place { region, account }, values }
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

    /// The same, with an encryption context.
    pub(crate) fn values_with(&self, context: &EncryptionContext) -> Values {
        let mut values = self.values();
        for (key, value) in context {
            values.add(&format!("kms:EncryptionContext:{key}"), value);
            values.add("kms:EncryptionContextKeys", key);
        }
        values
    }

    /// Whether the caller may do `action` on `resource`.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub(crate) fn may(&self, action: &str, resource: &str, values: &Values) -> Result<(), Fault> {
        let question = Question { action, right: None, listed: false, resource, context: values };
        let Verdict::Denied { explicit, by, .. } = judge(Some(self.principal), None, &question) else { return Ok(()) };
        let of = match by {
            Side::Identity => "identity-based",
            Side::Session => "session",
            Side::Resource => "resource-based",
        };
        let why = match explicit {
            true => format!("with an explicit deny in an {of} policy").replace("an session", "a session"),
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
        mut values: Values,
    ) -> Result<Key, Fault> {
        let text = self.checked(named, "keyId")?;
        match self.place.read(text)? {
            Named::Id(id) => self.key_of_id(action, id, values).await,
            Named::Alias(_) if aliases == Aliases::Refused => {
                Err(Fault::new(Code::NotFound, format!("Invalid keyId '{text}'")))
            }
            Named::Alias(name) => {
                values.add("kms:RequestAlias", format!("{ALIAS}{name}"));
                let (id, record) = self.aliased(&name).await?;
                self.judged(action, id, Some(record), values)
            }
        }
    }

    /// The same, for a key that is known by its id.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub(crate) async fn key_of_id(&self, action: &str, id: base::PortionId, values: Values) -> Result<Key, Fault> {
        let found = match self.portions().get(self.account(), id).await {
            Ok(portion) => Some(portion.record),
            Err(PortionError::NoSuchPortion(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.judged(action, id, found, values)
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
    fn judged(
        &self,
        action: &str,
        id: base::PortionId,
        found: Option<PortionRecord>,
        mut values: Values,
    ) -> Result<Key, Fault> {
        let arn = self.place.key(id);
        about_keys(&mut values);
        values.add("aws:ResourceAccount", self.account().to_string());
        for (name, value) in found.iter().flat_map(|record| &record.tags) {
            values.add(&format!("aws:ResourceTag/{name}"), value);
        }
        self.may(action, &arn, &values)?;
        match found {
            Some(record) if !matches!(record.state, PortionState::Shredded(_)) => Ok(Key { id, arn, record }),
            _ => Err(Fault::of_key(&arn, PortionError::NoSuchPortion(String::new()))),
        }
    }
}

/// What is true of all keys.
pub(crate) fn about_keys(values: &mut Values) {
    for (key, value) in [
        ("kms:KeySpec", validate::SYMMETRIC),
        ("kms:CustomerMasterKeySpec", validate::SYMMETRIC),
        ("kms:EncryptionAlgorithm", validate::SYMMETRIC),
        ("kms:KeyUsage", "ENCRYPT_DECRYPT"),
        ("kms:CustomerMasterKeyUsage", "ENCRYPT_DECRYPT"),
        ("kms:KeyOrigin", "AWS_KMS"),
        ("kms:MultiRegion", "false"),
    ] {
        values.add(key, value);
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
