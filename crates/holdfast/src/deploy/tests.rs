//! Plans: what is generated is taken by those who read it, secrets are private and stay, mistakes are told together.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use time::macros::datetime;

use super::write::{Change, Folder, What};
use super::*;
use crate::config;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// The example, installed below `root` instead of `/`, without the bucket's file, which is not of the plan.
fn example(root: &Path) -> String {
    let root = root.display();
    let mut text = EXAMPLE.to_owned();
    for folder in ["/etc/holdfast", "/var/lib/holdfast"] {
        text = text.replace(&format!("\"{folder}"), &format!("\"{root}{folder}"));
    }
    text
}

fn planned(text: &str, folder: &Folder) -> Result<Plan, Mistakes> {
    planned_at(text, folder, NOW, None)
}

fn planned_at(text: &str, folder: &Folder, now: OffsetDateTime, renew: Option<Renew>) -> Result<Plan, Mistakes> {
    let description = Description::parse(text).unwrap_or_else(|Mistakes(mistakes)| panic!("{mistakes:#?}"));
    plan(&description, folder, &base::SystemRng, now, renew)
}

fn write(folder: &Folder, plan: &Plan) -> Vec<Change> {
    let changes = folder.compare(plan, false).unwrap_or_else(|failure| panic!("{failure:?}"));
    folder.write(plan, &changes).unwrap_or_else(|failure| panic!("{failure:?}"));
    changes
}

fn text_of(plan: &Plan, path: &str) -> String {
    let file = plan.files.iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("no {path}")).text.to_string()
}

/// As `install.sh` does, for the site whose files begin so, without owners.
fn install(plan: &Plan, site: &str) {
    for file in plan.files.iter().filter(|file| file.path.starts_with(&format!("{site}/"))) {
        let Some((to, _)) = &file.to else { continue };
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, file.text.as_bytes()).unwrap();
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(file.mode)).unwrap();
    }
}

#[test]
fn every_configuration_is_one() {
    for bucket in [true, false] {
        for site in ["dc1", "dc2", "dc3", "dc4", "dc5"] {
            let root = tempfile::tempdir().unwrap();
            let mut text = example(root.path());
            if !bucket {
                text = text.split("# Somebody's bucket").next().unwrap().to_owned();
                text.push_str("[[site]]\nname = \"dc5\"\nhost = \"2001:db8::5\"\nblob = \"folder:/srv/five\"\n");
            }
            let plan = planned(&text, &Folder(root.path().join("out"))).unwrap_or_else(|error| panic!("{error:?}"));
            install(&plan, site);
            let etc = root.path().join("etc/holdfast");
            if bucket {
                let file = etc.join("sites/dc5.bucket");
                std::fs::write(&file, "access_key = \"a\"\nsecret_key = \"b\"\n").unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            let config = config::check_file(&etc.join("holdfast.toml")).unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(config.sites.each_ref().map(|site| site.name.as_str()), ["dc1", "dc2", "dc3", "dc4", "dc5"]);
            assert_eq!(config.gateway, *site);
            let own = match site {
                "dc3" => "10.0.3.1:2379".to_owned(),
                "dc5" if !bucket => "[2001:db8::5]:2379".to_owned(),
                name => format!("{name}.example.com:2379"),
            };
            let toml = text_of(&plan, &format!("{site}/holdfast/holdfast.toml"));
            assert!(toml.contains(&format!("meta = \"etcd://holdfast@{own},")), "{toml}");
        }
    }
}

#[test]
fn every_certificate_is_good_for_its_names_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let plan = planned(&example(root.path()), &Folder(root.path().join("out"))).unwrap_or_else(|e| panic!("{e:?}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let der = |path: &str| CertificateDer::from_pem_slice(text_of(&plan, path).as_bytes()).unwrap();
    let roots = |path: &str| {
        let mut store = rustls::RootCertStore::empty();
        store.add(der(path)).unwrap();
        Arc::new(store)
    };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unix_timestamp() as u64));
    let server = |ca: &str, leaf: &str, name: &str| {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca), provider.clone()).build().unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(&der(leaf), &[], &name, &[], now).is_ok()
    };
    let client = |ca: &str, leaf: &str| {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), provider.clone()).build().unwrap();
        verifier.verify_client_cert(&der(leaf), &[], now).is_ok()
    };
    for (site, host) in [("dc1", "dc1.example.com"), ("dc3", "10.0.3.1")] {
        let leaf = |path: &str| format!("{site}/{path}.crt");
        let (gateway, blob, etcd, peer) =
            (leaf("holdfast/gateway"), leaf("holdfast/blob"), leaf("etcd/server"), leaf("etcd/peer"));
        for name in [host, "127.0.0.1", "localhost", "s3.example.com", "bucket.s3.example.com", "x.web.example.com"] {
            assert!(server("ca/ca.crt", &gateway, name), "{gateway} for {name}");
        }
        for (ca, leaf) in [("ca/ca.crt", &blob), ("ca/ca.crt", &etcd), ("ca/peer-ca.crt", &peer)] {
            assert!(server(ca, leaf, host), "{leaf} for {host}");
            assert!(!server(ca, leaf, "dc2.example.com"), "{leaf} for another machine");
        }
        // A client of etcd joins no members, a member or a server is no client.
        assert!(client("ca/ca.crt", &leaf("holdfast/etcd-client")) && client("ca/peer-ca.crt", &peer));
        for (ca, leaf) in [
            ("ca/peer-ca.crt", leaf("holdfast/etcd-client")),
            ("ca/ca.crt", peer),
            ("ca/ca.crt", gateway),
            ("ca/ca.crt", etcd),
            ("ca/ca.crt", blob),
        ] {
            assert!(!client(ca, &leaf), "{leaf} comes as a client of {ca}");
        }
    }
}

