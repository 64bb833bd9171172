//! The real binary with its metadata in Debian's etcd: first start, moving there and back, commands that work on it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use e2e::{Server, noise};

/// One member, in clear, on this machine.
struct Etcd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Etcd {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [port, peer] = held.map(|listener| listener.local_addr().expect("an address").port());
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.current_dir(dir.path()).args(["--name", "m", "--data-dir", "m"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("m={peer}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let etcd = Self { dir, port, child: child.expect("etcd is installed: apt-get install etcd-server") };
        let mut health = Command::new("etcdctl");
        health.env("ETCDCTL_API", "3").args(["--endpoints", &client, "put", "probe", "1"]).current_dir(etcd.dir.path());
        for _ in 0..600 {
            if health.output().expect("etcdctl runs").status.success() {
                return etcd;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("etcd does not answer within a minute");
    }

    fn url(&self, prefix: &str) -> String {
        format!("etcd://127.0.0.1:{}/{prefix}", self.port)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn put(server: &Server, name: &str, seed: u64) {
    std::fs::write(server.dir().join("in"), noise(seed, 300_000)).expect("a file");
    server.run("aws", &["s3", "cp", "in", &format!("s3://bucket/{name}")]);
}

fn is_there(server: &Server, name: &str, seed: u64) {
    server.run("aws", &["s3", "cp", &format!("s3://bucket/{name}"), "out"]);
    assert!(std::fs::read(server.dir().join("out")).expect("a file") == noise(seed, 300_000), "{name} is another");
}

#[test]
#[ignore = "needs the binary and the clients: cargo xtask e2e"]
fn metadata_moves_to_etcd_and_back() {
    let etcd = Etcd::start();
    let mut server = Server::with_config(|_| String::new());
    let config = server.dir().join("holdfast.toml");
    let config = config.to_str().expect("a path").to_owned();
    let folder = format!("embedded:{}", server.dir().join("data").display());
    let url = etcd.url("prod");
    server.run("aws", &["s3", "mb", "s3://bucket"]);
    put(&server, "one", 1);

    let migrate = |server: &Server, from: &str, to: &str, more: &[&str]| {
        server.holdfast_on_data(&[&["meta", "migrate", "--from", from, "--to", to], more].concat())
    };
    let (code, told) = migrate(&server, &folder, &url, &[]);
    assert!(code == 2 && told.contains("another holdfast serves"), "{code}: {told}");
    server.stop();
    let (code, told) = migrate(&server, &folder, &url, &["--dry-run"]);
    assert!(code == 0 && told.contains("nothing was written"), "{code}: {told}");
    let (code, told) = migrate(&server, &folder, &url, &["--json"]);
    assert!(code == 0 && told.contains("\"same\": true"), "{code}: {told}");
    let (code, told) = migrate(&server, &folder, &url, &[]);
    assert!(code == 2 && told.contains("has metadata already"), "{code}: {told}");

    std::fs::write(&config, format!("meta = \"{url}\"\n")).expect("a configuration");
    server.boot();
    is_there(&server, "one", 1);
    put(&server, "two", 2);
    server.kill();
    server.boot();
    is_there(&server, "two", 2);
    let (code, told) = server.holdfast_on_data(&["meta", "status", "--config", &config]);
    assert!(code == 75 && told.contains("leader") && told.contains("0 may be lost"), "{code}: {told}");
    let (code, told) = server.holdfast_on_data(&["meta", "defrag", "--config", &config]);
    assert!(code == 0 && told.contains("->"), "{code}: {told}");

    server.stop();
    let (code, told) = server.holdfast_on_data(&["key", "root", "rotate", "--config", &config]);
    assert_eq!(code, 0, "{told}");
    server.boot();
    is_there(&server, "one", 1);
    server.stop();
    let data = server.dir().join("data");
    std::fs::rename(data.join("root.key"), data.join("away")).expect("a file");
    let (code, told) = server.holdfast_on_data(&["serve", "--config", &config]);
    assert!(code == 2 && told.contains("root.key is missing"), "what is in etcd has a root key: {code}: {told}");
    std::fs::rename(data.join("away"), data.join("root.key")).expect("a file");

    let (code, told) = migrate(&server, &url, &folder, &[]);
    assert!(code == 2 && told.contains("has metadata already"), "{code}: {told}");
    std::fs::rename(data.join("meta"), data.join("meta.old")).expect("a folder");
    let (code, told) = migrate(&server, &url, &folder, &[]);
    assert_eq!(code, 0, "{told}");
    std::fs::write(&config, "").expect("a configuration");
    server.boot();
    is_there(&server, "one", 1);
    is_there(&server, "two", 2);
}

#[test]
#[ignore = "needs the binary and the clients: cargo xtask e2e"]
fn a_first_start_on_etcd() {
    let etcd = Etcd::start();
    let mut server = Server::with_config(|_| format!("meta = \"{}\"\n", etcd.url("new")));
    assert!(!server.dir().join("data/meta").exists(), "there is no embedded engine");
    server.run("aws", &["s3", "mb", "s3://bucket"]);
    put(&server, "one", 1);
    server.kill();
    server.boot();
    is_there(&server, "one", 1);
}
