//! Releases of portions: policies in Cedar, people who approve, budgets that stop a hijacked server, denials, and what is
//! known of who had what. The clients are boto3 and the AWS CLI.

use e2e::Server;
use serde_json::{Value, json};

/// Runs a command that must succeed; its JSON.
fn done(server: &Server, args: &[&str]) -> Value {
    let (code, text) = server.holdfast(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {text}");
    // What is said to people follows.
    let value = serde_json::Deserializer::from_str(&text).into_iter().next();
    value.and_then(Result::ok).unwrap_or_else(|| panic!("{args:?}: {text}"))
}

/// A user of the world, with what it signs with.
struct User(String, String);

impl User {
    /// A user with full rights on all buckets and keys: what stops it is none of IAM's.
    fn create(server: &Server, name: &str) -> Self {
        let made = done(server, &["user", "create", name]);
        done(server, &["user", "grant", name, "*", "admin"]);
        let file = server.dir().join("kms.json");
        let policy = r#"{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}"#;
        std::fs::write(&file, policy).expect("a file");
        done(server, &["user", "policy", "put", name, "kms", &file.to_string_lossy()]);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Self(text(&made["access_key"]), text(&made["secret_key"]))
    }

    /// Runs a program as this user: whether it ended well, and what it said.
    fn run(&self, server: &Server, program: &str, args: &[&str]) -> (bool, String) {
        let mut command = server.command(program);
        command.env("AWS_ACCESS_KEY_ID", &self.0).env("AWS_SECRET_ACCESS_KEY", &self.1).args(args);
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    fn get(&self, server: &Server, key: &str) -> (bool, String) {
        self.run(server, "aws", &["s3api", "get-object", "--bucket", "data", "--key", key, "got"])
    }

    /// Runs the command line as this user.
    fn holdfast(&self, server: &Server, args: &[&str]) -> (i32, String) {
        server.holdfast_as(&self.0, &self.1, args)
    }
}

fn put_policy(server: &Server, name: &str, text: &str) {
    let file = server.dir().join("policy.cedar");
    std::fs::write(&file, text).expect("a file");
    let file = file.to_string_lossy();
    let (code, told) = server.holdfast(&["policy", "check", &file]);
    assert_eq!(code, 0, "{told}");
    done(server, &["policy", "put", name, &file]);
}

/// A bucket with one portion a user, and an object in each.
fn world(server: &Server) {
    let rules = server.dir().join("rules.json");
    let document = r#"{"rules": [{"bucket": "data", "prefix": "users/{id}/", "portion": "users/{id}"}]}"#;
    std::fs::write(&rules, document).expect("a file");
    done(server, &["portion", "rules", "put", &rules.to_string_lossy()]);
    server.run("aws", &["s3", "mb", "s3://data"]);
    std::fs::write(server.dir().join("object"), e2e::noise(3, 10_000)).expect("a file");
    for id in 0..5 {
        server.run("aws", &["s3", "cp", "object", &format!("s3://data/users/{id}/record")]);
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_budget_stops_a_hijacked_server_and_a_denial_a_lost_one() {
    let mut server = Server::start();
    world(&server);
    let (app, other) = (User::create(&server, "app"), User::create(&server, "other"));
    let policy = r#"
        @id("owners") permit(principal, action, resource);
        @id("few") @portions("3") permit(principal == User::"app", action == Action::"open", resource) when { resource.name like "users/*" };
    "#;
    put_policy(&server, "budgets", policy);
    for id in [0, 1, 2, 1] {
        let (read, said) = app.get(&server, &format!("users/{id}/record"));
        assert!(read, "{said}");
    }
    let (read, said) = app.get(&server, "users/3/record");
    assert!(!read && said.contains("AccessDenied") && said.contains("portions in this hour"), "{said}");
    assert!(other.get(&server, "users/3/record").0, "it is app's budget");

    // What it had is known, to the portion, also after a kill.
    server.kill();
    server.boot();
    let held = |args: &[&str]| {
        let held = done(&server, &[&["release", "holders"], args].concat());
        held.as_array().expect("rows").iter().map(|row| row["portion"].as_str().expect("a name").to_owned()).collect()
    };
    let portions: Vec<String> = held(&["--user", "app"]);
    let mut sorted = portions.clone();
    sorted.sort();
    assert_eq!(sorted, ["users/0", "users/1", "users/2"]);
    let (read, said) = app.get(&server, "users/4/record");
    assert!(!read, "the hour is not over because the server was killed: {said}");

    // What each of that opens, as if the user's keys had leaked; and of one key, who had it.
    let exposed = done(&server, &["key", "exposure", "--principal", "app", "--summary"]);
    assert_eq!((&exposed["objects"], &exposed["parts"]), (&json!(3), &json!(3)), "{exposed:#}");
    let exposed = done(&server, &["key", "exposure", "users/3", "--summary"]);
    assert_eq!((&exposed["objects"], &exposed["principals"]), (&json!(1), &json!(["other"])), "{exposed:#}");

    let denied = done(&server, &["release", "deny", "app", "--reason", "lost", "--note", "ticket 7"]);
    assert_eq!((&denied["reason"], &denied["by"]), (&json!("lost"), &json!("root")));
    let (read, said) = app.get(&server, "users/0/record");
    assert!(!read && said.contains("reported lost"), "{said}");
    let (code, said) = server.holdfast(&["release", "readmit", "app"]);
    assert!(code == 2 && said.contains("for ever"), "{said}");
    // The same name, another user.
    done(&server, &["user", "delete", "app"]);
    let again = User::create(&server, "app");
    assert!(again.get(&server, "users/0/record").0);
    let (_, said) = server.holdfast(&["release", "denials"]);
    assert!(said.contains("ticket 7"), "{said}");

    server.stop();
    let (_, log) = server.holdfast_on_data(&["audit", "list", "--limit", "1000"]);
    for action in ["release:open", "release:over-budget", "release:denied", "denial:put", "release-policy:put"] {
        assert!(log.contains(action), "{action} in {log}");
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn people_release_and_refuse() {
    let server = Server::start();
    world(&server);
    let [app, ann, ben] = ["app", "ann", "ben"].map(|name| User::create(&server, name));
    done(&server, &["group", "create", "sec"]);
    for name in ["ann", "ben"] {
        done(&server, &["group", "add", "sec", name]);
    }
    let policy = r#"
        permit(principal, action, resource);
        @approvals("2") @approvers("sec") permit(principal == User::"app", action == Action::"open", resource == Portion::"users/0");
    "#;
    let (code, told) = server.holdfast(&["policy", "test", "app", "users/0"]);
    assert_eq!((code, told.as_str()), (0, "release\n"), "nothing was put yet");
    put_policy(&server, "vault", policy);
    let (code, told) = server.holdfast(&["policy", "test", "app", "users/0"]);
    assert!(code == 0 && told.starts_with("pend\n") && told.contains("2 approvals of sec"), "{told}");

    let (read, said) = app.get(&server, "users/0/record");
    assert!(!read && said.contains("holdfast release approve"), "{said}");
    assert!(app.get(&server, "users/1/record").0);
    let waiting: Value = {
        let (code, text) = ann.holdfast(&server, &["release", "list", "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).expect("JSON")
    };
    let request = waiting[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&waiting[0]["user"], &waiting[0]["standing"]), (&json!("app"), &json!("waiting")));
    let (code, said) = app.holdfast(&server, &["release", "approve", &request]);
    assert!(code == 2 && said.contains("you may not decide"), "{said}");
    let (code, said) = ann.holdfast(&server, &["user", "list"]);
    assert!(code == 2, "people decide requests and nothing else here: {said}");
    assert_eq!(ann.holdfast(&server, &["release", "approve", &request[..8]]).0, 0);
    let (code, said) = ann.holdfast(&server, &["release", "approve", &request]);
    assert!(code == 2 && said.contains("somebody else"), "{said}");
    assert!(!app.get(&server, "users/0/record").0, "one of two");
    assert_eq!(ben.holdfast(&server, &["release", "approve", &request]).0, 0);
    let (read, said) = app.get(&server, "users/0/record");
    assert!(read, "{said}");
    assert_eq!(ann.holdfast(&server, &["release", "refuse", &request]).0, 0);
    let (read, said) = app.get(&server, "users/0/record");
    assert!(!read && said.contains("refused by ann"), "{said}");
    // Who may not open it can copy it nowhere either; who does not open it may write.
    let (copied, said) = app.run(&server, "aws", &["s3", "cp", "s3://data/users/0/record", "s3://data/users/1/copy"]);
    assert!(!copied, "{said}");
    assert!(app.run(&server, "aws", &["s3", "cp", "object", "s3://data/users/0/more"]).0);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_change_of_policies_is_seen_before_it_is_made() {
    let server = Server::start();
    world(&server);
    let user = User::create(&server, "app");
    let file = server.dir().join("new.cedar");
    let policy = r#"permit(principal == User::"root", action, resource);
        permit(principal == User::"app", action, resource == Portion::"users/1") when { context.via == "s3" };"#;
    std::fs::write(&file, policy).expect("a file");
    let file = file.to_string_lossy();
    let told = done(&server, &["policy", "put", "new", &file, "--dry-run"]);
    let rows = told["rows"].as_array().expect("rows");
    let lost = |row: &Value| {
        row["user"] == "app" && row["before"]["outcome"] == "release" && row["after"]["outcome"] == "deny"
    };
    assert_eq!((rows.len(), rows.iter().all(lost)), (4, true), "all of app's portions but one: {told:#}");
    assert!(user.get(&server, "users/2/record").0, "nothing was put");
    done(&server, &["policy", "put", "new", &file]);
    assert!(!user.get(&server, "users/2/record").0);
    assert!(user.get(&server, "users/1/record").0);
    let told = done(&server, &["policy", "simulate", "--user", "app", "--delete", "new"]);
    assert_eq!(told["rows"].as_array().map(Vec::len), Some(4), "{told:#}");
    let today = done(&server, &["policy", "simulate", "--portion", "users/1"]);
    let users: Vec<&str> =
        today["rows"].as_array().expect("rows").iter().filter_map(|row| row["user"].as_str()).collect();
    assert_eq!(users, ["root", "app"]);
    // The KMS API is another door.
    let key = done(&server, &["portion", "show", "users/1"])["portion"]["id"].as_str().expect("an id").to_owned();
    let (sealed, said) =
        user.run(&server, "aws", &["kms", "generate-data-key", "--key-id", &key, "--key-spec", "AES_256"]);
    assert!(!sealed && said.contains("AccessDenied") && said.contains("no release policy permits it"), "{said}");
    let (code, told) = server.holdfast(&["policy", "test", "app", "users/1", "--via", "kms"]);
    assert!(code == 1 && told.contains("no policy permits it"), "{told}");
    for (text, said) in
        [("permit(principal, action);", "bad.cedar:1"), ("@x(\"\") permit(principal, action, resource);", "@x")]
    {
        let bad = server.dir().join("bad.cedar");
        std::fs::write(&bad, text).expect("a file");
        let (code, told) = server.holdfast(&["policy", "check", &bad.to_string_lossy()]);
        assert!(code == 1 && told.contains(said), "{told}");
        assert_eq!(server.holdfast(&["policy", "put", "bad", &bad.to_string_lossy()]).0, 2);
    }
    done(&server, &["policy", "delete", "new"]);
    assert!(user.get(&server, "users/2/record").0);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_shredding_at_once_takes_two_people() {
    let server = Server::start();
    world(&server);
    let ann = User::create(&server, "ann");
    let shred = ["portion", "shred", "users/0", "--days", "0", "--confirm", "users/0"];
    let (code, said) = server.holdfast(&shred);
    assert!(code == 2 && said.contains("waits for approval"), "{said}");
    let waiting = done(&server, &["release", "list"]);
    let request = waiting[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(waiting[0]["matter"], "shred");
    let (code, said) = server.holdfast(&["release", "approve", &request]);
    assert!(code == 2 && said.contains("somebody else"), "{said}");
    let (code, said) = ann.holdfast(&server, &["release", "approve", &request]);
    assert!(code == 2 && said.contains("holdfast:Approve"), "{said}");
    let file = server.dir().join("approve.json");
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"holdfast:Approve","Resource":"arn:aws:holdfast:::portion/users/*"}}"#;
    std::fs::write(&file, policy).expect("a file");
    done(&server, &["user", "policy", "put", "ann", "approve", &file.to_string_lossy()]);
    // Root makes no second person once it has asked.
    let eve = User::create(&server, "eve");
    done(&server, &["user", "policy", "put", "eve", "approve", &file.to_string_lossy()]);
    let (code, said) = eve.holdfast(&server, &["release", "approve", &request]);
    assert!(code == 2 && said.contains("younger than the request"), "{said}");
    let (code, said) = ann.holdfast(&server, &["release", "approve", &request]);
    assert_eq!(code, 0, "{said}");
    done(&server, &shred);
    let (read, _) = ann.get(&server, "users/0/record");
    assert!(!read);
    assert!(ann.get(&server, "users/1/record").0);
}

/// The cluster's root, who asks for the shredding of a tenant's portion, is not the second person as well.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_shredding_of_a_tenants_portion_takes_two_people_too() {
    let server = Server::start();
    let made = done(&server, &["tenant", "create", "acme"]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let theirs = User(text(&made["access_key"]), text(&made["secret_key"]));
    let file = server.dir().join("approve.json");
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"holdfast:Approve","Resource":"*"}}"#;
    std::fs::write(&file, policy).expect("a file");
    let made = done(&server, &["user", "create", "ben", "--tenant", "acme"]);
    let ben = User(text(&made["access_key"]), text(&made["secret_key"]));
    // The tenant's administrator may; another of the tenant's users whom a policy lets.
    for (portion, second) in [("one", &theirs), ("two", &ben)] {
        let made = done(&server, &["portion", "create", portion, "--tenant", "acme"]);
        let shred = ["portion", "shred", portion, "--tenant", "acme", "--days", "0", "--confirm", portion];
        let (code, said) = server.holdfast(&shred);
        assert!(code == 2 && said.contains("waits for approval"), "{said}");
        let waiting = done(&server, &["release", "list", "--tenant", "acme"]);
        let waits = |row: &&Value| row["standing"] == "waiting" && row["portion"] == portion;
        let request =
            waiting.as_array().and_then(|rows| rows.iter().find(waits)).unwrap_or_else(|| panic!("{waiting:#}"));
        let request = text(&request["id"]);
        for _ in 0..2 {
            let (code, said) = server.holdfast(&["release", "approve", &request, "--tenant", "acme"]);
            assert!(code == 2 && said.contains("somebody else"), "{said}");
            assert_eq!(server.holdfast(&shred).0, 2, "nobody approved it");
        }
        if portion == "two" {
            let (code, said) = second.holdfast(&server, &["release", "approve", &request]);
            assert!(code == 2 && said.contains("holdfast:Approve"), "{said}");
            done(&server, &["user", "policy", "put", "ben", "approve", &file.to_string_lossy(), "--tenant", "acme"]);
        }
        let (code, said) = second.holdfast(&server, &["release", "approve", &request]);
        assert_eq!(code, 0, "{said}");
        done(&server, &shred);
        // By the key's id: the name is free again once it is shredded.
        let shown = done(&server, &["portion", "show", &text(&made["id"]), "--tenant", "acme"]);
        let state = shown["portion"]["state"].as_str().expect("a state");
        assert!(state == "shredded" || state.starts_with("pending"), "{shown:#}");
    }
}
