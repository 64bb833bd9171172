//! Units of systemd: one for each role, each shut in as far as its work allows.

use std::path::Path;

use super::Description;
use super::description::{Blob, SitePlan};
use super::site::tls_paths;

/// The gateway's unit.
pub(crate) const GATEWAY: &str = "holdfast.service";
/// The site server's.
pub(crate) const BLOB: &str = "holdfast-site.service";
/// The member of etcd's.
pub(crate) const ETCD: &str = "holdfast-etcd.service";

/// What no role here needs.
const HARDENING: &str = "\
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
";

/// The units of a site by name: that of the site server only where there is a folder.
pub(crate) fn all(description: &Description, index: usize) -> Vec<(&'static str, String)> {
    let site = &description.sites[index];
    let mut units = vec![(ETCD, etcd(description, site))];
    if let Blob::Folder(folder) = &site.blob {
        units.push((BLOB, blob(description, site, folder)));
    }
    units.push((GATEWAY, gateway(description, site)));
    units
}

/// Restarts for ever: what stopped it may be mended hours later.
fn unit(what: &str, mounts: &[&Path]) -> String {
    let mounts: Vec<_> = mounts.iter().map(|path| path.display().to_string()).collect();
    format!(
        "# Made by `holdfast deploy plan`.
[Unit]
Description={what}
Wants=network-online.target
After=network-online.target time-sync.target
RequiresMountsFor={}
StartLimitIntervalSec=0

[Service]
",
        mounts.join(" ")
    )
}

/// A port below 1024 takes a capability; otherwise there is none.
fn capabilities(ports: &[u16]) -> &'static str {
    if ports.iter().any(|port| *port < 1024) {
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
    } else {
        "CapabilityBoundingSet=\n"
    }
}

const INSTALL: &str = "\n[Install]\nWantedBy=multi-user.target\n";

fn etcd(description: &Description, site: &SitePlan) -> String {
    let data = &site.etcd_data_dir;
    // Ready only when it has joined, which takes a majority: nothing is ordered after it, and nothing waits for it without end.
    unit(&format!("etcd of Holdfast, member {}", site.name), &[data])
        + &format!(
            "Type=notify
TimeoutStartSec=infinity
User={user}
ExecStart={program} --config-file={conf}
Restart=always
RestartSec=2
LimitNOFILE=65536
DevicePolicy=closed
PrivateDevices=yes
ReadWritePaths={data}
SystemCallFilter=@system-service
{caps}{HARDENING}{INSTALL}",
            user = description.etcd.user,
            program = description.etcd.program.display(),
            conf = site.etcd_config_dir.join("etcd.conf.yml").display(),
            data = data.display(),
            caps = capabilities(&[description.ports.etcd, description.ports.peer, description.ports.etcd_metrics]),
        )
}

fn blob(description: &Description, site: &SitePlan, folder: &Path) -> String {
    let ports = description.ports;
    let tls = tls_paths(description, site);
    unit(&format!("Holdfast: site server of {}", site.name), &[folder])
        + &format!(
            "Type=exec
User={user}
ExecStart={program} site serve {folder} --listen {listen} --metrics-listen {metrics} --credentials {credentials} --tls-cert {cert} --tls-key {key}
Restart=always
RestartSec=2
TimeoutStopSec=30
LimitNOFILE=1048576
DevicePolicy=closed
PrivateDevices=yes
ReadWritePaths={folder}
SystemCallFilter=@system-service
{caps}{HARDENING}{INSTALL}",
            user = description.user,
            program = description.program.display(),
            folder = folder.display(),
            listen = site.blob_host.listen(ports.blob),
            metrics = std::net::SocketAddr::new(site.admin, ports.metrics),
            credentials = site.config_dir.join(format!("sites/{}.credentials", site.name)).display(),
            cert = tls.blob_cert.display(),
            key = tls.blob_key.display(),
            caps = capabilities(&[ports.blob, ports.metrics]),
        )
}

fn gateway(description: &Description, site: &SitePlan) -> String {
    let ports = description.ports;
    let data = &site.data_dir;
    unit(&format!("Holdfast: gateway of {}", site.name), &[data])
        + &format!(
            "Type=exec
User={user}
ExecStart={program} serve --config {config}
Restart=always
RestartSec=2
TimeoutStopSec=30
LimitNOFILE=1048576
# Keys are kept in locked memory. memfd_secret is the better kind, which no group of system calls has.
LimitMEMLOCK=16M
SystemCallFilter=@system-service memfd_secret
# A TPM that seals the root key; its user must be in the group tss.
DevicePolicy=closed
DeviceAllow=/dev/tpmrm0 rw
ReadWritePaths={data}
{caps}{HARDENING}{INSTALL}",
            user = description.user,
            program = description.program.display(),
            config = site.config_dir.join("holdfast.toml").display(),
            data = data.display(),
            caps = capabilities(&[ports.s3, ports.admin, ports.kms]),
        )
}
