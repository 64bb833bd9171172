//! Buckets and listings.

mod common;

use common::World;

#[tokio::test]
async fn life_of_a_bucket() {
    let w = World::start().await;
    w.head("/bbb").send(&w).await.expect(404);
    w.get("/bbb").send(&w).await.refused(404, "NoSuchBucket");
    assert_eq!(w.put("/bbb").send(&w).await.expect(200).header("location"), "/bbb");
    w.put("/bbb").send(&w).await.refused(409, "BucketAlreadyOwnedByYou");
    let place =
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    w.put("/ccc").body(place).send(&w).await.expect(200);
    assert_eq!(w.head("/bbb").send(&w).await.expect(200).header("x-amz-bucket-region"), "us-east-1");
    assert!(w.get("/bbb?location").send(&w).await.expect(200).text().contains("LocationConstraint"));
    assert!(!w.get("/bbb?versioning").send(&w).await.expect(200).text().contains("<Status>"));
    assert_eq!(w.get("/").send(&w).await.expect(200).all("Name"), ["bbb", "ccc"]);
    let page = w.get("/?max-buckets=1").send(&w).await.expect(200);
    assert_eq!(page.all("Name"), ["bbb"]);
    let next = w.get("/").query("continuation-token", &page.tag("ContinuationToken")).send(&w).await.expect(200);
    assert_eq!((next.all("Name"), next.find("ContinuationToken")), (vec!["ccc".to_owned()], None));
    w.stored("/bbb/k", b"x").await;
    w.delete("/bbb").send(&w).await.refused(409, "BucketNotEmpty");
    w.delete("/bbb/k").send(&w).await.expect(204);
    w.delete("/bbb").send(&w).await.expect(204);
    w.delete("/bbb").send(&w).await.refused(404, "NoSuchBucket");
    for name in ["/A", "/a", "/a..b", "/1.2.3.4", "/-ab"] {
        w.put(name).send(&w).await.refused(400, "InvalidBucketName");
    }
    let (user, secret) = w.store.create_user("u", None).await.unwrap();
    w.store.grant("u", "*", Some(store::api::Right::Admin)).await.unwrap();
    w.put("/ccc").with_key(&user.access_key, &secret).send(&w).await.refused(409, "BucketAlreadyExists");
}

/// (query, keys, common prefixes, truncated)
type Row = (&'static str, &'static [&'static str], &'static [&'static str], bool);

#[tokio::test]
async fn listings() {
    let w = World::with_bucket().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "d e+f", "z"] {
        w.stored(&format!("/bbb/{key}"), b"xy").await;
    }
    let table: [Row; 12] = [
        ("", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
        ("delimiter=/", &["a", "d e+f", "z"], &["b/"], false),
        ("prefix=b/", &["b/1", "b/2", "b/c/3"], &[], false),
        ("prefix=b/&delimiter=/", &["b/1", "b/2"], &["b/c/"], false),
        ("prefix=none", &[], &[], false),
        ("max-keys=2", &["a", "b/1"], &[], true),
        ("max-keys=0", &[], &[], false),
        ("max-keys=6", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
        ("max-keys=5000", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
        ("delimiter=/&max-keys=2", &["a"], &["b/"], true),
        ("encoding-type=url&prefix=d", &["d%20e%2Bf"], &[], false),
        ("delimiter=", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ];
    for (query, keys, prefixes, truncated) in table {
        for version in ["", "list-type=2&"] {
            let page = w.get(&format!("/bbb?{version}{query}")).send(&w).await.expect(200);
            let name = format!("{version}{query}");
            assert_eq!(page.all("Key"), keys, "{name}");
            let common = page.all("CommonPrefixes");
            let expected: Vec<String> = prefixes.iter().map(|p| format!("<Prefix>{p}</Prefix>")).collect();
            assert_eq!(common, expected, "{name}");
            assert_eq!(page.tag("IsTruncated"), truncated.to_string(), "{name}");
            if version.is_empty() {
                assert_eq!(page.all("Owner").len(), keys.len(), "{name}");
            } else {
                assert_eq!(page.tag("KeyCount"), (keys.len() + prefixes.len()).to_string(), "{name}");
                assert!(page.all("Owner").is_empty(), "{name}");
            }
        }
    }
    for (query, first) in
        [("marker=b/1", "b/2"), ("list-type=2&start-after=b/1", "b/2"), ("list-type=2&start-after=y", "z")]
    {
        assert_eq!(w.get(&format!("/bbb?{query}")).send(&w).await.expect(200).all("Key")[0], first);
    }
    let owned = w.get("/bbb?list-type=2&fetch-owner=true").send(&w).await.expect(200);
    assert_eq!(owned.all("Owner").len(), 6);
    assert_eq!(owned.all("Size"), ["2"; 6]);
    assert_eq!(owned.all("StorageClass"), ["STANDARD"; 6]);
    for bad in ["max-keys=-1", "encoding-type=x", "list-type=2&continuation-token=zz", "max-keys=x"] {
        let answer = w.get(&format!("/bbb?{bad}")).send(&w).await;
        assert_eq!(answer.status, 400, "{bad} {}", answer.text());
    }
}

/// However small the pages, walking them tells every entry once.
#[tokio::test]
async fn walks() {
    let w = World::with_bucket().await;
    for i in 0..23 {
        w.stored(&format!("/bbb/{}/{i:02}", i / 5), b"x").await;
    }
    for delimiter in ["", "/"] {
        let whole = w.get("/bbb?list-type=2").query("delimiter", delimiter).send(&w).await.expect(200);
        let whole = (whole.all("Key"), whole.all("CommonPrefixes"));
        for size in ["1", "2", "7"] {
            let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None::<String>);
            loop {
                let mut call = w.get("/bbb?list-type=2").query("delimiter", delimiter).query("max-keys", size);
                if let Some(token) = &token {
                    call = call.query("continuation-token", token);
                }
                let page = call.send(&w).await.expect(200);
                keys.extend(page.all("Key"));
                prefixes.extend(page.all("CommonPrefixes"));
                token = page.find("NextContinuationToken");
                if token.is_none() {
                    break;
                }
            }
            assert_eq!((keys, prefixes), whole, "delimiter {delimiter:?}, pages of {size}");
            let (mut keys, mut marker) = (Vec::new(), String::new());
            loop {
                let call = w.get("/bbb").query("delimiter", delimiter).query("max-keys", size);
                let page = call.query("marker", &marker).send(&w).await.expect(200);
                keys.extend(page.all("Key"));
                if page.tag("IsTruncated") == "false" {
                    break;
                }
                marker = page.find("NextMarker").or(page.all("Key").pop()).unwrap();
            }
            assert_eq!(keys, whole.0, "version 1, delimiter {delimiter:?}, pages of {size}");
        }
    }
}
