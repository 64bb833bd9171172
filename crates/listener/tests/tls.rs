//! TLS on a listener, over real sockets: who is greeted, who is not, and with which certificate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use listener::{Bounds, Peer, ServeError, Tls, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const BOUNDS: Bounds = Bounds { head_max: 8192, frame_max: 16384, gauge: "test_connections" };
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Self-signed certificates that anybody may have the keys of.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem").join(name)
}

/// Files in a folder of their own, the key's mode as it should be.
fn put(dir: &TempDir, cert: &str, key: &str) -> (PathBuf, PathBuf) {
    let (to_cert, to_key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::copy(pem(cert), &to_cert).unwrap();
    std::fs::write(&to_key, std::fs::read(pem(key)).unwrap()).unwrap();
    std::fs::set_permissions(&to_key, PermissionsExt::from_mode(0o600)).unwrap();
    (to_cert, to_key)
}

struct World {
    address: SocketAddr,
    tls: Tls,
    dir: TempDir,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

impl World {
    fn start(most: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let (cert, key) = put(&dir, "a.crt", "a.key");
        let tls = Tls::open(&cert, &key).unwrap();
        let listener =
            listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(Some(tls.clone())).at_most(most);
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let of = |peer: Peer| {
            service_fn(move |_: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("secure={}", peer.secure)))))
            })
        };
        let server = tokio::spawn(listener::serve(listener, BOUNDS, of, shutdown.clone()));
        Self { address, tls, dir, shutdown, server }
    }

    /// Shakes hands, trusting one certificate.
    async fn connect(&self, trusted: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pem(trusted)).unwrap()).unwrap();
        let provider = Arc::new(listener::provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn ask(&self, trusted: &str) -> std::io::Result<String> {
        let mut stream = self.connect(trusted).await?;
        stream.write_all(ASK).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    async fn plain(&self, wire: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(wire).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
}

#[tokio::test]
async fn a_request_is_answered_over_tls_and_a_new_certificate_counts() {
    let world = World::start(10);
    let answer = world.ask("a.crt").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("secure=true"), "{answer}");
    assert!(world.ask("b.crt").await.is_err(), "another's certificate");
    let stream = world.connect("a.crt").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);

    // What does not fit together leaves all as it was.
    put(&world.dir, "b.crt", "a.key");
    assert!(matches!(world.tls.reload(), Err(TlsError::Mismatch { .. })));
    world.ask("a.crt").await.unwrap();
    put(&world.dir, "b.crt", "b.key");
    world.tls.reload().unwrap();
    world.ask("b.crt").await.unwrap();
    assert!(world.ask("a.crt").await.is_err());
    // A connection that is open stays.
    let mut stream = stream;
    stream.write_all(ASK).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("secure=true"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_read_again() {
    let world = World::start(10);
    let following = tokio::spawn(world.tls.clone().follow(world.shutdown.clone()));
    put(&world.dir, "b.crt", "b.key");
    // Time passes whenever nobody has anything to do.
    while world.ask("b.crt").await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    world.shutdown.cancel();
    following.await.unwrap();
    world.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_and_let_go() {
    let world = World::start(10);
    let long = [b"POST / HTTP/1.1\r\ncontent-length: 40000\r\n\r\n".as_slice(), &[b'x'; 40_000]].concat();
    for wire in [ASK, b"GET", &long] {
        let answer = world.plain(wire).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())) && body.contains("HTTPS"), "{answer}");
    }
    // What begins like a handshake and is none gets no HTTP, and an end.
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&[22, 3, 1, 0, 4, 0, 0, 0, 0]).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"));
    world.ask("a.crt").await.unwrap();
}

/// Paused time goes on when nobody has anything to do: who waits for ever is seen to be cut.
#[tokio::test(start_paused = true)]
async fn handshakes_end_in_time_and_count_as_connections() {
    let world = World::start(2);
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut half = TcpStream::connect(world.address).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let begun = tokio::time::Instant::now();
    // Both places are taken: this one waits until they are given back.
    let answer = world.ask("a.crt").await.unwrap();
    assert!(answer.ends_with("secure=true"), "{answer}");
    assert!(begun.elapsed() >= listener::limits::HEAD_TIMEOUT);
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_no_handshake() {
    let world = World::start(10);
    let silent = TcpStream::connect(world.address).await.unwrap();
    world.ask("a.crt").await.unwrap();
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    drop(silent);
}

#[test]
fn files_that_are_none_are_named() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let (cert, key) = put(&dir, "a.crt", "a.key");
    let text = std::fs::read_to_string(&key).unwrap();
    let empty = file("empty", "", 0o600);
    let torn = file("torn", &text[..text.len() - 30], 0o600);
    let exposed = file("exposed", &text, 0o604);
    let locked = file("locked", &text.replace("PRIVATE", "ENCRYPTED PRIVATE"), 0o600);
    let long = file("long", &"x".repeat((1 << 20) + 1), 0o600);
    let nonsense = file("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600);
    let other = file("other", &std::fs::read_to_string(pem("b.key")).unwrap(), 0o640);
    let none = dir.path().join("none");
    for (cert, key, words) in [
        (&none, &key, "the TLS certificate {} cannot be read"),
        (&cert, &none, "the TLS key {} cannot be read"),
        (&empty, &key, "{} holds no certificate in PEM"),
        (&key, &key, "{} holds no certificate in PEM"),
        (&cert, &empty, "{} holds no private key in PEM"),
        (&cert, &cert, "{} may be read by everybody"),
        (&cert, &torn, "{} holds no private key in PEM"),
        (&cert, &locked, "without a passphrase"),
        (&cert, &exposed, "(mode 604); run: chmod o= {}"),
        (&cert, &long, "more than 1048576 bytes"),
        (&cert, &other, "the TLS key {} does not belong to the first certificate of"),
        (&nonsense, &key, "the certificate {} cannot be used with the key"),
    ] {
        let error = Tls::open(cert, key).err().map(|error| error.to_string()).unwrap_or_default();
        let fits = [cert, key].iter().any(|path| error.contains(&words.replace("{}", &path.display().to_string())));
        assert!(fits, "{cert:?} {key:?}: {error:?}, expected {words:?}");
    }
    assert!(Tls::open(&cert, &key).is_ok());
}
