//! Software that keeps its data in a bucket: file systems, a registry of images, tables, states. Each is at
//! work when two sites go.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{HALF_A_TREE, Server, noise, same_trees, tree};

const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether this machine lets us mount, which a bare container does not; else the test is told to be skipped.
fn can_mount(test: &str) -> bool {
    let probe = tempfile::tempdir().expect("a folder");
    let run = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .arg(probe.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let can = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
        && run("mount", &["-t", "tmpfs", "none"])
        && run("umount", &[]);
    if !can {
        e2e::skip(test, "/dev/fuse and the right to mount are not here");
    }
    can
}

/// A file system in user space, on a folder.
struct Mounted {
    dir: PathBuf,
    child: Child,
    log: PathBuf,
}

impl Mounted {
    fn start(server: &Server, program: &str, args: impl FnOnce(&str) -> Vec<String>) -> Self {
        let dir = server.dir().join("mounted");
        std::fs::create_dir_all(&dir).expect("a folder");
        let log = server.dir().join(format!("{program}.log"));
        let to = || Stdio::from(std::fs::File::options().create(true).append(true).open(&log).expect("a log"));
        let mut command = server.command(program);
        command.args(args(dir.to_str().expect("a path"))).stdout(to()).stderr(to());
        let child =
            command.spawn().unwrap_or_else(|e| panic!("{program} does not run: {e}; `cargo xtask e2e` installs it"));
        let mounted = Self { dir, child, log };
        let point = mounted.dir.to_str().expect("a path").to_owned();
        until(&format!("mounting by {program}: {}", mounted.told()), || {
            std::fs::read_to_string("/proc/self/mounts").expect("mounts").lines().any(|line| line.contains(&point))
        });
        mounted
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-uz").arg(&self.dir).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn rclone_mounts_and_reads() {
    if !can_mount("rclone_mounts_and_reads") {
        return;
    }
    let server = Server::counted();
    let tree = tree(&server);
    server.run("aws", &["s3", "mb", "s3://disk"]);
    server.run("aws", &["s3", "sync", "--quiet", &tree, "s3://disk/tree"]);
    let remote = format!(
        ":s3,provider=Other,env_auth=true,endpoint='http://{}',region=us-east-1,force_path_style=true:disk",
        server.s3
    );
    let disk = Mounted::start(&server, "rclone", |dir| {
        // Nothing of it is kept: each read is one of the bucket.
        let args =
            ["mount", &remote, dir, "--vfs-cache-mode", "off", "--dir-cache-time", "1s", "--config", "/dev/null"];
        args.map(str::to_owned).to_vec()
    });
    same_trees(&tree, &disk.path("tree"));
    server.lose_after(HALF_A_TREE, ["dc1", "dc4"]);
    same_trees(&tree, &disk.path("tree"));
    server.was_lost();
    same_trees(&tree, &disk.path("tree"));
    // The middle of a file, and what is behind it.
    let mut file = std::fs::File::open(disk.path("tree/d1/file 5")).expect("a file");
    file.seek(SeekFrom::Start(1_000_001)).expect("a place in it");
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).expect("the rest of it");
    assert!(rest == std::fs::read(Path::new(&tree).join("d1/file 5")).expect("the file")[1_000_001..]);
    std::fs::copy(Path::new(&tree).join("d1/file 5"), disk.path("written")).expect("a file written");
    until("the file that was written", || disk.path("written").metadata().is_ok_and(|meta| meta.len() == 2_000_000));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn s3fs_is_a_file_system() {
    if !can_mount("s3fs_is_a_file_system") {
        return;
    }
    let server = Server::counted();
    let tree = tree(&server);
    server.run("aws", &["s3", "mb", "s3://disk"]);
    let url = format!("url=http://{}", server.s3);
    let disk = Mounted::start(&server, "s3fs", |dir| {
        let args = ["disk", dir, "-f", "-o", &url, "-o", "use_path_request_style", "-o", "endpoint=us-east-1"];
        // Small parts, and nothing kept, so that much is asked of the bucket.
        let more = ["-o", "multipart_size=5", "-o", "stat_cache_expire=1", "-o", "retries=1"];
        args.into_iter().chain(more).map(str::to_owned).collect()
    });
    let run = |program: &str, args: &[&str]| {
        let done = server.command(program).args(args).output().expect("the program runs");
        assert!(done.status.success(), "{args:?}\n{}\n{}", String::from_utf8_lossy(&done.stderr), disk.told());
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    run("cp", &["-r", &tree, "mounted/one"]);
    same_trees(&tree, &disk.path("one"));
    server.lose_after(HALF_A_TREE, ["dc2", "dc5"]);
    run("cp", &["-r", &tree, "mounted/two"]);
    server.was_lost();
    same_trees(&tree, &disk.path("one"));
    same_trees(&tree, &disk.path("two"));
    std::fs::rename(disk.path("two/d1"), disk.path("two/renamed")).expect("a folder renamed");
    same_trees(&format!("{tree}/d1"), &disk.path("two/renamed"));
    std::fs::rename(disk.path("two/renamed/file 5"), disk.path("two/file 5")).expect("a file renamed");

    // Files are written beside their names, renamed, and their times and modes set.
    let to = disk.path("synced");
    let rsync = ["-rt", "--chmod=F640", "--delete", &format!("{tree}/"), to.to_str().expect("a path")];
    run("rsync", &rsync);
    same_trees(&tree, &to);
    std::fs::remove_dir_all(Path::new(&tree).join("d3")).expect("a folder");
    std::fs::write(Path::new(&tree).join("d0/file 0"), noise(1, 300_000)).expect("a file");
    run("rsync", &rsync);
    same_trees(&tree, &to);
    let told = run("ls", &["-lR", "mounted/synced"]);
    let files: Vec<&str> = told.lines().filter(|line| line.starts_with("-rw-r-----")).collect();
    assert!(files.len() == 30 && files.iter().any(|line| line.contains(" 2000000 ")), "{told}");

    let big = noise(14, 14_000_000);
    std::fs::write(disk.path("big"), &big).expect("a file in parts");
    std::fs::remove_dir_all(disk.path("one")).expect("a tree removed");
    assert!(std::fs::read(disk.path("big")).expect("the file") == big);
    drop(disk);
    let listed = server.run("aws", &["s3", "ls", "--recursive", "s3://disk"]);
    assert!(!listed.contains(" one/") && listed.contains(" two/renamed/file 1"), "{listed}");
}

/// The registry of images that Docker made, on its S3 driver, and a client that pushes and pulls.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn a_registry_keeps_images() {
    let server = Server::counted();
    server.run("aws", &["s3", "mb", "s3://images"]);
    let port = 18_400;
    let config = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  delete: {{enabled: true}}\n  s3:\n    accesskey: {}\n    secretkey: {}\n    region: us-east-1\n    regionendpoint: http://{}\n    bucket: images\n    secure: false\n    chunksize: 5242880\n    multipartcopychunksize: 5242880\n    multipartcopythresholdsize: 6291456\nhttp:\n  addr: 127.0.0.1:{port}\n",
        e2e::ACCESS_KEY,
        e2e::SECRET_KEY,
        server.s3
    );
    std::fs::write(server.dir().join("registry.yml"), config).expect("a configuration");
    let log = std::fs::File::create(server.dir().join("registry.log")).expect("a log");
    let child =
        server.command("docker-registry").args(["serve", "registry.yml"]).stdout(Stdio::null()).stderr(log).spawn();
    let _registry = Killed(child.expect("docker-registry runs; `cargo xtask e2e` installs it"));
    until("the registry", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    server.py("image.py", &["make", "first"]);
    let at = |name: &str| format!("docker://127.0.0.1:{port}/{name}");
    let copy = |from: &str, to: &str| {
        server.run(
            "skopeo",
            &["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", from, to],
        );
    };
    copy("oci:first", &at("app:1"));
    server.py("image.py", &["make", "second"]);
    // Of two large layers and their way from where they were uploaded to where they stay.
    server.lose_after(10_000_000, ["dc3", "dc5"]);
    copy("oci:second", &at("app:2"));
    server.was_lost();
    copy(&at("app:1"), "oci:back");
    server.py("image.py", &["same", "first", "back"]);
    copy(&at("app:2"), "oci:again");
    server.py("image.py", &["same", "second", "again"]);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Terraform does with a bucket: every sub-resource is put, read back until it is what was put, and
/// taken away.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn sub_resources_are_what_was_put() {
    let server = Server::with_config(|dir| {
        let targets = "[notify.log]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n";
        format!("{targets}{}", e2e::folders(dir))
    })
    .counts();
    server.py("resources.py", &["one"]);
    server.lose_after(30_000, ["s1", "s2"]);
    server.py("resources.py", &["two"]);
    server.was_lost();
    server.py("resources.py", &["three"]);
}

/// A log, its manifest and its locks by conditional writes, from many writers at once.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn conditional_writers_agree() {
    let server = Server::counted();
    server.py("conditions.py", &["one"]);
    server.lose_after(500_000, ["dc4", "dc5"]);
    server.py("conditions.py", &["two"]);
    server.was_lost();
}

/// The `object_store` crate, which Rust's lakes and engines stand on, by its own promises.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_object_store_crate_finds_what_it_promises() {
    let server = Server::counted();
    server.stranger("object-store", "healthy");
    server.lose_after(20_000_000, ["dc1", "dc3"]);
    server.stranger("object-store", "halfway");
    server.was_lost();
}

/// SlateDB, whose writers shut each other out by conditional writes.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn slatedb_lives_in_a_bucket() {
    let server = Server::counted();
    server.stranger("slatedb", "healthy");
    server.lose_after(3_000_000, ["dc2", "dc4"]);
    server.stranger("slatedb", "halfway");
    server.was_lost();
}
