//! Recordings that are not written any more, or never were: their batches are dropped at once.

use std::{collections::HashMap, sync::Arc, time::Instant};

use sfu_proto::id::RecordingId;

use crate::{key::DataKey, limits::LIVE_REFUSED_MAX};

/// Those of late; the oldest are forgotten.
#[derive(Default)]
pub(super) struct Over(HashMap<RecordingId, One>);

struct One {
    since: Instant,
    /// Of a journal that ended early, until it is asked for.
    key: Option<Arc<DataKey>>,
}

impl Over {
    pub(super) fn has(&self, recording: RecordingId) -> bool {
        self.0.contains_key(&recording)
    }

    /// Notes that one is over. `key`: of its journal, when that ended by itself.
    pub(super) fn insert(&mut self, recording: RecordingId, key: Option<Arc<DataKey>>) {
        if self.0.len() >= LIVE_REFUSED_MAX && !self.has(recording) {
            // One without a key, if there is any.
            let oldest = self.0.iter().min_by_key(|(_, one)| (one.key.is_some(), one.since));
            let oldest = oldest.map(|(id, _)| *id);
            oldest.map(|id| self.0.remove(&id));
        }
        self.0.insert(recording, One { since: Instant::now(), key });
    }

    /// The key of a journal that ended early, once.
    pub(super) fn take_key(&mut self, recording: RecordingId) -> Option<Arc<DataKey>> {
        self.0.get_mut(&recording)?.key.take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_are_kept_longer_than_names_and_given_once() {
        let mut over = Over::default();
        let id = |n: usize| RecordingId::from_bits(n as u128);
        over.insert(id(0), Some(Arc::new(DataKey::generate())));
        for n in 1..=LIVE_REFUSED_MAX {
            over.insert(id(n), None);
        }
        assert!(over.has(id(0)) && !over.has(id(1)) && over.has(id(2)));
        assert!(over.take_key(id(0)).is_some());
        assert!(over.take_key(id(0)).is_none() && over.has(id(0)));
        assert_eq!(over.0.len(), LIVE_REFUSED_MAX);
    }
}
