//! A way to the server on which a place is counted: when so many bytes went over it, sites vanish, whatever
//! the client is doing. So "half-way" is a byte of the client's own traffic, not a moment.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes carried at a time.
const PIECE: usize = 32 << 10;

#[derive(Default)]
struct Meter {
    /// Bytes carried so far, both ways.
    carried: u64,
    /// At which count which folders vanish.
    armed: Option<(u64, Vec<PathBuf>)>,
    /// Ends the listener.
    over: bool,
}

/// Carries bytes between clients and the server; ends when dropped.
pub struct Halfway {
    /// Where it listens.
    pub at: SocketAddr,
    meter: Arc<Mutex<Meter>>,
}

impl Halfway {
    /// Listens on a port of its own for clients of `server` (`host:port`).
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let meter = Arc::new(Mutex::new(Meter::default()));
        let (server, shared) = (server.to_owned(), meter.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if lock(&shared).over {
                    return;
                }
                // Without a server the client's connection ends, as it would without this way.
                if let Ok(server) = TcpStream::connect(&server) {
                    join(client, server, &shared);
                }
            }
        });
        Self { at, meter }
    }

    /// The folders vanish when so many more bytes went by.
    pub(crate) fn arm(&self, bytes: u64, folders: Vec<PathBuf>) {
        let mut meter = lock(&self.meter);
        meter.armed = Some((meter.carried + bytes, folders));
    }

    /// Bytes carried so far, and whether what was armed has happened.
    pub fn told(&self) -> (u64, bool) {
        let meter = lock(&self.meter);
        (meter.carried, meter.armed.is_none())
    }
}

impl Drop for Halfway {
    fn drop(&mut self) {
        lock(&self.meter).over = true;
        // Wakes the listener.
        let _ = TcpStream::connect(self.at);
    }
}

fn lock(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(|e| e.into_inner())
}

/// Carries both ways until both ends are done.
fn join(client: TcpStream, server: TcpStream, meter: &Arc<Mutex<Meter>>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    let pair =
        |from: &TcpStream, to: &TcpStream| (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    for (from, to) in [pair(&client, &server), pair(&server, &client)] {
        let meter = meter.clone();
        std::thread::spawn(move || carry(from, to, &meter));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, meter: &Mutex<Meter>) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        count(meter, read as u64);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}

/// Counts a piece that is not carried yet: it arrives after the sites have vanished. Others go on meanwhile.
fn count(meter: &Mutex<Meter>, bytes: u64) {
    let vanishing = {
        let mut meter = lock(meter);
        meter.carried += bytes;
        let carried = meter.carried;
        meter.armed.take_if(|(at, _)| carried >= *at)
    };
    for folder in vanishing.iter().flat_map(|(_, folders)| folders) {
        crate::vanish(folder);
    }
}
