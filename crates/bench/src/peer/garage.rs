//! Garage: five nodes in five zones, three copies.

use std::path::{Path, PathBuf};

use engines::Keep;
use engines::garage::{self, Build};

use crate::error::Error;
use crate::target::Target;

const NODES: usize = 5;

pub(super) fn install(tools: &Path) -> Result<PathBuf, Error> {
    Ok(garage::install(tools, Build::Release)?)
}

pub(super) fn start(binary: &Path, dir: &Path) -> Result<Target, Error> {
    let target =
        super::target(garage::start(binary, dir, NODES, Keep::AsItComes)?, "five nodes, 3 copies, plain, no fsync");
    target.create_bucket()?;
    Ok(target)
}
