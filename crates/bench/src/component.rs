//! The parts of the data path alone on one core, and the disk: what a whole request cannot beat.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base::SystemRng;
use base::limits::{CHUNK, SEALED_CHUNK};
use cedar::Cedar;
use envelope::{Dek, Opener, Sealer};
use release::{Action, Circumstances, Language, Outcome, Portion, Principal, Question, Via};
use serde::Serialize;

use crate::error::Error;

/// How long each loop runs at least.
const LOOP: Duration = Duration::from_millis(400);
/// Bytes that each pass works on: past the second-level cache, within the third.
const BLOCK: usize = 3 << 20;

/// One line: what, how fast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// What was measured.
    pub name: String,
    /// How fast.
    pub value: f64,
    /// `GB/s` (10^9 bytes of data), `MB/s`, `ms` or `us`.
    pub unit: &'static str,
}

/// Everything that needs no disk. `random` must hold at least [`BLOCK`] bytes.
pub fn processor(random: &[u8]) -> Vec<Component> {
    let block = random.get(..BLOCK).unwrap_or(random);
    let mut lines = vec![
        gigabytes("copy (memcpy)", block.len(), {
            let mut out = vec![0; block.len()];
            move || {
                out.copy_from_slice(black_box(block));
                black_box(&mut out);
            }
        }),
        gigabytes("CRC-64/NVME", block.len(), || {
            black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, black_box(block)));
        }),
        gigabytes("SHA-256", block.len(), || {
            black_box(digest::digest(&digest::SHA256, black_box(block)));
        }),
    ];
    lines.extend(sealing(block));
    for unit in [4 << 10, 64 << 10, 256 << 10, 1 << 20] {
        lines.extend(coding(block, unit));
    }
    lines.extend([10, 1_000, 10_000].map(deciding));
    lines
}

/// So many release policies: most name a user or a portion, as policies do, every hundredth is wide.
pub fn policies(count: usize) -> String {
    let policy = |number: usize| match number % 100 {
        0 => format!("forbid(principal, action, resource) when {{ resource.name == \"never-{number}\" }};\n"),
        odd if odd % 2 == 1 => format!("permit(principal == User::\"u{number}\", action, resource);\n"),
        _ => format!("permit(principal, action, resource == Portion::\"p{number}\");\n"),
    };
    (1..=count).map(policy).collect()
}

/// A release decided by so many of [`policies`].
fn deciding(count: usize) -> Component {
    let text = policies(count);
    let all = Cedar.parse(&[("bench", text.as_str())]).expect("policies");
    let (tags, groups) = (BTreeMap::new(), ["staff".to_owned()]);
    let question = Question {
        tenant: "default",
        principal: Principal { name: Some("u1"), groups: &groups, is_root: false },
        action: Action::Open,
        portion: Portion { name: "p2", key: "11111111-2222-3333-4444-555555555555", class: "sealed", tags: &tags },
        circumstances: Circumstances { now_ms: 1_800_000_000_000, via: Via::S3, temporary: false, address: None },
    };
    assert!(matches!(all.decide(&question).outcome, Outcome::Release(_)), "two of them permit it");
    let mut decided = 0;
    let begun = Instant::now();
    while begun.elapsed() < LOOP {
        black_box(all.decide(black_box(&question)));
        decided += 1;
    }
    let value = begun.elapsed().as_secs_f64() * 1e6 / f64::from(decided);
    Component { name: format!("decide a release, {count} policies"), value, unit: "us" }
}

