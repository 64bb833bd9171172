//! Holdfast: one binary, server and command line.

mod audit_log;
mod cli;
mod command;
mod config;
mod credentials;
mod deploy;
mod exit;
mod harden;
mod metadata;
mod passphrase;
mod render;
mod scan;
mod seals;
mod serve;

use clap::Parser;

use crate::cli::portion::{PortionArgs, PortionCommand};
use crate::cli::{Cli, Command, KeysCommand, SiteCommand};
use crate::exit::{Exit, Failure};

// Bodies are a few large, short-lived buffers per request; the system allocator gives such pages
// back and faults them in again each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    harden::process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; neither a full disk nor a closed pipe behind
            // them is worth another error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    if matches!(cli.command, Command::SealHelper) {
        return seals::help().map(|()| Exit::Ok);
    }
    if let Command::EndWithParent { command } = &cli.command {
        return Err(harden::end_with_parent(command));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::io("the runtime"))?;
    let json = cli.json;
    match cli.command {
        // Done before there are threads.
        Command::SealHelper | Command::EndWithParent { .. } => Ok(Exit::Ok),
        Command::Serve(args) => runtime.block_on(serve::serve(args)),
        Command::Config(args) => command::config::run(args, json),
        Command::Deploy(args) => command::deploy::run(&args, json),
        Command::Audit(args) => command::audit::run(&cli.admin, args, json),
        Command::Ladder(args) => command::ladder::run(&args, json),
        Command::Completions { shell } => command::completions::run(shell),
        Command::Key(KeysCommand::Exposure { tenant, exposure }) => {
            let args = PortionArgs { tenant, command: PortionCommand::Exposure(exposure) };
            runtime.block_on(command::portion::run(&cli.admin, args, json))
        }
        Command::Key(KeysCommand::Site(args)) => runtime.block_on(command::key_site::run(&cli.admin, args, json)),
        Command::Key(KeysCommand::Root(args)) => runtime.block_on(command::root::run(&cli.admin, args, json)),
        Command::Meta(args) => runtime.block_on(command::meta::run(&cli.admin, args, json)),
        Command::Status(args) => runtime.block_on(command::status::run(&cli.admin, args, json)),
        Command::User(args) => runtime.block_on(command::user::run(&cli.admin, args, json)),
        Command::Group(args) => runtime.block_on(command::group::run(&cli.admin, args, json)),
        Command::Tenant(args) => runtime.block_on(command::tenant::run(&cli.admin, args, json)),
        Command::Portion(args) => runtime.block_on(command::portion::run(&cli.admin, args, json)),
        Command::Policy(args) => runtime.block_on(command::release_policy::run(&cli.admin, args, json)),
        Command::Release(args) => runtime.block_on(command::release::run(&cli.admin, args, json)),
        Command::Site(SiteCommand::Serve(args)) => runtime.block_on(command::site_serve::run(*args)),
        Command::Site(args) => runtime.block_on(command::site::run(&cli.admin, args, json)),
        Command::Scan(args) => runtime.block_on(command::scan::run(&cli.admin, args, json)),
        Command::Scrub(args) => runtime.block_on(command::scrub::run(&cli.admin, args, json)),
        Command::Notify(args) => runtime.block_on(command::notify::run(&cli.admin, args, json)),
        Command::Gateway(args) => runtime.block_on(command::gateway::run(&cli.admin, args, json)),
        Command::Island(args) => runtime.block_on(command::island::run(&cli.admin, args, json)),
        Command::Worker(args) => runtime.block_on(command::worker::run(&cli.admin, args, json)),
    }
}
