//! The `conclave` binary: command line, configuration, composition of roles, `doctor`.
//!
//! No rules of rooms or media live here: those are in `signaling` and `sfu`.

mod cli;
mod config;
mod doctor;
mod log;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

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
    let config = Config::load(cli.overrides)?;
    match cli.command {
        Command::Config(ConfigCommand::Sample) => Ok(ExitCode::SUCCESS),
        Command::Doctor => {
            Ok(if doctor::run(&config) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
