//! SeaweedFS: one process with master, volume server, filer and S3.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use engines::{Keep, seaweedfs};

use crate::error::Error;
use crate::target::{self, Target};

pub(super) fn install(tools: &Path) -> Result<PathBuf, Error> {
    Ok(seaweedfs::install(tools)?)
}

pub(super) fn start(binary: &Path, dir: &Path) -> Result<Target, Error> {
    let target = super::target(seaweedfs::start(binary, dir, Keep::AsItComes)?, "one node, 1 copy, plain, no fsync");
    create_bucket(&target)?;
    Ok(target)
}

/// The S3 front answers before the volume server has joined: the first writes may be refused.
fn create_bucket(target: &Target) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let result = target.create_bucket().and_then(|()| {
            let path = target.presign("PUT", &format!("/{}/ready", target::BUCKET));
            crate::http::Connection::open(target.endpoint)?.expect("PUT", &path, b"?").map(drop)
        });
        match result {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(200)),
            other => return other,
        }
    }
}
