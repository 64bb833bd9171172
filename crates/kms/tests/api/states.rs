//! States of keys, versions, tags.

use base::AccountId;
use serde_json::{Value, json};

use crate::rights::User;
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
async fn a_key_has_the_default_policy_until_another_is_put() {
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
            (
                "PutKeyPolicy",
                put(&other),
                No("MalformedPolicyDocumentException", "update the key policy in the future"),
            ),
            ("PutKeyPolicy", put("x"), No("MalformedPolicyDocumentException", "")),
            ("PutKeyPolicy", json!({ "KeyId": id }), No("ValidationException", "'policy'")),
            ("CreateKey", json!({ "Policy": told }), Ok(json!({}))),
            ("CreateKey", json!({ "Policy": other }), No("MalformedPolicyDocumentException", "in the future")),
            ("GetKeyPolicy", key_of(&id), Ok(json!({ "Policy": told }))),
        ],
    )
    .await;
}

fn key_of(id: &str) -> Value {
    json!({ "KeyId": id })
}

/// Statements of a key policy that leaves the account what `kept` names, and may be changed.
fn policy_of(kept: &Value, statements: &[Value]) -> String {
    let root = json!({ "Effect": "Allow", "Principal": { "AWS": "000000000000" }, "Action": kept, "Resource": "*" });
    let all: Vec<_> = std::iter::once(root).chain(statements.iter().cloned()).collect();
    json!({ "Version": "2012-10-17", "Statement": all }).to_string()
}

#[tokio::test]
async fn a_policy_that_would_not_be_kept_to_is_refused() {
    let world = World::start().await;
    let id = world.key().await;
    world.store.create_user("ann", None).await.unwrap();
    let fine = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:user/ann" },
        "Action": "kms:Decrypt", "Resource": "*" });
    let with = |name: &str, value: Value| {
        let mut statement = fine.clone();
        statement[name] = value;
        policy_of(&json!("kms:*"), &[statement])
    };
    let malformed = |words| No("MalformedPolicyDocumentException", words);
    for (policy, expected) in [
        (with("Sid", json!("ann")), Ok(json!(null))),
        (with("Principal", json!("*")), Ok(json!(null))),
        (with("Action", json!(["kms:Re*", "kms:Sign"])), Ok(json!(null))),
        (with("Condition", json!({ "StringEquals": { "kms:EncryptionContext:a/b": "1" } })), Ok(json!(null))),
        (with("Condition", json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } })), Ok(json!(null))),
        (with("Principal", json!({ "AWS": "arn:aws:iam::000000000000:user/bob" })), malformed("invalid principals")),
        (with("Principal", json!({ "AWS": "arn:aws:iam::000000000000:role/ann" })), malformed("invalid principals")),
        (with("Principal", json!({ "AWS": "arn:aws:iam::000000000001:root" })), malformed("Invalid principal")),
        (with("Principal", json!({ "Service": "s3.amazonaws.com" })), malformed("Invalid principal")),
        (with("Action", json!("kms:Decrpyt")), malformed("invalid action")),
        (with("Action", json!("s3:GetObject")), malformed("invalid action")),
        (with("Resource", json!("arn:aws:kms:*:*:key/*")), malformed("invalid resource")),
        (
            with("Condition", json!({ "StringEquals": { "kms:RecipientAttestation:PCR0": "1" } })),
            malformed("condition"),
        ),
        (with("Condition", json!({ "StringEquals": { "s3:prefix": "1" } })), malformed("condition")),
        (with("Nothing", json!(1)), malformed("Unknown field")),
    ] {
        let asked = json!({ "KeyId": id, "Policy": policy });
        play(&world, vec![("PutKeyPolicy", asked, expected)]).await;
    }
}

