//! Streams of a content that is known: what the server's processor needs for a byte.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::server::Service;
use super::signatures::Draw;
use super::wire::Client;
use crate::error::Error;

/// How long each transport is used at least.
const LOOP: Duration = Duration::from_secs(4);
/// Contents that are sent: one that stays in memory, and one that is spilled to a file while it comes.
const LENS: [usize; 2] = [4 << 20, 64 << 20];
/// Not that of the signatures: a content with their bytes in it is infected.
const SEED: u64 = 1_000;

/// One content over one transport.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Stream {
    /// `unix` or `tcp`.
    pub over: &'static str,
    /// Bytes of the content.
    pub len: usize,
    /// GB (10^9 bytes) a second by the clock.
    pub wall: f64,
    /// GB for each second of the server's processor time.
    pub per_core: f64,
    /// Answers that were not `OK`.
    pub failed: usize,
}

/// Sends each content once, so that it is known, and then again and again.
pub fn measure(service: &Service) -> Result<Vec<Stream>, Error> {
    let mut all = Vec::new();
    let mut draw = Draw::new(SEED);
    for len in LENS {
        let content = draw.bytes(len);
        let local = || Client::local(&service.socket).map_err(Error::path("connect to", &service.socket));
        all.push(one("unix", service, &mut local()?, &content)?);
        if let Some(address) = service.tcp {
            let client = Client::tcp(address).map_err(Error::io(format!("cannot connect to {address}")));
            all.push(one("tcp", service, &mut client?, &content)?);
        }
    }
    Ok(all)
}

fn one<S: Read + Write>(
    over: &'static str,
    service: &Service,
    client: &mut Client<S>,
    content: &[u8],
) -> Result<Stream, Error> {
    let broken = || Error::io(format!("a stream over {over}"));
    client.session().map_err(broken())?;
    let mut failed = usize::from(client.stream(content).map_err(broken())? != "OK");
    let before = service.used()?;
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < LOOP {
        failed += usize::from(client.stream(content).map_err(broken())? != "OK");
        sent += content.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = service.used()?;
    // The engine's as well: of what is known it should need none.
    let cpu_s = after.service - before.service + after.engine - before.engine;
    let gigabytes = sent as f64 / 1e9;
    Ok(Stream { over, len: content.len(), wall: gigabytes / seconds, per_core: gigabytes / cpu_s, failed })
}
