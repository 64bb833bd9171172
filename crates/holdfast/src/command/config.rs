//! `holdfast config`.

use crate::cli::ConfigCommand;
use crate::command::{print, say};
use crate::config::{self, Mistakes};
use crate::exit::{Exit, Failure};

pub(crate) fn run(command: ConfigCommand, json: bool) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Example => {
            say(config::EXAMPLE)?;
            Ok(Exit::Ok)
        }
        ConfigCommand::Check { file } => {
            let mistakes = config::check_file(&file).err().map_or_else(Vec::new, |Mistakes(mistakes)| mistakes);
            print(&mistakes, json, |mistakes| match mistakes.as_slice() {
                [] => format!("{} is a valid configuration\n", file.display()),
                mistakes => mistakes.join("\n") + "\n",
            })?;
            Ok(if mistakes.is_empty() { Exit::Ok } else { Exit::No })
        }
    }
}
