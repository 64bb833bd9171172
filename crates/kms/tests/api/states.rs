//! States of keys, versions, tags.

use serde_json::json;

use crate::table::Expected::{No, Ok};
use crate::table::play;
use crate::world::{World, text};

#[tokio::test]
async fn a_key_is_disabled_scheduled_and_kept() {
    let world = World::start().await;
    let id = world.key().await;
    let arn = format!("arn:aws:kms:eu-test-1:000000000000:key/{id}");
    let sealed = text(&world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await["CiphertextBlob"]);
    let key = json!({ "KeyId": id });
    let encrypt = json!({ "KeyId": id, "Plaintext": "AA==" });
    let dry = json!({ "KeyId": id, "Plaintext": "AA==", "DryRun": true });
    let open = json!({ "CiphertextBlob": sealed });
    let data_key = json!({ "KeyId": id, "KeySpec": "AES_256" });
    let state = |state: &str| Ok(json!({ "KeyMetadata": { "KeyState": state, "Enabled": state == "Enabled" } }));
    let named = |of: &str| json!({ "KeyId": of });
    world.done("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": id })).await;
    play(
        &world,
        vec![
            ("DisableKey", named("alias/a"), No("NotFoundException", "Invalid keyId 'alias/a'")),
            ("DisableKey", key.clone(), Ok(json!(null))),
            ("DescribeKey", key.clone(), state("Disabled")),
            ("Encrypt", encrypt.clone(), No("DisabledException", "is disabled.")),
            ("Encrypt", dry.clone(), No("DisabledException", "is disabled.")),
            ("Decrypt", open.clone(), No("DisabledException", "is disabled.")),
            ("GenerateDataKey", data_key.clone(), No("DisabledException", "")),
            ("RotateKeyOnDemand", key.clone(), No("DisabledException", "")),
            ("EnableKeyRotation", key.clone(), No("DisabledException", "")),
            ("CancelKeyDeletion", key.clone(), No("KMSInvalidStateException", "is not pending deletion.")),
            ("EnableKey", key.clone(), Ok(json!(null))),
            ("Decrypt", open.clone(), Ok(json!({ "Plaintext": "AA==" }))),
            (
                "ScheduleKeyDeletion",
                json!({ "KeyId": id, "PendingWindowInDays": 6 }),
                No("ValidationException", "pendingWindowInDays"),
            ),
            (
                "ScheduleKeyDeletion",
                json!({ "KeyId": id, "PendingWindowInDays": 31 }),
                No("ValidationException", "pendingWindowInDays"),
            ),
            (
                "ScheduleKeyDeletion",
                key.clone(),
                Ok(json!({ "KeyId": arn, "KeyState": "PendingDeletion", "PendingWindowInDays": 30 })),
            ),
            ("DescribeKey", key.clone(), state("PendingDeletion")),
            ("ScheduleKeyDeletion", key.clone(), No("KMSInvalidStateException", "is pending deletion.")),
            ("Encrypt", encrypt.clone(), No("KMSInvalidStateException", "is pending deletion.")),
            ("Decrypt", open.clone(), No("KMSInvalidStateException", "is pending deletion.")),
            ("GenerateDataKey", data_key, No("KMSInvalidStateException", "")),
            ("EnableKey", key.clone(), No("KMSInvalidStateException", "")),
            ("DisableKey", key.clone(), No("KMSInvalidStateException", "")),
            ("UpdateKeyDescription", json!({ "KeyId": id, "Description": "x" }), No("KMSInvalidStateException", "")),
            ("TagResource", json!({ "KeyId": id, "Tags": [] }), No("KMSInvalidStateException", "")),
            ("CreateAlias", json!({ "AliasName": "alias/b", "TargetKeyId": id }), No("KMSInvalidStateException", "")),
            ("GetKeyRotationStatus", key.clone(), Ok(json!({ "KeyRotationEnabled": false }))),
            ("CancelKeyDeletion", key.clone(), Ok(json!({ "KeyId": arn }))),
            ("DescribeKey", key.clone(), state("Disabled")),
            ("EnableKey", key.clone(), Ok(json!(null))),
            ("Decrypt", open, Ok(json!({ "Plaintext": "AA==" }))),
            ("Encrypt", dry, No("DryRunOperationException", "")),
        ],
    )
    .await;
    let told = world.done("ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 7 })).await;
    let described = world.done("DescribeKey", key).await;
    assert!(told["DeletionDate"].is_f64());
    assert_eq!(told["DeletionDate"], described["KeyMetadata"]["DeletionDate"]);
}

