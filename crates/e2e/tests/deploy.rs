//! `holdfast deploy plan`, believed: five machines on five loopback addresses, with etcd, site servers and gateways started from the files
//! of the plan exactly as its units say, in the order of its README.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(180);
const ROLES: [&str; 8] = ["s3", "admin", "kms", "blob", "metrics", "etcd", "peer", "etcd_metrics"];

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run these tests with `cargo xtask e2e`"))
}

/// The exit code of a command, and what it said on both ways.
fn ended(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn until<T>(what: &str, mut done: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match done() {
            Ok(value) => return value,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "still not {what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Five machines in one folder.
struct Five {
    dir: TempDir,
    ports: [u16; 8],
    cluster: &'static str,
    units: BTreeMap<(usize, &'static str), Child>,
}

impl Five {
    fn new() -> Self {
        // All at once, so that no two are the same; on other loopback addresses they are most likely free, too.
        let held = ROLES.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = held.map(|listener| listener.local_addr().expect("an address").port());
        let dir = TempDir::new().expect("a folder");
        symlink(std::fs::canonicalize(env("HOLDFAST_E2E_BIN")).expect("the binary"), dir.path().join("holdfast"))
            .expect("a link");
        Self { dir, ports, cluster: "new", units: BTreeMap::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn port(&self, role: &str) -> u16 {
        self.ports[ROLES.iter().position(|name| *name == role).expect("a role")]
    }

    fn write_description(&self) {
        let user = ended(Command::new("id").arg("-un")).1;
        let (user, etcd) = (user.trim(), ended(Command::new("sh").args(["-c", "command -v etcd"])).1);
        let dir = self.dir.path().display();
        let mut text = format!(
            "name = \"trial\"\ndomains = [\"s3.test\"]\nuser = {user:?}\nprogram = \"{dir}/holdfast\"\n\
             [etcd]\nuser = {user:?}\nprogram = {:?}\nelection_ms = 3000\nheartbeat_ms = 300\ncluster = {:?}\n[ports]\n",
            etcd.trim(),
            self.cluster
        );
        for (role, port) in ROLES.iter().zip(self.ports) {
            text.push_str(&format!("{role} = {port}\n"));
        }
        for i in 1..=5 {
            let at = format!("{dir}/dc{i}");
            // Whoever connects within one machine comes from 127.0.0.1.
            text.push_str(&format!(
                "[[site]]\nname = \"dc{i}\"\nhost = \"127.0.0.{i}\"\nblob = \"folder:{at}/blob\"\nnames = [\"127.0.0.1\"]\n\
                 addresses = {{ admin = \"127.0.0.{i}\" }}\nconfig_dir = \"{at}/config\"\ndata_dir = \"{at}/data\"\n\
                 etcd_config_dir = \"{at}/etcd-config\"\netcd_data_dir = \"{at}/etcd\"\n"
            ));
        }
        std::fs::write(self.path("five.toml"), text).expect("a description");
    }

    fn deploy(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.path("holdfast"));
        command.arg("deploy").args(words).arg(self.path("five.toml")).arg("--out").arg(self.path("plan"));
        let (code, told) = ended(&mut command);
        assert_eq!(code, 0, "{words:?}: {told}");
        told
    }

    fn install(&self, site: usize, words: &[&str]) -> String {
        let units = self.path(&format!("dc{site}/units"));
        std::fs::create_dir_all(&units).expect("a folder");
        let mut command = Command::new(self.path(&format!("plan/dc{site}/install.sh")));
        let (code, told) = ended(command.args(words).env("HOLDFAST_UNITS_DIR", units));
        assert_eq!(code, 0, "{told}");
        told
    }

    /// Runs what a unit's ExecStart says.
    fn start(&mut self, site: usize, unit: &'static str) {
        let text = std::fs::read_to_string(self.path(&format!("dc{site}/units/{unit}.service"))).expect("a unit");
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("ExecStart");
        let mut words = line.split(' ');
        let log = |end: &str| self.path(&format!("dc{site}/{unit}.{end}"));
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).stdin(Stdio::null()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdout(File::create(log("out")).expect("a log"));
        command.stderr(File::options().create(true).append(true).open(log("err")).expect("a log"));
        let child = command.spawn().unwrap_or_else(|e| panic!("{line}: {e}"));
        self.units.insert((site, unit), child);
    }

    /// Waits for a line that is said when it serves.
    fn wait_said(&mut self, site: usize, unit: &'static str, word: &str) {
        let out = self.path(&format!("dc{site}/{unit}.out"));
        let log = self.path(&format!("dc{site}/{unit}.err"));
        let child = self.units.get_mut(&(site, unit)).expect("it was started");
        until(&format!("serving: {unit} of dc{site}"), || {
            let told = std::fs::read_to_string(&out).unwrap_or_default();
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(child.try_wait().ok().flatten().is_none(), "{unit} of dc{site} ended:\n{log}");
            if told.contains(word) { Ok(()) } else { Err(log) }
        });
    }

    fn kill(&mut self, site: usize) {
        self.units.retain(|(of, _), child| {
            if *of == site {
                let _ = child.kill();
                let _ = child.wait();
            }
            *of != site
        });
    }

    fn stop(&mut self, site: usize, unit: &'static str) {
        let mut child = self.units.remove(&(site, unit)).expect("it was started");
        let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(sent.success() && child.wait().expect("it ends").success(), "{unit} of dc{site}");
    }

    /// `as` of the README: the command line with what the machine's `env` file says.
    fn try_as(&self, site: usize, words: &[&str]) -> (i32, String) {
        let text = std::fs::read_to_string(self.path(&format!("dc{site}/config/env"))).expect("an env file");
        let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        ended(Command::new(self.path("holdfast")).args(words).envs(pairs))
    }

    fn run_as(&self, site: usize, words: &[&str]) -> String {
        let (code, told) = self.try_as(site, words);
        assert_eq!(code, 0, "dc{site} {words:?}: {told}");
        told
    }

    /// Gives a machine the root key that dc1 has, whose gateway is stopped.
    fn give_root_key(&self, site: usize) {
        let created = self.run_as(site, &["key", "site", "create", &format!("dc{site}"), "--json"]);
        let created: Value = serde_json::from_str(&created).expect("JSON");
        let fingerprint = created["fingerprint"].as_str().expect("a fingerprint");
        let shown = |path: &str| self.path(path).display().to_string();
        let (public, wrap) = (shown(&format!("dc{site}/data/site.pub")), shown(&format!("dc{site}/data/root.wrap")));
        self.run_as(1, &["key", "root", "wrap", &public, "--fingerprint", fingerprint, "--out", &wrap]);
        let told = self.run_as(site, &["key", "root", "accept", &wrap]);
        assert!(told.contains("it opens what is in this installation"), "{told}");
    }

    fn wait_whole(&self, site: usize) {
        until("whole", || match self.try_as(site, &["status"]) {
            (0, _) => Ok(()),
            (_, told) => Err(told),
        });
    }

    fn etcdctl(&self, words: &[&str], with_password: bool) -> (i32, String) {
        let endpoints: Vec<_> = (1..=5).map(|i| format!("https://127.0.0.{i}:{}", self.port("etcd"))).collect();
        let mut command = Command::new("etcdctl");
        command.args(words).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", endpoints.join(","));
        command.args(["--command-timeout=20s", "--dial-timeout=5s"]);
        for (name, file) in [("CACERT", "ca.crt"), ("CERT", "etcd-client.crt"), ("KEY", "etcd-client.key")] {
            command.env(format!("ETCDCTL_{name}"), self.path(&format!("plan/dc1/holdfast/{file}")));
        }
        if with_password {
            let password = std::fs::read_to_string(self.path("plan/ca/etcd-root.password")).expect("a password");
            command.env("ETCDCTL_USER", format!("root:{}", password.trim()));
        }
        ended(&mut command)
    }

    /// The aws CLI at a site's gateway.
    fn aws(&self, site: usize, words: &[&str]) -> String {
        let text = std::fs::read_to_string(self.path(&format!("dc{site}/data/credentials"))).expect("credentials");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
            line.split('"').nth(1).expect("a value").to_owned()
        };
        let mut command = Command::new(Path::new(&env("HOLDFAST_E2E_TOOLS")).join("bin/aws"));
        command
            .args(["--endpoint-url", &format!("https://127.0.0.{site}:{}", self.port("s3"))])
            .args(words)
            .current_dir(self.dir.path())
            .env("AWS_ACCESS_KEY_ID", value("access_key"))
            .env("AWS_SECRET_ACCESS_KEY", value("secret_key"))
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_CA_BUNDLE", self.path("plan/ca/ca.crt"))
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
        let (code, told) = ended(&mut command);
        assert_eq!(code, 0, "aws at dc{site} {words:?}: {told}");
        told
    }

    fn put(&self, site: usize, name: &str, seed: u64) {
        std::fs::write(self.path("object"), e2e::noise(seed, 300_000)).expect("a file");
        self.aws(site, &["s3", "cp", "object", &format!("s3://kept/{name}")]);
    }

    fn same(&self, site: usize, name: &str, seed: u64) {
        self.aws(site, &["s3", "cp", &format!("s3://kept/{name}"), "again"]);
        assert!(std::fs::read(self.path("again")).expect("a file") == e2e::noise(seed, 300_000), "{name} at dc{site}");
    }

    /// Steps 1 to 6 of the README.
    fn day_one(&mut self) {
        self.write_description();
        self.deploy(&["plan"]);
        assert!(self.deploy(&["plan"]).contains("are as planned"), "a second run changes something");
        for site in 1..=5 {
            assert!(self.install(site, &["--day-one"]).contains("put "));
            assert!(!self.install(site, &[]).contains("put "), "a second run changes something");
            self.start(site, "holdfast-etcd");
        }
        until("authentication", || match ended(&mut Command::new(self.path("plan/etcd-auth.sh"))) {
            (0, _) => Ok(()),
            (_, told) => Err(told),
        });
        for site in 1..=5 {
            self.start(site, "holdfast-site");
        }
        for site in 1..=5 {
            self.wait_said(site, "holdfast-site", "look into it");
        }
        self.start(1, "holdfast");
        self.wait_said(1, "holdfast", "next:");
        self.wait_whole(1);
        self.aws(1, &["s3", "mb", "s3://kept"]);
        self.stop(1, "holdfast");
        (2..=5).for_each(|site| self.give_root_key(site));
        for site in 1..=5 {
            self.start(site, "holdfast");
            self.wait_said(site, "holdfast", "next:");
        }
        self.wait_whole(1);
    }
}

impl Drop for Five {
    fn drop(&mut self) {
        (1..=5).for_each(|site| self.kill(site));
    }
}

#[test]
#[ignore = "needs etcd and clients; run `cargo xtask e2e`"]
fn a_plan_of_five_machines_works_as_its_readme_says() {
    let mut five = Five::new();
    five.day_one();
    five.put(1, "a", 1);
    five.same(5, "a", 1);
    let told = five.run_as(3, &["meta", "status"]);
    assert!(told.contains("leader") && told.matches("follower").count() == 4, "{told}");

    // A certificate alone opens nothing of etcd, and to turn authentication on again does no harm.
    let (code, told) = five.etcdctl(&["get", "holdfast/", "--prefix", "--limit=1"], false);
    assert!(code != 0 && told.contains("permission denied"), "{told}");
    let (code, told) = ended(&mut Command::new(five.path("plan/etcd-auth.sh")));
    assert!(code == 0 && told.contains("already"), "{told}");

    // Certificates made anew, under new keys, are taken without a restart, by gateways, site servers and etcd.
    assert!(five.deploy(&["renew", "--new-keys"]).contains("changed: dc2/etcd/peer.key"));
    for site in 1..=5 {
        assert!(five.install(site, &[]).contains("put "));
    }
    five.put(2, "b", 2);
    five.same(4, "b", 2);

    // Two machines vanish with everything on them.
    five.kill(2);
    five.kill(4);
    five.same(5, "a", 1);
    five.put(3, "c", 3);
    five.same(1, "c", 3);
}

/// As `docs/operate/sites.md` says.
#[test]
#[ignore = "needs etcd and clients; run `cargo xtask e2e`"]
fn a_machine_is_lost_and_another_one_takes_its_place() {
    let mut five = Five::new();
    five.day_one();
    five.put(1, "a", 1);
    five.kill(3);
    std::fs::remove_dir_all(five.path("dc3")).expect("the machine is gone");

    let (code, members) = five.etcdctl(&["member", "list"], true);
    let lost = members.lines().find(|line| line.contains("dc3")).unwrap_or_else(|| panic!("{code} {members}"));
    let id = lost.split(',').next().expect("an id").to_owned();
    let told = five.etcdctl(&["member", "remove", &id], true);
    assert_eq!(told.0, 0, "{}", told.1);
    let peer = format!("--peer-urls=https://127.0.0.3:{}", five.port("peer"));
    // For some seconds after a member went etcd may call itself unhealthy, and takes none.
    let begun = std::time::Instant::now();
    let told = loop {
        let told = five.etcdctl(&["member", "add", "dc3", &peer], true);
        if !told.1.contains("unhealthy cluster") || begun.elapsed().as_secs() > 60 {
            break told;
        }
    };
    assert_eq!(told.0, 0, "{}", told.1);
    five.cluster = "existing";
    five.write_description();
    assert!(five.deploy(&["plan"]).contains("changed: dc3/etcd/etcd.conf.yml"));
    five.install(3, &["--day-one"]);
    five.start(3, "holdfast-etcd");
    five.start(3, "holdfast-site");
    five.wait_said(3, "holdfast-site", "look into it");
    until("five members", || match five.try_as(5, &["meta", "status"]) {
        (0, _) => Ok(()),
        (_, told) => Err(told),
    });
    five.run_as(5, &["site", "replace", "dc3", "--no-wait"]);
    // The others learn of the new disk at their start.
    for site in [2, 4] {
        five.stop(site, "holdfast");
        five.start(site, "holdfast");
        five.wait_said(site, "holdfast", "next:");
    }
    five.stop(1, "holdfast");
    five.wait_whole(5);
    five.run_as(1, &["key", "site", "remove", "dc3"]);
    five.give_root_key(3);
    for site in [1, 3] {
        five.start(site, "holdfast");
        five.wait_said(site, "holdfast", "next:");
    }
    five.same(3, "a", 1);
    five.kill(1);
    five.kill(2);
    five.same(3, "a", 1);
    five.put(3, "b", 2);
    five.same(4, "b", 2);
}
