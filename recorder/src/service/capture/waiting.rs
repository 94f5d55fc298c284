//! Batches of a recording whose journal has not begun: kept in order, bounded; what does not fit is
//! dropped and said so in the journal.

use std::{sync::Arc, time::Instant};

use bus::tap::{Hold, Lost};
use tokio::sync::oneshot;

use super::Common;
use crate::{
    key::DataKey,
    limits::{STUCK_TOTAL_BYTES_MAX, WAITING_BYTES_MAX, WAITING_TOTAL_BYTES_MAX},
};

type Closed = oneshot::Sender<Option<Arc<DataKey>>>;

/// Waits for its journal.
pub(super) struct Waiting {
    common: Arc<Common>,
    batches: Vec<(Vec<u8>, Hold)>,
    bytes: usize,
    /// What was dropped after the batches.
    lost: Lost,
    /// When the ledger is asked again; none while it is being asked.
    pub(super) again: Option<Instant>,
    /// Since when the disk does not give its journal.
    pub(super) stuck_since: Option<Instant>,
    /// Whoever waits for the end of the journal.
    pub(super) close: Option<Closed>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.common.waited(self.bytes);
    }
}

impl Waiting {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self {
            common,
            batches: Vec::new(),
            bytes: 0,
            lost: Lost::default(),
            again: None,
            stuck_since: None,
            close: None,
        }
    }

    /// Keeps a batch, or drops it. Once one was dropped the rest is: what comes after a hole without
    /// what the hole had is worth less than the room.
    pub(super) fn push(&mut self, batch: Vec<u8>, hold: Hold) {
        let fits = self.bytes + batch.len() <= WAITING_BYTES_MAX;
        let total_max = match self.stuck_since {
            Some(_) => STUCK_TOTAL_BYTES_MAX,
            None => WAITING_TOTAL_BYTES_MAX,
        };
        if self.lost.is_nothing() && fits && self.common.may_wait(batch.len(), total_max) {
            self.bytes += batch.len();
            self.batches.push((batch, hold));
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
    pub(super) fn take(&mut self) -> Vec<(Vec<u8>, Hold)> {
        self.common.waited(std::mem::take(&mut self.bytes));
        let mut batches = std::mem::take(&mut self.batches);
        let lost = std::mem::take(&mut self.lost).record();
        batches.extend(lost.map(|lost| (lost, Hold::default())));
        batches
    }
}
