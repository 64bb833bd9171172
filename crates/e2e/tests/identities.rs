//! Users, groups, temporary credentials and tenants: made by the command line, used by boto3.

use e2e::Server;
use serde_json::{Value, json};

/// Runs a command that must succeed; its JSON.
fn done(server: &Server, args: &[&str]) -> Value {
    let (code, text) = server.holdfast(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}

fn keys(made: &Value) -> Value {
    json!([made["access_key"], made["secret_key"]])
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn users_groups_sessions_and_tenants() {
    let server = Server::start();
    let home = server.dir().join("home.json");
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],
        "Resource":"arn:aws:s3:::shared/home/${aws:username}/*"}}"#;
    std::fs::write(&home, policy).expect("a file");
    let team = server.dir().join("team.json");
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/team/*"}}"#;
    std::fs::write(&team, policy).expect("a file");
    let (home, team) = (home.to_string_lossy(), team.to_string_lossy());

    let ann = done(&server, &["user", "create", "ann"]);
    done(&server, &["user", "policy", "put", "ann", "home", &home]);
    done(&server, &["group", "create", "team"]);
    done(&server, &["group", "policy", "put", "team", "read", &team]);
    done(&server, &["group", "add", "team", "ann"]);
    let (a, b) = (done(&server, &["tenant", "create", "a"]), done(&server, &["tenant", "create", "b"]));
    let file = server.dir().join("keys.json");
    let all = json!({ "ann": keys(&ann), "a": keys(&a), "b": keys(&b) });
    std::fs::write(&file, all.to_string()).expect("a file");
    server.py("identities.py", &[&file.to_string_lossy()]);

    // What decides, and what an operator is told.
    let may = |action: &str, resource: &str| server.holdfast(&["user", "may", "ann", action, resource]);
    let (code, text) = may("s3:GetObject", "arn:aws:s3:::shared/team/t");
    assert_eq!((code, text.contains("group team")), (0, true), "{text}");
    let (code, text) = may("s3:PutObject", "arn:aws:s3:::shared/team/t");
    assert_eq!((code, text.starts_with("no:")), (1, true), "{text}");
    let plain = server.dir().join("plain.json");
    let policy = r#"{"Statement":{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}}"#;
    std::fs::write(&plain, policy).expect("a file");
    done(&server, &["user", "policy", "put", "ann", "plain", &plain.to_string_lossy()]);
    let (code, text) = may("s3:DeleteObject", "arn:aws:s3:::shared/team/t");
    assert_eq!((code, text.contains("denied by policy plain")), (1, true), "there is no TLS: {text}");
    done(&server, &["user", "policy", "delete", "ann", "plain"]);
    assert_eq!(may("s3:Nothing", "arn:aws:s3:::shared/team/t").0, 2);
    assert_eq!(done(&server, &["group", "show", "team"])["members"], json!(["ann"]));
    let (code, text) = server.holdfast(&["user", "policy", "get", "ann", "home"]);
    assert_eq!((code, text.contains("${aws:username}")), (0, true), "{text}");
    let (code, text) = server.holdfast(&["user", "policy", "put", "ann", "bad", &file.to_string_lossy()]);
    assert_eq!(code, 2, "{text}");

    // A key is changed for another; the old one, and what was made with it, end.
    let access = ann["access_key"].as_str().expect("a key");
    let second = done(&server, &["user", "key", "create", "ann"]);
    let listed = done(&server, &["user", "key", "disable", "ann", access]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let with = |made: &Value| {
        let all = [made["access_key"].as_str().expect("a key"), made["secret_key"].as_str().expect("a secret"), "none"];
        server.script("grants.py", &all).output().expect("python3").status.success()
    };
    assert!(!with(&ann) && with(&second), "`none` means refused by what the user may not, not by the key");

    // Tenants have users of their own.
    done(&server, &["user", "create", "ann", "--tenant", "a"]);
    done(&server, &["user", "grant", "ann", "data", "read", "--tenant", "a"]);
    assert_eq!(done(&server, &["user", "show", "ann", "--tenant", "a"])["policies"], json!([]));
    assert_eq!(server.holdfast(&["user", "list", "--tenant", "none"]).0, 2);
    let (code, text) = server.holdfast(&["tenant", "delete", "a"]);
    assert!(code == 2 && text.contains("delete its buckets"), "{text}");
    let names: Vec<Value> =
        done(&server, &["tenant", "list"]).as_array().expect("a list").iter().map(|t| t["name"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
