//! Other stores, installed from the package registries and measured in the same run.
//!
//! They are run as their documentation says, on loopback, in their own folder, and not tuned.

pub mod garage;
mod seaweedfs;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::error::Error;
use crate::target::Target;

/// A store to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Five nodes, three copies.
    Garage,
    /// One node, one copy.
    Seaweedfs,
}

impl Peer {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Garage => "garage",
            Self::Seaweedfs => "seaweedfs",
        }
    }

    /// Installs it below `tools` unless it is there. Gives the path of its binary.
    pub fn install(self, tools: &Path) -> Result<PathBuf, Error> {
        crate::target::folder(tools)?;
        match self {
            Self::Garage => garage::install(tools),
            Self::Seaweedfs => seaweedfs::install(tools),
        }
    }

    /// Starts it with an empty bucket.
    pub fn start(self, binary: &Path, dir: &Path) -> Result<Target, Error> {
        crate::target::folder(dir)?;
        match self {
            Self::Garage => garage::start(binary, dir),
            Self::Seaweedfs => seaweedfs::start(binary, dir),
        }
    }
}

fn target(engine: engines::Engine, terms: &'static str) -> Target {
    Target {
        name: engine.name,
        terms,
        endpoint: engine.endpoint,
        credentials: engine.credentials.clone(),
        servers: engine.into_nodes().into_iter().map(|(_, server)| server).collect(),
    }
}
