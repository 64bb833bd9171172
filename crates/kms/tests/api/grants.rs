//! Grants: made, listed, ended, and what they let a principal do.

use serde_json::{Value, json};

use crate::rights::User;
use crate::table::Expected::{No, Ok};
use crate::table::play;
use crate::world::{Call, World, text};

const ANN: &str = "arn:aws:iam::000000000000:user/ann";
const BOB: &str = "arn:aws:iam::000000000000:user/bob";

fn nothing() -> Value {
    json!({ "Statement": { "Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*" } })
}

fn grant(key: &str, operations: Value) -> Value {
    json!({ "KeyId": key, "GranteePrincipal": ANN, "Operations": operations })
}

fn with(mut ask: Value, name: &str, value: Value) -> Value {
    ask[name] = value;
    ask
}

#[tokio::test]
async fn requests_and_what_is_wrong_with_them() {
    let world = World::start().await;
    let _ann = User::new(&world, "ann", &nothing()).await;
    let id = world.key().await;
    let fine = grant(&id, json!(["Decrypt"]));
    let asked = |name: &str, value: Value| with(fine.clone(), name, value);
    let pairs: serde_json::Map<_, _> = (0..9).map(|at| (at.to_string(), json!(""))).collect();
    let long = "x".repeat(385);
    let constraint = |kind: &str, map: Value| asked("Constraints", json!({ kind: map }));
    let none = "0".repeat(64);
    let invalid = "ValidationException";
    play(
        &world,
        vec![
            ("CreateGrant", asked("KeyId", json!("alias/x")), No("NotFoundException", "Invalid keyId")),
            ("CreateGrant", asked("KeyId", json!(null)), No(invalid, "keyId")),
            ("CreateGrant", asked("GranteePrincipal", json!(null)), No(invalid, "granteePrincipal")),
            ("CreateGrant", asked("GranteePrincipal", json!(BOB)), No("InvalidArnException", "valid principal")),
            ("CreateGrant", asked("GranteePrincipal", json!("ann")), No("InvalidArnException", "")),
            ("CreateGrant", asked("GranteePrincipal", json!("")), No(invalid, "granteePrincipal")),
            (
                "CreateGrant",
                asked("GranteePrincipal", json!("arn:aws:iam::000000000001:user/ann")),
                No("InvalidArnException", ""),
            ),
            (
                "CreateGrant",
                asked("GranteePrincipal", json!("arn:aws:sts::000000000000:assumed-role/r/s")),
                No("InvalidArnException", ""),
            ),
            ("CreateGrant", asked("RetiringPrincipal", json!(BOB)), No("InvalidArnException", BOB)),
            ("CreateGrant", asked("Operations", json!(null)), No(invalid, "operations")),
            ("CreateGrant", asked("Operations", json!([])), No(invalid, "operations")),
            ("CreateGrant", asked("Operations", json!(["Sign"])), No(invalid, "Sign is not supported on this key")),
            ("CreateGrant", asked("Operations", json!(["ScheduleKeyDeletion"])), No(invalid, "enum value set")),
            ("CreateGrant", asked("Name", json!("a b")), No(invalid, "'name'")),
            ("CreateGrant", asked("Name", json!("")), No(invalid, "'name'")),
            (
                "CreateGrant",
                constraint("EncryptionContextEquals", json!(pairs)),
                No(invalid, "encryptionContextEquals"),
            ),
            (
                "CreateGrant",
                constraint("EncryptionContextSubset", json!({ "a": long })),
                No(invalid, "encryptionContextSubset"),
            ),
            ("CreateGrant", asked("GrantTokens", json!(["x"])), No("InvalidGrantTokenException", "")),
            ("CreateGrant", asked("DryRun", json!(true)), No("DryRunOperationException", "")),
            ("ListGrants", json!({ "KeyId": id }), Ok(json!({ "Grants": [], "Truncated": false }))),
            ("ListGrants", json!({ "KeyId": id, "GrantId": none }), No("NotFoundException", "not found for key")),
            ("ListGrants", json!({ "KeyId": id, "GrantId": "x" }), No("InvalidGrantIdException", "x")),
            ("ListGrants", json!({ "KeyId": id, "Limit": 101 }), No(invalid, "limit")),
            ("ListGrants", json!({ "KeyId": id, "Marker": "x" }), No("InvalidMarkerException", "")),
            ("ListGrants", json!({ "KeyId": id, "GranteePrincipal": BOB }), No("InvalidArnException", "")),
            ("ListRetirableGrants", json!({}), No(invalid, "retiringPrincipal")),
            (
                "ListRetirableGrants",
                json!({ "RetiringPrincipal": ANN, "Marker": "x" }),
                No("InvalidMarkerException", ""),
            ),
            ("RevokeGrant", json!({ "KeyId": id }), No(invalid, "grantId")),
            ("RevokeGrant", json!({ "KeyId": id, "GrantId": none }), No("NotFoundException", "not found for key")),
            ("RetireGrant", json!({}), No(invalid, "grant token")),
            ("RetireGrant", json!({ "KeyId": id }), No(invalid, "grant token")),
            ("RetireGrant", json!({ "GrantToken": "x" }), No("InvalidGrantTokenException", "")),
            ("RetireGrant", json!({ "KeyId": id, "GrantId": none }), No("NotFoundException", "not found for key")),
            ("DisableKey", json!({ "KeyId": id }), Ok(json!(null))),
            ("CreateGrant", fine.clone(), No("DisabledException", "")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_grant_allows_what_it_says_and_no_more() {
    let world = World::start().await;
    let ann = User::new(&world, "ann", &nothing()).await;
    let (id, other) = (world.key().await, world.key().await);
    let context = json!({ "team": "blue" });
    let seal = |key: &str, context: &Value| json!({ "KeyId": key, "Plaintext": "AA==", "EncryptionContext": context });
    let sealed = world.done("Encrypt", seal(&id, &context)).await;
    let blob = &sealed["CiphertextBlob"];
    let open = json!({ "CiphertextBlob": blob, "EncryptionContext": context });
    ann.may_not("Decrypt", open.clone(), "because no identity-based policy allows the kms:Decrypt action").await;

    let ask = with(
        grant(&id, json!(["Decrypt", "DescribeKey"])),
        "Constraints",
        json!({ "EncryptionContextSubset": context }),
    );
    let made = world.done("CreateGrant", ask).await;
    ann.may("Decrypt", open.clone()).await;
    ann.may("Decrypt", with(open.clone(), "GrantTokens", json!([made["GrantToken"]]))).await;
    ann.may("Decrypt", with(open.clone(), "KeyId", json!(id))).await;
    ann.may("DescribeKey", json!({ "KeyId": id })).await;
    ann.may_not("DescribeKey", json!({ "KeyId": other }), "kms:DescribeKey").await;
    ann.may_not("Encrypt", seal(&id, &context), "kms:Encrypt").await;
    ann.may_not("Decrypt", json!({ "CiphertextBlob": blob }), "kms:Decrypt").await;
    ann.may_not("Decrypt", json!({ "CiphertextBlob": blob, "EncryptionContext": { "team": "red" } }), "kms:Decrypt")
        .await;
    // To open is not to move.
    let moved = json!({ "CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": other });
    ann.may_not("ReEncrypt", moved.clone(), "kms:ReEncryptTo").await;
    world.done("CreateGrant", grant(&other, json!(["ReEncryptTo"]))).await;
    ann.may_not("ReEncrypt", moved.clone(), "kms:ReEncryptFrom").await;
    world.done("CreateGrant", grant(&id, json!(["ReEncryptFrom"]))).await;
    ann.may("ReEncrypt", moved).await;
    for operation in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
        let ask = json!({ "KeyId": other, "KeySpec": "AES_256" });
        ann.may_not(operation, ask.clone(), operation).await;
        world.done("CreateGrant", grant(&other, json!([operation]))).await;
        ann.may(operation, ask).await;
    }
    // A grant is none of the key's other rights.
    for operation in ["ListGrants", "DisableKey", "GetKeyPolicy"] {
        ann.may_not(operation, json!({ "KeyId": id }), operation).await;
    }
    ann.may_not("RevokeGrant", json!({ "KeyId": id, "GrantId": made["GrantId"] }), "kms:RevokeGrant").await;

    // A policy that denies, denies.
    let deny = json!({ "Statement": { "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*" } });
    world.store.put_user_policy("ann", "deny", &deny.to_string()).await.unwrap();
    ann.may_not("Decrypt", open.clone(), "with an explicit deny in an identity-based policy").await;
    world.store.delete_user_policy("ann", "deny").await.unwrap();
    ann.may("Decrypt", open.clone()).await;

    // A key that is disabled opens for nobody.
    world.done("DisableKey", json!({ "KeyId": id })).await;
    assert_eq!(ann.ask("Decrypt", open.clone()).await["__type"], "DisabledException");
    world.done("EnableKey", json!({ "KeyId": id })).await;

    // Somebody else of the same name gets nothing.
    world.store.delete_user("ann").await.unwrap();
    let later = User::new(&world, "ann", &nothing()).await;
    later.may_not("Decrypt", open, "kms:Decrypt").await;
}

#[tokio::test]
async fn a_session_has_its_users_grants_within_its_policy() {
    let world = World::start().await;
    let ann = User::new(&world, "ann", &nothing()).await;
    let id = world.key().await;
    world.done("CreateGrant", grant(&id, json!(["Encrypt", "DescribeKey"]))).await;
    let (_, principal) = world.store.authenticate(&ann.keys.0).await.unwrap().unwrap();
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}}"#;
    for (policy, describes) in [(None, true), (Some(policy), false)] {
        let made = world.store.create_session(&ann.keys.0, &principal, policy, 900).await.unwrap();
        let call = |operation: &str, body: Value| {
            Call::new(operation, &body).by(&made.access_key, &made.secret).with("x-amz-security-token", &made.token)
        };
        let answer = world.send(call("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }))).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        let answer = world.send(call("DescribeKey", json!({ "KeyId": id }))).await;
        assert_eq!(answer.status == 200, describes, "{}", answer.json);
        let words = answer.json["message"].as_str().unwrap_or_default();
        assert!(describes || words.contains("no session policy allows"), "{words}");
    }
}

#[tokio::test]
async fn grants_are_passed_on_within_their_bounds() {
    let world = World::start().await;
    let ann = User::new(&world, "ann", &nothing()).await;
    let bob = User::new(&world, "bob", &nothing()).await;
    let id = world.key().await;
    let to_bob = |operations: Value| with(grant(&id, operations), "GranteePrincipal", json!(BOB));
    let subset = |map: Value| json!({ "EncryptionContextSubset": map });
    ann.may_not("CreateGrant", to_bob(json!(["Encrypt"])), "kms:CreateGrant").await;
    let mine = with(grant(&id, json!(["CreateGrant", "Encrypt"])), "Constraints", subset(json!({ "a": "1" })));
    world.done("CreateGrant", mine).await;
    ann.may_not("CreateGrant", to_bob(json!(["Encrypt"])), "kms:CreateGrant").await;
    let decrypt = with(to_bob(json!(["Decrypt"])), "Constraints", subset(json!({ "a": "1" })));
    ann.may_not("CreateGrant", decrypt, "kms:CreateGrant").await;
    let seal = json!({ "KeyId": id, "Plaintext": "AA==", "EncryptionContext": { "a": "1", "b": "2" } });
    bob.may_not("Encrypt", seal.clone(), "kms:Encrypt").await;
    let narrow = with(to_bob(json!(["Encrypt"])), "Constraints", subset(json!({ "a": "1", "b": "2" })));
    ann.may("CreateGrant", narrow).await;
    bob.may("Encrypt", seal).await;
    bob.may_not("CreateGrant", grant(&id, json!(["Encrypt"])), "kms:CreateGrant").await;
}

#[tokio::test]
async fn policies_ask_about_the_grant_to_be_made() {
    let world = World::start().await;
    let _ann = User::new(&world, "ann", &nothing()).await;
    let id = world.key().await;
    let fine = with(
        with(grant(&id, json!(["Encrypt"])), "Constraints", json!({ "EncryptionContextEquals": { "team": "blue" } })),
        "RetiringPrincipal",
        json!(ANN),
    );
    let table = [
        (json!({ "ForAllValues:StringEquals": { "kms:GrantOperations": ["Encrypt", "Decrypt"] } }), true),
        (json!({ "ForAllValues:StringEquals": { "kms:GrantOperations": ["Decrypt"] } }), false),
        (json!({ "StringEquals": { "kms:GrantConstraintType": "EncryptionContextEquals" } }), true),
        (json!({ "StringEquals": { "kms:GrantConstraintType": "EncryptionContextSubset" } }), false),
        (json!({ "StringEquals": { "kms:GranteePrincipal": ANN, "kms:RetiringPrincipal": ANN } }), true),
        (json!({ "StringEquals": { "kms:GranteePrincipal": BOB } }), false),
        (json!({ "StringEquals": { "kms:EncryptionContext:team": "blue" } }), true),
        (json!({ "StringEquals": { "kms:EncryptionContext:team": "red" } }), false),
        (json!({ "Bool": { "kms:GrantIsForAWSResource": true } }), false),
    ];
    for (at, (condition, expected)) in table.into_iter().enumerate() {
        let statement =
            json!({ "Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "*", "Condition": condition });
        let user = User::new(&world, &format!("u{at}"), &json!({ "Statement": statement })).await;
        let answer = user.ask("CreateGrant", fine.clone()).await;
        assert_eq!(answer.get("ok").is_some(), expected, "{condition}: {answer}");
    }
}

#[tokio::test]
async fn who_may_retire_a_grant() {
    let world = World::start().await;
    let all = json!({ "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*" } });
    let ann = User::new(&world, "ann", &nothing()).await;
    let bob = User::new(&world, "bob", &nothing()).await;
    // No policy is enough.
    let eve = User::new(&world, "eve", &all).await;
    let id = world.key().await;
    let make = async |operations: Value, retiring: Option<&str>| {
        let mut ask = grant(&id, operations);
        ask["RetiringPrincipal"] = json!(retiring);
        world.done("CreateGrant", ask).await
    };
    let by_id = |made: &Value| json!({ "KeyId": id, "GrantId": made["GrantId"] });
    let by_token = |made: &Value| json!({ "GrantToken": made["GrantToken"] });

    let made = make(json!(["Encrypt"]), Some(BOB)).await;
    for who in [&ann, &eve] {
        who.may_not("RetireGrant", by_id(&made), "kms:RetireGrant").await;
        who.may_not("RetireGrant", by_token(&made), "kms:RetireGrant").await;
    }
    let arn = format!("arn:aws:kms:eu-test-1:000000000000:key/{id}");
    bob.may("RetireGrant", json!({ "KeyId": arn, "GrantId": made["GrantId"] })).await;
    ann.may_not("Encrypt", json!({ "KeyId": id, "Plaintext": "AA==" }), "kms:Encrypt").await;
    // Who may not retire it is not told that it is gone.
    eve.may_not("RetireGrant", by_id(&made), "kms:RetireGrant").await;
    play(&world, vec![("RetireGrant", by_token(&made), No("NotFoundException", "not found for key"))]).await;

    let made = make(json!(["Encrypt", "RetireGrant"]), None).await;
    ann.may("RetireGrant", by_token(&made)).await;
    let made = make(json!(["Encrypt"]), None).await;
    let dry = with(by_id(&made), "DryRun", json!(true));
    play(
        &world,
        vec![("RetireGrant", dry, No("DryRunOperationException", "")), ("RetireGrant", by_id(&made), Ok(json!(null)))],
    )
    .await;

    let made = make(json!(["Encrypt"]), Some(BOB)).await;
    let deny = json!({ "Statement": { "Effect": "Deny", "Action": "kms:RetireGrant", "Resource": "*" } });
    world.store.put_user_policy("bob", "deny", &deny.to_string()).await.unwrap();
    bob.may_not("RetireGrant", by_id(&made), "with an explicit deny").await;
    eve.may("RevokeGrant", by_id(&made)).await;
    // A token names a key of another tenant's to nobody.
    let made = make(json!(["Encrypt"]), None).await;
    let (_, access, secret) = world.store.create_tenant("other").await.unwrap();
    let answer = world.send(Call::new("RetireGrant", &by_token(&made)).by(&access, &secret)).await;
    assert_eq!(answer.json["__type"], "NotFoundException", "{}", answer.json);
    assert_eq!(world.done("ListGrants", json!({ "KeyId": id })).await["Grants"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn grants_are_listed_in_pages() {
    let world = World::start().await;
    let ann = User::new(&world, "ann", &nothing()).await;
    let _bob = User::new(&world, "bob", &nothing()).await;
    let keys = [world.key().await, world.key().await];
    let mut made = Vec::new();
    for at in 0..7 {
        let mut ask = grant(&keys[at % 2], json!(["Encrypt", "Decrypt", "Encrypt"]));
        ask["RetiringPrincipal"] = json!(if at < 5 { BOB } else { ANN });
        ask["GranteePrincipal"] = json!(if at < 2 { BOB } else { ANN });
        ask["Constraints"] = json!({ "EncryptionContextEquals": { "n": at.to_string() } });
        made.push(text(&world.done("CreateGrant", ask).await["GrantId"]));
    }
    let all = async |operation: &str, mut ask: Value| {
        let mut found = Vec::new();
        loop {
            let page = world.done(operation, ask.clone()).await;
            found.extend(page["Grants"].as_array().unwrap().iter().cloned());
            if page["Truncated"] == false {
                return found;
            }
            ask["Marker"] = page["NextMarker"].clone();
        }
    };
    let ids = |grants: &[Value]| {
        let mut ids: Vec<_> = grants.iter().map(|grant| text(&grant["GrantId"])).collect();
        ids.sort();
        ids
    };
    let wanted = |fits: fn(usize) -> bool| {
        let mut ids: Vec<_> = (0..7).filter(|at| fits(*at)).map(|at| made[at].clone()).collect();
        ids.sort();
        ids
    };
    for limit in 1..=5 {
        let found = all("ListGrants", json!({ "KeyId": keys[0], "Limit": limit })).await;
        assert_eq!(ids(&found), wanted(|at| at % 2 == 0), "{limit}");
        let ask = json!({ "KeyId": keys[0], "Limit": limit, "GranteePrincipal": ANN });
        assert_eq!(ids(&all("ListGrants", ask).await), wanted(|at| at % 2 == 0 && at >= 2), "{limit}");
        let found = all("ListRetirableGrants", json!({ "RetiringPrincipal": BOB, "Limit": limit })).await;
        assert_eq!(ids(&found), wanted(|at| at < 5), "{limit}");
    }
    let one = world.done("ListGrants", json!({ "KeyId": keys[0], "GrantId": made[2] })).await;
    let told = &one["Grants"][0];
    assert_eq!(one["Grants"].as_array().unwrap().len(), 1);
    assert_eq!(told["KeyId"], format!("arn:aws:kms:eu-test-1:000000000000:key/{}", keys[0]));
    assert_eq!(told["Operations"], json!(["Decrypt", "Encrypt"]));
    assert_eq!((&told["GranteePrincipal"], &told["RetiringPrincipal"]), (&json!(ANN), &json!(BOB)));
    assert_eq!(told["Constraints"], json!({ "EncryptionContextEquals": { "n": "2" } }));
    assert_eq!(told["IssuingAccount"], "arn:aws:iam::000000000000:root");
    ann.may_not("ListRetirableGrants", json!({ "RetiringPrincipal": ANN }), "on resource: *").await;
}

#[tokio::test]
async fn a_name_makes_a_grant_once() {
    let world = World::start().await;
    let _ann = User::new(&world, "ann", &nothing()).await;
    let id = world.key().await;
    let named = with(grant(&id, json!(["Encrypt", "Decrypt"])), "Name", json!("mine"));
    let first = world.done("CreateGrant", named.clone()).await;
    let mixed = with(named.clone(), "Operations", json!(["Decrypt", "Encrypt", "Decrypt"]));
    let again = world.done("CreateGrant", mixed).await;
    assert_eq!(again["GrantId"], first["GrantId"]);
    assert_ne!(again["GrantToken"], first["GrantToken"]);
    let other = world.done("CreateGrant", with(named, "Operations", json!(["Encrypt"]))).await;
    assert_ne!(other["GrantId"], first["GrantId"]);
}
