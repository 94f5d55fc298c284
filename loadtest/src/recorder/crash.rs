//! kill -9 of the server in every state of a recording, and what is left of it in the end.
//!
//! ```text
//! per kill: start ─▶ rooms, publishers, recordings ─▶ (one of them stopped) ─▶ state reached ─▶ kill -9
//!                                                        disk searched, keys noted ◀─┘
//! at the end: start ─▶ all purged ─▶ files, receipts, events, disk
//! ```

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    Options, Table,
    aim::Phase,
    film::Film,
    needles::Needles,
    publisher::Publisher,
    server::{Place, Server},
    take::{LOSS, Outcome, Take},
};
use crate::load::report::Bound;

/// Pushes take some time, so that a kill meets them. The least that the server takes.
const PUSH_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Shortest life of a recording that is stopped or killed.
const SECONDS_MIN: f64 = 0.5;
/// Until everything is delivered and purged after the last kill.
const SETTLE: Duration = Duration::from_secs(180);

/// Runs the kills and checks what came of all recordings.
///
/// # Errors
/// The harness itself: a server that does not start, a program that is missing.
pub(super) async fn run(
    options: &Options,
    film: &Arc<Film>,
    random: &mut StdRng,
    table: &mut Table,
    say: &impl Fn(&str),
) -> Result<()> {
    let folder = options.folder("crash");
    let place = Place::make(&options.spawn, folder, PUSH_BYTES_PER_SECOND)?;
    let server = place.serve().await?;
    place.record_to(&server, json!({ "kind": "local" })).await?;
    server.stop().await?;
    let mut run = Run::new(place, Arc::clone(film));
    for kill in 0..options.kills {
        // Each state in turn, so that few kills meet all of them too.
        let phase = Phase::ALL[(kill % 5) as usize];
        let met = run.kill(phase, options, random).await?;
        say(&format!("kill {}: aimed at {}, met {}", kill + 1, phase.name(), met.name()));
    }
    run.settle(table).await
}

struct Run {
    place: Place,
    film: Arc<Film>,
    takes: Vec<Take>,
    met: BTreeMap<Phase, u64>,
    /// What must never be on the disk.
    clear: Needles,
    searched: u64,
    failures: Vec<String>,
    slowest_start: Duration,
}

impl Run {
    fn new(place: Place, film: Arc<Film>) -> Self {
        let mut clear = Needles::new();
        film.samples().for_each(|sample| clear.add("media", sample));
        Self {
            place,
            film,
            takes: Vec::new(),
            met: BTreeMap::new(),
            clear,
            searched: 0,
            failures: Vec::new(),
            slowest_start: Duration::ZERO,
        }
    }

