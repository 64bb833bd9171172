//! The degradation ladder: what each operation answers when something that it depends on fails, as data that is compiled in, and what an
//! answer says of it.
//!
//! `ladder.toml` has a cell for every operation, dependency and failure. A cell is the rungs that answers go down, first one first, or says
//! why the failure does not come up. [`Ladder::compiled`] is asked at start; a cell that is missing, or that allows what must not be, is a
//! mistake of the build that no server starts with. The tests of `sim` inject each failure and see that the answer is on the rung.

mod check;
mod rung;
mod told;

use serde::Serialize;

pub use check::{Mistake, Mistakes};
pub use rung::{Failure, Rung, Step};
pub use told::{HEADER, Told};

const DATA: &str = include_str!("../ladder.toml");

/// What can fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// As the command line and the data file name it.
    pub name: String,
    /// As headers and metrics name it: several names here may be one there.
    pub told: String,
    /// What it is, for people.
    pub what: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// As the command line and the data file name it.
    pub name: String,
    /// What it is, for people.
    pub what: String,
    /// Whether it decides who may do or open something: its answers are never old.
    pub security: bool,
    /// Whether nobody waits for it: it is put off, and never refused.
    pub background: bool,
}

/// What an operation answers while something fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// Down these steps, until one holds.
    Steps(Vec<Step>),
    /// It does not come up, for this reason: the answer is the same as ever.
    None(String),
}

/// One operation, one dependency, one failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The operation's name.
    pub operation: String,
    /// The dependency's name.
    pub dependency: String,
    /// How it fails.
    pub failure: Failure,
    /// What is answered.
    pub plan: Plan,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ladder {
    /// In the order of the data file.
    pub operations: Vec<Operation>,
    /// In the order of the data file.
    pub dependencies: Vec<Dependency>,
    /// Each operation's, each dependency's, each failure's: one.
    pub cells: Vec<Cell>,
}

impl Ladder {
    /// The one that this program was built with.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compiled() -> Result<Self, Mistakes> {
        Self::parse(DATA)
    }

    /// Reads and checks one.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        check::parse(text)
    }

    /// A cell.
    pub fn cell(&self, operation: &str, dependency: &str, failure: Failure) -> Option<&Cell> {
        let is = |cell: &&Cell| cell.operation == operation && cell.dependency == dependency && cell.failure == failure;
        self.cells.iter().find(is)
    }

    /// The cells of one operation, or of all; on one dependency, or on all. Empty for names that there are not.
    pub fn cells_of(&self, operation: Option<&str>, dependency: Option<&str>) -> Vec<&Cell> {
        let is = |cell: &&Cell| {
            operation.is_none_or(|name| cell.operation == name) && dependency.is_none_or(|name| cell.dependency == name)
        };
        self.cells.iter().filter(is).collect()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None(_) => f.write_str("-"),
            Self::Steps(steps) => {
                for (index, step) in steps.iter().enumerate() {
                    let between = if index == 0 { "" } else { ", " };
                    write!(f, "{between}{step}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_one_is_whole() {
        let ladder = Ladder::compiled().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(ladder.cells.len(), ladder.operations.len() * ladder.dependencies.len() * Failure::ALL.len());
        let get = ladder.cell("get", "meta-quorum", Failure::Down).expect("a cell");
        assert_eq!(get.plan.to_string(), "stale(15m), refuse");
    }
}
