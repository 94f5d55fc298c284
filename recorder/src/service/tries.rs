//! What is remembered between the attempts on a recording: failures, and the data key.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rand::Rng as _;
use sfu_proto::id::RecordingId;

use crate::{key::DataKey, storage::delay};

/// Failures in a row, by recording.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<RecordingId, Count>>);

#[derive(Default, Clone, Copy)]
struct Count {
    /// Of whatever kind.
    all: u32,
    /// Of them, those of making files.
    unmade: u32,
    /// Of those, the ones that ended by a defect.
    defects: u32,
    /// When the first attempt to make files failed.
    unmade_at: Option<Instant>,
}

/// Failed attempts to make files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unmade {
    pub(super) count: u32,
    /// Of them, those that ended by a defect.
    pub(super) defects: u32,
    /// Time since the first.
    pub(super) since: Duration,
}

impl Tries {
    pub(super) fn failed(&self, recording: RecordingId) {
        self.counts().entry(recording).or_default().all += 1;
    }

    /// Besides [`Self::failed`]: no files could be made of the journal.
    pub(super) fn unmade(&self, recording: RecordingId, is_defect: bool) {
        let mut counts = self.counts();
        let count = counts.entry(recording).or_default();
        count.unmade += 1;
        count.defects += u32::from(is_defect);
        count.unmade_at.get_or_insert_with(Instant::now);
    }

    /// No pause before the next attempt; why files could not be made is remembered.
    pub(super) fn forget_pauses(&self, recording: RecordingId) {
        if let Some(count) = self.counts().get_mut(&recording) {
            count.all = 0;
        }
    }

    pub(super) fn forget(&self, recording: RecordingId) {
        self.counts().remove(&recording);
    }

    pub(super) fn keep(&self, known: &HashSet<RecordingId>) {
        self.counts().retain(|id, _| known.contains(id));
    }

    /// Failures so far.
    pub(super) fn count(&self, recording: RecordingId) -> u32 {
        self.counts().get(&recording).map_or(0, |count| count.all)
    }

    /// Failures to make files so far.
    pub(super) fn unmade_so_far(&self, recording: RecordingId) -> Unmade {
        let count = self.counts().get(&recording).copied().unwrap_or_default();
        let since = count.unmade_at.map_or(Duration::ZERO, |at| at.elapsed());
        Unmade { count: count.unmade, defects: count.defects, since }
    }

    /// How long to wait after the failures so far and one more.
    pub(super) fn again_after(&self, recording: RecordingId) -> Duration {
        delay(self.count(recording).saturating_add(1), rand::rng().next_u32())
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<RecordingId, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Data keys of journals that this process wrote, until their files are made or destroyed.
#[derive(Default)]
pub(super) struct Keys(Mutex<HashMap<RecordingId, Arc<DataKey>>>);

impl Keys {
    pub(super) fn insert(&self, recording: RecordingId, key: Arc<DataKey>) {
        self.keys().insert(recording, key);
    }

    pub(super) fn of(&self, recording: RecordingId) -> Option<Arc<DataKey>> {
        self.keys().get(&recording).cloned()
    }

    /// Wipes it, unless somebody works with it still.
    pub(super) fn forget(&self, recording: RecordingId) {
        self.keys().remove(&recording);
    }

    pub(super) fn keep(&self, known: &HashSet<RecordingId>) {
        self.keys().retain(|id, _| known.contains(id));
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<RecordingId, Arc<DataKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_and_forgotten_together() {
        let (tries, id) = (Tries::default(), RecordingId::from_bits(1));
        let first = tries.again_after(id);
        for _ in 0..5 {
            tries.failed(id);
        }
        tries.unmade(id, false);
        tries.unmade(id, true);
        let unmade = || (tries.unmade_so_far(id).count, tries.unmade_so_far(id).defects);
        assert_eq!((tries.count(id), unmade()), (5, (2, 1)));
        assert!(tries.again_after(id) > first * 8);
        tries.keep(&HashSet::from([id]));
        assert_eq!(tries.count(id), 5);
        tries.forget_pauses(id);
        assert_eq!((tries.count(id), unmade()), (0, (2, 1)), "a wish does not mend what fails");
        tries.forget(id);
        assert_eq!((tries.count(id), unmade()), (0, (0, 0)));
    }
}
