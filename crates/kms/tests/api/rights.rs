//! Who may do what with which key.

use serde_json::{Value, json};
use store::api::Right;

use crate::table::has;
use crate::world::{Call, World, text};

/// A user with one policy, who asks.
pub struct User<'w> {
    world: &'w World,
    pub keys: (String, String),
}

impl<'w> User<'w> {
    pub async fn new(world: &'w World, name: &str, policy: &Value) -> Self {
        let keys = (format!("KEY{name}"), "secretsecret".to_owned());
        world.store.create_user(name, Some(keys.clone())).await.unwrap();
        world.store.put_user_policy(name, "p", &policy.to_string()).await.unwrap();
        Self { world, keys }
    }

    pub async fn ask(&self, operation: &str, body: Value) -> Value {
        let call = Call::new(operation, &body).by(&self.keys.0, &self.keys.1);
        let answer = self.world.send(call).await;
        if answer.status == 200 { json!({ "ok": answer.json }) } else { answer.json }
    }

    pub async fn may(&self, operation: &str, body: Value) {
        let answer = self.ask(operation, body.clone()).await;
        assert!(answer.get("ok").is_some(), "{operation} {body}: {answer}");
    }

    pub async fn may_not(&self, operation: &str, body: Value, words: &str) {
        let answer = self.ask(operation, body.clone()).await;
        let message = answer["message"].as_str().unwrap_or_default();
        let fits = has(&answer, &json!({ "__type": "AccessDeniedException" })) && message.contains(words);
        assert!(fits, "{operation} {body}: {answer}, expected {words}");
    }
}

fn allow(actions: Value, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

#[tokio::test]
async fn a_grant_on_buckets_gives_nothing() {
    let world = World::start().await;
    let id = world.key().await;
    let user = User::new(&world, "ann", &json!({ "Statement": allow(json!("s3:*"), "*") })).await;
    world.store.grant("ann", "*", Some(Right::Admin)).await.unwrap();
    let none = "because no identity-based policy allows the kms:";
    let who = "User: arn:aws:iam::000000000000:user/ann is not authorized to perform: kms:DescribeKey on resource: arn:aws:kms:eu-test-1:000000000000:key/";
    user.may_not("DescribeKey", json!({ "KeyId": id }), who).await;
    user.may_not("DescribeKey", json!({ "KeyId": "01234567-89ab-cdef-0123-456789abcdef" }), none).await;
    for operation in ["CreateKey", "ListKeys", "ListAliases"] {
        user.may_not(operation, json!({}), "on resource: * because no identity-based").await;
    }
    user.may_not("GenerateRandom", json!({ "NumberOfBytes": 1 }), none).await;
    user.may_not("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": id }), "alias/a because").await;
}

#[tokio::test]
async fn policies_name_keys_and_aliases() {
    let world = World::start().await;
    let (id, other) = (world.key().await, world.key().await);
    let key = format!("arn:aws:kms:eu-test-1:000000000000:key/{id}");
    let alias = "arn:aws:kms:*:000000000000:alias/mine/*";
    let actions = json!(["kms:*Alias", "kms:Encrypt", "kms:DescribeKey", "kms:ReEncryptFrom", "kms:CreateKey"]);
    let policy = json!({ "Statement": [
        allow(actions, &key),
        allow(json!("kms:*Alias"), alias),
        { "Effect": "Deny", "Action": "kms:DeleteAlias", "Resource": "*" },
    ]});
    let user = User::new(&world, "ann", &policy).await;
    user.may("DescribeKey", json!({ "KeyId": id })).await;
    user.may("CreateAlias", json!({ "AliasName": "alias/mine/a", "TargetKeyId": id })).await;
    user.may("Encrypt", json!({ "KeyId": "alias/mine/a", "Plaintext": "AA==" })).await;
    user.may_not("DescribeKey", json!({ "KeyId": other }), "no identity-based").await;
    user.may_not("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": id }), "alias/a").await;
    user.may_not("CreateAlias", json!({ "AliasName": "alias/mine/b", "TargetKeyId": other }), &other).await;
    user.may_not("UpdateAlias", json!({ "AliasName": "alias/mine/a", "TargetKeyId": other }), &other).await;
    user.may_not("DeleteAlias", json!({ "AliasName": "alias/mine/a" }), "with an explicit deny in an identity-based")
        .await;
    user.may_not("CreateKey", json!({}), "resource: *").await;
    // The right is on the key, wherever its name comes from.
    let sealed = world.done("Encrypt", json!({ "KeyId": other, "Plaintext": "AA==" })).await;
    user.may_not("Decrypt", json!({ "CiphertextBlob": sealed["CiphertextBlob"] }), "kms:Decrypt").await;
    let ask = json!({ "CiphertextBlob": sealed["CiphertextBlob"], "DestinationKeyId": id });
    user.may_not("ReEncrypt", ask, "kms:ReEncryptTo").await;
    world.done("UpdateAlias", json!({ "AliasName": "alias/mine/a", "TargetKeyId": other })).await;
    user.may_not("Encrypt", json!({ "KeyId": "alias/mine/a", "Plaintext": "AA==" }), &other).await;
}