#[tokio::test]
async fn a_keys_own_policy_decides() {
    let world = World::start().await;
    let id = world.key().await;
    let all = json!({ "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*" } });
    let none = json!({ "Statement": { "Effect": "Allow", "Action": "s3:*", "Resource": "*" } });
    let (ann, ben) = (User::new(&world, "ann", &none).await, User::new(&world, "ben", &all).await);
    let encrypt = json!({ "KeyId": id, "Plaintext": "AA==", "EncryptionContext": { "team": "red" } });
    ann.may_not("Encrypt", encrypt.clone(), "no identity-based").await;
    ben.may("Encrypt", encrypt.clone()).await;
    // The account keeps all but Encrypt, which is ann's under one context.
    let statement = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:user/ann" },
        "Action": "kms:Encrypt", "Resource": "*",
        "Condition": { "StringEquals": { "kms:EncryptionContext:team": "red" } } });
    let kept = json!(["kms:*Key*", "kms:Decrypt", "kms:*Grant*"]);
    let put = json!({ "KeyId": id, "Policy": policy_of(&kept, &[statement]) });
    world.done("PutKeyPolicy", put).await;
    ann.may("Encrypt", encrypt.clone()).await;
    ann.may_not("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }), "no resource-based").await;
    ann.may_not("DescribeKey", key_of(&id), "no identity-based").await;
    ben.may_not("Encrypt", encrypt.clone(), "no resource-based").await;
    ben.may("DescribeKey", key_of(&id)).await;
    // Root does not stand above it.
    play(&world, vec![("Encrypt", encrypt.clone(), No("AccessDeniedException", "no resource-based"))]).await;
    // A grant does what the policy leaves out; a denial counts before it.
    let grantee = "arn:aws:iam::000000000000:user/ben";
    let grant = json!({ "KeyId": id, "GranteePrincipal": grantee, "Operations": ["Encrypt"] });
    world.done("CreateGrant", grant).await;
    ben.may("Encrypt", encrypt.clone()).await;
    let deny = json!({ "Effect": "Deny", "Principal": { "AWS": grantee }, "Action": "kms:Encrypt", "Resource": "*" });
    world.done("PutKeyPolicy", json!({ "KeyId": id, "Policy": policy_of(&json!("kms:*"), &[deny]) })).await;
    ben.may_not("Encrypt", encrypt.clone(), "explicit deny in a resource-based").await;
    // Who locks all out says so; the operator has a way back.
    let nobody = policy_of(&json!("kms:Get*"), &[]);
    let put = json!({ "KeyId": id, "Policy": nobody, "BypassPolicyLockoutSafetyCheck": true });
    world.done("PutKeyPolicy", put).await;
    let again = json!({ "KeyId": id, "Policy": policy_of(&json!("kms:*"), &[]) });
    play(&world, vec![("PutKeyPolicy", again, No("AccessDeniedException", "no resource-based"))]).await;
    let portion = keys::parse_id(&id).unwrap();
    world.store.portions().put_key_policy(world.store.account(), portion, "").await.unwrap();
    ben.may("Encrypt", encrypt).await;
    let made = world.done("CreateKey", json!({ "Policy": policy_of(&json!("kms:*"), &[]) })).await;
    let told = world.done("GetKeyPolicy", json!({ "KeyId": made["KeyMetadata"]["KeyId"] })).await;
    assert!(text(&told["Policy"]).contains("kms:*"));
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

/// What only says whether it might be is in no ledger.
#[tokio::test]
async fn a_dry_run_has_nothing_released() {
    let world = World::start().await;
    let id = world.key().await;
    let sealed = world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await["CiphertextBlob"].clone();
    let holders = async || world.store.portions().holders(AccountId::DEFAULT, None, None, 10).await.unwrap().0.len();
    let dry = json!({ "CiphertextBlob": sealed, "DestinationKeyId": id, "DryRun": true });
    play(
        &world,
        vec![
            ("Decrypt", json!({ "CiphertextBlob": sealed, "DryRun": true }), No("DryRunOperationException", "")),
            ("ReEncrypt", dry, No("DryRunOperationException", "")),
        ],
    )
    .await;
    assert_eq!(holders().await, 0);
    world.done("Decrypt", json!({ "CiphertextBlob": sealed })).await;
    assert_eq!(holders().await, 1);
}

#[tokio::test]
async fn a_key_is_rotated_on_demand_so_often_and_no_more() {
    let world = World::start().await;
    let id = world.key().await;
    for _ in 0..25 {
        world.done("RotateKeyOnDemand", key_of(&id)).await;
    }
    play(&world, vec![("RotateKeyOnDemand", key_of(&id), No("LimitExceededException", "25 on-demand rotations"))])
        .await;
    let page = world.done("ListKeyRotations", json!({ "KeyId": id, "Limit": 20 })).await;
    assert_eq!((page["Rotations"].as_array().unwrap().len(), &page["Truncated"]), (20, &json!(true)));
    let rest = json!({ "KeyId": id, "Limit": 20, "Marker": page["NextMarker"] });
    let page = world.done("ListKeyRotations", rest).await;
    assert_eq!((page["Rotations"].as_array().unwrap().len(), &page["Truncated"]), (5, &json!(false)));
}
