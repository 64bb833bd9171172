//! Users: their keys, their policies and those of their groups, beside grants and bucket policies.

mod common;

use common::{Call, World};
use store::Error;
use store::api::Right;

const READ_ALL: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;
const DENY_K: &str = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::bbb/k"}}"#;
const TAGGED: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/*",
    "Condition":{"StringEquals":{"s3:ExistingObjectTag/for":"${aws:username}"}}}}"#;
const HOME: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],
    "Resource":"arn:aws:s3:::bbb/home/${aws:username}/*"}}"#;
const BUCKET_ALLOWS: &str = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/u"},
    "Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/k"}}"#;
const BUCKET_DENIES: &str =
    r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bbb/k"}}"#;

struct User {
    access: String,
    secret: String,
}

impl User {
    async fn new(w: &World, name: &str) -> Self {
        let (entry, secret) = w.store.create_user(name, None).await.unwrap();
        Self { access: entry.access_key, secret }
    }

    async fn status(&self, w: &World, method: &'static str, target: &str) -> u16 {
        Call::new(method, target).with_key(&self.access, &self.secret).send(w).await.status.as_u16()
    }
}

/// What the user has, what its group has, what the bucket says; whether `bbb/k` may be read.
#[tokio::test]
async fn what_decides() {
    let w = World::with_bucket().await;
    w.put("/bbb/k").header("x-amz-tagging", "for=u").body("x").send(&w).await.expect(200);
    let user = User::new(&w, "u").await;
    w.store.create_group("g").await.unwrap();
    w.store.join_group("u", "g").await.unwrap();
    let (none, read) = (None, Some(Right::Read));
    type Row<'a> = (&'a str, Option<Right>, Option<Right>, &'a [&'a str], &'a [&'a str], Option<&'a str>, u16);
    #[rustfmt::skip]
    let table: [Row<'_>; 16] = [
        ("nothing",                      none, none, &[],                 &[],         None,                403),
        ("a grant",                      read, none, &[],                 &[],         None,                200),
        ("a grant of the group",         none, read, &[],                 &[],         None,                200),
        ("a policy",                     none, none, &[READ_ALL],         &[],         None,                200),
        ("a policy of the group",        none, none, &[],                 &[READ_ALL], None,                200),
        ("the bucket's",                 none, none, &[],                 &[],         Some(BUCKET_ALLOWS), 200),
        ("a denial over a grant",        read, none, &[DENY_K],           &[],         None,                403),
        ("a denial over a policy",       none, none, &[READ_ALL, DENY_K], &[],         None,                403),
        ("a denial of the group",        none, none, &[READ_ALL],         &[DENY_K],   None,                403),
        ("a denial over the bucket's",   none, none, &[DENY_K],           &[],         Some(BUCKET_ALLOWS), 403),
        ("the bucket denies a grant",    read, none, &[],                 &[],         Some(BUCKET_DENIES), 403),
        ("the bucket denies a policy",   none, none, &[READ_ALL],         &[],         Some(BUCKET_DENIES), 403),
        ("the bucket denies the group",  none, read, &[],                 &[],         Some(BUCKET_DENIES), 403),
        ("a condition on tags that fit", none, none, &[TAGGED],           &[],         None,                200),
        ("another's home",               none, none, &[HOME],             &[],         None,                403),
        ("another action",               Some(Right::Write), none, &[],   &[],         None,                200),
    ];
    for (story, own, of_group, policies, group_policies, bucket, expected) in table {
        w.store.grant("u", "bbb", own).await.unwrap();
        w.store.grant_group("g", "bbb", of_group).await.unwrap();
        for (number, document) in policies.iter().enumerate() {
            w.store.put_user_policy("u", &format!("p{number}"), document).await.unwrap();
        }
        for (number, document) in group_policies.iter().enumerate() {
            w.store.put_group_policy("g", &format!("p{number}"), document).await.unwrap();
        }
        match bucket {
            Some(document) => w.put("/bbb?policy").body(document).send(&w).await.expect(204),
            None => w.delete("/bbb?policy").send(&w).await.expect(204),
        };
        assert_eq!(user.status(&w, "GET", "/bbb/k").await, expected, "{story}");
        for number in 0..policies.len() {
            w.store.delete_user_policy("u", &format!("p{number}")).await.unwrap();
        }
        for number in 0..group_policies.len() {
            w.store.delete_group_policy("g", &format!("p{number}")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn policies_name_actions_and_homes() {
    let w = World::with_bucket().await;
    w.put("/other").send(&w).await.expect(200);
    let user = User::new(&w, "u").await;
    w.store.put_user_policy("u", "home", HOME).await.unwrap();
    for (method, target, expected) in [
        ("PUT", "/bbb/home/u/x", 200),
        ("GET", "/bbb/home/u/x", 200),
        ("DELETE", "/bbb/home/u/x", 403),
        ("PUT", "/bbb/home/v/x", 403),
        ("GET", "/bbb", 403),
        ("GET", "/other/home/u/x", 403),
    ] {
        assert_eq!(user.status(&w, method, target).await, expected, "{method} {target}");
    }
    // The buckets that are listed.
    let listed = async || {
        let answer = w.get("/").with_key(&user.access, &user.secret).send(&w).await;
        if answer.status == 200 { Ok(answer.all("Name")) } else { Err(answer.code()) }
    };
    assert_eq!(listed().await, Ok(vec![]));
    let list = r#"{"Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::other"}}"#;
    w.store.put_user_policy("u", "list", list).await.unwrap();
    assert_eq!(listed().await, Ok(vec!["other".to_owned()]));
    let all = r#"{"Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}}"#;
    w.store.put_user_policy("u", "list", all).await.unwrap();
    assert_eq!(listed().await, Ok(vec!["bbb".to_owned(), "other".to_owned()]));
    let none = r#"{"Statement":{"Effect":"Deny","Action":"s3:ListAllMyBuckets","Resource":"*"}}"#;
    w.store.put_user_policy("u", "list", none).await.unwrap();
    assert_eq!(listed().await, Err("AccessDenied".to_owned()));
}

/// Several keys, so that one can be changed for another without a gap.
#[tokio::test]
async fn keys_are_changed() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    let first = User::new(&w, "u").await;
    w.store.grant("u", "bbb", Some(Right::Read)).await.unwrap();
    let (entry, secret) = w.store.create_access_key("u", None).await.unwrap();
    let second = User { access: entry.access_key, secret };
    assert_eq!((first.status(&w, "GET", "/bbb/k").await, second.status(&w, "GET", "/bbb/k").await), (200, 200));
    w.store.enable_access_key("u", &first.access, false).await.unwrap();
    let refused = w.get("/bbb/k").with_key(&first.access, &first.secret).send(&w).await;
    refused.refused(403, "InvalidAccessKeyId");
    assert_eq!(second.status(&w, "GET", "/bbb/k").await, 200);
    w.store.enable_access_key("u", &first.access, true).await.unwrap();
    assert_eq!(first.status(&w, "GET", "/bbb/k").await, 200);
    w.store.delete_access_key("u", &first.access).await.unwrap();
    let refused = w.get("/bbb/k").with_key(&first.access, &first.secret).send(&w).await;
    refused.refused(403, "InvalidAccessKeyId");
    assert!(matches!(w.store.delete_access_key("u", &first.access).await, Err(Error::NoSuchAccessKey(_))));
    // Another user's key is not this user's to delete.
    let other = User::new(&w, "v").await;
    assert!(matches!(w.store.delete_access_key("u", &other.access).await, Err(Error::NoSuchAccessKey(_))));
    let taken = w.store.create_access_key("u", Some((other.access.clone(), "a-long-enough-secret".to_owned()))).await;
    assert!(matches!(taken, Err(Error::UserExists(_))));
    for _ in 0..4 {
        w.store.create_access_key("u", None).await.unwrap();
    }
    assert!(matches!(w.store.create_access_key("u", None).await, Err(Error::Invalid(_))), "a sixth key");
    w.store.delete_user("u").await.unwrap();
    let refused = w.get("/bbb/k").with_key(&second.access, &second.secret).send(&w).await;
    refused.refused(403, "InvalidAccessKeyId");
    assert_eq!(other.status(&w, "GET", "/").await, 200);
}

#[tokio::test]
async fn groups_end() {
    let w = World::with_bucket().await;
    w.stored("/bbb/k", b"x").await;
    let user = User::new(&w, "u").await;
    let member = async || user.status(&w, "GET", "/bbb/k").await == 200;
    w.store.create_group("g").await.unwrap();
    w.store.grant_group("g", "bbb", Some(Right::Read)).await.unwrap();
    assert!(!member().await, "not a member yet");
    w.store.join_group("u", "g").await.unwrap();
    assert!(member().await);
    w.store.leave_group("u", "g").await.unwrap();
    assert!(!member().await);
    w.store.join_group("u", "g").await.unwrap();
    assert_eq!(w.store.group("g").await.unwrap().1, ["u"]);
    w.store.delete_group("g").await.unwrap();
    assert!(!member().await);
    // One made again under the name is another group.
    w.store.create_group("g").await.unwrap();
    w.store.grant_group("g", "bbb", Some(Right::Read)).await.unwrap();
    assert!(!member().await);
    assert!(w.store.group("g").await.unwrap().1.is_empty());
    assert!(matches!(w.store.create_group("g").await, Err(Error::GroupExists(_))));
    assert!(matches!(w.store.join_group("u", "none").await, Err(Error::NoSuchGroup(_))));
    assert!(matches!(w.store.join_group("none", "g").await, Err(Error::NoSuchUser(_))));
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let w = World::start().await;
    w.store.create_user("u", None).await.unwrap();
    w.store.create_group("g").await.unwrap();
    let long = format!(
        r#"{{"Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{}"}}}}"#,
        "x".repeat(30_000)
    );
    for (story, document) in [
        ("no JSON", "x"),
        ("no statement", "{}"),
        ("a principal in an identity's policy", BUCKET_DENIES),
        ("no effect", r#"{"Statement":{"Action":"s3:*","Resource":"*"}}"#),
        ("too long", &long),
    ] {
        assert!(w.store.put_user_policy("u", "p", document).await.is_err(), "{story}");
        assert!(w.store.put_group_policy("g", "p", document).await.is_err(), "{story}");
    }
    for name in ["", "a b", "a/b", &"x".repeat(129)] {
        assert!(matches!(w.store.put_user_policy("u", name, READ_ALL).await, Err(Error::Invalid(_))), "{name}");
    }
    for number in 0..20 {
        w.store.put_user_policy("u", &format!("p{number}"), READ_ALL).await.unwrap();
    }
    assert!(matches!(w.store.put_user_policy("u", "p20", READ_ALL).await, Err(Error::Invalid(_))));
    w.store.put_user_policy("u", "p19", DENY_K).await.unwrap();
    assert_eq!(w.store.user_policy("u", "p19").await.unwrap(), DENY_K);
    assert_eq!(w.store.user("u").await.unwrap().policies.len(), 20);
}