#[tokio::test]
async fn conditions_ask_about_the_request() {
    let world = World::start().await;
    let id = world.key().await;
    world.done("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": id })).await;
    world.done("TagResource", json!({ "KeyId": id, "Tags": [{ "TagKey": "team", "TagValue": "blue" }] })).await;
    let encrypt = |more: Value| {
        let mut ask = json!({ "KeyId": id, "Plaintext": "AA==" });
        for (name, value) in more.as_object().unwrap() {
            ask[name] = value.clone();
        }
        ask
    };
    let context = |context: Value| encrypt(json!({ "EncryptionContext": context }));
    let table = [
        (
            json!({ "StringEquals": { "kms:EncryptionContext:Team": "blue" } }),
            vec![context(json!({ "team": "blue" })), context(json!({ "Team": "blue", "x": "y" }))],
            vec![encrypt(json!({})), context(json!({ "team": "red" })), context(json!({ "x": "blue" }))],
        ),
        (
            json!({ "StringEquals": { "kms:EncryptionContext:aws:x-amz-cek-alg": "AES/GCM" } }),
            vec![context(json!({ "aws:x-amz-cek-alg": "AES/GCM" }))],
            vec![encrypt(json!({}))],
        ),
        (
            json!({ "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["a", "b"] },
                "Null": { "kms:EncryptionContextKeys": "false" } }),
            vec![context(json!({ "a": "1" })), context(json!({ "a": "1", "b": "2" }))],
            vec![encrypt(json!({})), context(json!({ "a": "1", "c": "2" }))],
        ),
        (
            json!({ "StringLike": { "kms:RequestAlias": "alias/*" } }),
            vec![encrypt(json!({ "KeyId": "alias/a" }))],
            vec![encrypt(json!({}))],
        ),
        (
            json!({ "StringEquals": { "aws:ResourceTag/team": "blue", "kms:CallerAccount": "000000000000",
                "kms:KeySpec": "SYMMETRIC_DEFAULT" } }),
            vec![encrypt(json!({}))],
            vec![],
        ),
        (json!({ "StringEquals": { "aws:ResourceTag/team": "red" } }), vec![], vec![encrypt(json!({}))]),
        (json!({ "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } }), vec![encrypt(json!({}))], vec![]),
        (json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), vec![], vec![encrypt(json!({}))]),
        (json!({ "Bool": { "aws:SecureTransport": "true" } }), vec![], vec![encrypt(json!({}))]),
        (json!({ "DateGreaterThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" } }), vec![encrypt(json!({}))], vec![]),
        (
            json!({ "StringEquals": { "kms:ViaService": "s3.eu-test-1.amazonaws.com" } }),
            vec![],
            vec![encrypt(json!({}))],
        ),
        (json!({ "StringLike": { "aws:username": "u*" } }), vec![encrypt(json!({}))], vec![]),
    ];
    for (at, (condition, may, may_not)) in table.into_iter().enumerate() {
        let mut statement = allow(json!("kms:*"), "*");
        statement["Condition"] = condition.clone();
        let user = User::new(&world, &format!("u{at}"), &json!({ "Statement": statement })).await;
        for ask in may {
            let answer = user.ask("Encrypt", ask.clone()).await;
            assert!(answer.get("ok").is_some(), "{condition} {ask}: {answer}");
        }
        for ask in may_not {
            let answer = user.ask("Encrypt", ask.clone()).await;
            assert_eq!(answer["__type"], "AccessDeniedException", "{condition} {ask}: {answer}");
        }
    }
}

#[tokio::test]
async fn tags_and_waits_may_be_bounded() {
    let world = World::start().await;
    let id = world.key().await;
    let mut tags = allow(json!(["kms:TagResource", "kms:CreateKey"]), "*");
    tags["Condition"] = json!({ "StringEquals": { "aws:RequestTag/team": "blue" } });
    let mut wait = allow(json!("kms:ScheduleKeyDeletion"), "*");
    wait["Condition"] = json!({ "NumericGreaterThanEquals": { "kms:ScheduleKeyDeletionPendingWindowInDays": "14" } });
    let user = User::new(&world, "ann", &json!({ "Statement": [tags, wait] })).await;
    let tag = |value: &str| json!([{ "TagKey": "team", "TagValue": value }]);
    user.may("CreateKey", json!({ "Tags": tag("blue") })).await;
    user.may_not("CreateKey", json!({ "Tags": tag("red") }), "kms:CreateKey").await;
    user.may_not("CreateKey", json!({}), "kms:CreateKey").await;
    user.may("TagResource", json!({ "KeyId": id, "Tags": tag("blue") })).await;
    user.may_not("TagResource", json!({ "KeyId": id, "Tags": tag("red") }), "kms:TagResource").await;
    user.may_not("ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 7 }), "kms:Schedule").await;
    user.may("ScheduleKeyDeletion", json!({ "KeyId": id })).await;
}

#[tokio::test]
async fn tenants_never_meet() {
    let world = World::start().await;
    let id = world.key().await;
    let sealed = world.done("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" })).await;
    let (_, access, secret) = world.store.create_tenant("other").await.unwrap();
    let user = User { world: &world, keys: (access, secret) };
    let made = user.ask("CreateKey", json!({})).await;
    let theirs = text(&made["ok"]["KeyMetadata"]["KeyId"]);
    let arn = text(&made["ok"]["KeyMetadata"]["Arn"]);
    let listed = user.ask("ListKeys", json!({})).await;
    assert_eq!(listed["ok"]["Keys"], json!([{ "KeyId": theirs, "KeyArn": arn }]));
    for (operation, ask, code) in [
        ("DescribeKey", json!({ "KeyId": id }), "NotFoundException"),
        ("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }), "NotFoundException"),
        ("Decrypt", json!({ "CiphertextBlob": sealed["CiphertextBlob"] }), "InvalidCiphertextException"),
        ("ScheduleKeyDeletion", json!({ "KeyId": id }), "NotFoundException"),
        ("CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": id }), "NotFoundException"),
    ] {
        assert_eq!(user.ask(operation, ask).await["__type"], code, "{operation}");
    }
    let answer = world.ask("DescribeKey", &json!({ "KeyId": theirs })).await;
    assert_eq!(answer.json["__type"], "NotFoundException");
}
