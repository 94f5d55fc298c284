//! Finds the gaps of a file, unit by unit.

use super::result::{Gap, GapKind};
use crate::{
    align::{Moment, micros},
    depacketize::{Breaks, Unit, packet_ticks},
    limits::{DTX_JOIN_US, GAP_US_MIN, GAPS_MAX},
};

/// How long a picture is shown when nothing tells, µs.
const PICTURE_US: i64 = 33_333;

/// Follows a file.
pub(crate) struct Gaps {
    hz: u32,
    is_video: bool,
    last: Option<Last>,
    /// How long a picture lasts, µs, by the last two that followed each other.
    picture_us: i64,
    found: Vec<Found>,
    left_out: u64,
}

struct Last {
    moment: Moment,
    ticks: i64,
    at_us: i64,
}

struct Found {
    from_us: i64,
    to_us: i64,
    kind: GapKind,
}

impl Gaps {
    pub(crate) fn new(hz: u32, is_video: bool) -> Self {
        let (last, found) = (None, Vec::new());
        Self { hz, is_video, last, picture_us: PICTURE_US, found, left_out: 0 }
    }

    /// The next unit, at `at_us`. Gives whether there is a gap before it.
    pub(crate) fn add(&mut self, unit: &Unit, at_us: i64) -> bool {
        let ticks = if self.is_video { 0 } else { packet_ticks(&unit.bytes).map_or(0, i64::from) };
        let now = Last { moment: unit.moment, ticks, at_us };
        let Some(last) = self.last.replace(now) else { return false };
        let end_us = last.at_us + self.length_us(&last);
        if self.is_video && unit.breaks.is_empty() {
            self.picture_us = (at_us - last.at_us).clamp(5_000, 1_000_000);
        }
        // Audio knows by its samples, to the sample, unless it began anew.
        let is_early = if self.is_video || last.moment.epoch != unit.moment.epoch {
            !unit.breaks.is_empty() && at_us - end_us >= GAP_US_MIN
        } else {
            unit.moment.ticks > last.moment.ticks.saturating_add(last.ticks)
        };
        if is_early && at_us > end_us {
            self.found(Found { from_us: end_us, to_us: at_us, kind: kind(unit.breaks) });
        }
        is_early
    }

    /// How long the last unit is, µs.
    pub(crate) fn last_us(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| self.length_us(last))
    }

    fn length_us(&self, unit: &Last) -> i64 {
        if self.is_video { self.picture_us } else { micros(unit.ticks, self.hz) }
    }

    fn found(&mut self, gap: Found) {
        if let Some(last) = self.found.last_mut()
            && last.kind == GapKind::Dtx
            && gap.kind == GapKind::Dtx
            && gap.from_us - last.to_us <= DTX_JOIN_US
        {
            last.to_us = gap.to_us;
        } else if self.found.len() < GAPS_MAX {
            self.found.push(gap);
        } else {
            self.left_out += 1;
        }
    }

    /// All of them, with times counted from `offset_us` on, and how many were too many.
    pub(crate) fn finish(self, offset_us: i64) -> (Vec<Gap>, u64) {
        let ms = |us: i64| (us.saturating_add(offset_us).max(0) as u64 + 500) / 1_000;
        let gaps = self.found.iter();
        let gaps =
            gaps.map(|gap| Gap { from_ms: ms(gap.from_us), to_ms: ms(gap.to_us), kind: gap.kind });
        (gaps.collect(), self.left_out)
    }
}

/// What explains a gap best. A hole in the numbers says little when the track was muted meanwhile.
fn kind(breaks: Breaks) -> GapKind {
    let kinds = [
        (Breaks::MUTED, GapKind::Muted),
        (Breaks::PAUSED, GapKind::NotRecorded),
        (Breaks::OVERFLOW, GapKind::RecorderLoss),
        (Breaks::LOST, GapKind::Loss),
        (Breaks::SWITCHED, GapKind::Restart),
    ];
    kinds.iter().find(|(flag, _)| breaks.has(*flag)).map_or(GapKind::Dtx, |(_, kind)| *kind)
}
