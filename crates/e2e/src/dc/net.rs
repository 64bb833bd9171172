//! The network between five data centres: a namespace for each, joined by wires that this process is.
//!
//! Each namespace has one device, the other end of which is read here, and so has the machine's own namespace, by which the test talks
//! to all. A packet is passed on, late, or never, as [`Rules`] say. So nothing is asked of the kernel but TUN devices: `netem` and
//! `iptables`, which would do the same, are not in every kernel, and rules of theirs outlive a test that is killed.

use std::collections::BinaryHeap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{Dc, SITE_PORT};

/// Data centres, and the test.
const ENDS: usize = 6;
/// Where the test is among the ends.
const TEST: usize = 5;
/// Bytes of a packet: few and large ones, since each takes two turns through this process.
const MTU: u16 = 9000;
/// What namespaces and devices of these tests are called, a process id after it.
const PREFIX: &str = "hf5dc";

/// What happens to packets.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Milliseconds that a packet takes from one data centre to another.
    pub delay_ms: u64,
    /// From, to: nothing passes.
    cut: [[bool; 5]; 5],
    /// More milliseconds for what a site server says to others.
    slow_ms: [u64; 5],
}

impl Rules {
    /// Whether, and how late, a packet of `from` to `to` arrives; `port` is what it comes from.
    fn pass(&self, from: usize, to: usize, port: u16) -> Option<Duration> {
        if from == TEST || to == TEST {
            return Some(Duration::ZERO);
        }
        let slow = if port == SITE_PORT { self.slow_ms[from] } else { 0 };
        (!self.cut[from][to]).then(|| Duration::from_millis(self.delay_ms + slow))
    }
}

