//! `holdfast ladder`.

use ladder::Ladder;

use crate::cli::ladder::LadderArgs;
use crate::command::print;
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) fn run(args: &LadderArgs, json: bool) -> Result<Exit, Failure> {
    let whole = Ladder::compiled()?;
    let cells = whole.cells_of(args.operation.as_deref(), args.dependency.as_deref());
    let text = |cells: &Vec<&ladder::Cell>| render::ladder::rows(&whole, cells);
    print(&cells, json, text)?;
    Ok(Exit::Ok)
}

impl From<ladder::Mistakes> for Failure {
    fn from(mistakes: ladder::Mistakes) -> Self {
        Self::new(mistakes.to_string()).hint("this program was built from a wrong file: take another build")
    }
}
