//! Installs what the tests need, once, from Debian's packages, from PyPI and from crates.io.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::target_dir;

/// Program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 30] = [
    ("cc", "build-essential"),
    ("rclone", "rclone"),
    ("s3cmd", "s3cmd"),
    ("restic", "restic"),
    ("diff", "diffutils"),
    ("s3fs", "s3fs"),
    ("fusermount3", "fuse3"),
    ("rsync", "rsync"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("chattr", "e2fsprogs"),
    ("mount", "mount"),
    ("sfdisk", "fdisk"),
    ("nats-server", "nats-server"),
    ("openssl", "openssl"),
    ("softhsm2-util", "softhsm2"),
    ("pkcs11-tool", "opensc"),
    ("swtpm", "swtpm"),
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("ip", "iproute2"),
    ("faketime", "faketime"),
    ("tpm2_create", "tpm2-tools"),
    ("ps", "procps"),
    ("curl", "curl"),
    ("zip", "zip"),
    ("clamd", "clamav-daemon"),
    ("clamdscan", "clamdscan"),
    ("c-icap-client", "c-icap"),
    ("squid", "squid"),
];
/// The same of packages that have no program.
const FILES: [(&str, &str); 1] = [("/usr/share/clamav-testfiles", "clamav-testfiles")];
/// DuckDB loads an extension of its own version only, and only one that its makers signed.
const PYTHON_PACKAGES: [&str; 11] = [
    "boto3",
    "awscli",
    engines::seaweedfs::PACKAGE,
    "pyarrow",
    "duckdb==1.5.5",
    "duckdb-extension-httpfs==1.5.5",
    "aws-encryption-sdk>=4",
    "amazon-s3-encryption-client-python",
    "grpcio-tools",
    "clamd",
    "pyclamd",
];

fn runs(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn must(what: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("== {what}");
    let status = command.status().map_err(|e| format!("{what}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed")) }
}

fn apt(packages: &[&str]) -> Result<(), String> {
    must("apt-get update", Command::new("apt-get").args(["update", "-qq"]).stdout(Stdio::null()))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    must(&format!("apt-get install {}", packages.join(" ")), &mut install)
}

/// Debian packages: the clients, and what builds them. Some bring services (clamd, freshclam, Squid), which no test uses: they start by themselves
/// where systemd runs, and in a container of Debian's they do not (its `policy-rc.d`).
pub fn packages() -> Result<(), String> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !runs(program)).map(|(_, package)| *package).collect();
    missing.extend(FILES.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package));
    let venv = Command::new("python3").args(["-c", "import ensurepip"]).stderr(Stdio::null()).status();
    if !venv.is_ok_and(|status| status.success()) {
        missing.push("python3-venv");
    }
    if missing.is_empty() { Ok(()) } else { apt(&missing) }
}

/// A Python environment with the clients that come from PyPI; its folder.
pub fn tools() -> Result<PathBuf, String> {
    let dir = target_dir().join("tools");
    let dir = std::path::absolute(dir).map_err(|e| e.to_string())?;
    // Holds the list it was made from: an environment of an earlier list is filled up.
    let list = PYTHON_PACKAGES.join(" ");
    let made = dir.join("holdfast-packages");
    if std::fs::read_to_string(&made).ok().as_deref() != Some(list.as_str()) {
        must("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        let mut install = Command::new(dir.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_PACKAGES);
        must(&format!("pip install {list}"), &mut install)?;
        std::fs::write(&made, &list).map_err(|e| format!("{}: {e}", made.display()))?;
    }
    // Minutes where it was not built before: by command only.
    if std::env::var_os("HOLDFAST_E2E_GARAGE").is_some() {
        eprintln!("== cargo install garage, unless it is there");
        engines::garage::install(&dir, engines::garage::Build::Quick).map_err(|e| e.to_string())?;
    }
    Ok(dir)
}
