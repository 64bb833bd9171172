//! A gateway whose sites are served by `holdfast site serve`.

use std::path::Path;

use e2e::{Server, SiteServer, certificate};

const SIZES: [usize; 3] = [1 << 10, 200 << 10, 20 << 20];

/// A gateway on five site servers.
fn five() -> (Server, Vec<SiteServer>) {
    let mut sites = Vec::new();
    let server = Server::with_config(|dir| {
        sites = (1..=5).map(|i| SiteServer::start(dir, &format!("dc{i}"))).collect();
        sites.iter().map(SiteServer::table).collect()
    });
    server.run("aws", &["s3", "mb", "s3://kept"]);
    (server, sites)
}

fn put_all(server: &Server, round: &str) {
    for (i, size) in SIZES.into_iter().enumerate() {
        std::fs::write(server.dir().join("object"), e2e::noise(i as u64, size)).expect("a file");
        server.run("aws", &["s3", "cp", "object", &format!("s3://kept/{round}/{i}")]);
    }
}

fn all_come_back(server: &Server, round: &str) {
    for (i, size) in SIZES.into_iter().enumerate() {
        server.run("aws", &["s3", "cp", &format!("s3://kept/{round}/{i}"), "again"]);
        let again = std::fs::read(server.dir().join("again")).expect("a file");
        assert!(again == e2e::noise(i as u64, size), "{round}/{i} came back different");
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn two_site_servers_are_killed_and_nothing_happens() {
    let (server, mut sites) = five();
    put_all(&server, "before");
    sites[1].kill();
    sites[4].kill();
    all_come_back(&server, "before");
    put_all(&server, "without");
    all_come_back(&server, "without");
    server.holdfast(&["site", "list"]);

    sites[1].boot();
    sites[4].boot();
    server.wait_whole();
    // What was written without them is theirs again.
    sites[0].kill();
    sites[2].kill();
    all_come_back(&server, "before");
    all_come_back(&server, "without");
}

/// By an authority that only the configuration knows.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn site_servers_over_tls() {
    let mut sites = Vec::new();
    let server = Server::with_config(|dir| {
        certificate(dir, "sites");
        sites = (1..=5).map(|i| SiteServer::secure(dir, &format!("dc{i}"), "sites")).collect();
        sites.iter().map(SiteServer::table).collect()
    });
    server.run("aws", &["s3", "mb", "s3://kept"]);
    put_all(&server, "a");
    sites[3].kill();
    all_come_back(&server, "a");
}

/// One that neither answers nor hangs up is not waited for.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_site_server_that_hangs_holds_up_nobody() {
    let (server, sites) = five();
    put_all(&server, "before");
    sites[2].signal("STOP");
    all_come_back(&server, "before");
    put_all(&server, "meanwhile");
    all_come_back(&server, "meanwhile");
    sites[2].signal("CONT");
    server.wait_whole();
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn any_s3_client_can_look_into_it() {
    let (server, mut sites) = five();
    put_all(&server, "a");
    let aws = |args: &[&str], keys: &[String; 2]| {
        let mut command = server.command("aws");
        command.args(args).env("AWS_ENDPOINT_URL", format!("http://{}", sites[0].address));
        let output = command.env("AWS_ACCESS_KEY_ID", &keys[0]).env("AWS_SECRET_ACCESS_KEY", &keys[1]).output();
        let output = output.expect("aws runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), told)
    };
    let keys = sites[0].keys();
    for (args, expected) in [
        (&["s3", "ls"][..], "site"),
        (&["s3", "ls", "s3://site/"], "holdfast-site.json"),
        (&["s3", "ls", "s3://site/"], "PRE shards/"),
        (&["s3", "ls", "--recursive", "s3://site/shards/"], "shards/"),
        (&["s3", "cp", "s3://site/holdfast-site.json", "-"], "\"dc1\""),
        (&["s3api", "head-bucket", "--bucket", "site"], ""),
        (&["s3api", "get-bucket-location", "--bucket", "site"], "LocationConstraint"),
    ] {
        let (good, told) = aws(args, &keys);
        assert!(good && told.contains(expected), "{args:?}: {told}");
    }
    let (good, told) = aws(&["s3api", "list-object-versions", "--bucket", "site"], &keys);
    assert!(!good && told.contains("NotImplemented"), "{told}");
    let (good, told) = aws(&["s3", "ls", "s3://site/"], &[keys[0].clone(), "another".to_owned()]);
    assert!(!good && told.contains("SignatureDoesNotMatch"), "{told}");
    for site in &mut sites {
        site.stop();
    }
}

/// Two writers of one folder would destroy it, whatever they are; and what is not there is not made up.
#[test]
#[ignore = "needs the binary; run `cargo xtask e2e`"]
fn a_folder_has_one_server() {
    let dir = tempfile::TempDir::new().expect("a directory");
    // Nothing was ever put into it.
    let site = SiteServer::start(dir.path(), "dc1");
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    let folder = path(site.folder());
    let (code, told) = e2e::site_serve(&[&folder, "--listen", "127.0.0.1:0"]);
    assert!(code == 2 && told.contains("in use by another process"), "{code} {told}");
    let config: String = (1..=5)
        .map(|i| format!("[[site]]\nname = \"dc{i}\"\nurl = \"file://{}/dc{i}\"\n", dir.path().display()))
        .collect();
    let (code, told) = e2e::serve(&dir.path().join("data"), &config);
    assert!(code == 2 && told.contains("in use by another process"), "{code} {told}");

    let missing = path(&dir.path().join("missing"));
    let (code, told) = e2e::site_serve(&[&missing]);
    assert!(code == 2 && told.contains("mount its disk"), "{code} {told}");
    let (code, told) = e2e::site_serve(&[&folder, "--listen", "0.0.0.0:0"]);
    assert!(code == 64 && told.contains("--insecure"), "{code} {told}");
}
