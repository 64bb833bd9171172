//! `holdfast scan serve` against clients of clamd and of ICAP that others wrote.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use e2e::scan::{EICAR_NAME, TESTFILE_NAME, eicar, signature};
use e2e::{Halfway, ScanServer, noise};

/// Bounds every wait. Generous: it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than is kept in memory of a content.
const LARGE: usize = 9 << 20;
/// Of a content that a password keeps everybody out of.
const ENCRYPTED: &str = "Heuristics.Encrypted.Holdfast.encrypted FOUND";

/// Files that clients send, and what is said of them.
struct Files {
    eicar: String,
    clean: String,
    /// The first one in a ZIP in a gzipped tar in a ZIP.
    nested: String,
    /// The second one in a ZIP.
    zipped: String,
    /// The second one in a ZIP with a password.
    encrypted: String,
}

impl Files {
    fn new(scan: &ScanServer) -> Self {
        let made = |name: &str, program: &str, args: &[&str]| {
            let (code, told) = scan.run(program, args);
            assert!(code == 0, "{program} {args:?}: {told}");
            scan.dir().join(name).to_str().expect("a path").to_owned()
        };
        let (eicar, clean) = (scan.file("eicar", &eicar()), scan.file("clean", b"nothing is wrong with this"));
        made("inner.zip", "zip", &["-q", "inner.zip", "eicar", "clean"]);
        made("middle.tgz", "tar", &["-czf", "middle.tgz", "inner.zip"]);
        Self {
            eicar,
            clean,
            nested: made("nested.zip", "zip", &["-q", "nested.zip", "middle.tgz"]),
            zipped: made("zipped.zip", "zip", &["-q", "zipped.zip", "clean"]),
            encrypted: made("encrypted.zip", "zip", &["-q", "-P", "secret", "encrypted.zip", "clean"]),
        }
    }

    /// Each with the exit code that it is worth and what is said of it.
    fn all(&self) -> [(&str, i32, String); 5] {
        let found = format!("{EICAR_NAME} FOUND");
        [
            (&self.eicar, 1, found.clone()),
            (&self.clean, 0, "OK".to_owned()),
            (&self.nested, 1, found),
            (&self.zipped, 0, "OK".to_owned()),
            (&self.encrypted, 1, ENCRYPTED.to_owned()),
        ]
    }
}

