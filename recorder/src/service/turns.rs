//! When a recording that goes on may push again: by turns, and after failures with patience. What is
//! remembered here is of this process; the files say the rest.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng as _;
use sfu_proto::id::RecordingId;
use tokio::time::Instant;

use crate::{
    limits::{LIVE_AGAIN_MAX, LIVE_LOOK},
    storage::delay,
};

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All that was closed is pushed.
    Done,
    /// There is more, or something came between.
    More,
    Failed,
}

#[derive(Clone, Copy)]
struct Turn {
    /// When the next one is due.
    at: Instant,
    /// Failures in a row.
    failures: u32,
    /// Journal files that are known to be pushed.
    pushed: usize,
}

/// By recording.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<RecordingId, Turn>>);

impl Turns {
    /// When the next one is due; those that had none come first.
    pub(super) fn at(&self, recording: RecordingId) -> Option<Instant> {
        self.turns().get(&recording).map(|turn| turn.at)
    }

    /// Whether the last one failed.
    pub(super) fn is_failing(&self, recording: RecordingId) -> bool {
        self.turns().get(&recording).is_some_and(|turn| turn.failures > 0)
    }

    /// Journal files that are known to be pushed.
    pub(super) fn pushed(&self, recording: RecordingId) -> usize {
        self.turns().get(&recording).map_or(0, |turn| turn.pushed)
    }

    pub(super) fn set_pushed(&self, recording: RecordingId, files: usize) {
        self.turn(recording, |turn| turn.pushed = files);
    }

    pub(super) fn ended(&self, recording: RecordingId, ended: Ended) {
        self.turn(recording, |turn| {
            let (failures, pause) = match ended {
                Ended::Done => (0, LIVE_LOOK),
                Ended::More => (turn.failures, Duration::ZERO),
                Ended::Failed => {
                    let failures = turn.failures.saturating_add(1);
                    (failures, delay(failures, rand::rng().next_u32()).min(LIVE_AGAIN_MAX))
                }
            };
            (turn.failures, turn.at) = (failures, Instant::now() + pause);
        });
    }

    pub(super) fn keep(&self, known: &HashSet<RecordingId>) {
        self.turns().retain(|id, _| known.contains(id));
    }

    fn turn(&self, recording: RecordingId, change: impl FnOnce(&mut Turn)) {
        let first = Turn { at: Instant::now(), failures: 0, pushed: 0 };
        change(self.turns().entry(recording).or_insert(first));
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<RecordingId, Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_waits_longer_each_time_and_not_for_ever() {
        let (turns, id) = (Turns::default(), RecordingId::from_bits(1));
        let pause = || turns.at(id).map(|at| at.saturating_duration_since(Instant::now()));
        assert_eq!((turns.at(id), turns.is_failing(id)), (None, false));
        turns.ended(id, Ended::Failed);
        assert!(turns.is_failing(id) && pause() <= Some(Duration::from_secs(1)));
        for _ in 0..20 {
            turns.ended(id, Ended::Failed);
        }
        let long = LIVE_AGAIN_MAX - Duration::from_secs(5)..=LIVE_AGAIN_MAX;
        assert!(pause().is_some_and(|pause| long.contains(&pause)), "{:?}", pause());
        turns.set_pushed(id, 7);
        turns.ended(id, Ended::More);
        assert!(turns.is_failing(id) && pause() == Some(Duration::ZERO), "others were asked first");
        turns.ended(id, Ended::Done);
        assert!(!turns.is_failing(id) && turns.pushed(id) == 7);
        turns.keep(&HashSet::new());
        assert_eq!((turns.at(id), turns.pushed(id)), (None, 0));
    }
}
