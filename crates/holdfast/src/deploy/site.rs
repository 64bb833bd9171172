//! The files of one site: the gateway's configuration, what it knows the others by, and the certificates of its roles.

use std::path::{Path, PathBuf};

use super::authority::{Authority, Leaf, Use};
use super::description::{Blob, SitePlan, TlsPaths};
use super::secrets::Secrets;
use super::{Description, Existing, File, Kind, Mistakes, Owner, Renew, etcd, units};

/// Etcd's user that gateways come as.
pub(crate) const ETCD_USER: &str = "holdfast";

/// Where certificates lie on a site's machine: those of the plan, or the operator's.
pub(crate) fn tls_paths(description: &Description, site: &SitePlan) -> TlsPaths {
    let (own, etcd) = (|name: &str| site.config_dir.join(name), |name: &str| site.etcd_config_dir.join(name));
    description.tls.clone().unwrap_or_else(|| TlsPaths {
        ca: own("ca.crt"),
        peer_ca: etcd("peer-ca.crt"),
        gateway_cert: own("gateway.crt"),
        gateway_key: own("gateway.key"),
        blob_cert: own("blob.crt"),
        blob_key: own("blob.key"),
        etcd_cert: etcd("server.crt"),
        etcd_key: etcd("server.key"),
        peer_cert: etcd("peer.crt"),
        peer_key: etcd("peer.key"),
        client_cert: own("etcd-client.crt"),
        client_key: own("etcd-client.key"),
    })
}

/// What etcd's own authority for clients is called where it reads it: its user cannot read the gateway's folder.
pub(crate) fn etcd_ca(description: &Description, site: &SitePlan) -> PathBuf {
    description.tls.as_ref().map_or_else(|| site.etcd_config_dir.join("ca.crt"), |tls| tls.ca.clone())
}

/// All but certificates and the script.
pub(crate) fn files(description: &Description, index: usize, secrets: &Secrets, files: &mut Vec<File>) {
    let site = &description.sites[index];
    let name = &site.name;
    let own = |file: &str| format!("{name}/holdfast/{file}");
    let put = |file: &str| site.config_dir.join(file);
    files.push(File::config(&own("holdfast.toml"), gateway(description, index)).to(&put("holdfast.toml"), Owner::Root));
    files.push(File::config(&own("env"), environment(description, site)).to(&put("env"), Owner::Root));
    files.push(File::secret(&own("etcd.password"), secrets.etcd.clone()).to(&put("etcd.password"), Owner::Holdfast));
    let root = site.data_dir.join("credentials");
    files.push(File::secret(&own("credentials"), secrets.root.clone()).to(&root, Owner::Holdfast));
    for (other, text) in description.sites.iter().zip(&secrets.blobs) {
        if let Some(text) = text {
            let file = format!("sites/{}.credentials", other.name);
            files.push(File::secret(&own(&file), text.clone()).to(&put(&file), Owner::Holdfast));
        }
    }
    let conf = File::config(&format!("{name}/etcd/etcd.conf.yml"), etcd::conf(description, index));
    files.push(conf.to(&site.etcd_config_dir.join("etcd.conf.yml"), Owner::Root));
    for (unit, text) in units::all(description, index) {
        // Where units go is for the script to say.
        files.push(File::config(&format!("{name}/systemd/{unit}"), text));
    }
}

/// The certificates of a site's roles, each under a key of its own.
///
/// # Errors
/// See [`Authority::leaf`]; all of them.
pub(crate) fn certificates(
    description: &Description,
    index: usize,
    services: &Authority,
    peers: &Authority,
    existing: &dyn Existing,
    renew: Option<Renew>,
    files: &mut Vec<File>,
) -> Result<(), Mistakes> {
    let site = &description.sites[index];
    let name = &site.name;
    let copies = [
        (format!("{name}/holdfast/ca.crt"), services, site.config_dir.join("ca.crt")),
        (format!("{name}/etcd/ca.crt"), services, site.etcd_config_dir.join("ca.crt")),
        (format!("{name}/etcd/peer-ca.crt"), peers, site.etcd_config_dir.join("peer-ca.crt")),
    ];
    for (path, authority, to) in copies {
        files.push(File::public(&path, authority.certificate()).to(&to, Owner::Root));
    }
    let with = |first: &[&str]| {
        let mut names: Vec<String> = Vec::new();
        for name in first.iter().map(|name| (*name).to_owned()).chain(site.names.iter().cloned()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    let admin = site.admin.to_string();
    let mut gateway = with(&[site.gateway.bare(), &admin, "localhost", "127.0.0.1"]);
    for domain in description.domains.iter().chain(&description.website_domains) {
        for name in [domain.clone(), format!("*.{domain}")] {
            if !gateway.contains(&name) {
                gateway.push(name);
            }
        }
    }
    let etcd = with(&[site.etcd_host.bare()]);
    let blob = matches!(site.blob, Blob::Folder(_)).then(|| with(&[site.blob_host.bare()]));
    let leaves = [
        (Some(gateway), "gateway", "holdfast/gateway", Use::Server, services),
        (blob, "site server", "holdfast/blob", Use::Server, services),
        // Without names: etcd would compare those with where it comes from.
        (Some(Vec::new()), "client of etcd", "holdfast/etcd-client", Use::Client, services),
        (Some(etcd.clone()), "etcd", "etcd/server", Use::Server, services),
        (Some(etcd), "peer of etcd", "etcd/peer", Use::Both, peers),
    ];
    let mut mistakes = Vec::new();
    for (names, role, path, usage, authority) in leaves {
        let Some(names) = names else { continue };
        let path = format!("{name}/{path}");
        let role = format!("{role} {name}");
        let made = files.len();
        match authority.leaf(&Leaf { path: &path, role: &role, names, usage }, existing, renew, files) {
            Ok(()) => files[made..].iter_mut().for_each(|file| file.to = Some(place(site, file))),
            Err(Mistakes(more)) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes)) }
}

fn place(site: &SitePlan, file: &File) -> (PathBuf, Owner) {
    let (folder, user) = if file.path.contains("/etcd/") {
        (&site.etcd_config_dir, Owner::Etcd)
    } else {
        (&site.config_dir, Owner::Holdfast)
    };
    let name = Path::new(&file.path).file_name().unwrap_or_default();
    (folder.join(name), if file.kind == Kind::Public { Owner::Root } else { user })
}

/// A string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")
}

