//! How fast five folder sites on one disk are: `cargo run --release -p sites --example folders -- DIR`.
#![allow(clippy::print_stdout, reason = "printing figures is all that it does")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use sites::{Folder, Site};

const SECONDS: u64 = 3;

fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Rounds of five parallel puts, as the shards of one stripe, from several writers at once.
async fn puts(sites: &Arc<Vec<Folder>>, len: usize, writers: usize) {
    let body = Bytes::from(vec![7; len]);
    let (begun, cpu_begun) = (Instant::now(), cpu());
    let tasks = (0..writers).map(|writer| {
        let (sites, body) = (sites.clone(), body.clone());
        tokio::spawn(async move {
            let mut rounds = 0_u64;
            while begun.elapsed() < Duration::from_secs(SECONDS) {
                let name = format!("shards/{:02x}/{len}-{writers}-{writer}-{rounds}", rounds % 256);
                for done in join_all(sites.iter().map(|site| site.put(&name, std::slice::from_ref(&body)))).await {
                    done.expect("a put fails");
                }
                rounds += 1;
            }
            rounds
        })
    });
    let rounds: u64 = join_all(tasks).await.into_iter().map(|done| done.expect("a writer fails")).sum();
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (cpu() - cpu_begun).as_secs_f64());
    let gigabytes = (rounds * 5) as f64 * len as f64 / 1e9;
    println!(
        "put {len:>8} bytes x 5 sites, {writers} at once: {:>6.0} rounds/s, {:>6.0} puts/s, {:>5.0} MB/s, {:>5.2} CPU s/GB, {:>4.0} us CPU a put",
        rounds as f64 / seconds,
        (rounds * 5) as f64 / seconds,
        gigabytes * 1000.0 / seconds,
        cpu / gigabytes,
        cpu * 1e6 / (rounds * 5) as f64,
    );
}

async fn gets(site: &Folder, len: usize) {
    let name = "hot/name";
    site.put(name, &[Bytes::from(vec![7; 4 << 20])]).await.expect("a put fails");
    let (begun, cpu_begun, mut count) = (Instant::now(), cpu(), 0_u64);
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        let start = (count * 4096) % ((4 << 20) - len as u64 + 1);
        site.get(name, start..start + len as u64).await.expect("a get fails");
        count += 1;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (cpu() - cpu_begun).as_secs_f64());
    println!(
        "get {len:>8} bytes, hot: {:>7.0} /s, {:>6.0} MB/s, {:>6.2} us CPU each",
        count as f64 / seconds,
        (count * len as u64) as f64 / 1e6 / seconds,
        cpu * 1e6 / count as f64
    );
}

fn main() {
    let dir: PathBuf = std::env::args_os().nth(1).expect("usage: folders DIR").into();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("no runtime");
    runtime.block_on(async {
        let mut sites = Vec::new();
        for i in 0..5 {
            let root = dir.join(format!("site{i}"));
            std::fs::create_dir_all(&root).expect("no folder");
            sites.push(Folder::open(root).expect("no site"));
        }
        let sites = Arc::new(sites);
        for site in sites.iter() {
            site.put("first", &[Bytes::from_static(b"x")]).await.expect("a put fails");
        }
        for (len, writers) in [
            (4_000, 1),
            (22_000, 1),
            (22_000, 4),
            (22_000, 16),
            (120_000, 4),
            (350_000, 1),
            (350_000, 4),
            (2_000_000, 1),
            (2_000_000, 4),
        ] {
            puts(&sites, len, writers).await;
        }
        for len in [4096, 16_400, 65_536, 350_000] {
            gets(&sites[0], len).await;
        }
    });
    let begun = Instant::now();
    for i in 0..5 {
        drop(Folder::open(dir.join(format!("site{i}"))).expect("no site"));
    }
    println!("opening five folders again, their indexes read: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
}
