//! The `conclave` binary: command line, configuration, composition of roles, `doctor`.
//!
//! No rules of rooms or media live here: those are in `signaling` and `sfu`.

mod admin;
mod audit;
mod cli;
mod config;
mod data;
mod demo;
mod doctor;
mod log;
mod serve;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use audit::AuditCommand;
use cli::{Cli, Command, ConfigCommand};
use config::Config;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The only place to say that we cannot start: logging may not run yet.
            let _ = writeln!(std::io::stderr(), "conclave: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Config(ConfigCommand::Sample) = cli.command {
        write!(std::io::stdout(), "{}", Config::sample())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Audit(AuditCommand::Verify { file, project, key }) = &cli.command {
        return audit::verify(file, project, key);
    }
    let config = Config::load(cli.overrides)?;
    let data_dir = &config.storage.data_dir;
    match cli.command {
        Command::Config(_) => {}
        Command::Doctor if doctor::run(&config) => {}
        Command::Doctor => return Ok(ExitCode::FAILURE),
        Command::Project(command) => runtime()?.block_on(admin::project(data_dir, command))?,
        Command::Key(command) => runtime()?.block_on(admin::key(data_dir, command))?,
        Command::Audit(command) => runtime()?.block_on(audit::run(data_dir, command))?,
        Command::Serve { demo } => {
            log::start(&config.log)?;
            runtime()?.block_on(serve::run(config, demo))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Signaling and database; media has threads of its own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
