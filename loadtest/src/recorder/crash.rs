//! kill -9 in every state of a recording, and what is left of it in the end.
//!
//! ```text
//! per kill: start what does not run ─▶ rooms, publishers, recordings ─▶ (one of them stopped) ─▶ state reached
//!           ─▶ kill -9 ─▶ disk searched, keys noted ─▶ (recorder killed: started again, rooms end later)
//! at the end: all purged ─▶ files, receipts, events, disk
//! ```

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table,
    aftermath::Aftermath,
    aim::Phase,
    film::Film,
    process::Process,
    publisher::Publisher,
    server::{Place, Server},
    take::{LOSS, Take},
};

/// Pushes take some time, so that a kill meets them. The least that the server takes.
const PUSH_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Shortest life of a recording that is stopped or killed.
const SECONDS_MIN: f64 = 0.5;
/// Longest time without a recorder after it was killed.
const AWAY_SECONDS_MAX: f64 = 1.0;
/// Pictures a second.
const PICTURES: f64 = 30.0;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// The one process that is everything.
    Whole,
    /// Media node and rooms; the recorder is a process of its own, and lives.
    Server,
    /// The recorder, a process of its own; rooms and their recordings go on.
    Recorder,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "server with recorder",
            Self::Server => "server apart",
            Self::Recorder => "recorder apart",
        }
    }

    /// Pictures that a recording may lack between its first and its last.
    fn missing_max(self) -> f64 {
        match self {
            Self::Whole | Self::Server => 0.0,
            // What the recorder had taken and not brought to disk.
            Self::Recorder => LOSS.as_secs_f64() * PICTURES,
        }
    }
}

/// Runs the kills and checks what came of all recordings.
///
/// # Errors
/// The harness itself: a server that does not start, a program that is missing.
pub(super) async fn run(
    (options, victim): (&Options, Victim),
    film: &Arc<Film>,
    random: &mut StdRng,
    table: &mut Table,
    say: &impl Fn(&str),
) -> Result<()> {
    let folder = options.folder(&victim.name().replace(' ', "-"));
    let place = Place::make(&options.spawn, folder, PUSH_BYTES_PER_SECOND)?;
    let server = place.serve().await?;
    place.record_to(&server, json!({ "kind": "local" })).await?;
    server.stop().await?;
    if victim != Victim::Whole {
        place.link_within()?;
    }
    let mut run = Run::new((options, victim), Aftermath::new(place, Arc::clone(film)));
    // Each state in turn, so that few kills meet many of them.
    let first = random.random_range(0..Phase::ALL.len());
    for kill in 0..options.kills as usize {
        let phase = Phase::ALL[(first + kill) % Phase::ALL.len()];
        let met = run.kill(phase, random).await?;
        let (number, name) = (kill + 1, victim.name());
        say(&format!("{name}, kill {number}: aimed at {}, met {}", phase.name(), met.name()));
    }
    run.settle(table).await
}

struct Run<'a> {
    options: &'a Options,
    victim: Victim,
    aftermath: Aftermath,
    /// None while it is killed, or was never started.
    server: Option<Server>,
    recorder: Option<Process>,
    met: BTreeMap<Phase, u64>,
    slowest_start: Duration,
}

/// Rooms that are recorded while a kill comes. The first recording is the one whose state is aimed at.
struct Cast {
    publishers: Vec<Publisher>,
    takes: Vec<Take>,
}

