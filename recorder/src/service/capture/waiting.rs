//! Batches of a recording whose journal has not begun: kept in order, bounded; what does not fit is
//! dropped and said so in the journal.

use std::{sync::Arc, time::Instant};

use sfu_proto::tap::{Body, Record, records};
use tokio::sync::oneshot;

use super::Common;
use crate::{key::DataKey, limits::WAITING_BYTES_MAX};

type Closed = oneshot::Sender<Option<Arc<DataKey>>>;

/// Waits for its journal.
pub(super) struct Waiting {
    common: Arc<Common>,
    batches: Vec<Vec<u8>>,
    bytes: usize,
    lost: Lost,
    /// When the ledger is asked again; none while it is being asked.
    pub(super) again: Option<Instant>,
    /// Whoever waits for the end of the journal.
    pub(super) close: Option<Closed>,
}

/// What was dropped after the batches.
#[derive(Default)]
struct Lost {
    records: u32,
    /// Of the first of them, µs since 1970.
    since_us: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.common.waited(self.bytes);
    }
}

impl Waiting {
    pub(super) fn new(common: Arc<Common>) -> Self {
        let lost = Lost::default();
        Self { common, batches: Vec::new(), bytes: 0, lost, again: None, close: None }
    }

    /// Keeps a batch, or drops it. Once one was dropped the rest is: what comes after a hole without
    /// what the hole had is worth less than the room.
    pub(super) fn push(&mut self, batch: Vec<u8>) {
        let fits = self.bytes + batch.len() <= WAITING_BYTES_MAX;
        if self.lost.records == 0 && fits && self.common.may_wait(batch.len()) {
            self.bytes += batch.len();
            self.batches.push(batch);
        } else {
            self.common.metrics.batches_refused.inc();
            self.lost.add(&batch);
        }
    }

    /// How many batches are kept.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// All that was kept, in order, and a record of what was not.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.common.waited(std::mem::take(&mut self.bytes));
        let mut batches = std::mem::take(&mut self.batches);
        batches.extend(std::mem::take(&mut self.lost).record());
        batches
    }
}

impl Lost {
    fn add(&mut self, batch: &[u8]) {
        for record in records(batch).filter_map(Result::ok) {
            if self.records == 0 {
                self.since_us = record.time_us;
            }
            self.records = self.records.saturating_add(1);
        }
    }

    fn record(self) -> Option<Vec<u8>> {
        let Self { records, since_us: time_us } = self;
        let mut bytes = Vec::new();
        Record { time_us, body: Body::Lost { records } }.write(&mut bytes);
        (records > 0).then_some(bytes)
    }
}
