//! The KMS v2 plugin of Kubernetes, by a client that does what kube-apiserver does.

use std::os::unix::fs::PermissionsExt;

use e2e::Server;

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn an_api_servers_keys_are_sealed_and_outlive_rotation_and_restarts() {
    let mut server =
        Server::with_config(|dir| format!("k8s_kms_socket = \"{}/kms.sock\"\nk8s_kms_key = \"k8s\"\n", dir.display()));
    let socket = server.dir().join("kms.sock");
    let (path, sealed) = (socket.display().to_string(), server.dir().join("sealed.json").display().to_string());
    let client = |server: &Server, what: &str| drop(server.py("k8s.py", &[&path, what, &sealed]));
    let portion = |server: &Server, words: &[&str]| {
        let (code, text) = server.holdfast(&[&["portion"], words].concat());
        assert_eq!(code, 0, "{words:?}: {text}");
    };
    assert_eq!(std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);
    client(&server, "none");
    portion(&server, &["create", "k8s"]);
    client(&server, "seal");
    client(&server, "open");
    portion(&server, &["rotate", "k8s"]);
    client(&server, "seal");
    client(&server, "open");
    client(&server, "wrong");
    // One that stops takes its socket with it, one that is killed leaves it; both start again.
    server.stop();
    assert!(!socket.exists());
    server.boot();
    client(&server, "open");
    server.kill();
    assert!(socket.exists());
    server.boot();
    client(&server, "open");
    portion(&server, &["disable", "k8s"]);
    client(&server, "shut");
    portion(&server, &["enable", "k8s"]);
    client(&server, "open");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn what_is_no_socket_is_left_alone() {
    let server = Server::start();
    let file = server.dir().join("precious");
    std::fs::write(&file, "x").expect("a file");
    let output = server
        .command(&std::env::var("HOLDFAST_E2E_BIN").expect("the binary"))
        .args(["serve", "--data-dir", "other", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--kms-listen", "127.0.0.1:0", "--k8s-kms-key", "k8s", "--k8s-kms-socket"])
        .arg(&file)
        .output()
        .expect("the binary runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("is there and no socket"), "{words}");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "x");
}
