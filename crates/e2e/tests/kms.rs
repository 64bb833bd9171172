//! The KMS API as clients use it that we did not write.

use e2e::Server;
use serde_json::Value;

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn boto3_does_all_of_it() {
    let server = Server::start();
    let policy = server.dir().join("policy.json");
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:Encrypt","kms:GenerateDataKey*"],
        "Resource":"arn:aws:kms:us-east-1:000000000000:key/*",
        "Condition":{"StringEquals":{"kms:EncryptionContext:team":"blue"}}}}"#;
    std::fs::write(&policy, text).expect("a file");
    let (code, text) = server.holdfast(&["user", "create", "ann", "--json"]);
    assert_eq!(code, 0, "{text}");
    let ann: Value = serde_json::from_str(&text).expect("JSON");
    let (code, text) = server.holdfast(&["user", "policy", "put", "ann", "kms", &policy.to_string_lossy()]);
    assert_eq!(code, 0, "{text}");
    // A right on buckets is none on keys.
    assert_eq!(server.holdfast(&["user", "grant", "ann", "*", "admin"]).0, 0);
    let key = |name: &str| ann[name].as_str().expect("a key").to_owned();
    server.py("kms.py", &[&key("access_key"), &key("secret_key")]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn boto3_makes_grants_and_a_user_works_by_them() {
    let mut server = Server::start();
    let (code, text) = server.holdfast(&["user", "create", "ann", "--json"]);
    assert_eq!(code, 0, "{text}");
    let ann: Value = serde_json::from_str(&text).expect("JSON");
    let key = |name: &str| ann[name].as_str().expect("a key").to_owned();
    server.py("kms_grants.py", &[&key("access_key"), &key("secret_key")]);
    // What the last second brought is listed once it is signed.
    server.stop();
    let (code, text) = server.holdfast(&["audit", "list", "--json", "--data-dir", &data(&server)]);
    assert_eq!(code, 0, "{text}");
    for action in ["grant:create", "grant:retire", "grant:revoke"] {
        assert!(text.contains(action), "{action}: {text}");
    }
}

fn data(server: &Server) -> String {
    server.dir().join("data").display().to_string()
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn aws_cli_encrypts_and_decrypts() {
    let server = Server::start();
    let url = format!("http://{}", server.kms);
    let aws = |args: &[&str]| {
        let all = [&["--endpoint-url", &url, "--output", "json", "kms"], args].concat();
        let text = server.run("aws", &all);
        serde_json::from_str::<Value>(&text).unwrap_or(Value::Null)
    };
    let made = aws(&["create-key", "--description", "by hand"]);
    let id = made["KeyMetadata"]["KeyId"].as_str().expect("an id");
    aws(&["create-alias", "--alias-name", "alias/hand", "--target-key-id", id]);
    std::fs::write(server.dir().join("plain"), b"a secret\n").expect("a file");
    let sealed = aws(&[
        "encrypt",
        "--key-id",
        "alias/hand",
        "--plaintext",
        "fileb://plain",
        "--encryption-context",
        "purpose=test",
    ]);
    let blob = sealed["CiphertextBlob"].as_str().expect("a ciphertext");
    // Version 1 takes blobs as base64 only if it is told so.
    let sealed = server.dir().join("sealed");
    let script = "import base64,sys; open(sys.argv[2], 'wb').write(base64.b64decode(sys.argv[1]))";
    server.run("python3", &["-c", script, blob, &sealed.to_string_lossy()]);
    let opened = aws(&["decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context", "purpose=test"]);
    assert_eq!(opened["Plaintext"], "YSBzZWNyZXQK");
    let refused = server
        .command("aws")
        .args(["--endpoint-url", &url, "kms", "decrypt", "--ciphertext-blob", "fileb://sealed"])
        .output()
        .expect("aws runs");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && words.contains("InvalidCiphertextException"), "{words}");
    // Temporary credentials, by the S3 endpoint's token service.
    let session = server.run("aws", &["sts", "get-session-token", "--output", "json"]);
    let session: Value = serde_json::from_str(&session).expect("JSON");
    let of = |name: &str| session["Credentials"][name].as_str().expect("a credential").to_owned();
    let output = server
        .command("aws")
        .args(["--endpoint-url", &url, "kms", "describe-key", "--key-id", "alias/hand"])
        .env("AWS_ACCESS_KEY_ID", of("AccessKeyId"))
        .env("AWS_SECRET_ACCESS_KEY", of("SecretAccessKey"))
        .env("AWS_SESSION_TOKEN", of("SessionToken"))
        .output()
        .expect("aws runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_encryption_sdk_keeps_its_data_keys_here() {
    Server::start().py("encryption_clients.py", &["sdk"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_s3_encryption_client_goes_round() {
    Server::start().py("encryption_clients.py", &["s3"]);
}
