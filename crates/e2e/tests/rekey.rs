//! A rekey after a leak, with clients that read and write meanwhile; and the receipts of a tenant that is gone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::Server;
use serde_json::Value;

/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command that must succeed; its JSON.
fn done(server: &Server, args: &[&str]) -> Value {
    let (code, text) = server.holdfast(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {text}");
    // What is said to people follows.
    let value = serde_json::Deserializer::from_str(&text).into_iter().next();
    value.and_then(Result::ok).unwrap_or_else(|| panic!("{args:?}: {text}"))
}

fn until(server: &Server, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not {what}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success(), "{} to {}", from.display(), to.display());
}

/// Versions of a portion's key that there are.
fn versions(server: &Server, portion: &str) -> Vec<u64> {
    let shown = done(server, &["portion", "show", portion]);
    let versions = shown["versions"].as_array().expect("versions");
    versions.iter().map(|version| version["version"].as_u64().expect("a number")).collect()
}

/// What the key opens, a line each: object, part, and the version of the key.
fn exposed(server: &Server, portion: &str) -> Vec<(String, u64, u64)> {
    let (code, text) = server.holdfast(&["key", "exposure", portion, "--json"]);
    assert_eq!(code, 0, "{text}");
    let lines = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
    let number = |value: &Value| value.as_u64().expect("a number");
    let parts = lines.filter(|line| line["key_version"].is_u64());
    let told = |line: Value| {
        let key = line["key"].as_str().expect("a key").to_owned();
        (key, number(&line["part"]), number(&line["key_version"]))
    };
    let mut told: Vec<_> = parts.map(told).collect();
    told.sort();
    told.dedup();
    told
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_leaked_key_opens_nothing_after_a_rekey() {
    // What nothing refers to is collected soon.
    let mut server = Server::with_config(|_| "collect_after_s = 1\n".to_owned());
    let rules = server.dir().join("rules.json");
    std::fs::write(&rules, r#"{"rules": [{"prefix": "vault/", "portion": "vault"}]}"#).expect("a file");
    done(&server, &["portion", "rules", "put", &rules.to_string_lossy()]);
    server.run("aws", &["s3", "mb", "s3://data"]);
    // In a pack, in a blob, and in several parts.
    let objects = [("small", 1_000), ("middle", 2_000_000), ("large", 20_000_000)];
    for (at, (name, size)) in (1..).zip(objects) {
        std::fs::write(server.dir().join(name), e2e::noise(at, size)).expect("a file");
        server.run("aws", &["s3", "cp", name, &format!("s3://data/vault/{name}")]);
    }
    // A copy shares the bytes, under another portion's key: the DEK that leaked opens it as well.
    server.run("aws", &["s3", "cp", "s3://data/vault/middle", "s3://data/copy"]);
    let come_back = |server: &Server| {
        for (key, name) in
            [("vault/small", "small"), ("vault/middle", "middle"), ("vault/large", "large"), ("copy", "middle")]
        {
            server.run("aws", &["s3", "cp", &format!("s3://data/{key}"), "again"]);
            let [sent, again] = [name, "again"].map(|name| std::fs::read(server.dir().join(name)).expect("a file"));
            assert_eq!(sent, again, "{key}");
        }
    };
    come_back(&server);
    let before = exposed(&server, "vault");
    assert!(before.len() >= 5 && before.iter().all(|(_, _, version)| *version == 1), "{before:?}");
    let told = done(&server, &["portion", "rekey", "vault", "--dry-run"]);
    assert_eq!(told["objects"], 3, "{told:#}");
    assert_eq!(versions(&server, "vault"), [1], "nothing was done");

    // What leaked: the metadata with the wraps of all DEKs, and the keys of keys.
    let (data, leaked) = (server.dir().join("data"), server.dir().join("leaked"));
    server.stop();
    copy(&data.join("meta"), &leaked);
    server.boot();

    done(&server, &["portion", "rekey", "vault"]);
    // Clients go on meanwhile, and a kill only delays it.
    come_back(&server);
    server.run("aws", &["s3", "cp", "small", "s3://data/vault/later"]);
    server.kill();
    server.boot();
    until(&server, "under the new key", || {
        come_back(&server);
        exposed(&server, "vault").iter().all(|(_, _, version)| *version == 2)
    });
    let names =
        |told: &[(String, u64, u64)]| told.iter().map(|(key, part, _)| (key.clone(), *part)).collect::<Vec<_>>();
    let mut expected = names(&before);
    expected.push(("vault/later".to_owned(), 0));
    expected.sort();
    assert_eq!(names(&exposed(&server, "vault")), expected);
    // The old version goes a day later, when nothing can come under it any more.
    let shown = done(&server, &["portion", "show", "vault"]);
    assert_eq!((versions(&server, "vault"), &shown["rekey"]["below"]), (vec![1, 2], &Value::from(2)));
    // One thing more to collect: by then this process has looked at all that there is.
    server.run("aws", &["s3", "cp", "middle", "s3://data/brief"]);
    server.run("aws", &["s3", "rm", "s3://data/brief"]);
    until(&server, "collected", || {
        let workers = done(&server, &["worker", "list"]);
        let mut workers = workers.as_array().expect("workers").iter();
        workers.any(|worker| worker["name"] == "collect" && worker["queue"] == 0 && worker["done"] != 0)
    });
    come_back(&server);

    // Who has what leaked, and all sites as they are now, has no object that was there then.
    server.stop();
    std::fs::remove_dir_all(data.join("meta")).expect("a folder");
    copy(&leaked, &data.join("meta"));
    server.boot();
    for key in ["vault/middle", "vault/large", "copy"] {
        let mut command = server.command("aws");
        command.args(["s3api", "get-object", "--bucket", "data", "--key", key, "again"]).env("AWS_MAX_ATTEMPTS", "1");
        assert!(!command.output().expect("aws runs").status.success(), "{key} came back");
    }
}

/// The proof is had by the id of the key, when tenant and portion are gone.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn receipts_outlive_their_tenant() {
    let server = Server::start();
    done(&server, &["tenant", "create", "acme"]);
    let mut ids = Vec::new();
    for (name, class) in [("ledger", "sealed"), ("vault", "quorum")] {
        let made = done(&server, &["portion", "create", name, "--class", class, "--tenant", "acme"]);
        ids.push(made["id"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned());
    }
    let (_, shown) = server.holdfast(&["tenant", "show", "acme"]);
    assert!(shown.starts_with("tenant   acme\naccount  "), "{shown}");
    let (code, keys) = server.holdfast(&["site", "keys"]);
    assert_eq!(code, 0, "{keys}");
    let keys: Vec<&str> = keys.lines().flat_map(|key| ["--key", key]).collect();
    let (code, said) = server.holdfast(&["portion", "receipts", "--key-id", &ids[0]]);
    assert_eq!(code, 2, "nothing is shredded yet: {said}");
    let (code, said) = server.holdfast(&["tenant", "delete", "acme"]);
    assert_eq!(code, 0, "{said}");
    for id in &ids {
        let file = server.dir().join("receipts.json");
        let name = file.to_string_lossy().into_owned();
        until(&server, "proved", || {
            let (code, told) = server.holdfast(&["portion", "receipts", "--key-id", id, "--json"]);
            if code != 0 {
                return false;
            }
            std::fs::write(&file, told).expect("a file");
            server.holdfast(&[&["portion", "verify-receipts", &name], keys.as_slice()].concat()).0 == 0
        });
        let (code, told) = server.holdfast(&["portion", "receipts", "--key-id", id]);
        assert!(code == 0 && told.contains(id.as_str()), "{told}");
        // By the tenant's name it is gone.
        assert_eq!(server.holdfast(&["portion", "receipts", id, "--tenant", "acme"]).0, 2);
    }
}
