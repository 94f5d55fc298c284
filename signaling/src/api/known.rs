//! API keys that the store told of lately: with one of them a recording can be stopped or paused while
//! the store does not answer. For nothing else: what is known here may have been revoked since.

use std::{sync::Arc, time::Instant};

use dashmap::DashMap;

use crate::{limits, store::ApiKey};

/// Keys by their id. Of secrets it has what the store has: keyed hashes.
#[derive(Default)]
pub(crate) struct KnownKeys {
    keys: DashMap<String, (Arc<ApiKey>, Instant)>,
}

impl KnownKeys {
    /// What the store just said of a key; none: there is no such key, or not any more.
    pub(crate) fn note(&self, id: &str, key: Option<&Arc<ApiKey>>) {
        let Some(key) = key else {
            self.keys.remove(id);
            return;
        };
        if self.keys.len() >= limits::KNOWN_KEYS_MAX && !self.keys.contains_key(id) {
            self.keys.retain(|_, (_, at)| is_fresh(*at));
            if self.keys.len() >= limits::KNOWN_KEYS_MAX {
                return;
            }
        }
        self.keys.insert(id.to_owned(), (Arc::clone(key), Instant::now()));
    }

    /// A key as the store told it last, unless that is long ago.
    pub(super) fn find(&self, id: &str) -> Option<Arc<ApiKey>> {
        let known = self.keys.get(id)?;
        is_fresh(known.1).then(|| Arc::clone(&known.0))
    }
}

fn is_fresh(at: Instant) -> bool {
    at.elapsed() < limits::KNOWN_KEY
}
