//! What is told of a key.

use meta::record::{Maker, PortionRecord, PortionState};
use serde::Serialize;

use crate::call::{Call, Key};
use crate::validate::SYMMETRIC;
use crate::wire::seconds;

/// A key, as clients know it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    account: String,
    key_id: String,
    arn: String,
    creation_date: f64,
    enabled: bool,
    description: String,
    key_usage: &'static str,
    key_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<f64>,
    origin: &'static str,
    key_manager: &'static str,
    customer_master_key_spec: &'static str,
    key_spec: &'static str,
    encryption_algorithms: [&'static str; 1],
    multi_region: bool,
}

impl KeyMetadata {
    pub(crate) fn of(call: &Call<'_>, key: Key) -> Self {
        let record = key.record;
        Self {
            account: call.account().to_string(),
            key_id: keys::dashed(key.id),
            arn: key.arn,
            creation_date: seconds(record.created_ms),
            enabled: record.state == PortionState::Enabled,
            key_usage: "ENCRYPT_DECRYPT",
            key_state: state(&record),
            deletion_date: deletion(&record),
            origin: "AWS_KMS",
            // What a rule made is the store's own affair, as keys of AWS's services are theirs.
            key_manager: match record.made_by {
                Maker::Rule => "AWS",
                Maker::Customer => "CUSTOMER",
            },
            description: record.description,
            customer_master_key_spec: SYMMETRIC,
            key_spec: SYMMETRIC,
            encryption_algorithms: [SYMMETRIC],
            multi_region: false,
        }
    }
}

/// A key's state in AWS's words. A shredded one is never told of.
pub(crate) fn state(record: &PortionRecord) -> &'static str {
    match record.state {
        PortionState::Enabled => "Enabled",
        PortionState::Disabled => "Disabled",
        PortionState::PendingShred(_) | PortionState::Shredded(_) => "PendingDeletion",
    }
}

/// When a key will be deleted, seconds since the Unix epoch.
pub(crate) fn deletion(record: &PortionRecord) -> Option<f64> {
    match record.state {
        PortionState::PendingShred(at_ms) if at_ms > 0 => Some(seconds(at_ms)),
        _ => None,
    }
}
