//! `holdfast ladder`.

use std::sync::LazyLock;

use clap::Args;
use clap::builder::PossibleValuesParser;
use ladder::Ladder;

/// The names to choose from; none where the ladder itself is not right, which `serve` tells.
static LADDER: LazyLock<Option<Ladder>> = LazyLock::new(|| Ladder::compiled().ok());

fn operations() -> PossibleValuesParser {
    let names = LADDER.iter().flat_map(|ladder| &ladder.operations).map(|operation| operation.name.as_str());
    PossibleValuesParser::new(names)
}

fn dependencies() -> PossibleValuesParser {
    let names = LADDER.iter().flat_map(|ladder| &ladder.dependencies).map(|dependency| dependency.name.as_str());
    PossibleValuesParser::new(names)
}

#[derive(Args)]
pub(crate) struct LadderArgs {
    /// One operation only [default: all].
    #[arg(value_parser = operations())]
    pub(crate) operation: Option<String>,
    /// One thing that fails only [default: all].
    #[arg(long, value_name = "NAME", value_parser = dependencies())]
    pub(crate) dependency: Option<String>,
}