/// Runs a client to its end; gives its exit code and output.
fn told(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; `cargo xtask e2e` installs it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn wait_until(what: &str, mut good: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !good() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(pid: u64, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn engine(status: &serde_json::Value) -> u64 {
    status["engines"][0]["pid"].as_u64().unwrap_or_else(|| panic!("no engine runs: {status:#}"))
}

/// By whatever way a file comes: the same is said of it, and an engine looks at it once.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn clamdscan() {
    let scan = ScanServer::start();
    let files = Files::new(&scan);
    let ways = [
        (false, &["--stream"][..]),
        (false, &["--stream", "--multiscan"]),
        (true, &["--fdpass"]),
        (true, &["--fdpass", "-m"]),
        (true, &[]),
        (true, &["-m"]),
        (true, &["--allmatch"]),
        (true, &["--stream"]),
    ];
    for (local, args) in ways {
        for (file, expected, said) in files.all() {
            let (code, text) = told(scan.clamdscan(local).args(args).args(["--no-summary", file]));
            assert!(code == expected && text.trim() == format!("{file}: {said}"), "{args:?} {file}: {code} {text}");
        }
        let all = files.all();
        let (code, text) = told(scan.clamdscan(local).args(args).args(all.iter().map(|(file, ..)| *file)));
        assert!(code == 1 && text.contains("Infected files: 3"), "{args:?}: {code} {text}");
        assert!(all.iter().all(|(file, _, said)| text.contains(&format!("{file}: {said}\n"))), "{args:?}: {text}");
    }
    for (file, expected, said) in [(&files.eicar, 1, "FOUND"), (&files.clean, 0, "OK")] {
        let piped = std::fs::File::open(file).expect("a file");
        let (code, text) = told(scan.clamdscan(false).arg("-").stdin(piped));
        assert!(code == expected && text.contains("stream: ") && text.contains(said), "{code} {text}");
    }
    // Whoever comes over TCP has the server open no file.
    for (file, ..) in files.all() {
        let (code, text) = told(scan.clamdscan(false).arg(file));
        assert!(code == 2 && text.contains("Access denied") && !text.contains(": OK"), "{code} {text}");
    }
    let status = scan.status();
    assert_eq!((&status["scanned"], &status["engine_deaths"]), (&5.into(), &0.into()), "{status:#}");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn clamdscan_asks_how_the_service_is() {
    let scan = ScanServer::start();
    for local in [false, true] {
        let (code, text) = told(scan.clamdscan(local).arg("--ping=1"));
        assert!(code == 0 && text.contains("PONG"), "{code} {text}");
        let (code, text) = told(scan.clamdscan(local).arg("--version"));
        assert!(code == 0 && text.starts_with("ClamAV 1."), "{code} {text}");
        assert!(Some(text.trim()) == scan.status()["engines"][0]["version"].as_str(), "{text}");
        let before = engine(&scan.status());
        let (code, text) = told(scan.clamdscan(local).arg("--reload"));
        assert!(code == 2 && text.contains("did not reload"), "{code} {text}");
        assert_eq!(engine(&scan.status()), before);
    }
}

/// Debian's test files are one program in everything that ClamAV unpacks.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn clamdscan_goes_through_folders() {
    let scan = ScanServer::start();
    let folder = scan.dir().join("in/deep");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut expected = BTreeSet::new();
    for entry in std::fs::read_dir("/usr/share/clamav-testfiles").expect("clamav-testfiles").flatten() {
        let copy = folder.join(entry.file_name());
        std::fs::copy(entry.path(), &copy).expect("a copy");
        expected.insert(format!("{}: {TESTFILE_NAME} FOUND", copy.display()));
    }
    assert!(expected.len() > 40, "{expected:?}");
    std::fs::write(folder.join("clean"), "nothing is wrong with this").expect("a file");
    for (local, args) in
        [(true, &["-m"][..]), (true, &[]), (true, &["--fdpass", "-m"]), (true, &["--fdpass"]), (false, &["--stream"])]
    {
        let (code, text) = told(scan.clamdscan(local).args(args).arg("--no-summary").arg(scan.dir().join("in")));
        let found: BTreeSet<String> = text.lines().filter(|line| line.ends_with(" FOUND")).map(str::to_owned).collect();
        assert!(code == 1 && found == expected, "{args:?}: {code} {text}");
        assert!(!text.contains("ERROR"), "{args:?}: {text}");
    }
    assert_eq!(scan.status()["scanned"], expected.len() + 1);
    let (code, text) = told(scan.clamdscan(true).args(["--no-summary", "--infected"]).arg(folder.join("clean")));
    assert!(code == 0 && text.is_empty(), "{code} {text}");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn clamd_clients_in_python() {
    let scan = ScanServer::start();
    let files = Files::new(&scan);
    let folder = scan.dir().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    for (from, to) in [(&files.eicar, "eicar"), (&files.nested, "packed"), (&files.clean, "clean")] {
        std::fs::copy(from, folder.join(to)).expect("a copy");
    }
    let (host, port) = scan.clamd.split_once(':').expect("an address");
    let mut python = scan.command("python3");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("py/clamd_clients.py"));
    let (code, text) = told(python.args([host, port]).arg(scan.socket()).arg(folder).arg(EICAR_NAME));
    assert!(code == 0, "{text}\n{}", scan.log());
    assert_eq!(scan.status()["scanned"], 4, "three files and nothing at all");
}

fn icap(scan: &ScanServer, args: &[&str]) -> String {
    let (host, port) = scan.icap.split_once(':').expect("an address");
    let (code, text) =
        told(scan.command("c-icap-client").args(["-i", host, "-p", port, "-s", "scan", "-v"]).args(args));
    // It ends with 0 whatever it is told.
    assert!(code == 0 && text.contains("ICAP HEADERS:"), "{args:?}: {code} {text}");
    text
}

/// Of the service's options.
fn istag(scan: &ScanServer) -> String {
    let told = icap(scan, &[]);
    assert!(told.contains("Allow 204: Yes") && told.contains("Methods: RESPMOD, REQMOD"), "{told}");
    let line = told.lines().find_map(|line| line.trim().strip_prefix("ISTag: "));
    line.unwrap_or_else(|| panic!("no ISTag: {told}")).to_owned()
}

const RESPONSE: &[&str] = &["-resp", "http://origin/file"];
const REQUEST: &[&str] = &["-req", "http://origin/file", "-method", "POST"];

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn c_icap_client() {
    let scan = ScanServer::start();
    let files = Files::new(&scan);
    let large = noise(1, LARGE);
    let (large_file, large_found) = (scan.file("large", &large), [&large[..], &eicar()].concat());
    let large_found = scan.file("large found", &large_found);
    let mut outputs = 0;
    // What comes back, and what is said of it.
    let mut ask = |way: &[&str], file: &str, args: &[&str]| {
        outputs += 1;
        let output = format!("output-{outputs}");
        let said = icap(&scan, &[way, args, &["-f", file, "-o", &output]].concat());
        (std::fs::read(scan.dir().join(output)).unwrap_or_default(), said)
    };
    let hows: [&[&str]; 5] = [&[], &["-nopreview"], &["-w", "0"], &["-no204"], &["-no204", "-nopreview"]];
    for (way, how) in [RESPONSE, REQUEST].into_iter().flat_map(|way| hows.map(|how| (way, how))) {
        for file in [&files.eicar, &files.nested, &large_found] {
            let (page, said) = ask(way, file, how);
            for line in ["ICAP/1.0 200 OK", "HTTP/1.1 403 Forbidden", &format!("Threat={EICAR_NAME};")] {
                assert!(said.contains(line), "{way:?} {how:?} {file}: {line}: {said}");
            }
            let page = String::from_utf8_lossy(&page);
            assert!(page.contains("kept back") && page.contains(EICAR_NAME), "{way:?} {how:?} {file}: {page}");
            assert!(!page.contains("STANDARD-ANTIVIRUS"), "{way:?} {how:?} {file}: {page}");
        }
        for file in [&files.clean, &files.zipped, &large_file] {
            let (came_back, said) = ask(way, file, how);
            assert!(!said.contains("X-Infection-Found"), "{way:?} {how:?} {file}: {said}");
            // All of a short one is in the preview: then 204 is allowed in any case (RFC 3507, section 4.5), but the client's is of 1024 bytes.
            let bytes = std::fs::read(file).expect("a file");
            if said.contains("ICAP/1.0 204") {
                assert!(!how.contains(&"-no204") || bytes.len() <= 1024, "{way:?} {how:?} {file}: {said}");
                assert!(came_back.is_empty(), "{way:?} {how:?} {file}");
            } else {
                assert!(how.contains(&"-no204") && said.contains("ICAP/1.0 200 OK"), "{way:?} {how:?} {file}: {said}");
                assert!(came_back == bytes, "{way:?} {how:?} {file}: {} bytes came back", came_back.len());
            }
        }
        // Without content in the answer the client waits for some, unless all of the file was a preview. It shows nothing of this status, and gets
        // nothing that could be taken for the file.
        if !how.contains(&"-nopreview") && !how.contains(&"-w") {
            let (came_back, said) = ask(way, &files.encrypted, how);
            assert!(came_back.is_empty() && !said.contains("No modification needed"), "{way:?} {how:?}: {said}");
        }
    }
    assert_eq!(scan.status()["scanned"], 7, "each content once");
}

/// What a server has in its files, and what is uploaded to it.
struct Origin {
    address: String,
    uploaded: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Bytes that the origin sends at once.
const PIECE: usize = 16 << 10;

impl Origin {
    /// Serves files of a folder. It never is faster than what carries them on to the scan service: Squid before 6.10 stops in a response when it had
    /// to pause reading from the origin (its bug 5352), which it does from 64 KiB on.
    fn start(folder: PathBuf, way: Arc<Halfway>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let uploaded = Arc::new(Mutex::new(Vec::new()));
        let keep = uploaded.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, way, keep) = (folder.clone(), way.clone(), keep.clone());
                std::thread::spawn(move || serve(stream, &folder, &way, &keep));
            }
        });
        Self { address, uploaded }
    }
}

