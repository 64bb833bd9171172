//! Members of etcd as children of a test, on free ports, in a folder that goes with them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meta::{Etcd, EtcdOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const USER: &str = "holdfast";
pub const PASSWORD: &str = "correct horse";

/// etcd's members. They end with it.
pub struct Cluster {
    dir: TempDir,
    members: Vec<Member>,
    tls: bool,
    auth: bool,
    more: Vec<String>,
}

pub struct Member {
    pub port: u16,
    peer: u16,
    child: Option<Child>,
}

fn openssl(dir: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and, by it, a certificate for the members and one for us.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test"));
    for name in ["server", "client"] {
        let san = "-addext subjectAltName=IP:127.0.0.1";
        openssl(dir, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /O={name} {san}"));
        let sign = "-CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy";
        openssl(dir, &format!("x509 -req -in {name}.csr {sign} -days 2 -out {name}.crt"));
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All at once, so that no two are the same.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}

impl Cluster {
    /// One member, in clear.
    pub async fn one() -> Self {
        Self::start(1, false, false, &[]).await
    }

    /// Five members, TLS with client certificates, authentication.
    pub async fn five() -> Self {
        Self::start(5, true, true, &[]).await
    }

    pub async fn start(count: usize, tls: bool, auth: bool, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        if tls {
            certificates(dir.path());
        }
        let members = (0..count).map(|_| {
            let [port, peer] = free_ports();
            Member { port, peer, child: None }
        });
        let more = more.iter().map(|word| (*word).to_owned()).collect();
        let mut cluster = Self { dir, members: members.collect(), tls, auth: false, more };
        (0..count).for_each(|index| cluster.spawn(index));
        cluster.until("a leader", || cluster.etcdctl(&["put", "probe", "1"])).await;
        if auth {
            for words in [
                &["role", "add", USER][..],
                &["role", "grant-permission", USER, "--prefix=true", "readwrite", "holdfast/"],
                &["user", "add", &format!("root:{PASSWORD}")],
                &["user", "grant-role", "root", "root"],
                &["user", "add", &format!("{USER}:{PASSWORD}")],
                &["user", "grant-role", USER, USER],
                &["auth", "enable"],
            ] {
                cluster.until("users", || cluster.etcdctl(words)).await;
            }
            cluster.auth = true;
            cluster.secret("password", PASSWORD);
        }
        cluster
    }

    /// A file that nobody else may read.
    pub fn secret(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, format!("{text}\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        path.display().to_string()
    }

    fn spawn(&mut self, index: usize) {
        let scheme = if self.tls { "https" } else { "http" };
        let peers: Vec<_> =
            self.members.iter().enumerate().map(|(i, m)| format!("m{i}=http://127.0.0.1:{}", m.peer)).collect();
        let member = &mut self.members[index];
        let client = format!("{scheme}://127.0.0.1:{}", member.port);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let mut command = Command::new("etcd");
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(self.dir.path().join(format!("m{index}.log"))).expect("a log"));
        command.args(["--name", &format!("m{index}"), "--data-dir", &format!("m{index}")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &peers.join(",")]).args(&self.more);
        if self.tls {
            command.args(["--cert-file", "server.crt", "--key-file", "server.key"]);
            command.args(["--trusted-ca-file", "ca.crt", "--client-cert-auth"]);
        }
        member.child = Some(command.spawn().expect("etcd is installed: apt-get install etcd-server"));
    }

    /// Until `done`, which need not be soon where many processes share few processors.
    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..600 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no {what} within a minute; see the logs in {}", self.dir.path().display());
    }

    fn etcdctl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").current_dir(self.dir.path()).args(words);
        let scheme = if self.tls { "https" } else { "http" };
        let endpoints: Vec<_> = self.members.iter().map(|m| format!("{scheme}://127.0.0.1:{}", m.port)).collect();
        command.args(["--endpoints", &endpoints.join(","), "--dial-timeout=2s", "--command-timeout=5s"]);
        if self.tls {
            command.args(["--cacert=ca.crt", "--cert=client.crt", "--key=client.key"]);
        }
        if self.auth {
            command.args(["--user", &format!("root:{PASSWORD}")]);
        }
        command
    }

    /// Whether etcd's own client says yes.
    pub fn etcdctl(&self, words: &[&str]) -> bool {
        self.etcdctl_command(words)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("etcdctl runs")
            .success()
    }

    /// What etcd's own client prints.
    pub fn etcdctl_prints(&self, words: &[&str]) -> String {
        let output = self.etcdctl_command(words).output().expect("etcdctl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn port(&self, index: usize) -> u16 {
        self.members[index].port
    }

    /// How to reach these ports as members of this cluster.
    pub fn options_at(&self, ports: &[u16]) -> EtcdOptions {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let user = if self.auth { format!("{USER}@") } else { String::new() };
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let mut options = std::collections::BTreeMap::new();
        if self.tls {
            for (name, path) in [("ca", "ca.crt"), ("cert", "client.crt"), ("key", "client.key")] {
                options.insert(name.to_owned(), file(path));
            }
        }
        if self.auth {
            options.insert("password_file".to_owned(), file("password"));
        }
        EtcdOptions::parse(&format!("etcd://{user}{}", hosts.join(",")), &options).expect("options")
    }

    pub fn options(&self) -> EtcdOptions {
        self.options_at(&self.members.iter().map(|member| member.port).collect::<Vec<_>>())
    }

    pub async fn open(&self) -> Etcd {
        Etcd::open(self.options()).await.expect("etcd answers")
    }

    fn signal(&self, index: usize, signal: Signal) {
        if let Some(child) = &self.members[index].child {
            let pid = Pid::from_child(child);
            kill_process(pid, signal).expect("a signal");
        }
    }

    /// As `kill -9`.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn restart(&mut self, index: usize) {
        self.kill(index);
        self.spawn(index);
    }

    pub fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    pub fn go_on(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }
}
