//! REST and WebSocket figures of a server, against their targets. Bounded in count and time.
//!
//! ```text
//! server (spawned: one core) ◀── REST requests, one kind at a time
//!                            ◀── many sockets, joined and silent: memory of each
//!                            ◀── many joins into one room: messages of each participant
//! ```

mod crowd;
mod idle;
mod member;
pub(crate) mod report;
mod rest;
pub(crate) mod server;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

pub use report::Report;
use server::{Server, Target};

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// A running server, such as http://127.0.0.1:7880.
    pub url: Option<String>,
    /// API key with every scope, for a running server; several share the load, since each has its
    /// own rate.
    #[arg(long, env = "CONCLAVE_KEY", hide_env_values = true, value_delimiter = ',')]
    pub key: Vec<String>,
    /// Process of a running server on this machine, to read its memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Starts this `conclave` binary on the first core, with an empty data directory.
    #[arg(long, value_name = "BINARY", conflicts_with = "url")]
    pub spawn: Option<PathBuf>,
    /// Seconds for each kind of REST request.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// REST requests at the same time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub concurrency: u64,
    /// Idle sockets.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    pub sockets: u64,
    /// Joins into one room.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub joins: u64,
}

/// Runs every part in turn.
///
/// # Errors
/// When the server cannot be started or reached, or the file limit is too low.
pub async fn run(options: &Options, say: impl Fn(&str)) -> Result<Report> {
    server::allow_files(options.sockets.max(options.joins))?;
    let server = match (&options.spawn, &options.url) {
        (Some(binary), _) => Some(Server::spawn(binary).await?),
        (None, Some(_)) => None,
        (None, None) => bail!("name a server: a URL with --key, or --spawn BINARY"),
    };
    let target = match (&server, &options.url) {
        (Some(server), _) => server.target.clone(),
        (None, Some(url)) => Target::new(url, options.key.clone(), options.pid)?,
        (None, None) => bail!("name a server"),
    };
    let mut report = Report::default();
    say("REST …");
    rest::measure(&target, options, &mut report).await?;
    say("idle sockets …");
    idle::measure(&target, options.sockets, &mut report).await?;
    say("joins into one room …");
    crowd::measure(&target, options.joins, &mut report).await?;
    drop(server);
    Ok(report)
}