/// One request.
fn serve(mut stream: TcpStream, folder: &Path, way: &Halfway, uploaded: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let name = lines.first()?.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
    let answer = if lines.first()?.starts_with("POST") {
        uploaded.lock().ok()?.push(body);
        b"thanks".to_vec()
    } else {
        std::fs::read(folder.join(name)).ok()?
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    let before = way.told().0;
    stream.write_all(head.as_bytes()).ok()?;
    for (index, piece) in answer.chunks(PIECE).enumerate() {
        wait_until("what was sent is carried on", || way.told().0 >= before + (index * PIECE) as u64);
        stream.write_all(piece).ok()?;
    }
    Some(())
}

/// Squid, which asks of all that passes, and refuses what nobody can be asked of.
struct Squid {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Squid {
    fn start(folder: &Path, service: &str) -> Self {
        // Somebody else may have taken the port by the time that it listens.
        let started = (0..5).find_map(|_| Self::on(engines::free_port().expect("a port").to_string(), folder, service));
        started.unwrap_or_else(|| panic!("Squid does not start: {}", log(folder)))
    }

    /// It listens there; `None` if it cannot, and ended.
    fn on(address: String, folder: &Path, service: &str) -> Option<Self> {
        let config = format!(
            "http_port {address}\nhttp_access allow all\nvisible_hostname proxy\ncache deny all\naccess_log none\n\
             cache_log /dev/null\npid_filename none\ncoredump_dir none\npinger_enable off\nnetdb_filename none\n\
             shutdown_lifetime 0 seconds\nicap_enable on\n\
             icap_service answers respmod_precache icap://{service}/scan bypass=off\n\
             icap_service requests reqmod_precache icap://{service}/scan bypass=off\n\
             adaptation_access answers allow all\nadaptation_access requests allow all\n"
        );
        let file = folder.join("squid.conf");
        std::fs::write(&file, config).expect("a configuration");
        let said = std::fs::File::create(folder.join("squid.txt")).expect("a log");
        let mut command = Command::new("squid");
        // In the foreground, with what it says on stderr. As root it becomes another user, who needs no file of the test's.
        command.args(["-N", "-d", "1", "-f"]).arg(&file).current_dir("/").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(said).spawn();
        let child = child.expect("squid runs; `cargo xtask e2e` installs it");
        let mut squid = Self { child, address, folder: folder.to_owned() };
        let mut ended = false;
        wait_until("Squid listens", || {
            ended = squid.child.try_wait().expect("a child").is_some();
            ended || squid.log().contains("Accepting HTTP Socket connections")
        });
        (!ended).then_some(squid)
    }

    fn log(&self) -> String {
        log(&self.folder)
    }

    /// What curl gets through it: a status, and a body.
    fn curl(&self, url: &str, args: &[&str]) -> (String, Vec<u8>) {
        let body = self.folder.join("body");
        let _ = std::fs::remove_file(&body);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "110", "--noproxy", "", "--write-out", "%{http_code}"]);
        curl.args(["--proxy", &format!("http://{}", self.address), "--output"]).arg(&body).args(args).arg(url);
        let output = curl.output().expect("curl runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url}: {error}\n{}", self.log());
        (String::from_utf8_lossy(&output.stdout).into_owned(), std::fs::read(&body).unwrap_or_default())
    }
}

