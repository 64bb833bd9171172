//! The operations that there are, and the way to each.

use zeroize::Zeroizing;

use crate::call::Call;
use crate::error::{Code, Fault};
use crate::wire::{read, write};

/// Every operation of AWS KMS, a line each.
const KNOWN: &str = include_str!("operations.txt");

fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.lines().filter(|line| !line.starts_with('#'))
}

/// The name of an operation that AWS KMS has.
///
/// # Errors
/// `UnknownOperationException`.
pub(crate) fn find(name: &str) -> Result<&'static str, Fault> {
    known().find(|known| *known == name).ok_or_else(|| {
        Fault::new(Code::UnknownOperation, "X-Amz-Target names no operation of TrentService, version 2014-11-01")
    })
}

macro_rules! operations {
    ($($name:literal $module:ident $on:literal,)*) => {
        /// Each with the resource that the right `kms:<name>` is asked on.
        #[cfg(test)]
        const OPERATIONS: &[(&str, &str)] = &[$(($name, $on),)*];

        /// Runs an operation: its JSON in, its JSON out.
        ///
        /// # Errors
        /// `UnsupportedOperationException` for one that AWS KMS has and Holdfast has not, or its own.
        pub(crate) async fn run(name: &str, call: &Call<'_>, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
            match name {
                $($name => write(&crate::op::$module::run(call, read(body)?).await?),)*
                _ => Err(Fault::unsupported(format!("{name} is not supported"))),
            }
        }
    };
}

operations! {
    "CancelKeyDeletion" cancel_key_deletion "key",
    "CreateAlias" create_alias "alias, key",
    "CreateGrant" create_grant "key",
    "CreateKey" create_key "`*`",
    "Decrypt" decrypt "key",
    "DeleteAlias" delete_alias "alias, key",
    "DescribeKey" describe_key "key",
    "DisableKey" disable_key "key",
    "DisableKeyRotation" disable_key_rotation "key",
    "EnableKey" enable_key "key",
    "EnableKeyRotation" enable_key_rotation "key",
    "Encrypt" encrypt "key",
    "GenerateDataKey" generate_data_key "key",
    "GenerateDataKeyWithoutPlaintext" generate_data_key_without_plaintext "key",
    "GenerateRandom" generate_random "`*`",
    "GetKeyPolicy" get_key_policy "key",
    "GetKeyRotationStatus" get_key_rotation_status "key",
    "ListAliases" list_aliases "`*`, key if named",
    "ListGrants" list_grants "key",
    "ListKeyPolicies" list_key_policies "key",
    "ListKeyRotations" list_key_rotations "key",
    "ListKeys" list_keys "`*`",
    "ListResourceTags" list_resource_tags "key",
    "ListRetirableGrants" list_retirable_grants "`*`",
    "PutKeyPolicy" put_key_policy "key",
    "ReEncrypt" re_encrypt "both keys: `kms:ReEncryptFrom`, `kms:ReEncryptTo`",
    "RetireGrant" retire_grant "key; only to deny it",
    "RevokeGrant" revoke_grant "key",
    "RotateKeyOnDemand" rotate_key_on_demand "key",
    "ScheduleKeyDeletion" schedule_key_deletion "key",
    "TagResource" tag_resource "key",
    "UntagResource" untag_resource "key",
    "UpdateAlias" update_alias "alias, both keys",
    "UpdateKeyDescription" update_key_description "key",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let mut page = String::from(include_str!("reference.txt"));
        for name in known() {
            match OPERATIONS.iter().find(|(there, _)| *there == name) {
                Some((_, on)) => page.push_str(&format!("| {name} | yes | {on} |\n")),
                None => page.push_str(&format!("| {name} | not supported | |\n")),
            }
        }
        page
    }

    #[test]
    fn the_reference_is_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/kms.md");
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "HOLDFAST_BLESS=1 writes it anew");
    }

    #[test]
    fn operations_are_of_kms_and_named_once() {
        for (name, _) in OPERATIONS {
            assert!(find(name).is_ok(), "{name}");
            assert_eq!(OPERATIONS.iter().filter(|(other, _)| other == name).count(), 1);
        }
        assert!(find("").is_err() && find("# Operations").is_err());
    }
}