#[test]
fn a_second_run_changes_nothing_and_secrets_are_private() {
    let root = tempfile::tempdir().unwrap();
    let (text, folder) = (example(root.path()), Folder(root.path().join("out")));
    let first = planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}"));
    let dry = folder.compare(&first, false).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(dry.len() == first.files.len() && !folder.0.exists(), "a dry run writes nothing");
    assert!(write(&folder, &first).iter().all(|change| change.what == What::Made));
    let later = planned_at(&text, &folder, NOW + time::Duration::days(200), None).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(write(&folder, &later), []);

    let mut seen = BTreeMap::new();
    for file in &later.files {
        let mode = std::fs::metadata(folder.0.join(&file.path)).unwrap().mode() & 0o777;
        let secret = ["PRIVATE KEY", "secret_key = \""].iter().any(|word| file.text.contains(word))
            || file.path.ends_with("password");
        assert_eq!(secret, matches!(file.kind, Kind::Secret), "{}", file.path);
        assert_eq!(mode & 0o077 == 0, secret, "{}: {mode:o}", file.path);
        seen.insert(file.path.as_str(), mode);
    }
    assert_eq!(std::fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);
    let credentials = |site: &str| text_of(&later, &format!("{site}/holdfast/credentials"));
    assert_eq!(credentials("dc1"), credentials("dc5"));
    assert!(!later.files.iter().any(|file| file.path.ends_with("dc5.credentials")), "a bucket's keys are not ours");

    // A secret that others may read is shut again; an edited file is not overwritten unasked.
    let secret = folder.0.join("dc1/holdfast/credentials");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let shut = write(&folder, &planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    assert_eq!(shut, [Change { path: "dc1/holdfast/credentials".to_owned(), what: What::Mode }]);
    let edited = folder.0.join("dc2/holdfast/holdfast.toml");
    std::fs::write(&edited, "# mine\n").unwrap();
    let plan = planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(folder.compare(&plan, false).unwrap_err().error.contains("dc2/holdfast/holdfast.toml"));
    assert_eq!(folder.compare(&plan, true).unwrap_or_else(|e| panic!("{e:?}")).len(), 1);
}

