//! How keys and aliases are named: ids, ARNs, aliases.

use base::{AccountId, PortionId};
use keys::{dashed, parse_id};

use crate::error::{Code, Fault};

/// What aliases begin with.
pub(crate) const ALIAS: &str = "alias/";

/// What a client calls a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Id(PortionId),
    /// Without its prefix.
    Alias(String),
}

/// Where names are looked for: ARNs of anywhere else name nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) region: &'a str,
    pub(crate) account: AccountId,
}

impl Place<'_> {
    /// The ARN of a key.
    pub(crate) fn key(&self, id: PortionId) -> String {
        format!("{}key/{}", self.prefix(), dashed(id))
    }

    /// The ARN of an alias, given without its prefix.
    pub(crate) fn alias(&self, name: &str) -> String {
        format!("{}{ALIAS}{name}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("arn:aws:kms:{}:{}:", self.region, self.account)
    }

    /// Reads `KeyId`.
    ///
    /// # Errors
    /// `InvalidArnException` for an ARN that is none of KMS's, `NotFoundException` for what names no key here.
    pub(crate) fn read(&self, text: &str) -> Result<Named, Fault> {
        let Some(rest) = text.strip_prefix("arn:") else { return named(text) };
        let mut parts = rest.splitn(5, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (partition, service, region, account, resource) = (next(), next(), next(), next(), next());
        let kind = resource.strip_prefix("key/").or_else(|| resource.strip_prefix(ALIAS));
        if partition != "aws" || service != "kms" || kind.is_none() {
            return Err(Fault::new(Code::InvalidArn, format!("Invalid arn {text}")));
        }
        if region != self.region {
            return Err(Fault::new(Code::NotFound, format!("Invalid arn {region}")));
        }
        if account != self.account.to_string() {
            return Err(Fault::new(Code::NotFound, format!("'{text}' does not exist")));
        }
        named(resource.strip_prefix("key/").unwrap_or(resource))
    }
}

fn named(text: &str) -> Result<Named, Fault> {
    match text.strip_prefix(ALIAS) {
        Some(alias) => Ok(Named::Alias(alias.to_owned())),
        None => {
            let id = parse_id(text).map(Named::Id);
            id.ok_or_else(|| Fault::new(Code::NotFound, format!("Invalid keyId '{text}'")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn names_of_keys() {
        let place = Place { region: "eu-test-1", account: AccountId::DEFAULT };
        let id = parse_id(ID).unwrap();
        let here = "arn:aws:kms:eu-test-1:000000000000:";
        for (text, expected) in [
            (ID.to_owned(), Ok(Named::Id(id))),
            (ID.replace('-', ""), Ok(Named::Id(id))),
            (place.key(id), Ok(Named::Id(id))),
            (place.alias("a/b"), Ok(Named::Alias("a/b".to_owned()))),
            ("alias/x".to_owned(), Ok(Named::Alias("x".to_owned()))),
            ("x".to_owned(), Err(Code::NotFound)),
            (ID.to_uppercase(), Err(Code::NotFound)),
            (format!("{here}key/x"), Err(Code::NotFound)),
            (format!("{here}grant/x"), Err(Code::InvalidArn)),
            (format!("arn:aws:kms:eu-test-2:000000000000:key/{ID}"), Err(Code::NotFound)),
            (format!("arn:aws:kms:eu-test-1:000000000001:key/{ID}"), Err(Code::NotFound)),
            (format!("arn:aws:s3:eu-test-1:000000000000:key/{ID}"), Err(Code::InvalidArn)),
            ("arn:".to_owned(), Err(Code::InvalidArn)),
        ] {
            assert_eq!(place.read(&text).map_err(|fault| fault.code), expected, "{text}");
        }
    }
}
