//! The clocks of a recording: collected in the first pass, asked in the second.
//!
//! A report that jumps against the one before starts a new *stretch* of its epoch. If the publisher's
//! clock was what jumped, its *era* ends too, as its distance from the node's clock is another now.

use std::collections::BTreeMap;

use sfu_proto::id::ParticipantId;

use super::{
    Moment,
    line::Line,
    micros,
    points::{Floor, Points},
};
use crate::limits::{
    ALIGN_EARLY_US_MAX, ALIGN_LATE_US_MAX, EPOCHS_MAX, REPORT_JUMP_US, STRETCHES_MAX,
};

/// Index of a track and number of its epoch.
type EpochKey = (u16, u32);

/// How well sender reports told a track's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    /// How much faster the media clock ran than the publisher's wall clock, parts per million; none
    /// when there were too few reports to tell.
    pub(crate) ppm: Option<f64>,
    /// Reports used.
    pub(crate) reports: u64,
}

/// Collects what tells the clocks.
#[derive(Debug, Default)]
pub(crate) struct Aligner {
    epochs: BTreeMap<EpochKey, Epoch>,
    people: BTreeMap<ParticipantId, Vec<Floor>>,
}

#[derive(Debug)]
struct Epoch {
    participant: ParticipantId,
    hz: u32,
    arrivals: Floor,
    stretches: Vec<Stretch>,
    last: Option<Report>,
}

#[derive(Debug)]
struct Stretch {
    era: usize,
    from_us: i64,
    points: Points,
}

#[derive(Debug, Clone, Copy)]
struct Report {
    media_us: i64,
    ntp_us: i64,
    arrival_us: i64,
}

impl Aligner {
    /// A track begins, or begins anew.
    pub(crate) fn begin(&mut self, key: EpochKey, participant: ParticipantId, hz: u32) {
        if self.epochs.len() >= EPOCHS_MAX {
            return; // placed by arrival
        }
        let (arrivals, stretches) = (Floor::default(), Vec::new());
        let epoch = Epoch { participant, hz, arrivals, stretches, last: None };
        self.epochs.insert(key, epoch);
    }

    /// A packet arrived.
    pub(crate) fn packet(&mut self, index: u16, moment: Moment) {
        if let Some(epoch) = self.epochs.get_mut(&(index, moment.epoch)) {
            let media_us = micros(moment.ticks, epoch.hz);
            epoch.arrivals.add(media_us, moment.arrival_us.saturating_sub(media_us));
        }
    }

    /// A sender report arrived; `moment.ticks` is its RTP timestamp.
    pub(crate) fn report(&mut self, index: u16, moment: Moment, ntp: u64) {
        let Some(epoch) = self.epochs.get_mut(&(index, moment.epoch)) else { return };
        if ntp == 0 {
            return; // "no wall clock" (RFC 3550 section 6.4.1)
        }
        let media_us = micros(moment.ticks, epoch.hz);
        let report = Report { media_us, ntp_us: ntp_micros(ntp), arrival_us: moment.arrival_us };
        let eras = self.people.entry(epoch.participant).or_default();
        epoch.add(report, eras);
    }

    /// All is known.
    pub(crate) fn finish(self) -> Clocks {
        let people: BTreeMap<_, Vec<_>> = self
            .people
            .into_iter()
            .map(|(id, eras)| (id, eras.iter().map(Floor::line).collect()))
            .collect();
        let clocks = self.epochs.into_iter().map(|(key, epoch)| {
            let eras = people.get(&epoch.participant).map_or(&[][..], Vec::as_slice);
            (key, Clock::new(&epoch, eras))
        });
        Clocks { clocks: clocks.collect() }
    }
}

impl Epoch {
    fn add(&mut self, report: Report, eras: &mut Vec<Floor>) {
        let jump = self.last.and_then(|last| Jump::between(last, report));
        let opens_era = eras.is_empty() || (jump == Some(Jump::Wall) && !fits(eras, report));
        if self.stretches.len() >= STRETCHES_MAX && (jump.is_some() || opens_era) {
            return; // a publisher whose reports make no sense is aligned by arrival
        }
        if opens_era {
            eras.push(Floor::default());
        }
        let era = eras.len() - 1;
        if jump.is_some() || self.stretches.last().is_none_or(|stretch| stretch.era != era) {
            let (from_us, points) = (report.arrival_us, Points::default());
            self.stretches.push(Stretch { era, from_us, points });
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.points.add(report.media_us, report.ntp_us.saturating_sub(report.media_us));
        }
        eras[era].add(report.ntp_us, report.arrival_us.saturating_sub(report.ntp_us));
        self.last = Some(report);
    }
}

