//! `holdfast completions`.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::command::say;
use crate::exit::{Exit, Failure};

pub(crate) fn run(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    say(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
