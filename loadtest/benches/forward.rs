//! `cargo bench -p loadtest`: the forwarding benchmark, as `loadtest bench forward`.
#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use clap::Parser;
use loadtest::bench::forward;

#[derive(Parser)]
struct Cli {
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    options: forward::Options,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    print!("{}", forward::run(&cli.options)?);
    Ok(())
}
