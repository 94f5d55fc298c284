//! Records that stand in a journal twice: after a crash of the recorder's process the next one is given
//! again what may not have reached the disk (`bus::link`). Packets are known by their numbers and reports
//! change nothing when they come twice, unless another SSRC took over meanwhile: then both are known by their
//! times (`walk`). All others are known here by their bytes, time included.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use sfu_proto::tap::{Body, Record};
use zeroize::Zeroizing;

use crate::limits::{REPEATS_MAX, TEXT_JSON_BYTES};

/// The records of late, by hashes of 64 bits whose key nobody knows: of [`REPEATS_MAX`] records two others
/// share one by a chance of 10⁻¹⁰.
pub(super) struct Repeats {
    hashes: RandomState,
    seen: HashSet<u64>,
    order: VecDeque<u64>,
    /// Never grows, so nothing of a text stays behind in memory.
    bytes: Zeroizing<Vec<u8>>,
}

impl Default for Repeats {
    fn default() -> Self {
        let bytes = Zeroizing::new(Vec::with_capacity(TEXT_JSON_BYTES));
        Self { hashes: RandomState::new(), seen: HashSet::new(), order: VecDeque::new(), bytes }
    }
}

impl Repeats {
    /// Whether this record came before. Never so of packets and reports.
    pub(super) fn has(&mut self, record: &Record<'_>) -> bool {
        if matches!(record.body, Body::Packet(_) | Body::Report { .. }) {
            return false;
        }
        self.bytes.clear();
        record.write(&mut self.bytes);
        let hash = self.hashes.hash_one(&*self.bytes);
        if !self.seen.insert(hash) {
            return true;
        }
        self.order.push_back(hash);
        if self.order.len() > REPEATS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sfu_proto::tap::Packet;

    use super::*;

    #[test]
    fn a_record_that_comes_again_is_known_and_another_of_its_kind_is_not() {
        let mut repeats = Repeats::default();
        let at = |time_us| Record { time_us, body: Body::Muted { index: 1, muted: true } };
        assert!(!repeats.has(&at(1)) && !repeats.has(&at(2)));
        assert!(repeats.has(&at(1)) && repeats.has(&at(2)));
        for n in 0..REPEATS_MAX as u64 {
            assert!(!repeats.has(&at(10 + n)));
        }
        assert!(!repeats.has(&at(1)), "long ago");
        assert!(repeats.seen.len() == REPEATS_MAX && repeats.order.len() == REPEATS_MAX);
        let packet = Packet {
            index: 1,
            seq: sfu_proto::unit::SeqNo(1),
            timestamp: sfu_proto::unit::RtpTimestamp(1),
            marker: false,
            level: None,
            descriptor: &[],
            payload: &[],
        };
        let packet = Record { time_us: 1, body: Body::Packet(packet) };
        assert!(!repeats.has(&packet) && !repeats.has(&packet));
    }
}