fn sealing(block: &[u8]) -> Vec<Component> {
    let dek = Dek::generate(&SystemRng);
    let mut sealed = vec![0_u8; block.len() / CHUNK * SEALED_CHUNK];
    let seal = gigabytes("seal, copy included", block.len(), || {
        let (mut sealer, _) = Sealer::new(&dek, b"bench", &SystemRng);
        for (plain, out) in block.chunks_exact(CHUNK).zip(sealed.chunks_exact_mut(SEALED_CHUNK)) {
            if let Some(room) = out.get_mut(..CHUNK) {
                room.copy_from_slice(plain);
            }
            sealer.seal_chunk(out).expect("a full chunk in order");
        }
    });

    let (mut sealer, header) = Sealer::new(&dek, b"bench", &SystemRng);
    for (plain, out) in block.chunks_exact(CHUNK).zip(sealed.chunks_exact_mut(SEALED_CHUNK)) {
        if let Some(room) = out.get_mut(..CHUNK) {
            room.copy_from_slice(plain);
        }
        sealer.seal_chunk(out).expect("a full chunk in order");
    }
    let opener = Opener::new(&dek, &header, b"bench").expect("the header just made");
    let mut out = vec![0_u8; CHUNK];
    let open = gigabytes("open", block.len(), || {
        for (index, chunk) in sealed.chunks_exact(SEALED_CHUNK).enumerate() {
            opener.open_chunk(index as u64, false, chunk, &mut out).expect("a chunk just sealed");
        }
        black_box(&mut out);
    });
    vec![seal, open]
}

fn coding(block: &[u8], unit: usize) -> Vec<Component> {
    let stripe: Vec<&[u8]> = block.chunks_exact(unit).take(3).collect();
    let Ok(data) = <[&[u8]; 3]>::try_from(stripe) else { return Vec::new() };
    let (mut p, mut q) = (vec![0_u8; unit], vec![0_u8; unit]);
    let encode = gigabytes(&format!("encode 3+2, units of {} KiB", unit >> 10), 3 * unit, || {
        erasure::encode(black_box(data), [&mut p, &mut q]).expect("units of one length");
    });
    let [_, _, third] = data;
    let left = [None, None, Some(third), Some(p.as_slice()), Some(q.as_slice())];
    let rebuild = gigabytes(&format!("rebuild two columns, units of {} KiB", unit >> 10), 3 * unit, || {
        black_box(erasure::reconstruct(black_box(&left), &[0, 1]).expect("three units are enough"));
    });
    vec![encode, rebuild]
}

/// Writes of `dir`'s disk: sequential, and small ones that must be durable one by one.
pub fn disk(dir: &Path, random: &[u8]) -> Result<Vec<Component>, Error> {
    let path = dir.join("disk-bench");
    let what = || Error::path("write", &path);
    let block = random.get(..BLOCK).unwrap_or(random);
    let small = random.get(..4096).unwrap_or(random);

    let mut file = File::create(&path).map_err(what())?;
    let start = Instant::now();
    let mut written = 0;
    while written < 300 << 20 {
        file.write_all(block).map_err(what())?;
        written += block.len();
    }
    file.sync_data().map_err(what())?;
    let sequential = written as f64 / 1e6 / start.elapsed().as_secs_f64();

    let mut file = OpenOptions::new().write(true).open(&path).map_err(what())?;
    let overwrite = milliseconds(|turn| {
        file.seek(SeekFrom::Start(turn % 4096 * 4096))
            .and_then(|_| file.write_all(small))
            .and_then(|()| file.sync_data())
    });
    let overwrite = overwrite.map_err(what())?;
    std::fs::remove_file(&path).map_err(what())?;

    let create = milliseconds(|_| {
        let mut file = File::create(&path)?;
        file.write_all(small)?;
        file.sync_data()?;
        std::fs::remove_file(&path)
    });
    let create = create.map_err(what())?;
    let line = |name: &str, value, unit| Component { name: name.to_owned(), value, unit };
    Ok(vec![
        line("disk: sequential write + fdatasync", sequential, "MB/s"),
        line("disk: overwrite 4 KiB + fdatasync", overwrite, "ms"),
        line("disk: create 4 KiB + fdatasync, remove", create, "ms"),
    ])
}

fn gigabytes(name: &str, bytes: usize, mut work: impl FnMut()) -> Component {
    work();
    let start = Instant::now();
    let mut passes = 0_u64;
    while start.elapsed() < LOOP {
        work();
        passes += 1;
    }
    let value = passes as f64 * bytes as f64 / 1e9 / start.elapsed().as_secs_f64();
    Component { name: name.to_owned(), value, unit: "GB/s" }
}

fn milliseconds(mut work: impl FnMut(u64) -> std::io::Result<()>) -> std::io::Result<f64> {
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < LOOP {
        work(turns)?;
        turns += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / turns as f64)
}
