//! The clients that people have.

use std::path::Path;

use e2e::{HALF_A_TREE, Server, lose, same_trees, tree};

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn boto3_knows_every_verb() {
    Server::start().py("surface.py", &[]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn aws_cli_syncs() {
    let server = Server::counted();
    let tree = tree(&server);
    server.run("aws", &["s3", "mb", "s3://cli"]);
    server.run("aws", &["s3", "sync", "--quiet", &tree, "s3://cli/healthy"]);
    server.lose_after(HALF_A_TREE, ["dc1", "dc2"]);
    server.run("aws", &["s3", "sync", "--quiet", &tree, "s3://cli/tree"]);
    server.was_lost();
    for from in ["healthy", "tree"] {
        server.run("aws", &["s3", "sync", "--quiet", &format!("s3://cli/{from}"), "back"]);
        same_trees(&tree, &server.dir().join("back"));
        std::fs::remove_dir_all(server.dir().join("back")).expect("the copy");
    }
    server.run("aws", &["s3", "sync", "--quiet", "s3://cli/tree", "back"]);
    // What was deleted and what is new here, there too.
    std::fs::remove_file(Path::new(&tree).join("d0/file 0")).expect("a file");
    std::fs::write(Path::new(&tree).join("new"), "new").expect("a file");
    server.run("aws", &["s3", "sync", "--quiet", "--delete", &tree, "s3://cli/tree"]);
    server.run("aws", &["s3", "sync", "--quiet", "--delete", "s3://cli/tree", "back"]);
    same_trees(&tree, &server.dir().join("back"));
    server.run("aws", &["s3", "rm", "--recursive", "--quiet", "s3://cli"]);
    server.run("aws", &["s3", "rb", "s3://cli"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn rclone_syncs_and_checks() {
    let server = Server::counted();
    let tree = tree(&server);
    let config = server.dir().join("rclone.conf");
    let text = format!(
        "[hf]\ntype = s3\nprovider = Other\nenv_auth = true\nendpoint = http://{}\nregion = us-east-1\nforce_path_style = true\n",
        server.s3
    );
    std::fs::write(&config, text).expect("a configuration");
    let rclone = |args: &[&str]| {
        let config = config.to_str().expect("a path");
        server.run("rclone", &[&["--config", config, "--retries", "1", "--low-level-retries", "1"], args].concat())
    };
    rclone(&["mkdir", "hf:rclone"]);
    rclone(&["sync", &tree, "hf:rclone/healthy"]);
    rclone(&["check", &tree, "hf:rclone/healthy"]);
    server.lose_after(HALF_A_TREE, ["dc3", "dc4"]);
    rclone(&["sync", &tree, "hf:rclone/tree"]);
    server.was_lost();
    rclone(&["check", "--download", &tree, "hf:rclone/healthy"]);
    rclone(&["check", "--download", &tree, "hf:rclone/tree"]);
    rclone(&["sync", "hf:rclone/tree", "hf:rclone/again"]);
    // What is here no more goes there, too.
    std::fs::remove_dir_all(Path::new(&tree).join("d2")).expect("a folder");
    std::fs::write(Path::new(&tree).join("d1/new"), "new").expect("a file");
    rclone(&["sync", &tree, "hf:rclone/again"]);
    rclone(&["check", &tree, "hf:rclone/again"]);
    rclone(&["sync", "hf:rclone/again", "back"]);
    same_trees(&tree, &server.dir().join("back"));
    rclone(&["purge", "hf:rclone"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn s3cmd_syncs() {
    let server = Server::counted();
    let tree = tree(&server);
    let config = server.dir().join("s3cfg");
    let text = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {s3}\nhost_bucket = {s3}\nuse_https = False\nbucket_location = us-east-1\nmultipart_chunk_size_mb = 5\nmax_retries = 1\n",
        e2e::ACCESS_KEY,
        e2e::SECRET_KEY,
        s3 = server.s3
    );
    std::fs::write(&config, text).expect("a configuration");
    let s3cmd = |args: &[&str]| {
        server.run("s3cmd", &[&["-c", config.to_str().expect("a path"), "--no-progress"], args].concat())
    };
    s3cmd(&["mb", "s3://cmd"]);
    s3cmd(&["sync", &format!("{tree}/"), "s3://cmd/healthy/"]);
    server.lose_after(HALF_A_TREE, ["dc2", "dc4"]);
    s3cmd(&["sync", &format!("{tree}/"), "s3://cmd/tree/"]);
    server.was_lost();
    let big = server.dir().join("big");
    std::fs::write(&big, e2e::noise(13, 13 << 20)).expect("a file");
    s3cmd(&["put", "big", "s3://cmd/big"]);
    for from in ["healthy", "tree"] {
        let to = format!("back-{from}");
        let back = server.dir().join(&to);
        std::fs::create_dir(&back).expect("a folder");
        s3cmd(&["sync", &format!("s3://cmd/{from}/"), &format!("{to}/")]);
        same_trees(&tree, &back);
    }
    // Without its files; s3cmd takes no folders away.
    std::fs::remove_dir_all(Path::new(&tree).join("d3")).expect("a folder");
    std::fs::create_dir(Path::new(&tree).join("d3")).expect("a folder");
    s3cmd(&["sync", "--delete-removed", &format!("{tree}/"), "s3://cmd/tree/"]);
    s3cmd(&["sync", "--delete-removed", "s3://cmd/tree/", "back-tree/"]);
    same_trees(&tree, &server.dir().join("back-tree"));
    assert!(!s3cmd(&["ls", "--recursive", "s3://cmd/tree/"]).contains("/d3/"));
    s3cmd(&["get", "s3://cmd/big", "big.back"]);
    assert_eq!(std::fs::read(big).expect("a file"), std::fs::read(server.dir().join("big.back")).expect("a file"));
    s3cmd(&["del", "--recursive", "--force", "s3://cmd"]);
    s3cmd(&["rb", "s3://cmd"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn restic_backs_up_and_restores() {
    let server = Server::counted();
    let tree = tree(&server);
    let restic = |args: &[&str]| {
        let repository = format!("s3:http://{}/restic", server.s3);
        let output =
            server.command("restic").args(["-r", &repository]).args(args).env("RESTIC_PASSWORD", "test").output();
        let output = output.expect("restic runs");
        assert!(output.status.success(), "restic {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    restic(&["init"]);
    restic(&["backup", &format!("{tree}/d0"), &format!("{tree}/d1")]);
    // Half of what is in the other folders.
    server.lose_after(HALF_A_TREE / 2, ["dc1", "dc5"]);
    restic(&["backup", &tree]);
    server.was_lost();
    restic(&["restore", "latest", "--target", "back"]);
    same_trees(&tree, &server.dir().join("back").join(tree.trim_start_matches('/')));
    restic(&["check", "--read-data"]);
    restic(&["forget", "--keep-last", "1", "--prune"]);
    restic(&["check", "--read-data"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn parquet_is_written_and_filtered() {
    let server = Server::counted();
    server.py("parquet.py", &["write", "healthy"]);
    server.py("parquet.py", &["read", "healthy"]);
    server.lose_after(8_000_000, ["dc2", "dc3"]);
    server.py("parquet.py", &["write", "halfway"]);
    server.was_lost();
    server.py("parquet.py", &["read", "healthy"]);
    server.py("parquet.py", &["read", "halfway"]);
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn versions_locks_and_rules_live_through_two_lost_sites() {
    let server = Server::with_config(|dir| format!("lifecycle_day_s = 1\n{}", e2e::folders(dir)));
    server.py("versions.py", &["write"]);
    for site in ["s2", "s5"] {
        std::fs::remove_dir_all(server.dir().join(site)).expect("a site to remove");
    }
    server.py("versions.py", &["after"]);
}

/// Customers' keys, forms, websites and ACLs.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn keys_forms_and_websites_live_through_two_lost_sites() {
    let server = Server::start();
    server.py("edges.py", &["write"]);
    std::fs::write(server.dir().join("key"), [b'k'; 32]).expect("a key");
    let sse = ["--sse-c", "AES256", "--sse-c-key", "fileb://key"];
    let copy = |args: &[&str]| server.run("aws", &[&["s3", "cp"], args, &sse].concat());
    copy(&["sse12000000", "s3://edges/cli"]);
    lose(&server, ["dc1", "dc4"]);
    server.py("edges.py", &["after"]);
    copy(&["s3://edges/cli", "back"]);
    let read = |name: &str| std::fs::read(server.dir().join(name)).expect("a file");
    assert!(read("sse12000000") == read("back"));
}
