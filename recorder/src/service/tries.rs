//! What is remembered between the attempts on a recording: failures, and the data key.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
}

impl Tries {
    pub(super) fn failed(&self, recording: RecordingId) {
        self.counts().entry(recording).or_default().all += 1;
    }

    /// Besides [`Self::failed`]: no files could be made of the journal.
    pub(super) fn unmade(&self, recording: RecordingId) {
        self.counts().entry(recording).or_default().unmade += 1;
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
    pub(super) fn unmade_count(&self, recording: RecordingId) -> u32 {
        self.counts().get(&recording).map_or(0, |count| count.unmade)
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
        tries.unmade(id);
        assert_eq!((tries.count(id), tries.unmade_count(id)), (5, 1));
        assert!(tries.again_after(id) > first * 8);
        tries.keep(&HashSet::from([id]));
        assert_eq!(tries.count(id), 5);
        tries.forget(id);
        assert_eq!((tries.count(id), tries.unmade_count(id)), (0, 0));
    }
}
