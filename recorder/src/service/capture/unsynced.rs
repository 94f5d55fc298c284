//! What a journal took and the disk does not have yet: whoever gave it keeps it until then.

use bus::tap::Hold;

/// Batches behind the last chunk that is safe.
#[derive(Default)]
pub(super) struct Unsynced {
    holds: Vec<Hold>,
    /// Chunks of batches that were safe when it was last looked.
    chunks: u64,
}

impl Unsynced {
    /// The journal took a batch, after it perhaps wrote those before it.
    pub(super) fn took(&mut self, hold: Hold, chunks: u64) {
        self.synced(chunks);
        self.holds.push(hold);
    }

    /// So many chunks are safe on disk. Another one than before has all that was taken until then.
    pub(super) fn synced(&mut self, chunks: u64) {
        if self.chunks != chunks {
            self.chunks = chunks;
            self.holds.clear();
        }
    }
}