    /// Records in all rooms, kills in one state of the first of them.
    async fn kill(
        &mut self,
        phase: Phase,
        options: &Options,
        random: &mut StdRng,
    ) -> Result<Phase> {
        let began = Instant::now();
        let mut server = self.place.serve().await?;
        self.slowest_start = self.slowest_start.max(began.elapsed());
        let (mut publishers, mut takes) = (Vec::new(), Vec::new());
        for _ in 0..options.rooms {
            let room = server.room().await?;
            let publisher = Publisher::start(&server.target, &room, &self.film).await?;
            let id = server.record(&room).await?;
            let (now, sent) = (Instant::now(), Arc::clone(&publisher.sent));
            takes.push(Take {
                id,
                room,
                started: now,
                ended: now,
                was_killed: true,
                killed_in_purge_ms: None,
                sent,
                wraps: None,
            });
            publishers.push(publisher);
        }
        let lives = random.random_range(SECONDS_MIN..options.seconds as f64);
        tokio::time::sleep(Duration::from_secs_f64(lives)).await;
        takes.iter_mut().for_each(|take| take.note_wraps(&self.place));
        let victim = takes.first_mut().context("no room")?;
        if phase != Phase::Recording {
            victim.ended = Instant::now();
            victim.was_killed = false;
            server.end_recording(&victim.id).await?;
        }
        let spool = self.place.spool(&victim.id);
        // The publishers go on meanwhile: they have threads of their own.
        tokio::task::block_in_place(|| phase.await_moment(&spool, random));
        let killed = server.kill()?;
        let met = Phase::of(&spool, phase != Phase::Recording);
        if let Some(victim) = takes.first_mut().filter(|_| met == Phase::Purging) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            victim.killed_in_purge_ms = Some(u64::try_from(now.as_millis())?);
        }
        for take in &mut takes {
            if take.was_killed {
                take.ended = killed;
            }
            take.note_wraps(&self.place);
        }
        for publisher in publishers {
            publisher.abandon().await;
        }
        self.check_search(&takes)?;
        *self.met.entry(met).or_default() += 1;
        self.note_keys(&takes)?;
        self.takes.append(&mut takes);
        self.search(&format!("after a kill while {}", met.name()))?;
        Ok(met)
    }

    fn note_keys(&mut self, takes: &[Take]) -> Result<()> {
        for take in takes {
            let lived = take.ended.saturating_duration_since(take.started);
            let is_known = take.add_key(&self.place, &mut self.clear)?;
            if !is_known && lived > LOSS {
                self.failures.push(format!("{}: no keys.json was seen in {lived:?}", take.id));
            }
        }
        Ok(())
    }

    /// While wraps are there the search must find them: else it proves nothing later.
    fn check_search(&mut self, takes: &[Take]) -> Result<()> {
        for take in takes.iter().filter(|take| take.was_killed && take.wraps.is_some()) {
            let mut wraps = Needles::new();
            take.add_wraps(&mut wraps);
            let spool = self.place.spool(&take.id);
            if wraps.on_disk(&spool)?.hits.len() < 2 {
                self.failures.push(format!("{}: its wraps are not found where they are", take.id));
            }
        }
        Ok(())
    }

    /// Nothing in the clear, neither here nor at the partner's.
    fn search(&mut self, when: &str) -> Result<()> {
        for folder in [&self.place.data, &self.place.delivered] {
            let scan = self.clear.on_disk(folder)?;
            self.searched += scan.bytes;
            self.failures.extend(scan.hits.into_iter().map(|hit| format!("{when}: {hit}")));
        }
        Ok(())
    }

    /// Starts the server for the last time, waits, checks everything.
    async fn settle(mut self, table: &mut Table) -> Result<()> {
        let server = self.place.serve().await?;
        self.await_purged(&server).await?;
        let events = Events::read(&server).await?;
        let mut outcomes = Vec::new();
        for take in &self.takes {
            let mut delivered = 1;
            match take.check(&server, &self.place, &self.film).await {
                Ok(outcome) => {
                    delivered -= usize::from(outcome.is_empty);
                    outcomes.push((take.was_killed, outcome));
                }
                Err(error) => self.failures.push(format!("{}: {error:#}", take.id)),
            }
            // The receipt is in the event: one event is one receipt.
            for (kind, wanted) in [("recording.purged", 1), ("recording.delivered", delivered)] {
                let count = events.count(kind, &take.id);
                if count != wanted {
                    self.failures.push(format!("{}: {count} events {kind}", take.id));
                }
            }
        }
        self.search("while the server runs, everything purged")?;
        server.stop().await?;
        self.check_nothing_is_left()?;
        self.tell(&outcomes, table);
        Ok(())
    }

    async fn await_purged(&mut self, server: &Server) -> Result<()> {
        let end = Instant::now() + SETTLE;
        for take in &self.takes {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            if let Err(error) = server.until(&take.id, left, |now| now["state"] == "purged").await {
                self.failures.push(format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// The spool is empty, and of keys nothing is left: also not in the database and its log.
    fn check_nothing_is_left(&mut self) -> Result<()> {
        let spool = self.place.data.join("recorder/spool");
        for entry in fs::read_dir(&spool)? {
            self.failures.push(format!("left in the spool: {}", entry?.path().display()));
        }
        let mut wraps = Needles::new();
        for take in &self.takes {
            take.add_wraps(&mut wraps);
        }
        let scan = wraps.on_disk(&self.place.data)?;
        self.searched += scan.bytes;
        self.failures.extend(scan.hits);
        self.search("everything purged, the server ended")
    }

    fn tell(self, outcomes: &[(bool, Outcome)], table: &mut Table) {
        let report = &mut table.report;
        for phase in Phase::ALL {
            let count = self.met.get(&phase).copied().unwrap_or_default();
            report.add(format!("kills while {}", phase.name()), count as f64, "kills");
        }
        let resumed = outcomes.iter().filter(|(_, outcome)| outcome.was_purge_resumed).count();
        report.add("of these before the receipt", resumed as f64, "kills");
        report.add("recordings", self.takes.len() as f64, "recordings");
        let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, one)| is(one)).count();
        report.add("of them killed before anything was safe", count(|one| one.is_empty) as f64, "");
        let is_early = |one: &Outcome| one.pictures == 0 && !one.is_empty;
        report.add("of them ended before a key frame", count(is_early) as f64, "");
        let pictures: u64 = outcomes.iter().map(|(_, outcome)| outcome.pictures).sum();
        report.add("pictures decoded", pictures as f64, "pictures");
        let missing: u64 = outcomes.iter().map(|(_, outcome)| outcome.missing).sum();
        report.judge("pictures missing in between", missing as f64, "pictures", Bound::AtMost(0.0));
        let most = |is: &dyn Fn(&(bool, Outcome)) -> bool, of: fn(&Outcome) -> Duration| {
            let all = outcomes.iter().filter(|one| is(one)).map(|(_, outcome)| of(outcome));
            all.max().unwrap_or_default().as_secs_f64()
        };
        let limit = Bound::AtMost(LOSS.as_secs_f64());
        let lost = most(&|one| one.0, |one| one.lost);
        report.judge("lost before a kill, most", lost, "s", limit);
        report.judge("lost before a stop, most", most(&|one| !one.0, |one| one.lost), "s", limit);
        report.judge("start to first picture, most", most(&|_| true, |one| one.late), "s", limit);
        report.add("start of the server, slowest", self.slowest_start.as_secs_f64(), "s");
        report.add("searched for media and keys", self.searched as f64 / 1e6, "MB");
        table.fail("kills", self.failures);
    }
}

/// The project's event log.
pub(super) struct Events(Vec<Value>);

impl Events {
    pub(super) async fn read(server: &Server) -> Result<Self> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = server.get(&format!("/v1/events?after={after}&limit=200")).await?;
            after = page["next"].as_u64().context("next")?;
            all.extend(page["events"].as_array().context("events")?.iter().cloned());
            if page["more"] != true {
                return Ok(Self(all));
            }
        }
    }

    pub(super) fn count(&self, kind: &str, recording: &str) -> usize {
        self.of(kind, recording).count()
    }

    /// Those of a kind about a recording, in order.
    pub(super) fn of(&self, kind: &str, recording: &str) -> impl Iterator<Item = &Value> {
        let is =
            move |event: &&Value| event["type"] == kind && event["data"]["recording"] == recording;
        self.0.iter().filter(is)
    }
}
