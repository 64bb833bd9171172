//! Aliases, and lists in pages.

use std::collections::BTreeSet;

use base::AccountId;
use keys::{NewPortion, Switch};
use meta::record::Maker;
use serde_json::{Value, json};

use crate::table::Expected::{No, Ok};
use crate::table::play;
use crate::world::{World, text};

#[tokio::test]
async fn aliases_name_keys() {
    let world = World::start().await;
    let (id, other) = (world.key().await, world.key().await);
    let alias = |name: &str, target: &str| json!({ "AliasName": name, "TargetKeyId": target });
    let arn = "arn:aws:kms:eu-test-1:000000000000:alias/a/b";
    let is = |id: &str| Ok(json!({ "KeyMetadata": { "KeyId": id } }));
    let long = format!("alias/{}", "x".repeat(251));
    play(
        &world,
        vec![
            ("CreateAlias", alias("alias/a/b", &id), Ok(json!(null))),
            (
                "CreateAlias",
                alias("alias/a/b", &other),
                No("AlreadyExistsException", "An alias with the name arn:aws:kms:"),
            ),
            ("CreateAlias", alias("a", &id), No("InvalidAliasNameException", "")),
            ("CreateAlias", alias("alias/", &id), No("InvalidAliasNameException", "")),
            ("CreateAlias", alias("alias/a b", &id), No("ValidationException", "regular expression pattern")),
            ("CreateAlias", alias("alias/aws/x", &id), No("NotAuthorizedException", "reserved")),
            ("CreateAlias", alias(&long, &id), No("ValidationException", "aliasName")),
            ("CreateAlias", alias("alias/c", "alias/a/b"), No("NotFoundException", "Invalid keyId")),
            ("CreateAlias", json!({ "AliasName": "alias/c" }), No("ValidationException", "targetKeyId")),
            ("DescribeKey", json!({ "KeyId": "alias/a/b" }), is(&id)),
            ("DescribeKey", json!({ "KeyId": arn }), is(&id)),
            ("Encrypt", json!({ "KeyId": "alias/a/b", "Plaintext": "AA==" }), Ok(json!({}))),
            ("UpdateAlias", alias("alias/a/b", &other), Ok(json!(null))),
            ("DescribeKey", json!({ "KeyId": "alias/a/b" }), is(&other)),
            ("UpdateAlias", alias("alias/none", &other), No("NotFoundException", "is not found.")),
            ("DeleteAlias", json!({ "AliasName": "alias/a/b" }), Ok(json!(null))),
            ("DeleteAlias", json!({ "AliasName": "alias/a/b" }), No("NotFoundException", "is not found.")),
            ("DescribeKey", json!({ "KeyId": "alias/a/b" }), No("NotFoundException", "is not found.")),
            ("ListAliases", json!({ "Marker": "!" }), No("InvalidMarkerException", "")),
            ("ListAliases", json!({ "Limit": 0 }), No("ValidationException", "limit")),
            ("ListKeys", json!({ "Limit": 1_001 }), No("ValidationException", "limit")),
            ("ListKeys", json!({ "Marker": "" }), No("InvalidMarkerException", "")),
        ],
    )
    .await;
}

/// All entries of a list, read in pages.
async fn all(world: &World, operation: &str, mut ask: Value, list: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    ask["Limit"] = json!(limit);
    loop {
        let page = world.done(operation, ask.clone()).await;
        let entries = page[list].as_array().unwrap();
        assert!(entries.len() <= limit);
        found.extend(entries.iter().cloned());
        if page["Truncated"] == false {
            assert!(page.get("NextMarker").is_none());
            return found;
        }
        ask["Marker"] = page["NextMarker"].clone();
    }
}

#[tokio::test]
async fn lists_come_in_pages_of_any_length() {
    let world = World::start().await;
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        ids.insert(world.key().await);
    }
    let keys: Vec<&String> = ids.iter().collect();
    for at in 0..7 {
        let ask = json!({ "AliasName": format!("alias/n{at}"), "TargetKeyId": keys[at % 2] });
        world.done("CreateAlias", ask).await;
    }
    for limit in 1..=6 {
        let listed = all(&world, "ListKeys", json!({}), "Keys", limit).await;
        assert_eq!(listed.len(), 5, "{limit}");
        assert_eq!(listed.iter().map(|key| text(&key["KeyId"])).collect::<BTreeSet<_>>(), ids);
        let listed = all(&world, "ListAliases", json!({}), "Aliases", limit).await;
        let names: Vec<_> = listed.iter().map(|alias| text(&alias["AliasName"])).collect();
        assert_eq!(names, (0..7).map(|at| format!("alias/n{at}")).collect::<Vec<_>>(), "{limit}");
        let listed = all(&world, "ListAliases", json!({ "KeyId": keys[1] }), "Aliases", limit).await;
        let names: Vec<_> = listed.iter().map(|alias| text(&alias["AliasName"])).collect();
        assert_eq!(names, ["alias/n1", "alias/n3", "alias/n5"], "{limit}");
    }
}

/// A request looks at so many rows and no more, however many keys there were.
#[tokio::test]
async fn a_list_goes_on_behind_its_marker_where_there_is_little_to_find() {
    let world = World::start().await;
    let portions = world.store.portions();
    for _ in 0..1_100 {
        let made = portions.create(AccountId::DEFAULT, NewPortion::default(), Maker::Customer).await.unwrap();
        portions.switch(AccountId::DEFAULT, made.id, Switch::Shred { days: 0 }).await.unwrap();
        assert!(portions.shred(AccountId::DEFAULT, made.id).await.unwrap());
    }
    let id = world.key().await;
    let page = world.done("ListKeys", json!({ "Limit": 1 })).await;
    assert_eq!((&page["Keys"], &page["Truncated"]), (&json!([]), &json!(true)));
    let found = all(&world, "ListKeys", json!({}), "Keys", 1).await;
    assert_eq!(found.iter().map(|key| text(&key["KeyId"])).collect::<Vec<_>>(), [id]);
}
