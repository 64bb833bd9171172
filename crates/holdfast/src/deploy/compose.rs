//! `compose.yaml`: the five machines as containers of one host, for trying out. Two of five there are lost together with the host.

use super::description::{Blob, SitePlan};
use super::site::tls_paths;
use super::{Description, Mistakes};

/// The file, for descriptions whose machines have names, folders, and the plan's certificates.
///
/// # Errors
/// What of a description cannot be containers.
pub(crate) fn yaml(description: &Description) -> Result<String, Mistakes> {
    let mut mistakes = Vec::new();
    if description.tls.is_some() {
        mistakes.push("--compose takes tls = \"make\": other certificates are not in the folder".to_owned());
    }
    for site in &description.sites {
        for host in [&site.gateway, &site.blob_host, &site.etcd_host] {
            if host.bare().parse::<std::net::IpAddr>().is_ok() {
                mistakes.push(format!("--compose takes names: site {} has the address {}", site.name, host.bare()));
            }
        }
        if !matches!(site.blob, Blob::Folder(_)) {
            mistakes.push(format!("--compose takes folders: site {} is a bucket", site.name));
        }
    }
    mistakes.dedup();
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let mut text = "# Made by `holdfast deploy plan --compose`: five machines as containers, for trying out.
#   HOLDFAST_BIN=$(command -v holdfast) docker compose up -d --build    # then README.md from step 3 on, in the containers
# Everything runs as root in them; their clocks, their disk and their end are one.
x-machine: &machine
  build:
    context: .
    dockerfile_inline: |
      FROM debian:12-slim
      RUN apt-get update && apt-get install -y --no-install-recommends etcd-server etcd-client curl
  restart: unless-stopped
  cap_add: [IPC_LOCK]
  ulimits:
    memlock: 16777216
    core: 0
services:
"
    .to_owned();
    let mut volumes = String::from("volumes:\n");
    for site in &description.sites {
        services(description, site, &mut text);
        for what in ["etcd", "blob", "data"] {
            volumes.push_str(&format!("  {}-{what}:\n", site.name));
        }
    }
    Ok(text + &volumes)
}

/// One network for the three roles of a machine, as on a machine.
fn services(description: &Description, site: &SitePlan, text: &mut String) {
    let Blob::Folder(folder) = &site.blob else { return };
    let name = &site.name;
    let tls = tls_paths(description, site);
    let mut aliases = vec![site.etcd_host.bare(), site.gateway.bare(), site.blob_host.bare()];
    aliases.dedup();
    let ports = description.ports;
    let (program, config) = (description.program.display(), site.config_dir.display());
    let shared = format!(
        "    network_mode: \"service:{name}-etcd\"\n    volumes:\n      - ${{HOLDFAST_BIN:?the program on this host}}:{program}:ro\n      - ./{name}/holdfast:{config}:ro\n"
    );
    text.push_str(&format!(
        "  {name}-etcd:
    <<: *machine
    command: [{etcd}, \"--config-file={etcd_config}/etcd.conf.yml\"]
    networks:
      default:
        aliases: [{aliases}]
    volumes:
      - ./{name}/etcd:{etcd_config}:ro
      - {name}-etcd:{etcd_data}
  {name}-site:
    <<: *machine
    command: [{program}, site, serve, {folder}, --listen, \"{blob}\", --metrics-listen, \"{metrics}\", --credentials, {config}/sites/{name}.credentials, --tls-cert, {cert}, --tls-key, {key}]
{shared}      - {name}-blob:{folder}
  {name}-gateway:
    <<: *machine
    command: [{program}, serve, --config, {config}/holdfast.toml]
{shared}      - {name}-data:{data}
      - ./{name}/holdfast/credentials:{data}/credentials:ro
",
        etcd = description.etcd.program.display(),
        etcd_config = site.etcd_config_dir.display(),
        etcd_data = site.etcd_data_dir.display(),
        aliases = aliases.join(", "),
        folder = folder.display(),
        blob = site.blob_host.listen(ports.blob),
        metrics = std::net::SocketAddr::new(site.admin, ports.metrics),
        cert = tls.blob_cert.display(),
        key = tls.blob_key.display(),
        data = site.data_dir.display(),
    ));
}
