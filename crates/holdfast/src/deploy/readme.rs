//! What the operator reads: the commands of day one in their order, and where the authorities' keys belong.

use super::Description;
use super::description::Blob;
use super::etcd::endpoints;
use super::site::tls_paths;

/// `ca/README`.
pub(crate) fn of_authorities(description: &Description) -> String {
    let keys = match &description.tls {
        None => {
            "ca.key       signs certificates of services. Who has it can be any gateway, site server or client of etcd.
peer-ca.key  signs certificates of etcd's members. Who has it can join etcd, and read and change all metadata."
        }
        Some(_) => "There are no keys here: the certificates are of an authority of your own.",
    };
    format!(
        "The keys of {cluster}'s authorities, and the password of etcd's root.

{keys}
etcd-root.password   what etcd's own administrator needs: adding users, and everything else.

None of them is needed to run. When the machines have their files, move this folder off this machine: to a disk that lies in a safe,
twice. Bring it back, to the place where it was, to renew certificates (`holdfast deploy renew`, once a year), to change names of
machines, or to look after etcd as its root. `holdfast deploy plan` works without it as long as nothing has to be signed.
",
        cluster = description.name,
    )
}

/// `README.md`.
pub(crate) fn day_one(description: &Description) -> String {
    let sites = &description.sites;
    let [first, others @ ..] = sites;
    let ports = description.ports;
    let user = &description.user;
    let (config, data) = (first.config_dir.display(), first.data_dir.display());
    let copies: String = sites
        .iter()
        .map(|site| {
            let host = site.gateway.bare();
            format!("    scp -rp {name} root@{host}:/root/holdfast-{name}\n", name = site.name)
        })
        .collect();
    let folders = sites.iter().any(|site| matches!(site.blob, Blob::Folder(_)));
    let start_sites = if folders {
        format!(
            "## 4. Start the site servers

On each machine with a folder:

    systemctl enable --now holdfast-site

*Check*, on each: `curl -s http://{admin}/health` prints `empty`: a folder that no cluster has taken yet.
",
            admin = std::net::SocketAddr::new(first.admin, ports.metrics),
        )
    } else {
        "## 4. Buckets\n\nAll sites are buckets: there are no site servers to start.\n".to_owned()
    };
    let wraps: String = others
        .iter()
        .map(|site| {
            format!(
                "    {host:<24} as holdfast key site create {name}       # prints FINGERPRINT; read it there
    {host:<24} # bring {data}/site.pub to {first} as {first_data}/{name}.pub, owned by {user}
    {first:<24} as holdfast key root wrap {first_data}/{name}.pub --fingerprint FINGERPRINT --out {first_data}/{name}.wrap
    {host:<24} # bring {name}.wrap here as {data}/root.wrap, owned by {user}
    {host:<24} as holdfast key root accept {data}/root.wrap
",
                host = site.gateway.bare(),
                name = site.name,
                data = site.data_dir.display(),
                first = first.gateway.bare(),
                first_data = first.data_dir.display(),
            )
        })
        .collect();
    format!(
        "# {cluster}: day one

Made by `holdfast deploy plan`. Edit the description, not these files, and plan again: secrets and certificates that exist stay.
What comes after day one is in `docs/operate/`.

## 1. Bring the files to the machines

{copies}
On each machine, as root, with `holdfast` at {program}:

    apt-get install etcd-server etcd-client
    systemctl disable --now etcd             # the package's own, with its own folder; ours is holdfast-etcd
    cd /root/holdfast-* && ./install.sh --day-one

*Check*: it ends with `in place`. `holdfast config check {config}/holdfast.toml` finds no mistake.
**Then remove /root/holdfast-\\***: it has copies of secrets.

Machines must reach each other at ports {etcd} and {peer} (etcd) and {blob} (sites), clients at {s3} and {kms}. Clocks must agree (NTP).

## 2. Start etcd, everywhere

    systemctl enable --now --no-block holdfast-etcd

A member is ready when three run, so start all five before you wait for one.
*Check*, on each: `curl -s http://{etcd_health}/health` says `\"true\"`.

## 3. Turn authentication on

Here, where this file is, with `etcdctl` and a way to port {etcd} of the machines:

    ./etcd-auth.sh

*Check*: it prints the users `holdfast` and `root`. From now on who has a certificate needs a password, too.

{start_sites}
## 5. The first gateway makes the cluster and its root key

On {first_host}:

    systemctl enable --now holdfast
    as() {{ runuser -u {user} -- env $(grep -v '^#' {config}/env) \"$@\"; }}    # on the other machines, too
    as holdfast status

*Check*: `whole`. {data}/root.key is there now: **nothing opens without it**. Make a first bucket, so that the other machines can try their root key on
something (keys: {first_name}/holdfast/credentials):

    AWS_CA_BUNDLE={ca} aws --endpoint-url https://{s3_host} s3 mb s3://first

## 6. Give the root key to the other four

Wrapped to a key of each machine, so that it is never carried in clear. On {first_host}: `systemctl stop holdfast`. Then, for each of them
(`as` from step 5, defined there with its own paths):

{wraps}
*Check*: `accept` says that it opens what is in this installation. A fingerprint that differs: stop, and find out who changed the file.
Then, on all five:

    systemctl enable --now holdfast

*Check*: `as holdfast status` is `whole` at each, and `as holdfast meta status` lists five members without a warning.

## 7. Before anything is stored

    as holdfast key root split              # on {first_host}: five shares for five people, on paper
    as holdfast key root check              # three of them, tried

* `ca/` goes away from here: see ca/README.
* Root's access key and secret are in {first_name}/holdfast/credentials (the same at all gateways). Make users with them, then keep them apart.
* etcd, for its administrator: ETCDCTL_ENDPOINTS={endpoints}
* In the description: `cluster = \"existing\"` under `[etcd]`, and plan again, for the day a member is made anew.
* Try it: stop two machines. Nothing happens.
",
        cluster = description.name,
        program = description.program.display(),
        etcd = ports.etcd,
        peer = ports.peer,
        blob = ports.blob,
        s3 = ports.s3,
        ca = tls_paths(description, first).ca.display(),
        s3_host = first.gateway.with_port(ports.s3),
        kms = ports.kms,
        etcd_health = std::net::SocketAddr::new(first.admin, ports.etcd_metrics),
        first_host = first.gateway.bare(),
        first_name = first.name,
        endpoints = endpoints(description),
    )
}
