//! What the writers of journals are burdened with, for whoever asks whether one more may begin.
//! Atomics only: asked before each recording, and told after each round of a writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    journal::Watermark,
    limits::{ROUND_IDLE, ROUND_MAX},
};

/// Whether one more recording may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// The disk of journals is at 10 % or less. Passes when recordings are purged, or the operator acts.
    DiskLow,
    /// As many as may be are written, or the disk is too slow for one more. Passes by itself.
    Busy,
}

/// Shared by all writers.
pub(super) struct Load {
    live_max: usize,
    live: AtomicUsize,
    mark: AtomicU8,
    rounds: Vec<Round>,
    /// What the times in `rounds` count from.
    epoch: Instant,
}

/// A writer's last round: from the first journal that was due to the last that was safe on disk.
#[derive(Default)]
struct Round {
    took_us: AtomicU64,
    ended_us: AtomicU64,
    /// When the one that runs began; 0: none runs.
    began_us: AtomicU64,
}

/// Room for one recording, given back when it is dropped.
pub(super) struct Place(Arc<Load>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

impl Load {
    pub(super) fn new(live_max: usize, writers: usize) -> Self {
        let rounds = (0..writers).map(|_| Round::default()).collect();
        let (live, mark) = (AtomicUsize::new(0), AtomicU8::new(0));
        Self { live_max, live, mark, rounds, epoch: Instant::now() }
    }

    pub(super) fn admission(&self) -> Admission {
        match () {
            () if self.is_disk_low() => Admission::DiskLow,
            () if self.live() >= self.live_max || self.round() > ROUND_MAX => Admission::Busy,
            () => Admission::Open,
        }
    }

    /// Recordings that are written.
    pub(super) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// None: as many as may be are written.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |live| (live < self.live_max).then_some(live + 1);
        self.live.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    pub(super) fn is_disk_low(&self) -> bool {
        self.mark.load(Relaxed) >= Watermark::VeryLow as u8
    }

    /// Notes how full the disk is; gives whether that is news.
    pub(super) fn set_mark(&self, mark: Watermark) -> bool {
        self.mark.swap(mark as u8, Relaxed) != mark as u8
    }

    /// The longest of the writers' last rounds; one that does not end counts as it grows.
    pub(super) fn round(&self) -> Duration {
        let now = self.now_us();
        let longest = self.rounds.iter().map(|round| round.at(now)).max();
        Duration::from_micros(longest.unwrap_or_default())
    }

    pub(super) fn round_begins(&self, writer: usize) {
        if let Some(round) = self.rounds.get(writer) {
            round.began_us.store(self.now_us().max(1), Relaxed);
        }
    }

    /// The round ended; `counts`: it waited for the disk.
    pub(super) fn round_ends(&self, writer: usize, counts: bool) {
        let Some(round) = self.rounds.get(writer) else { return };
        let now = self.now_us();
        let began = round.began_us.swap(0, Relaxed);
        if counts {
            round.took_us.store(now.saturating_sub(began), Relaxed);
            round.ended_us.store(now, Relaxed);
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Round {
    fn at(&self, now_us: u64) -> u64 {
        let since = now_us.saturating_sub(self.ended_us.load(Relaxed));
        let is_old = Duration::from_micros(since) > ROUND_IDLE;
        let last = if is_old { 0 } else { self.took_us.load(Relaxed) };
        let running = match self.began_us.load(Relaxed) {
            0 => 0,
            began => now_us.saturating_sub(began),
        };
        last.max(running)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let load = Arc::new(Load::new(2, 1));
        let first = load.place().unwrap();
        assert_eq!(load.admission(), Admission::Open);
        let _second = load.place().unwrap();
        assert!(load.place().is_none());
        assert_eq!(load.admission(), Admission::Busy);
        drop(first);
        assert_eq!((load.admission(), load.live()), (Admission::Open, 1));
    }

    #[test]
    fn a_low_disk_lets_nobody_in() {
        let load = Load::new(2, 1);
        for (mark, is_news, admission) in [
            (Watermark::Plenty, false, Admission::Open),
            (Watermark::Low, true, Admission::Open),
            (Watermark::Low, false, Admission::Open),
            (Watermark::VeryLow, true, Admission::DiskLow),
            (Watermark::Critical, true, Admission::DiskLow),
            (Watermark::Plenty, true, Admission::Open),
        ] {
            assert_eq!((load.set_mark(mark), load.admission()), (is_news, admission));
        }
    }

    #[test]
    fn a_slow_round_counts_while_it_runs_and_as_the_last_one() {
        let load = Load::new(2, 2);
        load.round_begins(1);
        std::thread::sleep(ROUND_MAX + Duration::from_millis(20));
        assert_eq!(load.admission(), Admission::Busy, "a disk that hangs");
        load.round_ends(1, true);
        assert_eq!(load.admission(), Admission::Busy);
        load.round_begins(1);
        load.round_ends(1, false);
        assert_eq!(load.admission(), Admission::Busy, "nothing was measured since");
        load.round_begins(1);
        load.round_ends(1, true);
        assert_eq!(load.admission(), Admission::Open);
    }

    #[test]
    fn what_was_measured_long_ago_does_not_count() {
        let round = Round::default();
        round.took_us.store(300_000, Relaxed);
        round.ended_us.store(1_000_000, Relaxed);
        let idle = u64::try_from(ROUND_IDLE.as_micros()).unwrap();
        assert_eq!(round.at(1_000_000 + idle), 300_000);
        assert_eq!(round.at(1_000_001 + idle), 0);
    }
}
