//! The figures: what recording costs while it runs, how fast files and composites are made, and how long until
//! everything is gone after a call.
//!
//! ```text
//! in one process: cost ─▶ calls ─▶ ends │ over the link: cost │ four people: call ─▶ composite
//! ```
//! The load of the machine stands in front: on a busy one ratios count more than times.

use std::{
    fs,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Size, Table, cost,
    film::Film,
    process::Process,
    publisher::Publisher,
    server::{Place, Server},
};
use crate::load::report::{Bound, Report, quantile_ms};

/// How long everything is recorded once before anything is measured.
const FIRST: Duration = Duration::from_secs(2);
/// Until a recording is purged.
const SETTLE: Duration = Duration::from_secs(300);
/// Finalizing against real time, on one core.
const FINALIZE_MIN: f64 = 50.0;
/// End of a session until it is purged, for [`CALL`].
const PURGED_MS_MAX: f64 = 30_000.0;
/// What [`PURGED_MS_MAX`] is promised for, seconds.
const CALL: u64 = 600;
/// People in a composite.
const PEOPLE: usize = 4;
/// How long they are recorded.
const COMPOSITE_CALL: Duration = Duration::from_secs(40);
/// Their composite against real time, on two cores.
const COMPOSITE_MIN: f64 = 1.5;

/// Measures on servers of their own, with the partner's folder on the same disk.
///
/// # Errors
/// The harness itself, or a recording that is not delivered.
pub(super) async fn run(
    options: &Options,
    film: &Arc<Film>,
    table: &mut Table,
    say: &impl Fn(&str),
) -> Result<()> {
    let report = &mut table.report;
    tell_machine(report)?;
    say("cost of recording, in one process …");
    let mut stage = Stage::start(options, film, false).await?;
    let here = cost::measure(&stage, options).await?;
    say("calls and what comes after them …");
    stage.calls(options, film, report).await?;
    stage.stop().await?;
    say("cost of recording, over the link …");
    let stage = Stage::start(options, film, true).await?;
    let apart = cost::measure(&stage, options).await?;
    stage.stop().await?;
    cost::tell(&here, &apart, options, report);
    say("a composite …");
    composite(options, film, report).await
}

fn tell_machine(report: &mut Report) -> Result<()> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().context("loadavg")?;
    report.add("load of the machine in the minute before", load.parse()?, "");
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    report.add("processors", cores as f64, "");
    Ok(())
}

/// Rooms with a publisher each, and what runs for them.
pub(super) struct Stage {
    pub(super) place: Place,
    pub(super) server: Server,
    /// None: the server records by itself.
    recorder: Option<Process>,
    pub(super) rooms: Vec<String>,
    pub(super) publishers: Vec<Publisher>,
}

impl Stage {
    async fn start(options: &Options, film: &Arc<Film>, is_apart: bool) -> Result<Self> {
        let place = Place::make(&options.spawn, options.folder("figures"), 0)?;
        let recorder = match is_apart {
            true => {
                place.link_within()?;
                Some(place.record()?)
            }
            false => None,
        };
        let server = place.serve().await?;
        place.record_to(&server, json!({ "kind": "local" })).await?;
        let rooms = try_join_all((0..options.tracks).map(|_| server.room())).await?;
        let mut stage = Self { place, server, recorder, rooms, publishers: Vec::new() };
        stage.publish(film, 1).await?;
        // What is measured begins when a recording has been made: the link is up, all code was run once.
        let ids = stage.record().await?;
        sleep(FIRST).await;
        stage.end(&ids).await?;
        Ok(stage)
    }

    async fn publish(&mut self, film: &Arc<Film>, hurry: u32) -> Result<()> {
        for room in &self.rooms {
            let publisher = Publisher::start(&self.server.target, room, film, hurry);
            self.publishers.push(publisher.await?);
        }
        Ok(())
    }

