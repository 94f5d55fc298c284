//! What a writer did, for metrics.

use std::time::Duration;

/// Counts of one writer since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Files begun.
    pub files: u64,
    /// Files given up because the disk failed.
    pub failures: u64,
    /// Batch chunks that are safe on disk.
    pub chunks: u64,
    /// Signed chunks that are safe on disk.
    pub checkpoints: u64,
    /// Bytes of batches that are safe on disk.
    pub plain_bytes: u64,
    /// Bytes written to files, with headers, tags and what failed.
    pub file_bytes: u64,
    /// Calls of `fdatasync`.
    pub syncs: u64,
    /// How long the last one took.
    pub sync_last: Duration,
    /// How long the longest took.
    pub sync_max: Duration,
    /// How long all took together.
    pub sync_total: Duration,
}

impl Stats {
    pub(super) fn synced(&mut self, took: Duration) {
        self.syncs += 1;
        self.sync_last = took;
        self.sync_max = self.sync_max.max(took);
        self.sync_total += took;
    }
}
