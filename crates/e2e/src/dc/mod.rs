//! Five data centres: in each an etcd member, a site server and a gateway, all on one store.

pub mod client;
pub mod fault;
mod net;
mod process;
pub mod workload;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fault::{Fault, Part, Way};
use net::Net;
use process::Process;
use serde_json::Value;
use tempfile::TempDir;

use crate::{ACCESS_KEY, PATIENCE, SECRET_KEY, ended, env};

/// The port of site servers.
pub(crate) const SITE_PORT: u16 = 9100;
const S3_PORT: u16 = 9000;
const ADMIN_PORT: u16 = 9001;
const KMS_PORT: u16 = 9002;
const ETCD_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// The access key and the secret of all site servers.
const SITE_KEYS: [&str; 2] = ["FIVEDCSITEACCESSKEY", "five-dc-site-secret-key-0123456789"];
/// The disk of a site and of an etcd member, which has two logs of 64 MiB from the beginning.
const DISKS: [(&str, &str); 2] = [("site", "256m"), ("etcd", "400m")];
/// What a run's folder is called, the process id after it.
const FOLDER: &str = "holdfast-five-dc-";
/// Time for a process to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What takes longer to be whole again is told.
const SLOW_TO_MEND: Duration = Duration::from_secs(12);
/// Where Debian's libfaketime is, below the folder of the architecture.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// One of the five, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dc(pub usize);

impl Dc {
    /// All five.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..5).map(Self)
    }
}

impl std::fmt::Display for Dc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dc{}", self.0 + 1)
    }
}

/// Tells what happens, past libtest's capture: whoever runs the tests waits no longer for a word of them than they take.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[derive(Default)]
struct Parts {
    etcd: Option<Process>,
    site: Option<Process>,
    gateway: Option<Process>,
}

impl Parts {
    fn part(&mut self, part: Part) -> &mut Option<Process> {
        match part {
            Part::Etcd => &mut self.etcd,
            Part::Site => &mut self.site,
            Part::Gateway => &mut self.gateway,
        }
    }
}

/// Fifteen processes.
pub struct Cluster {
    // Dropped in this order: the processes, then what they stand on.
    parts: [Parts; 5],
    net: Net,
    dir: TempDir,
    disks: bool,
    delay_ms: u64,
}

impl Cluster {
    /// Starts all, and waits until they serve. `delay_ms` is how long a packet takes from one data centre to another.
    pub fn start(delay_ms: u64) -> Self {
        Self::on(Net::make(), delay_ms)
    }

    /// The same where no namespaces can be made: all on this machine's loopback.
    pub fn start_on_loopback() -> Self {
        Self::on(Net::loopback("as if none could be made"), 0)
    }

    fn on(net: Net, delay_ms: u64) -> Self {
        let begun = Instant::now();
        sweep();
        let dir = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir();
        let dir = dir.expect("a directory");
        let mut cluster = Self { parts: Default::default(), net, dir, disks: false, delay_ms };
        cluster.net.delay(delay_ms);
        cluster.disks = Dc::all().all(|dc| DISKS.iter().all(|(name, size)| cluster.mount(dc, name, size)));
        if !cluster.disks {
            say("five_dc: no disks of their own can be mounted: none is filled up");
        }
        for dc in Dc::all() {
            cluster.boot_etcd(dc);
            cluster.boot_site(dc);
        }
        for dc in Dc::all() {
            cluster.ready(dc, Part::Site);
        }
        cluster.boot_gateway(Dc(0), None);
        cluster.ready(Dc(0), Part::Gateway);
        for dc in Dc::all().skip(1) {
            let folder = cluster.folder(dc).join("data");
            std::fs::create_dir_all(&folder).expect("a folder");
            // Mode 0600 comes along.
            std::fs::copy(cluster.folder(Dc(0)).join("data/root.key"), folder.join("root.key")).expect("a root key");
            cluster.boot_gateway(dc, None);
        }
        for dc in Dc::all().skip(1) {
            cluster.ready(dc, Part::Gateway);
        }
        say(&format!("five_dc: 15 processes serve after {:.1} s", begun.elapsed().as_secs_f64()));
        cluster
    }

