//! What the writers of journals are burdened with, for whoever asks whether one more may begin.
//! Atomics where it is asked or told often: before each recording, after each batch and round.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sfu_proto::id::RecordingId;

use crate::{
    journal::{Space, Watermark},
    limits::{ROUND_IDLE, ROUND_MAX, SPOOL_RESERVE_BYTES},
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
    sizes: Mutex<HashMap<RecordingId, Arc<Size>>>,
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

/// What a recording that is written takes of the disk.
#[derive(Default)]
struct Size {
    bytes: AtomicU64,
    must_end: AtomicBool,
}

/// Room for one recording, given back when it is dropped.
pub(super) struct Place {
    load: Arc<Load>,
    recording: RecordingId,
    size: Arc<Size>,
}

impl Place {
    /// More was written.
    pub(super) fn grew(&self, bytes: usize) {
        self.size.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Whether it must end, for the disk is nearly full.
    pub(super) fn must_end(&self) -> bool {
        self.size.must_end.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.live.fetch_sub(1, Relaxed);
        self.load.sizes().remove(&self.recording);
    }
}

impl Load {
    pub(super) fn new(live_max: usize, writers: usize) -> Self {
        let rounds = (0..writers).map(|_| Round::default()).collect();
        let (live, mark) = (AtomicUsize::new(0), AtomicU8::new(0));
        Self { live_max, live, mark, rounds, sizes: Mutex::default(), epoch: Instant::now() }
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
    pub(super) fn place(self: &Arc<Self>, recording: RecordingId) -> Option<Place> {
        let more = |live| (live < self.live_max).then_some(live + 1);
        self.live.fetch_update(Relaxed, Relaxed, more).ok()?;
        let size = Arc::<Size>::default();
        self.sizes().insert(recording, Arc::clone(&size));
        Some(Place { load: Arc::clone(self), recording, size })
    }

    /// When the room that files leave to recordings is half gone, says to the largest, of those that were
    /// not told yet, that they must end: a sixteenth at each look, so that all are over before the rest is.
    pub(super) fn end_largest(&self, space: Space) -> Vec<RecordingId> {
        let reserve = (space.total / 20).min(SPOOL_RESERVE_BYTES);
        if space.total == 0 || space.free >= reserve / 2 {
            return Vec::new();
        }
        let sizes = self.sizes();
        let going_on = sizes.iter().filter(|(_, size)| !size.must_end.load(Relaxed));
        let mut going_on: Vec<_> = going_on.collect();
        going_on.sort_by_key(|(_, size)| Reverse(size.bytes.load(Relaxed)));
        going_on.truncate(self.live_max.div_ceil(16));
        let told = going_on.into_iter().map(|(recording, size)| {
            size.must_end.store(true, Relaxed);
            *recording
        });
        told.collect()
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<RecordingId, Arc<Size>>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let [first, second, third] = [1, 2, 3].map(RecordingId::from_bits);
        let first = load.place(first).unwrap();
        assert_eq!(load.admission(), Admission::Open);
        let _second = load.place(second).unwrap();
        assert!(load.place(third).is_none());
        assert_eq!(load.admission(), Admission::Busy);
        drop(first);
        assert_eq!((load.admission(), load.live()), (Admission::Open, 1));
    }

    #[test]
    fn the_largest_recording_ends_first_and_each_is_told_once() {
        let load = Arc::new(Load::new(9, 1));
        let ids = [1, 2, 3].map(RecordingId::from_bits);
        let [small, large, gone] = ids.map(|id| load.place(id).unwrap());
        small.grew(10);
        large.grew(20);
        large.grew(20);
        gone.grew(1000);
        drop(gone);
        let disk = |free| Space { free, total: 1000 };
        assert!(load.end_largest(disk(25)).is_empty(), "there is room");
        assert!(load.end_largest(Space { free: 0, total: 0 }).is_empty(), "it says nothing");
        assert_eq!(load.end_largest(disk(24)), [ids[1]]);
        assert!(large.must_end() && !small.must_end());
        assert_eq!(load.end_largest(disk(0)), [ids[0]]);
        assert!(small.must_end() && load.end_largest(disk(0)).is_empty());
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
