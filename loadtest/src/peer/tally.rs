//! Counts what a track received.

use std::collections::HashSet;

use serde::Serialize;

use super::content::{Content, check};

/// What arrived of one kind, over all its tracks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Packets, each counted once.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Sequence numbers between first and last that never came.
    pub lost: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets of another `loadtest peer`, intact.
    pub synthetic: u64,
    /// Packets of another `loadtest peer`, changed on the way.
    pub corrupt: u64,
    /// Packets of other senders.
    pub foreign: u64,
}

/// The running count of one stream.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: Received,
    /// First and last extended sequence number.
    span: Option<(u64, u64)>,
    /// Every one seen; a run lasts at most an hour, some 10^6 packets.
    seen: HashSet<u64>,
}

impl Tally {
    /// Counts a packet by its sequence number and payload.
    pub(super) fn add(&mut self, seq: u16, payload: &[u8]) {
        let index = self.extend(seq);
        if !self.seen.insert(index) {
            self.received.duplicate += 1;
            return;
        }
        self.received.packets += 1;
        self.received.bytes += payload.len() as u64;
        match check(payload) {
            // Padding-only packets (bandwidth probes) have no payload and no sender's content.
            _ if payload.is_empty() => {}
            Content::Intact(_) => self.received.synthetic += 1,
            Content::Corrupt => self.received.corrupt += 1,
            Content::Foreign => self.received.foreign += 1,
        }
    }

    /// The count so far.
    pub(super) fn received(&self) -> Received {
        let expected = self.span.map_or(0, |(first, last)| last - first + 1);
        Received { lost: expected - self.seen.len() as u64, ..self.received.clone() }
    }

    /// The sequence number nearest to the last one (RFC 3550 appendix A.1).
    fn extend(&mut self, seq: u16) -> u64 {
        /// So that packets before the first one do not underflow.
        const START: u64 = 1 << 32;
        let (first, last) = self.span.unwrap_or((START | u64::from(seq), START | u64::from(seq)));
        let index = last.wrapping_add_signed(i64::from(seq.wrapping_sub(last as u16) as i16));
        self.span = Some((first.min(index), last.max(index)));
        index
    }
}

impl std::ops::AddAssign for Received {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.synthetic += other.synthetic;
        self.corrupt += other.corrupt;
        self.foreign += other.foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::content::opus;

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart_over_a_wrap() {
        let mut tally = Tally::default();
        for seq in [65_533, 65_535, 1, 0, 1, 5, 65_532] {
            tally.add(seq, &opus(u32::from(seq), 60));
        }
        let got = tally.received();
        // 65532 to 65541 are ten, six came.
        assert_eq!((got.packets, got.lost, got.duplicate, got.synthetic), (6, 4, 1, 6));
    }

    #[test]
    fn contents_are_told_apart() {
        let mut tally = Tally::default();
        tally.add(1, &[]);
        tally.add(2, &[1; 50]);
        let mut bad = opus(3, 60);
        bad[20] ^= 1;
        tally.add(3, &bad);
        let got = tally.received();
        assert_eq!((got.packets, got.foreign, got.corrupt, got.synthetic), (3, 1, 1, 0));
    }
}
