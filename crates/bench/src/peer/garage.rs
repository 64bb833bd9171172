//! Garage: five nodes in five zones, three copies.

use std::path::{Path, PathBuf};

use engines::garage::{self, Build};
use engines::{Engine, Keep};

use crate::error::Error;
use crate::target::Target;

const NODES: usize = 5;

pub(crate) fn install(tools: &Path) -> Result<PathBuf, Error> {
    Ok(garage::install(tools, Build::Release)?)
}

pub(super) fn start(binary: &Path, dir: &Path) -> Result<Target, Error> {
    let engine = cluster(binary, dir, 3)?;
    let target = super::target(engine, "five nodes, 3 copies, plain, no fsync");
    target.create_bucket()?;
    Ok(target)
}

/// Five nodes that keep so many copies. They are in `node1` to `node5` of the folder.
pub(crate) fn cluster(binary: &Path, dir: &Path, copies: usize) -> Result<Engine, Error> {
    Ok(garage::start(binary, dir, (NODES, copies), Keep::AsItComes)?)
}
