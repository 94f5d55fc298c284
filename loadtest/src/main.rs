//! Command line of the load tests.
#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "bench")]
use loadtest::bench;
use loadtest::{conformance, load, peer, recorder};

#[derive(Parser)]
#[command(name = "loadtest", about = "Scripted peers and benchmarks for Conclave", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A webrtc-rs peer: publishes over WHIP or watches over WHEP, prints one line of JSON.
    Peer(peer::Options),
    /// Runs the black-box cases of sdk-spec/conformance against a server.
    Conformance(conformance::Options),
    /// REST and WebSocket figures of a server, against their targets.
    Load(load::Options),
    /// Recordings: kill -9 in every state, storages that fail, and what recording costs.
    Recorder(recorder::Options),
    /// Benchmarks.
    #[cfg(feature = "bench")]
    #[command(subcommand)]
    Bench(Bench),
}

#[cfg(feature = "bench")]
#[derive(Subcommand)]
enum Bench {
    /// Forwarding one publisher to many subscribers, beside the floor of the same run.
    Forward(bench::forward::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Peer(options) => {
            let report = tokio::runtime::Runtime::new()?.block_on(peer::run(&options))?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Conformance(options) => {
            let say = |line: &str| println!("{line}");
            let passed =
                tokio::runtime::Runtime::new()?.block_on(conformance::run(&options, say))?;
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Load(options) => {
            let say = |line: &str| println!("{line}");
            let report = tokio::runtime::Runtime::new()?.block_on(load::run(&options, say))?;
            print!("{report}");
            Ok(if report.met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Recorder(options) => {
            let say = |line: &str| println!("{line}");
            let report = tokio::runtime::Runtime::new()?.block_on(recorder::run(&options, say))?;
            print!("{report}");
            Ok(if report.met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        #[cfg(feature = "bench")]
        Command::Bench(Bench::Forward(options)) => {
            print!("{}", bench::forward::run(&options)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
