//! Recordings of a real server on loopback: through kill -9 in every state, through storages that
//! fail, and what recording costs. Bounded in count and time.
//!
//! ```text
//! film (ffmpeg) ─▶ publishers ─WHIP─▶ conclave serve ─▶ partner's folder ─▶ age, ffprobe, numbers
//!                                       ▲ kill -9          data folder ─▶ search for media and keys
//! ```
//! One process is media node, rooms and recorder, so a kill is one of all of them; `apart` and `two` have the recorder in
//! a process of its own, and there either is killed. Publishers here repeat nothing after a kill, so what counts as lost
//! is what the server had taken and did not keep.

mod aftermath;
mod age;
mod aim;
mod apart;
mod blocks;
mod cost;
mod crash;
mod events;
mod figures;
mod film;
mod needles;
mod outage;
mod process;
mod publisher;
mod server;
mod take;
mod two;

use std::{fmt, fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
pub use film::Size;
use rand::{SeedableRng as _, rngs::StdRng};

use self::{crash::Victim, film::Film};
use crate::load::Report;

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// kill -9 of the process that is everything.
    Crash,
    /// Storages that fail.
    Outage,
    /// A storage that stays down for 72 hours of a fast clock.
    Age,
    /// What a file system of its own holds after everything is purged, freed blocks included. Needs root.
    Blocks,
    /// A recorder in a process of its own: killed and stopped in an order that is known.
    Apart,
    /// kill -9 of a server whose recorder is a process of its own.
    KillServer,
    /// kill -9 of a recorder that is a process of its own.
    KillRecorder,
    /// Two servers on one recorder. Needs PostgreSQL.
    Two,
    /// Cost and durations.
    Figures,
}

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The `conclave` binary to start, with data directories of its own.
    #[arg(long, value_name = "BINARY")]
    pub spawn: PathBuf,
    /// Only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["crash", "outage", "age", "blocks", "apart", "kill-server", "kill-recorder", "two", "figures"])]
    pub only: Vec<Part>,
    /// How often the server, and how often the recorder, is killed; each state in turn.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub kills: u64,
    /// Rooms with a recording each, per kill.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=8))]
    pub rooms: u64,
    /// Seconds for which a recording runs at most before a kill; not longer than the film.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=8))]
    pub seconds: u64,
    /// What the moments of the kills are drawn by. Left out: by chance; it is printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Lines of the picture that is published.
    #[arg(long, value_enum, default_value = "720")]
    pub lines: Size,
    /// Rooms that are recorded at the same time for the figures.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=20))]
    pub tracks: u64,
    /// Seconds of each of four measurements of the cost.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=120))]
    pub measure_seconds: u64,
    /// Seconds of the calls whose end is measured, of ten minutes for the target.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub call_seconds: u64,
    /// How many times as fast their pictures are sent: a call has as many, and takes less. Its sound is shorter then.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=6))]
    pub hurry: u32,
    /// The WebDAV server that is the failing storage.
    #[arg(long, value_name = "BINARY", default_value = ".venv/bin/wsgidav")]
    pub webdav: PathBuf,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.only.contains(&part)
    }

    fn film(&self, lines: Size) -> Result<Film> {
        let folder = self.folder("film");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let film = Film::make(&folder, lines);
        fs::remove_dir_all(&folder)?;
        film
    }

    fn folder(&self, name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("conclave-recorder-{name}-{}", std::process::id()))
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Table {
    report: Report,
    failures: Vec<String>,
}

impl Table {
    /// Whether every target is met and everything is as promised.
    pub fn met(&self) -> bool {
        self.failures.is_empty() && self.report.met()
    }

    fn fail(&mut self, part: &str, failures: Vec<String>) {
        self.failures.extend(failures.into_iter().map(|failure| format!("{part}: {failure}")));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED  {failure}"))
    }
}

/// Runs the parts that were asked for.
///
/// # Errors
/// When the server, or a program that is needed, cannot be started.
pub async fn run(options: &Options, say: impl Fn(&str)) -> Result<Table> {
    let seed = options.seed.unwrap_or_else(rand::random);
    say(&format!("seed {seed}"));
    let (film, mut table) = (Arc::new(options.film(options.lines)?), Table::default());
    for (part, victim) in [
        (Part::Crash, Victim::Whole),
        (Part::KillServer, Victim::Server),
        (Part::KillRecorder, Victim::Recorder),
    ] {
        if options.has(part) {
            let mut random = StdRng::seed_from_u64(seed);
            crash::run((options, victim), &film, &mut random, &mut table, &say).await?;
        }
    }
    if options.has(Part::Outage) {
        say("storages that fail …");
        outage::run(options, &film, &mut table).await?;
    }
    if options.has(Part::Age) {
        say("72 hours …");
        age::run(options, &film, &mut table).await?;
    }
    if options.has(Part::Blocks) {
        say("freed blocks …");
        blocks::run(options, &film, &mut table).await?;
    }
    if options.has(Part::Apart) {
        say("a recorder in a process of its own …");
        apart::run(options, &film, &mut table).await?;
    }
    if options.has(Part::Two) {
        say("two servers on one recorder …");
        two::run(options, &film, &mut table).await?;
    }
    if options.has(Part::Figures) {
        figures::run(options, &film, &mut table, &say).await?;
    }
    Ok(table)
}
