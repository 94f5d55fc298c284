//! What recording costs: processor time and disk while it runs, time until it is gone after it.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table,
    film::Film,
    publisher::Publisher,
    server::{Place, Server},
};
use crate::load::report::{Bound, quantile_ms};

/// From the start of recordings until they run evenly.
const WARM: Duration = Duration::from_millis(1500);
/// Until a recording is purged.
const SETTLE: Duration = Duration::from_secs(300);
/// Percent of a core for a recorded picture track with its sound.
const CORE_PERCENT_MAX: f64 = 2.0;
/// Finalizing against real time, on one core.
const FINALIZE_MIN: f64 = 50.0;
/// End of a session until it is purged, for ten minutes.
const PURGED_MS_MAX: f64 = 30_000.0;
/// What [`PURGED_MS_MAX`] and its like are promised for, seconds.
const CALL: u64 = 600;

/// Measures on a server of its own, with the partner's folder on the same disk.
///
/// # Errors
/// The harness itself, or a recording that is not delivered.
pub(super) async fn run(
    options: &Options,
    film: &Arc<Film>,
    table: &mut Table,
    say: &impl Fn(&str),
) -> Result<()> {
    let place = Place::make(&options.spawn, options.folder("figures"), 0)?;
    let server = place.serve().await?;
    place.record_to(&server, json!({ "kind": "local" })).await?;
    let mut stage = Stage { place, server, rooms: Vec::new(), publishers: Vec::new() };
    for _ in 0..options.tracks {
        let room = stage.server.room().await?;
        stage.publishers.push(Publisher::start(&stage.server.target, &room, film).await?);
        stage.rooms.push(room);
    }
    say("cost of recording …");
    stage.cost(options, table).await?;
    say("calls and what comes after them …");
    let ids = stage.record().await?;
    sleep(Duration::from_secs(options.call_seconds)).await;
    for publisher in std::mem::take(&mut stage.publishers) {
        publisher.leave().await?;
    }
    stage.after(&ids, options, table).await?;
    stage.server.stop().await
}

struct Stage {
    place: Place,
    server: Server,
    rooms: Vec<String>,
    publishers: Vec<Publisher>,
}

/// Counters of a moment.
struct Moment {
    at: Instant,
    processor: f64,
    by_calls: u64,
    to_disk: u64,
    media: u64,
    journals: u64,
}

/// What was used in a while, per second.
#[derive(Default, Clone, Copy)]
struct Rate {
    processor: f64,
    by_calls: f64,
    to_disk: f64,
    media: f64,
    journals: f64,
}

impl Stage {
    async fn record(&self) -> Result<Vec<String>> {
        try_join_all(self.rooms.iter().map(|room| self.server.record(room))).await
    }

    fn now(&self) -> Result<Moment> {
        let (by_calls, to_disk) = self.server.process.written()?;
        Ok(Moment {
            at: Instant::now(),
            processor: self.server.process.processor_seconds()?.0,
            by_calls,
            to_disk,
            media: self.publishers.iter().map(|publisher| publisher.sent.bytes()).sum(),
            journals: journals(&self.place)?,
        })
    }

    /// The same load without and with recording, twice each, in turn.
    async fn cost(&self, options: &Options, table: &mut Table) -> Result<()> {
        let (mut without, mut with) = (Rate::default(), Rate::default());
        for _ in 0..2 {
            without = without.plus(self.measure(options.measure_seconds).await?);
            let ids = self.record().await?;
            sleep(WARM).await;
            with = with.plus(self.measure(options.measure_seconds).await?);
            try_join_all(ids.iter().map(|id| self.server.end_recording(id))).await?;
            for id in &ids {
                self.server.until(id, SETTLE, |now| now["state"] == "purged").await?;
            }
        }
        self.tell_cost(without, with, options, table);
        Ok(())
    }

    async fn measure(&self, seconds: u64) -> Result<Rate> {
        let from = self.now()?;
        sleep(Duration::from_secs(seconds)).await;
        Ok(Rate::between(&from, &self.now()?))
    }