/// What jumped between two reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    /// The publisher's wall clock.
    Wall,
    /// The media clock.
    Media,
}

impl Jump {
    fn between(a: Report, b: Report) -> Option<Self> {
        let wall = b.ntp_us.saturating_sub(a.ntp_us);
        let media = b.media_us.saturating_sub(a.media_us);
        let node = b.arrival_us.saturating_sub(a.arrival_us);
        let off = |clock: i64| clock.saturating_sub(node).saturating_abs();
        (wall.saturating_sub(media).saturating_abs() > REPORT_JUMP_US)
            .then(|| if off(wall) > off(media) { Self::Wall } else { Self::Media })
    }
}

/// Whether another track of the participant already opened the era that this report belongs to.
fn fits(eras: &[Floor], report: Report) -> bool {
    let delay = report.arrival_us.saturating_sub(report.ntp_us);
    let least = eras.last().and_then(Floor::least);
    least.is_some_and(|least| delay.saturating_sub(least).saturating_abs() <= REPORT_JUMP_US)
}

/// 64-bit NTP time as microseconds.
const fn ntp_micros(ntp: u64) -> i64 {
    let seconds = ntp >> 32;
    let fraction = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
    (seconds * 1_000_000 + fraction) as i64 // below 2^52
}

/// The clocks, known.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    clocks: BTreeMap<EpochKey, Clock>,
}

#[derive(Debug)]
struct Clock {
    hz: u32,
    arrivals: Option<Line>,
    stretches: Vec<Known>,
    fit: Option<Fit>,
}

#[derive(Debug)]
struct Known {
    from_us: i64,
    wall: Line,
    node: Line,
}

impl Clocks {
    /// When `moment` was captured, µs on the node's clock.
    pub(crate) fn at(&self, index: u16, moment: Moment) -> i64 {
        let Some(clock) = self.clocks.get(&(index, moment.epoch)) else { return moment.arrival_us };
        let media_us = micros(moment.ticks, clock.hz);
        let at_us = clock
            .by_reports(media_us, moment.arrival_us)
            .or_else(|| clock.arrivals.map(|line| media_us.saturating_add(line.at(media_us))));
        let (from, to) =
            (moment.arrival_us - ALIGN_EARLY_US_MAX, moment.arrival_us + ALIGN_LATE_US_MAX);
        at_us.filter(|at_us| (from..=to).contains(at_us)).unwrap_or(moment.arrival_us)
    }

    /// What the reports of an epoch told; none without any.
    pub(crate) fn fit(&self, key: EpochKey) -> Option<Fit> {
        self.clocks.get(&key)?.fit
    }
}

impl Clock {
    fn new(epoch: &Epoch, eras: &[Option<Line>]) -> Self {
        let known = epoch.stretches.iter().filter_map(|stretch| {
            let node = eras.get(stretch.era).copied().flatten()?;
            Some(Known { from_us: stretch.from_us, wall: stretch.points.line()?, node })
        });
        let longest = epoch.stretches.iter().max_by_key(|stretch| stretch.points.seen());
        let fit = longest.map(|stretch| Fit {
            ppm: stretch.points.slope().map(|slope| -slope * 1e6),
            reports: epoch.stretches.iter().map(|stretch| stretch.points.seen()).sum(),
        });
        let stretches = known.collect();
        Self { hz: epoch.hz, arrivals: epoch.arrivals.line(), stretches, fit }
    }