#[test]
fn what_is_lost_or_differs() {
    let root = tempfile::tempdir().unwrap();
    let (text, folder) = (example(root.path()), Folder(root.path().join("out")));
    write(&folder, &planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    let read = |path: &str| std::fs::read_to_string(folder.0.join(path)).unwrap();
    let (credentials, authority) = (read("dc1/holdfast/credentials"), read("ca/ca.crt"));

    // One that a site lost comes from the others.
    std::fs::remove_file(folder.0.join("dc1/holdfast/credentials")).unwrap();
    write(&folder, &planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    assert_eq!(read("dc1/holdfast/credentials"), credentials);

    // The authorities' keys are taken away, as they should be: nothing needs them, and no new authority is made.
    let away = root.path().join("safe");
    std::fs::rename(folder.0.join("ca"), &away).unwrap();
    let plan = planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}"));
    write(&folder, &plan);
    assert_eq!(read("ca/ca.crt"), authority);
    assert!(!folder.0.join("ca/ca.key").exists() && !folder.0.join("ca/etcd-root.password").exists());
    let moved = text.replace("dc2.example.com", "dc2.example.net");
    let Err(Mistakes(mistakes)) = planned(&moved, &folder) else { panic!("signed without a key") };
    assert!(mistakes.len() == 4 && mistakes[0].contains("bring it back"), "{mistakes:?}");

    // With them a machine that moved has certificates for its new name, under the keys that it has.
    for file in ["ca.key", "peer-ca.key"] {
        std::fs::copy(away.join(file), folder.0.join("ca").join(file)).unwrap();
    }
    let key = read("dc2/holdfast/gateway.key");
    let changes = write(&folder, &planned(&moved, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    let changed: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
    assert!(changed.contains(&"dc2/holdfast/gateway.crt") && !changed.contains(&"dc1/holdfast/gateway.crt"));
    assert_eq!(read("dc2/holdfast/gateway.key"), key);

    std::fs::write(folder.0.join("dc4/holdfast/credentials"), "access_key = \"x\"\nsecret_key = \"y\"\n").unwrap();
    let Err(Mistakes(mistakes)) = planned(&moved, &folder) else { panic!("two roots") };
    assert!(mistakes[0].contains("differ, and must not"), "{mistakes:?}");
    std::fs::remove_file(folder.0.join("dc4/holdfast/credentials")).unwrap();
    let renamed = moved.replace("name = \"example\"", "name = \"other\"");
    let Err(Mistakes(mistakes)) = planned(&renamed, &folder) else { panic!("another cluster's authority") };
    assert!(mistakes[0].contains("not the authority of other"), "{mistakes:?}");
}

#[test]
fn certificates_are_renewed() {
    let root = tempfile::tempdir().unwrap();
    let (text, folder) = (example(root.path()), Folder(root.path().join("out")));
    write(&folder, &planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    let renew = |within_days, new_keys| Some(Renew { within_days, new_keys });
    // (days since they were made, what was asked, certificates and keys made anew)
    for (days, asked, certificates, keys) in [
        (300, renew(60, false), 0, 0),
        (306, renew(60, false), 24, 0),
        (310, renew(60, false), 0, 0),
        (311, renew(0, true), 24, 24),
        (312, None, 0, 0),
    ] {
        let plan = planned_at(&text, &folder, NOW + time::Duration::days(days), asked);
        let changes = write(&folder, &plan.unwrap_or_else(|e| panic!("{e:?}")));
        let count = |end: &str| changes.iter().filter(|change| change.path.ends_with(end)).count();
        assert_eq!((count(".crt"), count(".key")), (certificates, keys), "day {days}: {changes:?}");
        assert_eq!(changes.len(), certificates + keys);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = EXAMPLE
        .replace("name = \"example\"", "name = \"Example\"")
        .replace("\"eu-central-1\"", "\"Über\"")
        .replace("s3.example.com\"]", "s3.example.com:80\"]")
        .replace("version = \"3.4\"", "version = \"2.3\"")
        .replace("election_ms = 1000", "election_ms = 300")
        .replace("quota_mib = 4096", "quota_mib = 9000")
        .replace("\"new\"", "\"old\"")
        .replace("\"dc3\"", "\"dc1\"")
        .replace("\"dc4.example.com\"", "\"dc4.example.com:9000\"")
        .replacen("folder:/srv/holdfast", "folder:srv", 1)
        .replace("tls = \"make\"", "tls = \"none\"")
        .replace("program = \"/usr/bin/holdfast\"", "program = \"/usr/bin/hold fast\"")
        .replace("credentials_file", "secret_access_key");
    let Err(Mistakes(mistakes)) = Description::parse(&text) else { panic!("accepted") };
    for word in [
        "name: \"Example\"",
        "region: ",
        "domains: \"s3.example.com:80\"",
        "etcd.version: \"2.3\"",
        "etcd.election_ms: 300",
        "etcd.quota_mib: 9000",
        "etcd.cluster: \"old\"",
        "site dc1: its name is used twice",
        "host: \"dc4.example.com:9000\"",
        "blob: \"srv\"",
        "tls: give \"make\"",
        "program: \"/usr/bin/hold fast\"",
        "secret_access_key is a secret",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake.contains(word)), "{word} in {mistakes:#?}");
    }
}

#[test]
fn single_mistakes() {
    let with = |from: &str, to: &str| EXAMPLE.replacen(from, to, 1);
    for (text, expected) in [
        (with("name = \"example\"", "name = \"example\"\ncolour = \"red\""), "unknown field `colour`"),
        (with("s3 = 9000", "s4 = 9000"), "unknown field `s4`"),
        (with("quota_mib", "quota"), "unknown field `quota`"),
        (with("host = \"dc2.example.com\"", "hosts = \"x\""), "unknown field `hosts`"),
        (with("tls = \"make\"", "tls = { ca = \"/x\", colour = \"/y\" }"), "tls: unknown field `colour`"),
        (with("tls = \"make\"", "tls = { ca = \"/x\" }"), "tls: missing field"),
        (
            with("[[site]]\nname = \"dc2\"\nhost = \"dc2.example.com\"\nblob = \"folder:/srv/holdfast\"\n", ""),
            "4 sites",
        ),
        (with("\"dc2.example.com\"", "\"dc1.example.com\""), "are both at dc1.example.com, port 9000"),
        (with("\"dc2.example.com\"", "\"dc1.example.com\""), "share /srv/holdfast of dc1.example.com"),
        (with("kms = 9002", "kms = 9000"), "are both at"),
        (
            with("blob = \"folder:/srv/holdfast\"", "blob = \"folder:/etc/holdfast/x\""),
            "lies in another of its folders",
        ),
        (with("blob = \"folder:/srv/holdfast\"", "blob = \"ftp://x\""), "give folder:/absolute/path"),
        (with("name = \"dc2\"", "name = \"ca\""), "is not ca or compose"),
        (with("\"folder:/srv/holdfast\"", "\"folder:/srv/../holdfast\""), "no absolute path"),
        (with("user = \"holdfast\"", "user = \"a b\""), "no name of a user"),
    ] {
        let Err(Mistakes(mistakes)) = Description::parse(&text) else { panic!("accepted, and not: {expected}") };
        assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected} in {mistakes:#?}");
    }
    let far = Description::parse(&with("# rtt_ms = 30", "rtt_ms = 250")).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(far.advice[0].contains("heartbeat_ms = 250 and election_ms = 2500"), "{:?}", far.advice);
    assert!(Description::parse(EXAMPLE).is_ok_and(|description| description.advice.is_empty()));
}

/// Tells, past the capture of the tests, what could not be tried.
fn runs(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), "\nSKIPPED {program}: it is not installed");
    }
    there
}

