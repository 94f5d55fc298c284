//! The send batch: a fixed arena into which packets are sealed back to back, and the runs in it.
//! One run is one send call's message: equal-sized datagrams for one peer (UDP GSO).
//!
//! ```text
//! arena │ dgram dgram dgram(shorter) │ dgram │ dgram dgram ...
//! runs  └ peer A, segment 1216 ──────┘└ B ───┘└ C ...
//! ```

use crate::{
    limits::{TX_ARENA_BYTES, TX_RUN_BYTES_MAX, TX_RUNS_MAX, TX_SEGMENTS_MAX},
    path::Path,
};

/// Datagrams of `segment` bytes back to back for one peer, the last may be shorter: one GSO
/// message. At most [`TX_SEGMENTS_MAX`] segments and [`TX_RUN_BYTES_MAX`] bytes. On a TCP path
/// each segment is one RFC 4571 frame, without its length prefix.
#[derive(Clone, Copy)]
pub struct TxRun {
    /// Where to.
    pub path: Path,
    /// Where the run begins in the arena, in bytes.
    pub offset: u32,
    /// Bytes of the whole run.
    pub len: u32,
    /// Bytes of each datagram but perhaps the last.
    pub segment: u16,
}

/// What [`crate::shard::Shard::poll_transmit`] hands out; reused, never reallocated.
pub struct TxBatch {
    arena: Box<[u8]>,
    used: usize,
    runs: Vec<TxRun>,
    /// Whether the last run may still grow: its last segment is a full one.
    open: bool,
}

impl TxBatch {
    /// The runs, in sending order.
    pub fn runs(&self) -> &[TxRun] {
        &self.runs
    }

    /// The bytes of a run of this batch.
    pub fn bytes(&self, run: &TxRun) -> &[u8] {
        self.arena.get(run.offset as usize..run.offset as usize + run.len as usize).unwrap_or(&[])
    }

    pub(crate) fn new() -> Self {
        Self {
            arena: vec![0; TX_ARENA_BYTES].into_boxed_slice(),
            used: 0,
            runs: Vec::with_capacity(TX_RUNS_MAX),
            open: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
        self.open = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether a datagram of up to `len_max` bytes fits; if not, the batch has to be sent first.
    pub(crate) fn has_room(&self, len_max: usize) -> bool {
        self.runs.len() < TX_RUNS_MAX && self.arena.len() - self.used >= len_max
    }

    /// The free bytes, to write one datagram at their start.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.arena[self.used..]
    }

    /// Takes the first `len` bytes of the last [`Self::space`] as a datagram to `path`.
    pub(crate) fn commit(&mut self, path: Path, len: usize) {
        let offset = self.used;
        self.used += len;
        if self.open
            && let Some(run) = self.runs.last_mut()
            && run.path == path
            && len <= usize::from(run.segment)
            && run.len as usize + len <= TX_RUN_BYTES_MAX
            && (run.len as usize) < TX_SEGMENTS_MAX * usize::from(run.segment)
        {
            run.len += len as u32;
            self.open = len == usize::from(run.segment);
            return;
        }
        self.runs.push(TxRun { path, offset: offset as u32, len: len as u32, segment: len as u16 });
        self.open = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(datagrams: &[(u16, usize)]) -> Vec<(u16, u32, u16)> {
        let mut batch = TxBatch::new();
        for (port, len) in datagrams {
            assert!(batch.has_room(*len));
            batch.space()[..*len].fill(*port as u8);
            batch.commit(Path::udp(([127, 0, 0, 1], *port).into()), *len);
        }
        for run in batch.runs() {
            assert!(batch.bytes(run).iter().all(|b| u16::from(*b) == run.path.peer.port()));
        }
        batch.runs().iter().map(|run| (run.path.peer.port(), run.len, run.segment)).collect()
    }

    #[test]
    fn equal_datagrams_to_one_peer_form_a_run_that_a_shorter_one_closes() {
        let sent = [(1, 100), (1, 100), (1, 60), (1, 60), (1, 100), (2, 100), (1, 100)];
        let expected = [(1, 260, 100), (1, 60, 60), (1, 100, 100), (2, 100, 100), (1, 100, 100)];
        assert_eq!(runs(&sent), expected);
    }

    #[test]
    fn runs_stay_within_segments_and_bytes() {
        assert_eq!(runs(&[(1, 100); 64]), [(1, 6300, 100), (1, 100, 100)]);
        let long = runs(&[(1, 1240); 60]);
        assert_eq!(long.iter().map(|run| run.1).sum::<u32>(), 60 * 1240);
        assert!(long.iter().all(|run| run.1 as usize <= TX_RUN_BYTES_MAX));
    }

    #[test]
    fn a_full_batch_says_so() {
        let mut batch = TxBatch::new();
        let mut sent = 0;
        while batch.has_room(1500) {
            batch.commit(Path::udp(([127, 0, 0, 1], 1).into()), 1500);
            sent += 1;
        }
        assert_eq!(sent, TX_ARENA_BYTES / 1500);
    }
}