/// What a Squid of this folder said.
fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("squid.txt")).unwrap_or_default()
}

impl Drop for Squid {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn squid() {
    let mut scan = ScanServer::start();
    let files = Files::new(&scan);
    let way = Arc::new(Halfway::to(&scan.icap));
    let origin = Origin::start(scan.dir().to_owned(), way.clone());
    let squid = Squid::start(scan.dir(), &way.at.to_string());
    let url = |name: &str| format!("http://{}/{name}", origin.address);
    // One of which Squid keeps a copy, so that 204 is enough, and one that it has to be sent back.
    let sizes = [("small", 40_000), ("large", LARGE)];
    for (name, size) in sizes {
        let bytes = noise(size as u64, size);
        let file = scan.file(name, &bytes);
        let (code, body) = squid.curl(&url(name), &[]);
        assert!(code == "200" && body == bytes, "{name}: {code}, {} bytes\n{}", body.len(), squid.log());
        let (code, _) = squid.curl(&url("uploads"), &["--data-binary", &format!("@{file}"), "-H", "Expect:"]);
        let uploaded = origin.uploaded.lock().expect("uploads").pop();
        assert!(code == "200" && uploaded == Some(bytes), "{name}: {code}\n{}", squid.log());
    }
    for file in ["eicar", "nested.zip"] {
        let (code, body) = squid.curl(&url(file), &[]);
        let page = String::from_utf8_lossy(&body);
        assert!(code == "403" && page.contains(EICAR_NAME), "{file}: {code} {page}");
    }
    let upload = format!("@{}", files.nested);
    let (code, _) = squid.curl(&url("uploads"), &["--data-binary", &upload]);
    assert!(code == "403" && origin.uploaded.lock().expect("uploads").is_empty(), "{code}");
    // Nobody can say what is in it.
    let (code, body) = squid.curl(&url("encrypted.zip"), &[]);
    assert!(code.starts_with('5') && !body.starts_with(b"PK"), "{code}");

