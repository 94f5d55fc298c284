//! What recording costs while it runs: processor time and disk, without and with it in turn.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::time::sleep;

use super::{Options, figures::Stage, server::Place};
use crate::load::report::{Bound, Report};

/// From the start of recordings until they run evenly.
const WARM: Duration = Duration::from_millis(1500);
/// How often each is measured.
const TIMES: u32 = 2;
/// Percent of a core for a recorded picture track of 720 lines with its sound.
const CORE_PERCENT_MAX: f64 = 2.0;

/// Counters of a moment, of all processes of a stage.
struct Moment {
    at: Instant,
    processor: f64,
    by_calls: u64,
    to_disk: u64,
    media: u64,
    journals: u64,
}

/// What was used in a while, per second and room.
#[derive(Default, Clone, Copy)]
struct Rate {
    processor: f64,
    by_calls: f64,
    to_disk: f64,
    media: f64,
    journals: f64,
}

/// Of rooms that are not recorded, and of the same rooms recorded.
pub(super) struct Cost {
    without: Rate,
    with: Rate,
}

/// Measures the same load without and with recording, in turn.
///
/// # Errors
/// The harness itself, or a recording that is not delivered.
pub(super) async fn measure(stage: &Stage, options: &Options) -> Result<Cost> {
    let mut cost = Cost { without: Rate::default(), with: Rate::default() };
    let while_for = Duration::from_secs(options.measure_seconds);
    for _ in 0..TIMES {
        cost.without = cost.without.plus(rate(stage, while_for).await?);
        let ids = stage.record().await?;
        sleep(WARM).await;
        cost.with = cost.with.plus(rate(stage, while_for).await?);
        stage.end(&ids).await?;
    }
    let share = 1.0 / f64::from(TIMES) / stage.rooms.len() as f64;
    Ok(Cost { without: cost.without.times(share), with: cost.with.times(share) })
}

async fn rate(stage: &Stage, while_for: Duration) -> Result<Rate> {
    let from = Moment::of(stage)?;
    sleep(while_for).await;
    Ok(Rate::between(&from, &Moment::of(stage)?))
}

impl Cost {
    /// Processor time of recording a room, percent of a core.
    fn percent(&self) -> f64 {
        (self.with.processor - self.without.processor) * 100.0
    }
}

/// Both costs side by side: recorded in the server's process, and over the link in one of its own.
pub(super) fn tell(here: &Cost, apart: &Cost, options: &Options, report: &mut Report) {
    report.add("media of each room", here.with.media * 8.0 / 1e6, "Mbit/s");
    let ways = [("in one process", here), ("over the link", apart)];
    for (way, cost) in ways {
        let without = cost.without.processor * 100.0;
        report.add(format!("{way}, not recorded, per room"), without, "% of core");
        let name = format!("{way}: recording, per room");
        match options.lines.rate() {
            1_500_000 => {
                report.judge(name, cost.percent(), "% of core", Bound::AtMost(CORE_PERCENT_MAX));
            }
            _ => report.add(name, cost.percent(), "% of core"),
        }
    }
    let ratio = apart.percent() / here.percent();
    report.add("recording over the link against in one process", ratio, "ratio");
    for (way, Cost { without, with }) in ways {
        report.add(format!("{way}: journal against media"), with.journals / with.media, "ratio");
        let by_calls = (with.by_calls - without.by_calls) / with.media;
        report.add(format!("{way}: written by calls against media"), by_calls, "ratio");
        let to_disk = (with.to_disk - without.to_disk) / with.media;
        report.add(format!("{way}: written to disk against media"), to_disk, "ratio");
    }
}

impl Moment {
    fn of(stage: &Stage) -> Result<Self> {
        let (mut processor, mut by_calls, mut to_disk) = (0.0, 0, 0);
        for process in stage.processes() {
            processor += process.processor_seconds()?;
            let (calls, disk) = process.written()?;
            by_calls += calls;
            to_disk += disk;
        }
        Ok(Self {
            at: Instant::now(),
            processor,
            by_calls,
            to_disk,
            media: stage.publishers.iter().map(|publisher| publisher.sent.bytes()).sum(),
            journals: journals(&stage.place)?,
        })
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

    fn times(self, factor: f64) -> Self {
        Self {
            processor: self.processor * factor,
            by_calls: self.by_calls * factor,
            to_disk: self.to_disk * factor,
            media: self.media * factor,
            journals: self.journals * factor,
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
