//! CreateKey.

use std::collections::BTreeMap;

use keys::NewPortion;
use meta::record::Maker;
use serde::{Deserialize, Serialize};
use store::about_key;

use crate::call::{Call, Key};
use crate::error::Fault;
use crate::key_policy;
use crate::limits::DESCRIPTION_MAX;
use crate::metadata::KeyMetadata;
use crate::op::tag_resource::{self, about_tags};
use crate::validate::{self, SYMMETRIC};
use crate::wire::Tag;

/// Kinds of keys that AWS KMS has beside.
const OTHER_SPECS: [&str; 16] = [
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "ECC_NIST_EDWARDS25519",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    policy: Option<String>,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
    #[serde(default)]
    description: String,
    key_usage: Option<String>,
    customer_master_key_spec: Option<String>,
    key_spec: Option<String>,
    origin: Option<String>,
    custom_key_store_id: Option<String>,
    xks_key_id: Option<String>,
    multi_region: Option<bool>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    key_metadata: KeyMetadata,
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let specs = [(&input.key_spec, "keySpec"), (&input.customer_master_key_spec, "customerMasterKeySpec")];
    for (spec, member) in specs {
        validate::word(spec.as_deref(), member, &[SYMMETRIC], &OTHER_SPECS)?;
    }
    if input.key_spec.is_some() && input.customer_master_key_spec.is_some() {
        return Err(Fault::invalid(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.",
        ));
    }
    let usages = ["SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"];
    validate::word(input.key_usage.as_deref(), "keyUsage", &["ENCRYPT_DECRYPT"], &usages)?;
    let origins = ["EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
    validate::word(input.origin.as_deref(), "origin", &["AWS_KMS"], &origins)?;
    validate::none(input.multi_region.filter(|asked| *asked).as_ref(), "MultiRegion")?;
    validate::none(input.custom_key_store_id.as_ref(), "CustomKeyStoreId")?;
    validate::none(input.xks_key_id.as_ref(), "XksKeyId")?;
    if !input.description.is_empty() {
        validate::length(input.description.chars().count(), "description", DESCRIPTION_MAX)?;
    }
    let tags = tag_resource::checked(input.tags)?;

    let mut values = call.values().or(about_key(call.account(), &BTreeMap::new(), &BTreeMap::new()));
    about_tags(&mut values, &tags);
    call.may("kms:CreateKey", "*", &values)?;
    // The key has no ARN yet.
    if !tags.is_empty() {
        call.may("kms:TagResource", "*", &values)?;
    }
    let policy = match input.policy {
        None => String::new(),
        Some(policy) => {
            let checked = key_policy::checked(call, policy).await?;
            if !input.bypass_policy_lockout_safety_check {
                // No statement can name the key, which has no id yet.
                key_policy::locks_nobody_out(call, &checked, "*", &tags)?;
            }
            checked.text
        }
    };
    let new = NewPortion { description: input.description, tags, policy, ..NewPortion::default() };
    let made = call.portions().create(call.account(), new, Maker::Customer).await?;
    let key = Key { arn: call.place.key(made.id), id: made.id, record: made.record };
    Ok(Output { key_metadata: KeyMetadata::of(call, key) })
}