impl<'a> Run<'a> {
    fn new((options, victim): (&'a Options, Victim), aftermath: Aftermath) -> Self {
        let (met, slowest_start) = (BTreeMap::new(), Duration::ZERO);
        Self { options, victim, aftermath, server: None, recorder: None, met, slowest_start }
    }

    /// Starts what does not run.
    async fn start(&mut self) -> Result<()> {
        if self.recorder.is_none() && self.victim != Victim::Whole {
            self.recorder = Some(self.aftermath.place.record()?);
        }
        if self.server.is_none() {
            let began = Instant::now();
            self.server = Some(self.aftermath.place.serve().await?);
            self.slowest_start = self.slowest_start.max(began.elapsed());
        }
        Ok(())
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("no server runs")
    }

    /// Records in all rooms, kills in one state of the first of them.
    async fn kill(&mut self, phase: Phase, random: &mut StdRng) -> Result<Phase> {
        self.start().await?;
        let mut cast = self.cast(random).await?;
        let has_ended = phase != Phase::Recording;
        let victim = cast.takes.first_mut().context("no room")?;
        if has_ended {
            victim.end(self.server()?).await?;
        }
        let spool = self.aftermath.place.spool(&victim.id);
        // The publishers go on meanwhile: they have threads of their own.
        tokio::task::block_in_place(|| phase.await_moment(&spool, random));
        let killed = self.strike()?;
        let met = Phase::of(&spool, has_ended);
        if met == Phase::Purging && self.victim != Victim::Server {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            victim.killed_in_purge_ms = Some(u64::try_from(now.as_millis())?);
        }
        let written = &mut cast.takes[usize::from(has_ended)..];
        for take in written {
            take.ended = killed;
            take.was_killed = self.victim != Victim::Recorder;
        }
        cast.takes.iter_mut().for_each(|take| take.note_wraps(&self.aftermath.place));
        *self.met.entry(met).or_default() += 1;
        let (when, written) = (met.name(), &cast.takes[usize::from(has_ended)..]);
        let when = format!("after a kill while {when}");
        self.aftermath.on_kill(&cast.takes, written, &when)?;
        match self.victim {
            Victim::Recorder => self.go_on(&mut cast, usize::from(has_ended), random).await?,
            Victim::Whole | Victim::Server => {
                for publisher in cast.publishers {
                    publisher.abandon().await;
                }
            }
        }
        self.aftermath.add(cast.takes);
        Ok(met)
    }

    /// Rooms that have been recorded for a while.
    async fn cast(&self, random: &mut StdRng) -> Result<Cast> {
        let mut cast = Cast { publishers: Vec::new(), takes: Vec::new() };
        for _ in 0..self.options.rooms {
            let (publisher, take) = Take::begin(self.server()?, &self.aftermath.film).await?;
            cast.publishers.push(publisher);
            cast.takes.push(take);
        }
        self.live(random).await;
        cast.takes.iter_mut().for_each(|take| take.note_wraps(&self.aftermath.place));
        Ok(cast)
    }

    async fn live(&self, random: &mut StdRng) {
        let seconds = random.random_range(SECONDS_MIN..self.options.seconds as f64);
        sleep(Duration::from_secs_f64(seconds)).await;
    }

    fn strike(&mut self) -> Result<Instant> {
        match self.victim {
            Victim::Recorder => self.recorder.take().context("no recorder runs")?.kill(),
            Victim::Whole | Victim::Server => {
                self.server.take().context("no server runs")?.process.kill()
            }
        }
    }

    /// The rooms go on without a recorder, then with the next one; then those from number `open` on are stopped.
    async fn go_on(&mut self, cast: &mut Cast, open: usize, random: &mut StdRng) -> Result<()> {
        let away = random.random_range(0.0..AWAY_SECONDS_MAX);
        sleep(Duration::from_secs_f64(away)).await;
        self.start().await?;
        self.live(random).await;
        for take in &mut cast.takes[open..] {
            take.end(self.server()?).await?;
        }
        for publisher in cast.publishers.drain(..) {
            publisher.leave().await?;
        }
        Ok(())
    }

    /// Starts everything for the last time, waits, checks.
    async fn settle(mut self, table: &mut Table) -> Result<()> {
        self.start().await?;
        let server = self.server.take().context("no server runs")?;
        self.aftermath.settle(&server).await?;
        server.stop().await?;
        if let Some(recorder) = self.recorder.take() {
            recorder.stop().await?;
        }
        self.aftermath.check_nothing_is_left()?;
        let (victim, report) = (self.victim.name(), &mut table.report);
        for phase in Phase::ALL {
            let count = self.met.get(&phase).copied().unwrap_or_default();
            report.add(format!("{victim}: kills while {}", phase.name()), count as f64, "kills");
        }
        let slowest = self.slowest_start.as_secs_f64();
        report.add(format!("{victim}: start of the server, slowest"), slowest, "s");
        self.aftermath.tell(victim, self.victim.missing_max(), table);
        Ok(())
    }
}