    async fn unpublish(&mut self) -> Result<()> {
        for publisher in self.publishers.drain(..) {
            publisher.leave().await?;
        }
        Ok(())
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.server.process].into_iter().chain(&self.recorder)
    }

    /// Records all rooms.
    pub(super) async fn record(&self) -> Result<Vec<String>> {
        try_join_all(self.rooms.iter().map(|room| self.server.record(room))).await
    }

    /// Ends recordings, and waits until they are purged.
    pub(super) async fn end(&self, ids: &[String]) -> Result<()> {
        try_join_all(ids.iter().map(|id| self.ends(id))).await.map(drop)
    }

    async fn purged(&self, id: &str) -> Result<()> {
        self.server.until(id, SETTLE, |now| now["state"] == "purged").await.map(drop)
    }

    async fn stop(mut self) -> Result<()> {
        self.unpublish().await?;
        self.server.stop().await?;
        match self.recorder {
            Some(recorder) => recorder.stop().await,
            None => Ok(()),
        }
    }

    /// Calls with as many pictures as fit in [`Options::call_seconds`]; in a hurry they take less.
    async fn calls(
        &mut self,
        options: &Options,
        film: &Arc<Film>,
        report: &mut Report,
    ) -> Result<()> {
        self.unpublish().await?;
        self.publish(film, options.hurry).await?;
        let ids = self.record().await?;
        sleep(Duration::from_secs(options.call_seconds) / options.hurry).await;
        self.unpublish().await?;
        self.after(&ids, options, report).await
    }

    /// Ends the recordings: the first alone, then the others at once.
    async fn after(&self, ids: &[String], options: &Options, report: &mut Report) -> Result<()> {
        let (first, others) = ids.split_first().context("no room")?;
        let (purged, made) =
            tokio::join!(self.ends(first), made(&self.server, self.place.spool(first)));
        let (mut took, made) = (vec![purged?], made?);
        let call = options.call_seconds as f64;
        report.add("pictures of a call of", call, "s");
        report.add("sent in", call / f64::from(options.hurry), "s");
        report.add("files of it made in", made.seconds, "s");
        let name = "finalize against real time, by the clock";
        report.judge(name, call / made.seconds, "x", Bound::AtLeast(FINALIZE_MIN));
        let name = "finalize against real time, by processor time";
        report.add(name, call / made.processor, "x");
        took.extend(try_join_all(others.iter().map(|id| self.ends(id))).await?);
        let count = took.len();
        report.add(format!("end to purged, {count} calls: p50"), quantile_ms(&mut took, 0.5), "ms");
        let p95 = quantile_ms(&mut took, 0.95);
        let name = format!("end to purged, {count} calls at once: p95");
        match options.call_seconds >= CALL {
            true => report.judge(name, p95, "ms", Bound::AtMost(PURGED_MS_MAX)),
            false => report.add(name + " (ten minutes are promised)", p95, "ms"),
        }
        Ok(())
    }

    /// Ends a recording; how long until it is purged.
    async fn ends(&self, id: &str) -> Result<Duration> {
        let began = Instant::now();
        self.server.end_recording(id).await?;
        self.purged(id).await?;
        Ok(began.elapsed())
    }
}

/// Four people of 360 lines, as one picture of 720.
async fn composite(options: &Options, film: &Arc<Film>, report: &mut Report) -> Result<()> {
    let film = match options.lines {
        Size::Lines360 => Arc::clone(film),
        Size::Lines720 => Arc::new(options.film(Size::Lines360)?),
    };
    let place = Place::make(&options.spawn, options.folder("composite"), 0)?;
    let server = place.serve().await?;
    let rule = json!({ "outputs": ["composite"] });
    place.record_as(&server, json!({ "kind": "local" }), rule).await?;
    let (room, mut publishers) = (server.room().await?, Vec::new());
    for _ in 0..PEOPLE {
        publishers.push(Publisher::start(&server.target, &room, &film, 1).await?);
    }
    let id = server.record(&room).await?;
    sleep(COMPOSITE_CALL).await;
    server.end_recording(&id).await?;
    for publisher in publishers {
        publisher.leave().await?;
    }
    let made = made(&server, place.spool(&id)).await?;
    let purged = server.until(&id, SETTLE, |now| now["state"] == "purged").await?;
    let files = purged["artifacts"].to_string();
    anyhow::ensure!(files.contains("composite.mp4"), "no composite: {files}");
    let call = COMPOSITE_CALL.as_secs_f64();
    let name = "composite against real time";
    report.judge(name, call / made.seconds, "x", Bound::AtLeast(COMPOSITE_MIN));
    server.stop().await
}

/// What the files of a recording took.
struct Made {
    seconds: f64,
    /// Processor time of the server, at least a tick.
    processor: f64,
}

/// Waits until the files of a recording are made. By the disk: their folder is made first, their list is written
/// last.
async fn made(server: &Server, spool: impl AsRef<Path>) -> Result<Made> {
    let spool = spool.as_ref();
    let until = async |name: &str| {
        while !spool.join(name).exists() && spool.exists() {
            sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok((Instant::now(), server.process.processor_seconds()?))
    };
    let (began, before) = until("out").await?;
    let (ended, after) = until("export.json").await?;
    let seconds = ended.saturating_duration_since(began).as_secs_f64();
    Ok(Made { seconds: seconds.max(0.001), processor: (after - before).max(0.01) })
}