#[test]
fn units_are_units() {
    if !runs("systemd-analyze") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    // Programs that every machine has: the verifier looks for them.
    let text = example(root.path()).replace("/usr/bin/holdfast", "/bin/true").replace("/usr/bin/etcd", "/bin/true");
    let folder = Folder(root.path().join("out"));
    write(&folder, &planned(&text, &folder).unwrap_or_else(|e| panic!("{e:?}")));
    for unit in [units::GATEWAY, units::BLOB, units::ETCD] {
        let path = folder.0.join("dc1/systemd").join(unit);
        let mut text = std::fs::read_to_string(&path).unwrap();
        // Users of the plan are not on this machine.
        text = text.replace("User=holdfast\n", "User=root\n").replace("User=etcd\n", "User=root\n");
        std::fs::write(&path, text).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // It looks at other units too, which are not ours to mend.
        let ours: Vec<_> = told.lines().filter(|line| line.contains("holdfast")).collect();
        assert!(ours.is_empty(), "{unit}: {ours:#?}");
    }
}

#[test]
fn scripts_are_scripts() {
    let root = tempfile::tempdir().unwrap();
    let plan = planned(&example(root.path()), &Folder(root.path().join("out"))).unwrap_or_else(|e| panic!("{e:?}"));
    for script in ["etcd-auth.sh", "dc1/install.sh", "dc5/install.sh"] {
        let path = root.path().join("script");
        std::fs::write(&path, text_of(&plan, script)).unwrap();
        let output = Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let install = text_of(&plan, "dc1/install.sh");
    assert!(install.contains("set -eu") && !install.contains("curl"));
    assert!(!text_of(&plan, "dc5/install.sh").contains("holdfast-site.service"), "a bucket has no server of ours");
    let secret = text_of(&plan, "ca/etcd-root.password");
    assert!(
        plan.files.iter().filter(|file| file.text.contains(secret.trim())).count() == 1,
        "one place for etcd's root"
    );
}

#[test]
fn containers_are_for_machines_with_names_and_folders() {
    let text = EXAMPLE.replace("10.0.3.1", "dc3.example.com");
    let text = text.split("# Somebody's bucket").next().unwrap().to_owned();
    let text = text + "[[site]]\nname = \"dc5\"\nhost = \"dc5.example.com\"\nblob = \"folder:/srv/five\"\n";
    let description =
        |text: &str| Description::parse(text).unwrap_or_else(|Mistakes(mistakes)| panic!("{mistakes:#?}"));
    let yaml = compose::yaml(&description(&text)).unwrap_or_else(|e| panic!("{e:?}"));
    for site in ["dc1", "dc2", "dc3", "dc4", "dc5"] {
        for role in ["etcd", "site", "gateway"] {
            assert!(yaml.contains(&format!("  {site}-{role}:\n    <<: *machine\n")), "{yaml}");
        }
        assert!(yaml.contains(&format!("aliases: [{site}.example.com]")), "{yaml}");
    }
    let Err(Mistakes(mistakes)) = compose::yaml(&description(EXAMPLE)) else { panic!("accepted") };
    assert!(mistakes.len() == 2 && mistakes[0].contains("10.0.3.1") && mistakes[1].contains("dc5 is a bucket"));
}