    scan.stop();
    let small = noise(40_000, 40_000);
    for (name, _) in sizes {
        let (code, body) = squid.curl(&url(name), &[]);
        let page = String::from_utf8_lossy(&body);
        assert!(code.starts_with('5') && page.contains("ERR_ICAP_FAILURE"), "{name}: {code} {page}");
    }
    scan.boot();
    scan.wait_ready();
    let (code, body) = squid.curl(&url("small"), &[]);
    assert!(code == "200" && body == small, "{code}, {} bytes\n{}", body.len(), squid.log());
    assert_eq!(scan.status()["scanned"], 0, "it was scanned before");
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn new_definitions() {
    let mut scan = ScanServer::start();
    let files = Files::new(&scan);
    let marked = scan.file("marked", b"this becomes known as the mark of a worm");
    let found = |file: &str| told(scan.clamdscan(false).args(["--stream", "--no-summary", file]));
    let update = |folder: &str| scan.holdfast(&["update", folder]);
    let (first, epoch) = (istag(&scan), scan.status()["engines"][0]["epoch"].clone());
    assert_eq!((found(&marked).0, found(&files.clean).0, found(&files.eicar).0), (0, 0, 1));
    assert_eq!(istag(&scan), first, "what is learnt changes nothing of what is known");

    std::fs::create_dir(scan.dir().join("newer")).expect("a folder");
    let (code, text) = update("newer");
    assert!(code == 2 && text.contains("no file that ClamAV loads"), "{code} {text}");
    scan.file("newer/more.ndb", signature("Test.Marked", b"mark of a worm").as_bytes());
    let (code, text) = update("newer");
    assert!(code == 0 && text.contains("used from now on"), "{code} {text}");
    let (code, text) = found(&marked);
    assert!(code == 1 && text.contains("Test.Marked.UNOFFICIAL FOUND"), "{code} {text}");
    // What was there is used beside it.
    assert_eq!((found(&files.clean).0, found(&files.eicar).0), (0, 1));
    let second = istag(&scan);
    assert_ne!(second, first, "clients drop what they keep");
    let status = scan.status();
    assert_ne!(status["engines"][0]["epoch"], epoch);
    assert_eq!(status["scanned"], 6, "three files by each");

    scan.stop();
    scan.boot();
    scan.wait_ready();
    let found = |file: &str| told(scan.clamdscan(true).args(["--fdpass", file])).0;
    assert_eq!((found(&marked), found(&files.clean), found(&files.eicar)), (1, 0, 1));
    let status = scan.status();
    assert_eq!((&status["known"], &status["scanned"]), (&3.into(), &0.into()), "{status:#}");
    assert_eq!(istag(&scan), second, "the same definitions are the same ones");
}

/// Whenever they were written.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn the_same_definitions_are_loaded_once() {
    let scan = ScanServer::start();
    std::fs::create_dir(scan.dir().join("newer")).expect("a folder");
    let text = signature("Test.Marked", b"mark of a worm");
    let file = scan.file("newer/more.ndb", text.as_bytes());
    assert_eq!(scan.holdfast(&["update", "newer"]).0, 0);
    let before = (istag(&scan), engine(&scan.status()));
    let written = || std::fs::metadata(&file).and_then(|meta| meta.modified()).expect("a file");
    let first = written();
    // Times of files are told in seconds.
    wait_until("another second", || {
        std::fs::write(&file, &text).expect("a file");
        written().duration_since(first).is_ok_and(|passed| passed >= Duration::from_secs(1))
    });
    let (code, text) = scan.holdfast(&["update", "newer"]);
    assert!(code == 0 && text.contains("used already"), "{code} {text}");
    assert_eq!((istag(&scan), engine(&scan.status())), before);
}

/// Whoever gives wrong ones is told, and all goes on as it did: also when the service starts again.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn definitions_that_do_not_load_take_nobodys_place() {
    let mut scan = ScanServer::start();
    let files = Files::new(&scan);
    let marked = scan.file("marked", b"this is known as the mark of a worm");
    std::fs::create_dir(scan.dir().join("good")).expect("a folder");
    scan.file("good/more.ndb", signature("Test.Marked", b"mark of a worm").as_bytes());
    assert_eq!(scan.holdfast(&["update", "good"]).0, 0);
    let before = (istag(&scan), engine(&scan.status()));
    std::fs::create_dir(scan.dir().join("wrong")).expect("a folder");
    scan.file("wrong/wrong.ndb", b"this is no signature\n");
    let (code, text) = scan.holdfast(&["update", "wrong"]);
    assert!(code == 2 && text.contains("Malformed database"), "{code} {text}");
    assert_eq!((istag(&scan), engine(&scan.status())), before);
    let (code, text) = scan.holdfast(&["status"]);
    assert!(code == 0 && text.contains("are not used") && text.contains("Malformed"), "{code} {text}");
    for file in [&marked, &files.eicar] {
        assert_eq!(told(scan.clamdscan(true).arg(file)).0, 1, "{file}");
    }
    scan.stop();
    scan.boot();
    scan.wait_for("what it says of its engine", |status| {
        let engine = &status["engines"][0];
        engine["down"].is_null() || engine["down"].as_str().is_some_and(|down| !down.contains("starting"))
    });
    let (code, text) = scan.holdfast(&["status"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(istag(&scan), before.0);
    for file in [&marked, &files.eicar] {
        assert_eq!(told(scan.clamdscan(true).arg(file)).0, 1, "{file}");
    }
}

/// A `clamd` that is started only while there is a gate.
fn gated(dir: &Path) -> PathBuf {
    let (program, gate) = (dir.join("clamd"), dir.join("gate"));
    std::fs::write(&gate, "").expect("a file");
    let gate = gate.display();
    let text =
        format!("#!/bin/sh\n[ \"$1\" = --version ] || until [ -e '{gate}' ]; do sleep 0.02; done\nexec clamd \"$@\"\n");
    std::fs::write(&program, text).expect("a program");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("a program");
    program
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn an_engine_is_killed() {
    let scan = ScanServer::with(|dir| Some(gated(dir)));
    let files = Files::new(&scan);
    let found = |file: &str| told(scan.clamdscan(false).args(["--stream", file])).0;
    assert_eq!((found(&files.eicar), found(&files.clean)), (1, 0));
    let first = engine(&scan.status());

    // While nobody asks it. What is known is answered without it.
    std::fs::remove_file(scan.dir().join("gate")).expect("a gate");
    signal(first, "KILL");
    let status = scan.wait_for("down", |status| status["engines"][0]["down"].is_string());
    assert_eq!(status["engines"][0]["deaths"], 1);
    let (code, text) = scan.holdfast(&["status"]);
    assert!(code == 75 && text.contains("only what is known is answered"), "{code} {text}");
    assert_eq!((found(&files.eicar), found(&files.clean)), (1, 0));
    assert!(icap(&scan, &[RESPONSE, &["-f", &files.eicar]].concat()).contains("X-Infection-Found"));
    // What is not waits for the next one.
    let mut unknown = [&files.nested, &files.zipped].map(|file| {
        let mut command = scan.clamdscan(true);
        command.args(["--fdpass", file]).stdout(Stdio::null()).spawn().expect("clamdscan runs")
    });
    scan.wait_for("asked", |status| status["running"] == 2 || status["waiting"][1] == 1);
    for client in &mut unknown {
        assert_eq!(client.try_wait().expect("a child"), None, "without an engine nobody knows");
    }
    std::fs::write(scan.dir().join("gate"), "").expect("a gate");
    let codes = unknown.map(|mut client| client.wait().expect("it ends").code());
    assert_eq!(codes, [Some(1), Some(0)]);
    let status = scan.wait_ready();
    let second = engine(&status);
    assert_eq!((&status["engines"][0]["deaths"], &status["scanned"]), (&1.into(), &4.into()), "{status:#}");
    assert_ne!(first, second);

    // With a content in it, that is scanned once more by the next one.
    signal(second, "STOP");
    let mut within = scan.clamdscan(true);
    let mut within = within.args(["--fdpass", &files.encrypted]).stdout(Stdio::null()).spawn().expect("clamdscan runs");
    scan.wait_for("asked", |status| status["running"] == 1);
    signal(second, "KILL");
    assert_eq!(within.wait().expect("it ends").code(), Some(1));
    let status = scan.wait_ready();
    assert_eq!(status["engines"][0]["deaths"], 2, "{status:#}");
    assert_eq!(scan.holdfast(&["status"]).0, 0);
}

/// However a service ends: an engine without one would keep all its definitions in memory for nobody.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn an_engine_ends_with_its_service() {
    let runs = |pid: u64| {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.contains("(clamd)") && !state.contains(") Z ")
    };
    let mut scan = ScanServer::start();
    let first = engine(&scan.status());
    assert!(runs(first));
    scan.stop();
    wait_until("the engine is gone", || !runs(first));
    scan.boot();
    let second = engine(&scan.wait_ready());
    assert!(runs(second));
    scan.kill();
    let begun = Instant::now();
    while runs(second) {
        if begun.elapsed() > Duration::from_secs(20) {
            signal(second, "KILL");
            panic!("clamd goes on although its service was killed");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Clients of the storm, files that each has for itself, and files that all of them have. 200 clients with 150 files of their own are
/// 30,050 scans, for which a `clamd` and a debug build take more than half a minute; with so many it is a third of that.
const CLIENTS: usize = 200;
const PRIVATE: usize = 40;
const SHARED: usize = 50;

/// A content, and whether something is found in it.
fn content(name: &str, index: usize) -> (Vec<u8>, bool) {
    let is_found = index.is_multiple_of(5);
    let tail = if is_found { eicar() } else { noise(index as u64, 200 + index) };
    ([format!("{name} {index} ").into_bytes(), tail].concat(), is_found)
}

/// Sends contents one after the other, as a mail filter does.
fn client(address: &str, contents: &[(Vec<u8>, bool)]) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let mut answers = BufReader::new(stream.try_clone().expect("a connection"));
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(b"nIDSESSION\n").expect("a session");
    for (index, (bytes, is_found)) in contents.iter().enumerate() {
        let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
        let message = [b"nINSTREAM\n", &length[..], bytes, &[0; 4]].concat();
        stream.write_all(&message).expect("it takes streams");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        let said = if *is_found { format!("{EICAR_NAME} FOUND") } else { "OK".to_owned() };
        assert_eq!(answer, format!("{}: stream: {said}\n", index + 1));
    }
}

#[test]
#[ignore = "needs the binary; run `cargo xtask e2e`"]
fn a_storm_is_as_many_scans_as_there_are_contents() {
    let scan = ScanServer::start();
    let shared: Vec<_> = (0..SHARED).map(|index| content("shared", index)).collect();
    let begin = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (begin, shared, address) = (&begin, &shared, &scan.clamd);
            scope.spawn(move || {
                // Half of them ask for the shared ones at once; others come by them later, each in another order.
                let own = (0..PRIVATE).map(|index| content(&format!("client {number}"), index));
                let mut contents: Vec<_> = own.chain(shared.iter().cloned()).collect();
                contents.rotate_left(if number.is_multiple_of(2) { PRIVATE } else { number % (PRIVATE + SHARED) });
                begin.wait();
                client(address, &contents);
            });
        }
    });
    let status = scan.status();
    let count = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("{name}: {status:#}")) as usize;
    let (asked, unique) = (CLIENTS * (PRIVATE + SHARED), CLIENTS * PRIVATE + SHARED);
    assert_eq!((count("asked"), count("scanned")), (asked, unique), "{status:#}");
    assert_eq!(count("known") + count("shared"), asked - unique, "{status:#}");
    assert_eq!((count("remembered"), count("running"), count("engine_deaths")), (unique, 0, 0), "{status:#}");
    assert_eq!(status["waiting"], serde_json::json!([0, 0, 0, 0]));
}

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn files_are_checked_by_command() {
    let scan = ScanServer::start();
    let files = Files::new(&scan);
    let folder = scan.dir().join("folder/deep");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(&files.encrypted, folder.join("encrypted.zip")).expect("a copy");
    let table: [(&[&str], i32, &str); 8] = [
        (&[&files.clean], 0, "clean: clean"),
        (&[&files.zipped, &files.clean], 0, "zipped.zip: clean"),
        (&[&files.eicar], 1, EICAR_NAME),
        (&["nested.zip"], 1, EICAR_NAME),
        (&[&files.encrypted], 75, "incomplete (encrypted)"),
        (&[&files.clean, "folder"], 75, "incomplete (encrypted)"),
        (&["folder", &files.eicar, &files.clean], 1, "incomplete (encrypted)"),
        (&["missing"], 2, "missing"),
    ];
    for (paths, expected, said) in table {
        let (code, text) = scan.holdfast(&[&["check"], paths].concat());
        assert!(code == expected && text.contains(said), "{paths:?}: {code} {text}");
    }
    let (code, text) = scan.holdfast(&["check", "--json", &files.eicar]);
    let line: serde_json::Value = serde_json::from_str(&text).expect("a line of JSON");
    assert_eq!((code, &line["verdict"], &line["details"][0]), (1, &"infected".into(), &EICAR_NAME.into()), "{line:#}");
    assert_eq!(line["known"], true);
    assert_eq!(scan.holdfast(&["status"]).0, 0);
}