    fn folder(&self, dc: Dc) -> PathBuf {
        self.dir.path().join(dc.to_string())
    }

    fn mount(&self, dc: Dc, name: &str, size: &str) -> bool {
        let at = self.folder(dc).join(name);
        std::fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "holdfast"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success())
    }

    /// Whether there is latency, and data centres can be cut off.
    pub fn has_wires(&self) -> bool {
        self.net.has_wires()
    }

    /// How long a packet takes from one data centre to another from now on.
    pub fn delay(&self, delay_ms: u64) {
        self.net.delay(delay_ms);
    }

    /// Whether disks can be filled up.
    pub fn has_disks(&self) -> bool {
        self.disks
    }

    /// `host:port` of a gateway's S3 endpoint.
    pub fn s3(&self, dc: Dc) -> String {
        format!("{}:{S3_PORT}", self.net.address(dc))
    }

    /// `host:port` of a gateway's KMS API.
    pub fn kms(&self, dc: Dc) -> String {
        format!("{}:{KMS_PORT}", self.net.address(dc))
    }

    fn boot_etcd(&mut self, dc: Dc) {
        let at = |dc, port| format!("http://{}:{port}", self.net.address(dc));
        let members: Vec<String> = Dc::all().map(|dc| format!("{dc}={}", at(dc, PEER_PORT))).collect();
        let beat_ms = 100 + 2 * self.delay_ms;
        let mut command = self.net.command(dc, "etcd");
        command.args(["--name", &dc.to_string(), "--initial-cluster", &members.join(",")]).arg("--data-dir");
        command.arg(self.folder(dc).join("etcd/member"));
        command.args(["--listen-client-urls", &at(dc, ETCD_PORT), "--advertise-client-urls", &at(dc, ETCD_PORT)]);
        command.args(["--listen-peer-urls", &at(dc, PEER_PORT), "--initial-advertise-peer-urls", &at(dc, PEER_PORT)]);
        // etcd's own advice: a beat is a round trip, an election ten.
        command.args(["--heartbeat-interval", &beat_ms.to_string()]);
        command.args(["--election-timeout", &(beat_ms * 10).to_string()]);
        command.args(["--snapshot-count", "5000", "--logger", "zap"]);
        self.parts[dc.0].etcd = Some(Process::spawn(command, &self.folder(dc), "etcd-log"));
    }

    fn boot_site(&mut self, dc: Dc) {
        let folder = self.folder(dc).join("site/objects");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut command = self.net.command(dc, &env("HOLDFAST_E2E_BIN"));
        command.args(["site", "serve"]).arg(folder).args(["--insecure", "--listen"]);
        command.arg(format!("{}:{SITE_PORT}", self.net.address(dc)));
        command.env("HOLDFAST_SITE_ACCESS_KEY", SITE_KEYS[0]).env("HOLDFAST_SITE_SECRET_KEY", SITE_KEYS[1]);
        self.parts[dc.0].site = Some(Process::spawn(command, &self.folder(dc), "site-log"));
    }

    fn boot_gateway(&mut self, dc: Dc, clock: Option<&str>) {
        let config = self.folder(dc).join("holdfast.toml");
        std::fs::write(&config, self.config(dc)).expect("a configuration");
        let mut command = self.net.command(dc, &env("HOLDFAST_E2E_BIN"));
        command.args(["serve", "--config"]).arg(config);
        command.env("HOLDFAST_ACCESS_KEY", ACCESS_KEY).env("HOLDFAST_SECRET_KEY", SECRET_KEY);
        if let (Some(offset), Some(library)) = (clock, faketime()) {
            command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("DONT_FAKE_MONOTONIC", "1");
        }
        self.parts[dc.0].gateway = Some(Process::spawn(command, &self.folder(dc), "gateway-log"));
    }

    fn config(&self, dc: Dc) -> String {
        // The own member first.
        let near = (0..5).map(|step| Dc((dc.0 + step) % 5));
        let members: Vec<String> = near.map(|dc| format!("{}:{ETCD_PORT}", self.net.address(dc))).collect();
        let own = self.net.address(dc);
        let sites: String = Dc::all()
            .map(|dc| {
                format!(
                    "[[site]]\nname = \"{dc}\"\nurl = \"s3://site/\"\n[site.options]\nendpoint = \"http://{}:{SITE_PORT}\"\n\
                     allow_http = \"true\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
                    self.net.address(dc),
                    SITE_KEYS[0],
                    SITE_KEYS[1]
                )
            })
            .collect();
        format!(
            "data_dir = {:?}\nmeta = \"etcd://{}/five\"\nmeta_options = {{ allow_http = \"true\" }}\nlisten = \"{own}:{S3_PORT}\"\n\
             admin_listen = \"{own}:{ADMIN_PORT}\"\nkms_listen = \"{own}:{KMS_PORT}\"\ncollect_after_s = 5\n{sites}",
            self.folder(dc).join("data"),
            members.join(","),
        )
    }

    /// Waits until a part says that it serves.
    fn ready(&mut self, dc: Dc, part: Part) {
        if !self.is_ready(dc, part, READY_WITHIN) {
            panic!("{part:?} of {dc} did not start:\n{}", self.log(dc, part));
        }
    }

    fn is_ready(&mut self, dc: Dc, part: Part, within: Duration) -> bool {
        let Some(process) = self.parts[dc.0].part(part) else { return false };
        process.wait_until(within, |process| match part {
            Part::Gateway => process.out().contains("next:"),
            Part::Site => process.out().contains("look into it"),
            Part::Etcd => true,
        })
    }

    /// The end of what a part wrote to stderr.
    pub fn log(&mut self, dc: Dc, part: Part) -> String {
        self.parts[dc.0].part(part).as_ref().map(Process::log).unwrap_or_default()
    }

    fn kill(&mut self, dc: Dc, part: Part) {
        *self.parts[dc.0].part(part) = None;
    }

    fn boot(&mut self, dc: Dc, part: Part) {
        self.kill(dc, part);
        match part {
            Part::Etcd => self.boot_etcd(dc),
            Part::Site => self.boot_site(dc),
            Part::Gateway => self.boot_gateway(dc, None),
        }
        self.ready(dc, part);
    }

    fn signal(&mut self, dc: Dc, part: Part, signal: &str) {
        if let Some(process) = self.parts[dc.0].part(part) {
            process.signal(signal);
        }
    }

    /// Makes it happen.
    pub fn inject(&mut self, fault: &Fault) {
        match *fault {
            Fault::Kill(dc, part) => self.kill(dc, part),
            Fault::DcOff(dc) => Part::ALL.into_iter().for_each(|part| self.kill(dc, part)),
            Fault::Cut(dc, way) => self.net.cut(dc, way != Way::In, way != Way::Out),
            Fault::Pause(dc, part) => self.signal(dc, part, "STOP"),
            Fault::PauseDc(dc) => Part::ALL.into_iter().for_each(|part| self.signal(dc, part, "STOP")),
            Fault::SlowSite(dc, slow_ms) => self.net.slow(dc, slow_ms),
            Fault::DiskFull(dc, part) => fill(&self.ballast(dc, part)),
            Fault::ClockWrong(dc, offset) => {
                self.kill(dc, Part::Gateway);
                self.boot_gateway(dc, Some(offset));
                // One that does not start does no harm.
                if !self.is_ready(dc, Part::Gateway, Duration::from_secs(20)) {
                    say(&format!("five_dc: {dc} does not start with a clock of {offset}"));
                }
            }
        }
    }

    /// Ends it; what died of it is started again.
    pub fn heal(&mut self, fault: &Fault) {
        match *fault {
            Fault::Kill(dc, part) => self.boot(dc, part),
            Fault::DcOff(dc) => {
                // A gateway needs what is below it; the member needs the others only.
                for part in Part::ALL {
                    self.boot(dc, part);
                }
            }
            Fault::Cut(dc, _) => self.net.cut(dc, false, false),
            Fault::Pause(dc, part) => self.signal(dc, part, "CONT"),
            Fault::PauseDc(dc) => Part::ALL.into_iter().for_each(|part| self.signal(dc, part, "CONT")),
            Fault::SlowSite(dc, _) => self.net.slow(dc, 0),
            Fault::DiskFull(dc, part) => {
                std::fs::remove_file(self.ballast(dc, part)).expect("the ballast");
                // etcd ends when it cannot write.
                let ended = self.parts[dc.0].part(part).as_mut().is_none_or(Process::has_ended);
                if ended {
                    say(&format!("five_dc: {part:?} of {dc} had ended on a full disk"));
                    self.boot(dc, part);
                }
            }
            Fault::ClockWrong(dc, _) => self.boot(dc, Part::Gateway),
        }
    }

    fn ballast(&self, dc: Dc, part: Part) -> PathBuf {
        let disk = if part == Part::Etcd { "etcd" } else { "site" };
        self.folder(dc).join(disk).join("ballast")
    }

    /// Parts that run no more though nobody ended them.
    pub fn dead(&mut self) -> Vec<(Dc, Part)> {
        let mut dead = Vec::new();
        for dc in Dc::all() {
            for part in Part::ALL {
                if self.parts[dc.0].part(part).as_mut().is_some_and(Process::has_ended) {
                    dead.push((dc, part));
                }
            }
        }
        dead
    }

    /// Runs a `holdfast` command against a gateway; gives its exit code and output.
    pub fn holdfast(&self, dc: Dc, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env("HOLDFAST_E2E_BIN"));
        command.args(args).args(["--admin", &format!("http://{}:{ADMIN_PORT}", self.net.address(dc))]);
        ended(command.env("HOLDFAST_ACCESS_KEY", ACCESS_KEY).env("HOLDFAST_SECRET_KEY", SECRET_KEY))
    }

    /// `holdfast status --json` of a gateway; what it said where that is no JSON.
    pub fn status(&self, dc: Dc) -> Result<Value, String> {
        let (_, text) = self.holdfast(dc, &["status", "--json"]);
        let value = serde_json::Deserializer::from_str(&text).into_iter().next();
        value.and_then(Result::ok).ok_or(text)
    }

    /// Waits until each gateway says that the store is whole; tells how long that took.
    pub fn wait_whole(&mut self) -> Duration {
        let begun = Instant::now();
        for dc in Dc::all() {
            let asked = Instant::now();
            let mut told = false;
            loop {
                let status = self.status(dc);
                if !told && asked.elapsed() > SLOW_TO_MEND {
                    told = true;
                    say(&format!("five_dc: {dc} is slow to be whole: {status:?}"));
                }
                if status.as_ref().is_ok_and(|status| status["state"] == "whole") {
                    break;
                }
                if begun.elapsed() > PATIENCE {
                    let dead = self.dead();
                    let log = self.log(dc, Part::Gateway);
                    panic!("{dc} is still not whole: {status:#?}\nended: {dead:?}\n{log}");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        begun.elapsed()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for dc in Dc::all() {
                let log = self.log(dc, Part::Gateway);
                say(&format!("five_dc: the gateway of {dc} said last:\n{log}\n"));
            }
        }
        for parts in &mut self.parts {
            *parts = Parts::default();
        }
        if let Ok(kept) = std::env::var("HOLDFAST_FIVE_DC_LOGS") {
            for (dc, part) in Dc::all().flat_map(|dc| ["etcd", "site", "gateway"].map(|part| (dc, part))) {
                let log = self.folder(dc).join(format!("{part}-log.err"));
                let _ = std::fs::copy(log, Path::new(&kept).join(format!("{dc}-{part}.log")));
            }
        }
        unmount(self.dir.path());
    }
}

/// Whether clocks can be set wrong.
pub fn has_faketime() -> bool {
    faketime().is_some()
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders.filter_map(|folder| Some(folder.ok()?.path().join(FAKETIME))).find(|path| path.exists())
}

/// Writes until there is no space.
fn fill(file: &Path) {
    let mut file = File::create(file).expect("a file");
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Disks below a folder.
fn unmount(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(at).starts_with(dir) {
            let _ = Command::new("umount").args(["--lazy", at]).output();
        }
    }
}

/// Removes the folders that runs have left that were killed.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pid = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(|pid: u32| !net::lives(pid)) {
            unmount(&path);
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}