    /// By the stretch that was valid then. Where exactly between two reports a clock jumped nobody
    /// says: the one that puts the packet nearest to its arrival is right.
    fn by_reports(&self, media_us: i64, arrival_us: i64) -> Option<i64> {
        let next = self.stretches.partition_point(|stretch| stretch.from_us <= arrival_us);
        let around =
            self.stretches.get(next.saturating_sub(1)..self.stretches.len().min(next + 1))?;
        let at_us = |stretch: &Known| {
            let wall_us = media_us.saturating_add(stretch.wall.at(media_us));
            wall_us.saturating_add(stretch.node.at(wall_us))
        };
        around
            .iter()
            .map(at_us)
            .min_by_key(|at_us| arrival_us.saturating_sub(*at_us).saturating_abs())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const HZ: u32 = 90_000;
    const START: i64 = 1_700_000_000_000_000;

    fn ntp(us: i64) -> u64 {
        let (seconds, fraction) = (us as u64 / 1_000_000, us as u64 % 1_000_000);
        (seconds << 32) | ((fraction << 32) / 1_000_000)
    }

    /// A moment `at_us` after the start, by a media clock that is `ppm` fast and begins at `base`.
    fn moment(at_us: i64, ppm: i64, base: i64, delay_us: i64) -> Moment {
        let media_us = at_us + at_us * ppm / 1_000_000;
        let ticks = base + media_us * i64::from(HZ) / 1_000_000;
        Moment { epoch: 0, ticks, arrival_us: START + at_us + delay_us }
    }

    fn person(n: u128) -> ParticipantId {
        ParticipantId::from_bits(n)
    }

    /// `wall` gives the publisher's wall clock at a moment.
    fn run(ppm: i64, seconds: i64, delay_us: i64, wall: impl Fn(i64) -> i64) -> (Aligner, Clocks) {
        let mut aligner = Aligner::default();
        aligner.begin((0, 0), person(1), HZ);
        for n in 0..seconds {
            let at_us = n * 1_000_000;
            let packet = moment(at_us, ppm, 5_000, delay_us);
            aligner.packet(0, packet);
            if n % 3 == 1 {
                aligner.report(0, packet, ntp(wall(at_us)));
            }
        }
        let mut again = Aligner::default();
        std::mem::swap(&mut again, &mut aligner);
        (aligner, again.finish())
    }

    #[test]
    fn a_media_clock_50_ppm_fast_is_measured_and_straightened() {
        let (_, clocks) = run(50, 3600, 20_000, |at| 9_000_000_000 + at);
        let fit = clocks.fit((0, 0)).unwrap();
        assert!((fit.ppm.unwrap() - 50.0).abs() < 0.5, "{fit:?}");
        for at_us in [0, 1_800_000_000, 3_599_000_000] {
            let at = clocks.at(0, moment(at_us, 50, 5_000, 20_000));
            assert!((at - START - at_us - 20_000).abs() < 2_000, "{}", at - START - at_us);
        }
    }

    #[test]
    fn packets_before_the_first_report_are_placed_by_it() {
        let (_, clocks) = run(0, 60, 0, |at| 9_000_000_000 + at);
        let at = clocks.at(0, moment(0, 0, 5_000, 700_000));
        assert!((at - START).abs() < 100, "{}", at - START);
    }

    #[test]
    fn a_jump_of_the_publishers_wall_clock_moves_nothing() {
        let jump = |at: i64| 9_000_000_000 + at + if at > 30_000_000 { 40_000_000 } else { 0 };
        let (_, clocks) = run(0, 60, 10_000, jump);
        for at_us in [0, 29_000_000, 31_000_000, 59_000_000] {
            let at = clocks.at(0, moment(at_us, 0, 5_000, 10_000));
            assert!((at - START - at_us - 10_000).abs() < 1_000, "{}", at - START - at_us);
        }
    }

    #[test]
    fn two_tracks_agree_by_reports_though_one_is_late() {
        let mut aligner = Aligner::default();
        aligner.begin((0, 0), person(1), HZ);
        aligner.begin((1, 0), person(1), HZ);
        for n in 0..20 {
            let at_us = n * 1_000_000;
            for (index, delay_us) in [(0, 10_000), (1, 410_000)] {
                let packet = moment(at_us, 0, 77, delay_us + n * 13 % 7 * 1_000);
                aligner.packet(index, packet);
                aligner.report(index, packet, ntp(9_000_000_000 + at_us));
            }
        }
        let clocks = aligner.finish();
        let late = clocks.at(1, moment(7_000_000, 0, 77, 410_000));
        assert_eq!(late, clocks.at(0, moment(7_000_000, 0, 77, 10_000)));
    }

    #[test]
    fn without_reports_the_least_delayed_packet_decides() {
        let mut aligner = Aligner::default();
        aligner.begin((3, 0), person(1), HZ);
        for n in 0..100 {
            aligner.packet(3, moment(n * 20_000, 0, -5, 15_000 + n * 7919 % 50_000));
        }
        let clocks = aligner.finish();
        assert_eq!(clocks.fit((3, 0)), None);
        let at = clocks.at(3, moment(1_000_000, 0, -5, 60_000));
        assert!((at - START - 1_015_000).abs() < 1_000, "{}", at - START);
    }

    #[test]
    fn nonsense_reports_put_no_packet_far_from_its_arrival() {
        let mut aligner = Aligner::default();
        aligner.begin((0, 0), person(1), HZ);
        let mut seed = 1u64;
        for n in 0..1000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let packet = moment(n * 10_000, 0, 0, 0);
            aligner.packet(0, packet);
            aligner.report(0, Moment { ticks: (seed >> 20) as i64, ..packet }, seed);
        }
        let clocks = aligner.finish();
        for n in 0..1000 {
            let packet = moment(n * 10_000, 0, 0, 0);
            let off = clocks.at(0, packet) - packet.arrival_us;
            assert!((-ALIGN_EARLY_US_MAX..=ALIGN_LATE_US_MAX).contains(&off));
        }
    }
}