/// Nothing is called clean by a service that knows nothing.
#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn there_are_no_definitions() {
    let mut scan = ScanServer::without_definitions();
    let files = Files::new(&scan);
    let (code, text) = scan.holdfast(&["status"]);
    assert!(code == 75 && text.contains("clamav cannot be asked"), "{code} {text}");
    scan.wait_for("told why", |status| {
        status["engines"][0]["down"].as_str().is_some_and(|down| down.contains("holdfast scan update"))
    });
    let (code, text) = scan.holdfast(&["check", &files.clean]);
    assert!(code == 75 && text.contains("there are no definitions"), "{code} {text}");
    for (local, args) in [(false, &["--stream"][..]), (true, &["--fdpass"]), (true, &[])] {
        let (code, text) = told(scan.clamdscan(local).args(args).arg(&files.clean));
        assert!(code == 2 && !text.contains(": OK") && text.contains("no definitions"), "{args:?}: {code} {text}");
    }
    for (way, output) in [(RESPONSE, "response"), (REQUEST, "request")] {
        let told = icap(&scan, &[way, &["-f", &files.clean, "-o", output]].concat());
        let came_back = std::fs::read(scan.dir().join(output)).unwrap_or_default();
        assert!(came_back.is_empty() && !told.contains("No modification needed"), "{told}");
    }
    // They are given to it as it runs.
    std::fs::create_dir(scan.dir().join("first")).expect("a folder");
    scan.file("first/first.ndb", signature("Test.Eicar", &eicar()[28..]).as_bytes());
    assert_eq!(scan.holdfast(&["update", "first"]).0, 0);
    assert_eq!(scan.holdfast(&["check", &files.clean]).0, 0);
    assert_eq!(scan.holdfast(&["check", &files.eicar]).0, 1);
    scan.stop();
    for command in [&["status"][..], &["check", &files.clean]] {
        let (code, text) = scan.holdfast(command);
        assert!(code != 0 && code != 1 && text.contains("no scan service answers"), "{command:?}: {code} {text}");
    }
}