#[tokio::test]
async fn shredded_keys_are_no_keys() {
    let world = World::start().await;
    let (id, kept) = (world.key().await, world.key().await);
    let sealed = world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await;
    world.done("CreateAlias", json!({ "AliasName": "alias/gone", "TargetKeyId": id })).await;
    world.done("CreateAlias", json!({ "AliasName": "alias/kept", "TargetKeyId": kept })).await;
    let (portions, account) = (world.store.portions(), base::AccountId::DEFAULT);
    let portion = keys::parse_id(&id).unwrap();
    portions.switch(account, portion, keys::Switch::Shred { days: 0 }).await.unwrap();
    assert!(portions.shred(account, portion).await.unwrap());
    play(
        &world,
        vec![
            ("DescribeKey", json!({ "KeyId": id }), No("NotFoundException", "does not exist")),
            ("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }), No("NotFoundException", "does not exist")),
            (
                "Decrypt",
                json!({ "CiphertextBlob": sealed["CiphertextBlob"], "KeyId": id }),
                No("NotFoundException", ""),
            ),
            ("EnableKey", json!({ "KeyId": id }), No("NotFoundException", "")),
            ("DescribeKey", json!({ "KeyId": "alias/gone" }), No("NotFoundException", "alias/gone is not found.")),
            ("CreateAlias", json!({ "AliasName": "alias/gone", "TargetKeyId": kept }), Ok(json!(null))),
            ("DeleteAlias", json!({ "AliasName": "alias/gone" }), Ok(json!(null))),
        ],
    )
    .await;
    let aliases = world.done("ListAliases", json!({})).await;
    assert_eq!(aliases["Aliases"].as_array().unwrap().len(), 1);
    assert_eq!(aliases["Aliases"][0]["AliasName"], "alias/kept");
    let listed = world.done("ListKeys", json!({})).await;
    assert_eq!(listed["Keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["Keys"][0]["KeyId"], kept);
}

#[tokio::test]
async fn what_a_rule_made_is_a_key_too() {
    let world = World::start().await;
    let portion = world.store.portions().named(base::AccountId::DEFAULT, "bucket").await.unwrap();
    let id = keys::dashed(portion);
    play(
        &world,
        vec![
            ("DescribeKey", json!({ "KeyId": id }), Ok(json!({ "KeyMetadata": { "KeyManager": "AWS" } }))),
            ("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }), Ok(json!({}))),
            // Its name is no name of a key.
            ("DescribeKey", json!({ "KeyId": "bucket" }), No("NotFoundException", "Invalid keyId")),
        ],
    )
    .await;
}

#[tokio::test]
async fn versions_follow_each_other() {
    let world = World::start().await;
    let id = world.key().await;
    let sealed = text(&world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await["CiphertextBlob"]);
    let key = json!({ "KeyId": id });
    let period = |days: i64| json!({ "KeyId": id, "RotationPeriodInDays": days });
    play(
        &world,
        vec![
            (
                "GetKeyRotationStatus",
                key.clone(),
                Ok(json!({ "KeyId": id, "KeyRotationEnabled": true, "RotationPeriodInDays": 30 })),
            ),
            ("ListKeyRotations", key.clone(), Ok(json!({ "Rotations": [], "Truncated": false }))),
            ("EnableKeyRotation", period(365), Ok(json!(null))),
            ("EnableKeyRotation", key.clone(), Ok(json!(null))),
            (
                "GetKeyRotationStatus",
                key.clone(),
                Ok(json!({ "KeyRotationEnabled": true, "RotationPeriodInDays": 365 })),
            ),
            ("EnableKeyRotation", period(0), No("ValidationException", "rotationPeriodInDays")),
            ("EnableKeyRotation", period(2_561), No("ValidationException", "rotationPeriodInDays")),
            ("DisableKeyRotation", key.clone(), Ok(json!(null))),
            ("GetKeyRotationStatus", key.clone(), Ok(json!({ "KeyRotationEnabled": false }))),
            ("EnableKeyRotation", key.clone(), Ok(json!(null))),
            (
                "GetKeyRotationStatus",
                key.clone(),
                Ok(json!({ "KeyRotationEnabled": true, "RotationPeriodInDays": 30 })),
            ),
            ("RotateKeyOnDemand", key.clone(), Ok(json!({ "KeyId": id }))),
            ("RotateKeyOnDemand", key.clone(), Ok(json!({ "KeyId": id }))),
            ("ListKeyRotations", json!({ "KeyId": id, "Marker": "x" }), No("InvalidMarkerException", "")),
            (
                "ListKeyRotations",
                json!({ "KeyId": id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" }),
                No("UnsupportedOperationException", ""),
            ),
            // What was sealed before still opens.
            ("Decrypt", json!({ "CiphertextBlob": sealed }), Ok(json!({ "Plaintext": "AA==" }))),
        ],
    )
    .await;
    let first = world.done("ListKeyRotations", json!({ "KeyId": id, "Limit": 1 })).await;
    assert_eq!((first["Truncated"].as_bool(), first["Rotations"].as_array().unwrap().len()), (Some(true), 1));
    assert_eq!(first["Rotations"][0]["RotationType"], "ON_DEMAND");
    let rest = world.done("ListKeyRotations", json!({ "KeyId": id, "Marker": first["NextMarker"] })).await;
    assert_eq!((rest["Truncated"].as_bool(), rest["Rotations"].as_array().unwrap().len()), (Some(false), 1));
    let again = text(&world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await["CiphertextBlob"]);
    // The version is in the clear: magic, id, version.
    assert_ne!(again[..32], sealed[..32]);
}

#[tokio::test]
async fn the_key_policy_is_the_default_one() {
    let world = World::start().await;
    let id = world.key().await;
    let told = text(&world.done("GetKeyPolicy", json!({ "KeyId": id })).await["Policy"]);
    let other = told.replace("kms:*", "kms:Encrypt");
    let put = |policy: &str| json!({ "KeyId": id, "PolicyName": "default", "Policy": policy });
    play(
        &world,
        vec![
            ("GetKeyPolicy", json!({ "KeyId": id, "PolicyName": "default" }), Ok(json!({ "PolicyName": "default" }))),
            (
                "GetKeyPolicy",
                json!({ "KeyId": id, "PolicyName": "other" }),
                No("NotFoundException", "No such policy exists"),
            ),
            ("ListKeyPolicies", json!({ "KeyId": id }), Ok(json!({ "PolicyNames": ["default"], "Truncated": false }))),
            ("ListKeyPolicies", json!({ "KeyId": id, "Marker": "x" }), No("InvalidMarkerException", "")),
            ("PutKeyPolicy", put(&told), Ok(json!(null))),
            ("PutKeyPolicy", put(&other), No("UnsupportedOperationException", "default")),
            ("PutKeyPolicy", put("x"), No("MalformedPolicyDocumentException", "")),
            ("PutKeyPolicy", json!({ "KeyId": id }), No("ValidationException", "'policy'")),
            ("CreateKey", json!({ "Policy": told }), Ok(json!({}))),
            ("CreateKey", json!({ "Policy": other }), No("UnsupportedOperationException", "")),
        ],
    )
    .await;
}

#[tokio::test]
async fn descriptions_and_tags() {
    let world = World::start().await;
    let id = world.key().await;
    let key = json!({ "KeyId": id });
    let tag = |name: &str, value: &str| json!({ "TagKey": name, "TagValue": value });
    let tags = |tags: &[serde_json::Value]| json!({ "KeyId": id, "Tags": tags });
    let many: Vec<_> = (0..49).map(|i| tag(&format!("t{i}"), "")).collect();
    play(
        &world,
        vec![
            ("UpdateKeyDescription", json!({ "KeyId": id, "Description": "new" }), Ok(json!(null))),
            ("DescribeKey", key.clone(), Ok(json!({ "KeyMetadata": { "Description": "new" } }))),
            ("UpdateKeyDescription", json!({ "KeyId": id, "Description": "" }), Ok(json!(null))),
            ("UpdateKeyDescription", key.clone(), No("ValidationException", "'description'")),
            ("TagResource", tags(&[tag("b", "1"), tag("a", "1")]), Ok(json!(null))),
            ("TagResource", tags(&[tag("a", "2")]), Ok(json!(null))),
            (
                "ListResourceTags",
                key.clone(),
                Ok(json!({ "Tags": [tag("a", "2"), tag("b", "1")], "Truncated": false })),
            ),
            ("TagResource", tags(&many), No("LimitExceededException", "50")),
            ("TagResource", tags(&[tag("aws:a", "2")]), No("TagException", "reserved")),
            ("TagResource", tags(&[tag("", "2")]), No("TagException", "")),
            ("TagResource", tags(&[tag("a", &"x".repeat(257))]), No("TagException", "256")),
            ("TagResource", key.clone(), No("ValidationException", "'tags'")),
            ("UntagResource", json!({ "KeyId": id, "TagKeys": ["b", "none"] }), Ok(json!(null))),
            ("UntagResource", key.clone(), No("ValidationException", "'tagKeys'")),
            ("ListResourceTags", key.clone(), Ok(json!({ "Tags": [tag("a", "2")], "Truncated": false }))),
            ("ListResourceTags", json!({ "KeyId": id, "Limit": 51 }), No("ValidationException", "limit")),
        ],
    )
    .await;
    world.done("TagResource", tags(&[tag("c", "3")])).await;
    let first = world.done("ListResourceTags", json!({ "KeyId": id, "Limit": 1 })).await;
    assert_eq!(first["Tags"], json!([tag("a", "2")]));
    let rest = world.done("ListResourceTags", json!({ "KeyId": id, "Marker": first["NextMarker"] })).await;
    assert_eq!((&rest["Tags"], &rest["Truncated"]), (&json!([tag("c", "3")]), &json!(false)));
}