struct Late {
    due: Instant,
    order: u64,
    to: usize,
    packet: Vec<u8>,
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Late {}
impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Late {
    /// The heap gives the greatest first: the earliest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

#[derive(Default)]
struct Queue {
    late: BinaryHeap<Late>,
    order: u64,
    ended: bool,
}

struct Wires {
    devices: Vec<SyncDevice>,
    subnet: [u8; 3],
    rules: Mutex<Rules>,
    queue: Mutex<Queue>,
    more: Condvar,
}

impl Wires {
    /// Which end has an address.
    fn end(&self, address: &[u8]) -> Option<usize> {
        let (subnet, host) = address.split_at(3);
        match (subnet == self.subnet, host.first()?) {
            (true, host @ 1..=5) => Some(usize::from(*host) - 1),
            (true, 254) => Some(TEST),
            _ => None,
        }
    }

    fn take(&self, from: usize) {
        let mut packet = vec![0; usize::from(MTU) + 100];
        // Ends when the device does.
        while let Ok(length) = self.devices[from].recv(&mut packet) {
            let Some(packet) = packet.get(..length).filter(|packet| length >= 24 && packet[0] >> 4 == 4) else {
                continue;
            };
            let Some(to) = self.end(&packet[16..20]) else { continue };
            let head = usize::from(packet[0] & 15) * 4;
            let port = packet.get(head..head + 2).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
            match self.rules.lock().pass(from, to, port) {
                None => {}
                // A full queue loses a packet, as networks do.
                Some(Duration::ZERO) => drop(self.devices[to].send(packet)),
                Some(delay) => {
                    let mut queue = self.queue.lock();
                    queue.order += 1;
                    let order = queue.order;
                    queue.late.push(Late { due: Instant::now() + delay, order, to, packet: packet.to_vec() });
                    self.more.notify_one();
                }
            }
        }
    }

    fn deliver(&self) {
        let mut queue = self.queue.lock();
        while !queue.ended {
            match queue.late.peek().map(|late| late.due) {
                None => self.more.wait(&mut queue),
                Some(due) if due > Instant::now() => drop(self.more.wait_until(&mut queue, due)),
                Some(_) => {
                    if let Some(late) = queue.late.pop() {
                        let _ = self.devices[late.to].send(&late.packet);
                    }
                }
            }
        }
    }
}

/// What a process's namespaces are called, and where its network is.
fn place() -> (String, [u8; 2]) {
    let pid = std::process::id();
    let place = [u8::try_from(pid / 250 % 128).unwrap_or(0) + 64, u8::try_from(pid % 250).unwrap_or(0)];
    (format!("{PREFIX}{pid}"), place)
}

/// Five data centres' addresses, and what is between them.
pub struct Net {
    wires: Option<Arc<Wires>>,
    id: String,
    subnet: [u8; 3],
}

impl Net {
    /// Namespaces where they can be made, which is told where they cannot: then all are on this machine's loopback.
    pub fn make() -> Self {
        sweep();
        let (id, place) = place();
        let wanted = std::env::var("HOLDFAST_FIVE_DC_NET").map_or(true, |net| net != "loopback");
        let subnet = [10, place[0], place[1]];
        let made = if wanted { wire(&id, subnet) } else { Err("HOLDFAST_FIVE_DC_NET=loopback".to_owned()) };
        match made {
            Ok(wires) => Self { wires: Some(wires), id, subnet },
            Err(error) => {
                remove(&id);
                Self::loopback(&error)
            }
        }
    }

    /// Addresses of this machine's loopback, for the reason told.
    pub fn loopback(why: &str) -> Self {
        super::say(&format!(
            "five_dc: no namespaces ({why}): all are on 127.0.0.0/8, there is no latency, and nothing can be cut off"
        ));
        let (id, place) = place();
        Self { wires: None, id, subnet: [127, place[0], place[1]] }
    }

    /// Whether there are wires, which can be cut.
    pub fn has_wires(&self) -> bool {
        self.wires.is_some()
    }

    /// The address of a data centre.
    pub fn address(&self, dc: Dc) -> String {
        let [a, b, c] = self.subnet;
        format!("{a}.{b}.{c}.{}", dc.0 + 1)
    }

    /// A command that runs in a data centre.
    pub fn command(&self, dc: Dc, program: &str) -> Command {
        if self.wires.is_none() {
            return Command::new(program);
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(dc), program]);
        command
    }

    fn namespace(&self, dc: Dc) -> String {
        format!("{}-{}", self.id, dc.0 + 1)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        if let Some(wires) = &self.wires {
            change(&mut wires.rules.lock());
        }
    }

    /// How long a packet takes between two data centres.
    pub fn delay(&self, delay_ms: u64) {
        self.change(|rules| rules.delay_ms = delay_ms);
    }

    /// Whether what a data centre sends to the others, and what they send to it, is lost.
    pub fn cut(&self, dc: Dc, out: bool, inward: bool) {
        self.change(|rules| {
            for other in (0..5).filter(|other| *other != dc.0) {
                (rules.cut[dc.0][other], rules.cut[other][dc.0]) = (out, inward);
            }
        });
    }

    /// How much later than others its site server's answers arrive.
    pub fn slow(&self, dc: Dc, slow_ms: u64) {
        self.change(|rules| rules.slow_ms[dc.0] = slow_ms);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(wires) = &self.wires {
            wires.queue.lock().ended = true;
            wires.more.notify_all();
        }
        remove(&self.id);
    }
}

fn ip(words: &str) -> Result<String, String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn wire(id: &str, subnet: [u8; 3]) -> Result<Arc<Wires>, String> {
    let [a, b, c] = subnet;
    let mut devices = Vec::new();
    for end in 0..ENDS {
        let (name, namespace) = (format!("{id}{end}"), format!("{id}-{}", end + 1));
        let device = DeviceBuilder::new().name(&name).mtu(MTU).inherit_enable_state().build_sync();
        devices.push(device.map_err(|error| format!("/dev/net/tun: {error}"))?);
        let within = if end == TEST {
            String::new()
        } else {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link set {name} netns {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            format!("-n {namespace} ")
        };
        let host = if end == TEST { 254 } else { end + 1 };
        ip(&format!("{within}address add {a}.{b}.{c}.{host}/24 dev {name}"))?;
        ip(&format!("{within}link set {name} txqueuelen 10000 up"))?;
    }
    let (rules, queue, more) = (Mutex::default(), Mutex::default(), Condvar::new());
    let wires = Arc::new(Wires { devices, subnet, rules, queue, more });
    for end in 0..ENDS {
        let wires = wires.clone();
        std::thread::spawn(move || wires.take(end));
    }
    let late = wires.clone();
    std::thread::spawn(move || late.deliver());
    Ok(wires)
}

/// Removes the namespaces of a process, with whatever runs in them. Their devices end with them.
fn remove(id: &str) {
    let _ = ip(&format!("link delete {id}{TEST}"));
    for dc in 1..=5 {
        let namespace = format!("{id}-{dc}");
        let Ok(pids) = ip(&format!("netns pids {namespace}")) else { continue };
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
        }
        let _ = ip(&format!("netns delete {namespace}"));
    }
}

/// Whether a process lives.
pub(super) fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Removes what runs have left that were killed.
fn sweep() {
    let Ok(text) = ip("netns list") else { return };
    let mut ids: Vec<u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix(PREFIX)?.split('-').next()?.parse().ok())
        .filter(|pid| !lives(*pid))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    for pid in ids {
        let _ = writeln!(std::io::stderr(), "five_dc: removes what process {pid} has left");
        remove(&format!("{PREFIX}{pid}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let mut rules = Rules { delay_ms: 3, ..Rules::default() };
        rules.cut[0][1] = true;
        rules.slow_ms[2] = 500;
        for (from, to, port, expected) in [
            (0, 1, 1, None),
            (1, 0, 1, Some(3)),
            (0, TEST, 1, Some(0)),
            (2, 1, SITE_PORT, Some(503)),
            (2, 1, 1, Some(3)),
            (1, 2, SITE_PORT, Some(3)),
            (2, TEST, SITE_PORT, Some(0)),
        ] {
            assert_eq!(rules.pass(from, to, port), expected.map(Duration::from_millis), "{from} {to} {port}");
        }
    }

    #[test]
    fn the_earliest_first_and_in_order() {
        let now = Instant::now();
        let mut heap = BinaryHeap::new();
        for (ms, order) in [(5, 1), (1, 2), (1, 3), (3, 4)] {
            heap.push(Late { due: now + Duration::from_millis(ms), order, to: 0, packet: vec![] });
        }
        let order: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|late| late.order).collect();
        assert_eq!(order, [2, 3, 4, 1]);
    }
}
