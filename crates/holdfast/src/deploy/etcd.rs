//! The configuration of a member of etcd, and the script that gives etcd its users.

use std::net::SocketAddr;
use std::path::Path;

use super::Description;
use super::site::{ETCD_USER, etcd_ca, tls_paths};

/// A string of YAML: those of JSON are.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// `etcd.conf.yml`. Options of the command line and the environment do not count beside it.
pub(crate) fn conf(description: &Description, index: usize) -> String {
    let site = &description.sites[index];
    let (ports, etcd) = (description.ports, &description.etcd);
    let tls = tls_paths(description, site);
    let url = |host: &str| quoted(&format!("https://{host}"));
    let members: Vec<String> = description
        .sites
        .iter()
        .map(|site| format!("{}=https://{}", site.name, site.etcd_host.with_port(ports.peer)))
        .collect();
    let check = match etcd.minor {
        6.. => "feature-gates: InitialCorruptCheck=true\n",
        _ => "experimental-initial-corrupt-check: true\n",
    };
    format!(
        "# Made by `holdfast deploy plan`: the member of etcd at site {site} of {cluster}.
name: {name}
data-dir: {data}
listen-client-urls: {client}
advertise-client-urls: {advertised}
listen-peer-urls: {peer}
initial-advertise-peer-urls: {advertised_peer}
# For /health and /metrics, without TLS.
listen-metrics-urls: {metrics}

# What follows counts on the first start only, on an empty data-dir.
initial-cluster: {members}
initial-cluster-token: {token}
initial-cluster-state: {state}

# Clients need a certificate, and a user with a password as soon as authentication is on.
client-transport-security:
  cert-file: {cert}
  key-file: {key}
  trusted-ca-file: {ca}
  client-cert-auth: true
# Members have an authority of their own: no client can come as one.
peer-transport-security:
  cert-file: {peer_cert}
  key-file: {peer_key}
  trusted-ca-file: {peer_ca}
  client-cert-auth: true
auth-token: simple
# JSON over HTTP is a door that nobody here uses.
enable-grpc-gateway: false

# Gateways compact by themselves, ten minutes back: an own compaction could take what a lost commit's outcome is read from.
auto-compaction-mode: periodic
auto-compaction-retention: \"0\"
quota-backend-bytes: {quota}
snapshot-count: {snapshots}
heartbeat-interval: {heartbeat}
election-timeout: {election}
# A member whose rows differ from the others' does not start.
{check}logger: zap
log-outputs: [stderr]
",
        site = site.name,
        cluster = description.name,
        name = quoted(&site.name),
        data = shown(&site.etcd_data_dir),
        client = url(&site.etcd_host.listen(ports.etcd).to_string()),
        advertised = url(&site.etcd_host.with_port(ports.etcd)),
        peer = url(&site.etcd_host.listen(ports.peer).to_string()),
        advertised_peer = url(&site.etcd_host.with_port(ports.peer)),
        metrics = quoted(&format!("http://{}", SocketAddr::new(site.admin, ports.etcd_metrics))),
        members = quoted(&members.join(",")),
        token = quoted(&description.name),
        state = etcd.cluster,
        cert = shown(&tls.etcd_cert),
        key = shown(&tls.etcd_key),
        ca = shown(&etcd_ca(description, site)),
        peer_cert = shown(&tls.peer_cert),
        peer_key = shown(&tls.peer_key),
        peer_ca = shown(&tls.peer_ca),
        quota = etcd.quota_bytes,
        snapshots = etcd.snapshot_count,
        heartbeat = etcd.heartbeat_ms,
        election = etcd.election_ms,
    )
}

/// All members, as etcdctl wants them.
pub(crate) fn endpoints(description: &Description) -> String {
    let one = |host: String| format!("https://{host}");
    let sites = description.sites.iter();
    sites.map(|site| one(site.etcd_host.with_port(description.ports.etcd))).collect::<Vec<_>>().join(",")
}

/// `etcd-auth.sh`: users, and authentication on. Passwords go by the environment or stdin, never by the command line, which others see.
pub(crate) fn auth_script(description: &Description) -> String {
    let first = &description.sites[0];
    let (ca, cert, key) = match &description.tls {
        None => {
            let own = |file: &str| format!("\"$here/{}/holdfast/{file}\"", first.name);
            (own("ca.crt"), own("etcd-client.crt"), own("etcd-client.key"))
        }
        Some(tls) => {
            let given = |path: &Path| format!("\"{}\"", path.display());
            (given(&tls.ca), given(&tls.client_cert), given(&tls.client_key))
        }
    };
    format!(
        "#!/bin/sh
# Made by `holdfast deploy plan`: gives etcd its users and turns authentication on. Once, when all five members run; again does no harm.
set -eu
here=$(CDPATH= cd -- \"$(dirname -- \"$0\")\" && pwd)
password=$(cat \"$here/ca/etcd-root.password\")
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}
export ETCDCTL_CACERT={ca} ETCDCTL_CERT={cert} ETCDCTL_KEY={key}

# Without a user it is refused only where authentication is on; with root's password it works in both cases.
if ! etcdctl user list >/dev/null 2>&1 && ETCDCTL_USER=\"root:$password\" etcdctl user list >/dev/null 2>&1; then
    echo 'authentication is on already'
    exit 0
fi
etcdctl endpoint health
# Each may be there from a run that was cut off.
there() {{ etcdctl \"$1\" list | grep -qx -- \"$2\"; }}
there role root || etcdctl role add root
there role {user} || etcdctl role add {user}
etcdctl role grant-permission {user} --prefix=true readwrite {prefix}/
there user root || etcdctl user add root --interactive=false <\"$here/ca/etcd-root.password\"
etcdctl user grant-role root root
there user {user} || etcdctl user add {user} --interactive=false <\"$here/{first}/holdfast/etcd.password\"
etcdctl user grant-role {user} {user}
etcdctl auth enable
ETCDCTL_USER=\"root:$password\" etcdctl user list
",
        endpoints = endpoints(description),
        user = ETCD_USER,
        prefix = description.etcd.prefix,
        first = first.name,
    )
}
