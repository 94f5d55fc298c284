//! The `conclave` binary: command line, configuration, composition of roles, `doctor`.
//!
//! No rules of rooms or media live here: those are in `signaling` and `sfu`.

mod admin;
mod audit;
mod backup;
mod cli;
mod config;
mod data;
mod demo;
mod doctor;
mod log;
mod recorder;
mod recording;
mod serve;
mod usage;

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::Parser as _;

use audit::AuditCommand;
use cli::{Cli, Command, ConfigCommand, RecorderCommand};
use config::Config;

/// How long threads that wait for a disk keep a server that was told to end.
const THREADS_END: Duration = Duration::from_secs(10);

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
    if let Command::Recording(command) = &cli.command
        && let Some(code) = recording::run(command, cli.overrides.data_dir.as_deref())?
    {
        return Ok(code);
    }
    let config = Config::load(cli.overrides)?;
    let storage = &config.storage;
    match cli.command {
        Command::Recording(recording::RecordingCommand::List { project, watch }) => {
            runtime()?.block_on(recording::list::run(storage, project.as_deref(), watch))?;
        }
        Command::Config(_) | Command::Recording(_) => {}
        Command::Doctor if doctor::run(&config) => {}
        Command::Doctor => return Ok(ExitCode::FAILURE),
        Command::Partner(command) => runtime()?.block_on(admin::partner(storage, command))?,
        Command::Operator(command) => runtime()?.block_on(admin::operator(storage, command))?,
        Command::Project(command) => runtime()?.block_on(admin::project(storage, command))?,
        Command::Key(command) => runtime()?.block_on(admin::key(storage, command))?,
        Command::Audit(command) => runtime()?.block_on(audit::run(storage, command))?,
        Command::Usage(command) => return runtime()?.block_on(usage::run(storage, command)),
        Command::Backup { file } => runtime()?.block_on(backup::backup(storage, &file))?,
        Command::Restore { file } => runtime()?.block_on(backup::restore(storage, &file))?,
        Command::Recorder { what: Some(RecorderCommand::Fingerprint) } => {
            data::prepare(storage)?;
            let key = recorder::key::identity(&storage.data_dir)?;
            writeln!(std::io::stdout(), "{}", key.fingerprint())?;
        }
        Command::Recorder { what: None } => {
            long(&config.log.clone(), recorder::process::run(config))?
        }
        Command::Serve { demo } => long(&config.log.clone(), serve::run(config, demo))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a process that ends when it is told to.
fn long(
    log: &config::file::Log,
    run: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    log::start(log)?;
    forbid_core_dumps();
    let runtime = runtime()?;
    let ran = runtime.block_on(run);
    // A thread that waits for a disk must not keep the process.
    runtime.shutdown_timeout(THREADS_END);
    ran
}

/// Memory holds keys and media: no core file, no debugger of the same user. Best effort: without it
/// the server works as well.
fn forbid_core_dumps() {
    let dumpable = nix::sys::prctl::set_dumpable(false);
    let size = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    if dumpable.and(size).is_err() {
        tracing::warn!("core dumps could not be switched off");
    }
}

/// Signaling and database; media has threads of its own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
