//! What was dropped of a recording, until its journal is told.

use sfu_proto::tap::{Body, Record, records};

/// Records that were dropped one behind the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    records: u32,
    /// Of the first of them, µs since 1970.
    since_us: u64,
}

impl Lost {
    /// Another batch of records was dropped.
    pub fn add(&mut self, batch: &[u8]) {
        for record in records(batch).filter_map(Result::ok) {
            if self.records == 0 {
                self.since_us = record.time_us;
            }
            self.records = self.records.saturating_add(1);
        }
    }

    /// Whether nothing was dropped.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.records == 0
    }

    /// A batch that says so.
    #[must_use]
    pub fn record(&self) -> Option<Vec<u8>> {
        let Self { records, since_us: time_us } = *self;
        let mut bytes = Vec::new();
        Record { time_us, body: Body::Lost { records } }.write(&mut bytes);
        (!self.is_nothing()).then_some(bytes)
    }
}