    fn tell_cost(&self, without: Rate, with: Rate, options: &Options, table: &mut Table) {
        let (report, tracks) = (&mut table.report, self.rooms.len() as f64);
        // Both are sums of two measurements.
        let percent = |rate: f64| rate / 2.0 / tracks * 100.0;
        report.add("rooms, each a picture and a sound", tracks, "rooms");
        let bits = with.media / 2.0 / tracks * 8.0;
        report.add("media of each", bits / 1e6, "Mbit/s");
        report.add("server without recording, per room", percent(without.processor), "% of core");
        report.add("server with recording, per room", percent(with.processor), "% of core");
        let extra = percent(with.processor - without.processor);
        let name = "recording, per room: difference";
        match options.lines.rate() {
            1_500_000 => report.judge(name, extra, "% of core", Bound::AtMost(CORE_PERCENT_MAX)),
            _ => report.add(name, extra, "% of core"),
        }
        report.add("recording: with against without", with.processor / without.processor, "ratio");
        report.add("journal against media", with.journals / with.media, "ratio");
        let by_calls = (with.by_calls - without.by_calls) / with.media;
        report.add("written by calls against media", by_calls, "ratio");
        let to_disk = (with.to_disk - without.to_disk) / with.media;
        report.add("written to disk against media", to_disk, "ratio");
    }

    /// Ends the recordings: the first alone, then the others at once.
    async fn after(&self, ids: &[String], options: &Options, table: &mut Table) -> Result<()> {
        let (first, others) = ids.split_at(1);
        let mut took = Vec::new();
        for id in first {
            let (purged, made) = tokio::join!(self.ends(id), self.finalized(id));
            took.push(purged?);
            let (seconds, processor) = made?;
            let call = options.call_seconds as f64;
            let report = &mut table.report;
            report.add("call", call, "s");
            report.add("files of it made in", seconds, "s");
            let name = "finalize against real time, by the clock";
            report.judge(name, call / seconds, "x", Bound::AtLeast(FINALIZE_MIN));
            let name = "finalize against real time, by processor time";
            report.add(name, call / processor.max(0.01), "x");
        }
        took.extend(try_join_all(others.iter().map(|id| self.ends(id))).await?);
        let report = &mut table.report;
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
        self.server.until(id, SETTLE, |now| now["state"] == "purged").await?;
        Ok(began.elapsed())
    }

    /// Seconds, and seconds of processor time, in which the files of a recording are made. By the
    /// disk: the folder of the files is made first, their list is written last.
    async fn finalized(&self, id: &str) -> Result<(f64, f64)> {
        let spool = self.place.spool(id);
        let until = async |name: &str| {
            while !spool.join(name).exists() && spool.exists() {
                sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok((Instant::now(), self.server.process.processor_seconds()?.0))
        };
        let (began, processor) = until("out").await?;
        let (ended, processor_then) = until("export.json").await?;
        let seconds = ended.saturating_duration_since(began).as_secs_f64();
        Ok((seconds.max(0.001), processor_then - processor))
    }
}

impl Rate {
    fn between(from: &Moment, to: &Moment) -> Self {
        let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Self {
            processor: (to.processor - from.processor) / seconds,
            by_calls: rate(from.by_calls, to.by_calls),
            to_disk: rate(from.to_disk, to.to_disk),
            media: rate(from.media, to.media),
            journals: rate(from.journals, to.journals),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            processor: self.processor + other.processor,
            by_calls: self.by_calls + other.by_calls,
            to_disk: self.to_disk + other.to_disk,
            media: self.media + other.media,
            journals: self.journals + other.journals,
        }
    }
}

/// Bytes of all journals.
fn journals(place: &Place) -> Result<u64> {
    let mut bytes = 0;
    for folder in fs::read_dir(place.data.join("recorder/spool"))? {
        for file in fs::read_dir(folder?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "journal") {
                bytes += fs::metadata(&path)?.len();
            }
        }
    }
    Ok(bytes)
}
