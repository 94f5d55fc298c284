//! Puts packets in order of their extended sequence numbers; a hole is waited for, but not for ever.

use std::collections::BTreeMap;

use crate::limits::{REORDER_BYTES_MAX, REORDER_PACKETS_MAX, REORDER_START_US, REORDER_WAIT_US};

/// The window.
pub(crate) struct Reorder<T> {
    /// None: nothing was let go yet.
    next: Option<u64>,
    held: BTreeMap<u64, Held<T>>,
    bytes: usize,
    flushing: bool,
}

struct Held<T> {
    packet: T,
    len: usize,
    arrival_us: i64,
}

/// A packet in order.
pub(crate) struct InOrder<T> {
    pub(crate) packet: T,
    /// Whether packets before it are missing.
    pub(crate) after_hole: bool,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { next: None, held: BTreeMap::new(), bytes: 0, flushing: false }
    }
}

impl<T> Reorder<T> {
    /// Whether a packet would be taken: not a duplicate, nor one whose place was given up.
    pub(crate) fn takes(&self, seq: u64) -> bool {
        self.next.is_none_or(|next| seq >= next) && !self.held.contains_key(&seq)
    }

    /// Takes a packet of `len` bytes, or drops it.
    pub(crate) fn push(&mut self, seq: u64, packet: T, len: usize, arrival_us: i64) {
        self.flushing = false;
        if !self.takes(seq) {
            return;
        }
        self.bytes += len;
        self.held.insert(seq, Held { packet, len, arrival_us });
    }

    /// From now on, until the next packet, holes are waited for no more.
    pub(crate) fn flush(&mut self) {
        self.flushing = true;
    }

    /// The next packet whose turn it is at `now_us`.
    pub(crate) fn pop(&mut self, now_us: i64) -> Option<InOrder<T>> {
        let first = self.held.first_entry()?;
        let seq = *first.key();
        let waited_us = now_us.saturating_sub(first.get().arrival_us);
        let is_full = self.held.len() > REORDER_PACKETS_MAX || self.bytes > REORDER_BYTES_MAX;
        let is_due = match self.next {
            Some(next) => seq == next || waited_us > REORDER_WAIT_US,
            None => waited_us > REORDER_START_US,
        };
        if !(is_due || is_full || self.flushing) {
            return None;
        }
        let (_, held) = self.held.pop_first()?;
        self.bytes -= held.len;
        let after_hole = self.next.is_some_and(|next| seq != next);
        self.next = Some(seq.saturating_add(1));
        Some(InOrder { packet: held.packet, after_hole })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(reorder: &mut Reorder<u64>, now_us: i64) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| reorder.pop(now_us)).map(|it| (it.packet, it.after_hole)).collect()
    }

    #[test]
    fn a_late_packet_takes_its_place_and_a_lost_one_is_given_up() {
        let mut reorder = Reorder::default();
        for seq in [10, 12, 11, 12, 14] {
            reorder.push(seq, seq, 1, 0);
        }
        let start = REORDER_START_US + 1;
        assert_eq!(drain(&mut reorder, start), [(10, false), (11, false), (12, false)]);
        assert_eq!(drain(&mut reorder, REORDER_WAIT_US), []);
        assert_eq!(drain(&mut reorder, REORDER_WAIT_US + 1), [(14, true)]);
        reorder.push(13, 13, 1, 0);
        reorder.flush();
        assert_eq!(drain(&mut reorder, 0), [], "its place is gone");
    }

    #[test]
    fn the_first_packets_may_come_in_any_order() {
        let mut reorder = Reorder::default();
        for seq in [7, 6, 5] {
            reorder.push(seq, seq, 1, 0);
            assert_eq!(drain(&mut reorder, 1_000), []);
        }
        reorder.flush();
        assert_eq!(drain(&mut reorder, 0), [(5, false), (6, false), (7, false)]);
    }

    proptest! {
        #[test]
        fn the_window_is_bounded_and_order_holds(seqs in prop::collection::vec(any::<u64>(), 0..500)) {
            let mut reorder = Reorder::default();
            let mut out = Vec::new();
            for (n, seq) in seqs.into_iter().enumerate() {
                reorder.push(seq, seq, REORDER_BYTES_MAX / 50, n as i64);
                out.extend(drain(&mut reorder, n as i64));
                prop_assert!(reorder.held.len() <= 51);
            }
            reorder.flush();
            out.extend(drain(&mut reorder, 500));
            prop_assert!(out.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
