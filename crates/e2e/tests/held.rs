//! A tenant's key takes a half that another Holdfast's KMS API holds, as a customer's own would.

use std::time::{Duration, Instant};

use e2e::{ACCESS_KEY, SECRET_KEY, Server, certificate};
use serde_json::Value;

/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// The customer, with a key of its own, and its provider, who may use it.
struct Two {
    customer: Server,
    provider: Server,
    /// The customer's key.
    arn: String,
}

/// A server's environment, more arguments of a command, and what it tells.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

fn aws_kms(server: &Server, args: &[&str]) -> Value {
    let url = format!("http://{}", server.kms);
    let text = server.run("aws", &[&["--endpoint-url", &url, "--output", "json", "kms"], args].concat());
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn json(server: &Server, args: &[&str]) -> Value {
    let (code, text) = server.holdfast(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {text}\n{}", server.log());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
}

impl Two {
    fn start() -> Self {
        let mut customer = Server::start();
        customer.keeps_its_kms_address();
        let made = aws_kms(&customer, &["create-key", "--description", "ours"]);
        let arn = made["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned();
        let mut provider = Server::start();
        provider.stop();
        boot(&mut provider);
        Self { customer, provider, arn }
    }

    fn hold(&self, tenant: &str, more: &[&str]) -> Value {
        let endpoint = format!("http://{}", self.customer.kms);
        let args = ["tenant", "hold", tenant, "--kms-key", &self.arn, "--kms-endpoint", &endpoint];
        json(&self.provider, &[&args, more].concat())
    }

    fn object(&self, args: &[&str]) -> String {
        self.provider.py("held.py", args).trim().to_owned()
    }

    /// Does it again until it turns out so; until then it must turn out as before.
    fn becomes(&self, args: &[&str], before: &str, after: &str) -> String {
        let begun = Instant::now();
        loop {
            let told = self.object(args);
            if told.starts_with(after) {
                return told;
            }
            assert!(told.starts_with(before), "neither {before} nor {after}: {told}\n{}", self.provider.log());
            assert!(begun.elapsed() < PATIENCE, "still {told}\n{}", self.provider.log());
        }
    }
}

/// The provider's own credentials for the customer's KMS.
fn boot(provider: &mut Server) {
    provider.boot_in(&[], &[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_customer_shuts_and_opens_and_nobody_else_is_touched() {
    let mut two = Two::start();
    let acme = json(&two.provider, &["tenant", "create", "acme"]);
    let of = |name: &str| acme[name].as_str().expect("a key").to_owned();
    let (access, secret) = (of("access_key"), of("secret_key"));
    two.provider.run("aws", &["s3", "mb", "s3://theirs"]);
    let mut make = two.provider.command("aws");
    make.args(["s3", "mb", "s3://acme"]).env("AWS_ACCESS_KEY_ID", &access).env("AWS_SECRET_ACCESS_KEY", &secret);
    let made = make.output().expect("aws runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (get, put) = (["get", "acme", &access, &secret], ["put", "acme", &access, &secret]);
    let others = ["get", "theirs"];
    assert_eq!((two.object(&put), two.object(&["put", "theirs"])), ("ok".to_owned(), "ok".to_owned()));

    let tried = two.hold("acme", &["--dry-run"]);
    assert_eq!((tried["state"].as_str(), tried["key"].as_str()), (Some("open"), Some(two.arn.as_str())));
    assert!(json(&two.provider, &["tenant", "show", "acme"])["half"].is_null(), "it was only tried");
    two.hold("acme", &["--lease", "30s"]);
    let shown = json(&two.provider, &["tenant", "show", "acme"]);
    assert_eq!((&shown["half"]["state"], &shown["half"]["lease_ms"]), (&"open".into(), &30_000.into()));
    for what in [&get, &put, &get] {
        assert_eq!(two.object(what), "ok");
    }
    let id = two.arn.rsplit('/').next().expect("an id").to_owned();
    // It says no.
    aws_kms(&two.customer, &["disable-key", "--key-id", &id]);
    let told = two.becomes(&get, "ok", "403 AccessDenied");
    assert!(told.contains(&two.arn), "{told}");
    assert!(two.object(&put).starts_with("403 AccessDenied"));
    assert_eq!(two.object(&others), "ok");
    let shown = json(&two.provider, &["tenant", "show", "acme"]);
    assert_eq!(shown["half"]["state"], "refused");
    assert!(shown["half"]["trouble"].as_str().is_some_and(|why| why.contains("DisabledException")), "{shown}");
    let (code, text) = two.provider.holdfast(&["tenant", "release", "acme"]);
    assert!(code != 0 && text.contains("DisabledException"), "{text}");
    aws_kms(&two.customer, &["enable-key", "--key-id", &id]);
    two.becomes(&get, "403", "ok");

    // It is away: what was given counts until the lease ends.
    two.customer.stop();
    assert_eq!(two.object(&get), "ok");
    let told = two.becomes(&get, "ok", "503 ServiceUnavailable waits=True");
    assert!(told.contains(&two.arn), "{told}");
    assert_eq!(two.object(&others), "ok");
    assert_eq!(json(&two.provider, &["tenant", "show", "acme"])["half"]["state"], "unreachable");
    // A provider that starts meanwhile opens nothing of it.
    two.provider.kill();
    boot(&mut two.provider);
    assert!(two.object(&get).starts_with("503"));
    assert_eq!(two.object(&others), "ok");
    two.customer.boot();
    two.becomes(&get, "503", "ok");

    let said = json(&two.provider, &["tenant", "release", "acme"]);
    assert!(said.is_object());
    aws_kms(&two.customer, &["disable-key", "--key-id", &id]);
    two.provider.kill();
    boot(&mut two.provider);
    assert_eq!((two.object(&get), two.object(&put)), ("ok".to_owned(), "ok".to_owned()));
    two.provider.stop();
    let data = two.provider.dir().join("data").display().to_string();
    let (code, text) = two.provider.holdfast(&["audit", "list", "--json", "--data-dir", &data]);
    assert_eq!(code, 0, "{text}");
    for action in ["tenant:hold", "tenant:half-refused", "tenant:half-given", "tenant:release"] {
        assert!(text.contains(&format!("\"{action}\"")), "{action}: {text}");
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_held_tenant_outlives_another_root_key() {
    let mut two = Two::start();
    two.provider.run("aws", &["s3", "mb", "s3://theirs"]);
    assert_eq!(two.object(&["put", "theirs"]), "ok");
    two.hold("default", &[]);
    let (code, text) = two.provider.holdfast(&["portion", "rotate", "bucket/theirs"]);
    assert_eq!(code, 0, "{text}");
    two.provider.stop();
    let (code, text) = two.provider.holdfast_on_data(&["key", "root", "rotate"]);
    assert_eq!(code, 0, "{text}");
    boot(&mut two.provider);
    assert_eq!((two.object(&["get", "theirs"]), two.object(&["put", "theirs"])), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(json(&two.provider, &["tenant", "show", "default"])["half"]["state"], "open");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_way_to_the_kms_is_tls_and_credentials_are_found_in_a_file() {
    let customer = Server::with_config(|dir| {
        certificate(dir, "kms");
        format!("tls_cert = \"{0}/kms.crt\"\ntls_key = \"{0}/kms.key\"\n", dir.display())
    });
    let (url, authority) = (format!("https://{}", customer.kms), customer.dir().join("kms-ca.crt"));
    let mut make = customer.command("aws");
    make.args(["--endpoint-url", &url, "--output", "json", "kms", "create-key"]).env("AWS_CA_BUNDLE", &authority);
    let made = make.output().expect("aws runs");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let arn = made["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned();
    let mut provider = Server::start();
    provider.run("aws", &["s3", "mb", "s3://theirs"]);
    let file = provider.dir().join("aws-credentials");
    let profile = format!("[half]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    std::fs::write(&file, profile).expect("a file");
    let file = file.display().to_string();
    let authority = authority.display().to_string();
    let hold = |provider: &Server, more: &[&str]| {
        let args = ["tenant", "hold", "default", "--kms-key", &arn, "--kms-endpoint", &url];
        provider.holdfast(&[&args, more].concat())
    };
    let trusted = ("AWS_CA_BUNDLE", authority.as_str());
    let found = ("AWS_SHARED_CREDENTIALS_FILE", file.as_str());
    let table: [Case<'_>; 5] = [
        (&[found], &["--kms-profile", "half"], "does not answer"),
        (&[trusted, ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")], &[], "no AWS credentials"),
        (&[trusted, found], &["--kms-profile", "other"], "no profile other"),
        (&[trusted, ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")], &[], "UnrecognizedClientException"),
        (&[trusted, found], &["--kms-profile", "half", "--kms-region", "a/b"], "not a region"),
    ];
    for (environment, more, told) in table {
        provider.stop();
        provider.boot_in(&[], environment);
        let (code, text) = hold(&provider, more);
        assert!(code == 2 && text.contains(told), "{told}: {text}");
    }
    let clear = ["tenant", "hold", "default", "--kms-key", &arn, "--kms-endpoint", "http://192.0.2.1:9002"];
    let (code, text) = provider.holdfast(&clear);
    assert!(code == 2 && text.contains("not https"), "{text}");
    provider.stop();
    provider.boot_in(&[], &[trusted, found]);
    let (code, text) = hold(&provider, &["--kms-profile", "half"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(provider.py("held.py", &["put", "theirs"]).trim(), "ok");
    assert_eq!(provider.py("held.py", &["get", "theirs"]).trim(), "ok");
}