/// `holdfast.toml`: its own member of etcd comes first, since members are asked in that order. The sites have the same order everywhere:
/// it is the order of the slots.
fn gateway(description: &Description, index: usize) -> String {
    let site = &description.sites[index];
    let ports = description.ports;
    let tls = tls_paths(description, site);
    let members: Vec<String> = (0..description.sites.len())
        .map(|step| &description.sites[(index + step) % description.sites.len()])
        .map(|site| site.etcd_host.with_port(ports.etcd))
        .collect();
    let mut text = format!(
        "# Made by `holdfast deploy plan`: the gateway of site {name} of {cluster}.
gateway = {quoted_name}
data_dir = {data_dir}
listen = \"{listen}\"
admin_listen = \"{admin}\"
kms_listen = \"{kms}\"
tls_cert = {cert}
tls_key = {key}
region = {region}
",
        name = site.name,
        cluster = description.name,
        quoted_name = quoted(&site.name),
        data_dir = shown(&site.data_dir),
        listen = site.gateway.listen(ports.s3),
        admin = std::net::SocketAddr::new(site.admin, ports.admin),
        kms = site.gateway.listen(ports.kms),
        cert = shown(&tls.gateway_cert),
        key = shown(&tls.gateway_key),
        region = quoted(&description.region),
    );
    for (key, domains) in [("domains", &description.domains), ("website_domains", &description.website_domains)] {
        if !domains.is_empty() {
            text.push_str(&format!("{key} = [{}]\n", list(domains)));
        }
    }
    text.push_str(&format!(
        "# This site's own member first.
meta = {url}

[meta_options]
ca = {ca}
cert = {cert}
key = {key}
password_file = {password}
quota_bytes = \"{quota}\"

# The order is that of the slots, at every gateway the same: never change it.
",
        url = quoted(&format!("etcd://{ETCD_USER}@{}/{}", members.join(","), description.etcd.prefix)),
        ca = shown(&tls.ca),
        cert = shown(&tls.client_cert),
        key = shown(&tls.client_key),
        password = shown(&site.config_dir.join("etcd.password")),
        quota = description.etcd.quota_bytes,
    ));
    for other in &description.sites {
        text.push_str(&format!("[[site]]\nname = {}\n", quoted(&other.name)));
        match &other.blob {
            Blob::Folder(_) => text.push_str(&format!(
                "url = \"s3://site/\"\n[site.options]\nendpoint = {}\ncredentials_file = {}\nca_certificate_file = {}\n\n",
                quoted(&format!("https://{}", other.blob_host.with_port(ports.blob))),
                shown(&site.config_dir.join(format!("sites/{}.credentials", other.name))),
                shown(&tls.ca),
            )),
            Blob::Bucket { url, options } => {
                text.push_str(&format!("url = {}\n", quoted(url)));
                if !options.is_empty() {
                    text.push_str("[site.options]\n");
                }
                for (key, value) in options {
                    text.push_str(&format!("{} = {}\n", quoted(key), quoted(value)));
                }
                text.push('\n');
            }
        }
    }
    text
}

/// What `holdfast` at the command line of this machine needs to know.
fn environment(description: &Description, site: &SitePlan) -> String {
    let tls = tls_paths(description, site);
    format!(
        "# For the command line: set -a; . {env}; set +a
HOLDFAST_ADMIN=https://{admin}
HOLDFAST_ADMIN_CA={ca}
HOLDFAST_CONFIG={config}
HOLDFAST_DATA_DIR={data}
",
        env = site.config_dir.join("env").display(),
        admin = std::net::SocketAddr::new(site.admin, description.ports.admin),
        ca = tls.ca.display(),
        config = site.config_dir.join("holdfast.toml").display(),
        data = site.data_dir.display(),
    )
}
