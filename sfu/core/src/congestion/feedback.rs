//! Arrival times of a publisher's packets, for transport-wide feedback to it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Instant;

use arrayvec::ArrayVec;
use sfu_proto::{
    rtcp::{Arrival, CompoundWriter},
    rtp::SeqUnwrapper,
    unit::{RtpSeq, SeqNo, Ssrc},
};

use crate::limits::{ARRIVALS_MAX, FEEDBACK_REORDER_MAX};

/// Microseconds between the arrivals of two neighbours in one feedback: a delta has 16 bits of
/// 250 µs, signed (section 3.1.5).
const DELTA_US_MAX: u64 = 0x7fff * 250;
/// Numbers between two neighbours in one feedback: far below its bound of statuses. A gap that is
/// larger is a restart, and a sender draws its own conclusions from silence.
const GAP_MAX: u64 = 4_096;

/// Recent arrivals, in order of sequence number.
///
/// ```text
/// reported, kept for FEEDBACK_REORDER_MAX numbers │ not reported yet
///   … 40 41    43 44                              │ 45 47
///                                            next ┘
/// ```
/// A late 42 moves `next` back to it: the next feedback says 42 to 47, so that the sender takes
/// back the loss that it was told of. Libwebrtc's receiver does the same (`RemoteEstimatorProxy`).
pub struct Arrivals {
    start: Instant,
    unwrapper: SeqUnwrapper,
    recent: Box<ArrayVec<Arrival, ARRIVALS_MAX>>,
    /// First number of the next feedback.
    next: SeqNo,
    media: Ssrc,
    count: u8,
}

impl Arrivals {
    /// No arrivals. Times are counted from `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            unwrapper: SeqUnwrapper::new(),
            recent: Box::default(),
            next: SeqNo(0),
            media: Ssrc(0),
            count: 0,
        }
    }

    /// An authentic packet with a transport-wide number arrived. Beyond the bound, and when it is
    /// too late, it is not remembered.
    pub fn on_packet(&mut self, sequence: u16, ssrc: u32, now: Instant) {
        self.media = Ssrc(ssrc);
        // From the second cycle on, so that packets before the first have a number, too.
        let seq = match self.unwrapper.highest() {
            None => {
                let first = SeqNo(u64::from(sequence) + (1 << 16));
                self.unwrapper.accept(first);
                self.next = first;
                Some(first)
            }
            Some(_) => self.unwrapper.unwrap(RtpSeq(sequence)),
        };
        let Some(seq) = seq else { return };
        let highest = self.unwrapper.highest().unwrap_or(seq);
        if highest.0 - seq.0 > u64::from(FEEDBACK_REORDER_MAX) && seq < self.next {
            return;
        }
        if self.recent.is_full() && !self.forget_oldest() {
            return;
        }
        let at_us = now.saturating_duration_since(self.start).as_micros() as u64;
        let place = self.recent.partition_point(|arrival| arrival.seq < seq);
        if self.recent.get(place).is_none_or(|arrival| arrival.seq != seq) {
            self.recent.insert(place, Arrival { seq, at_us });
            self.next = self.next.min(seq);
        }
    }

    /// Whether there is something to report.
    pub fn is_empty(&self) -> bool {
        self.recent.last().is_none_or(|last| last.seq < self.next)
    }

    /// Writes one feedback packet; to be repeated with a new writer until [`Self::is_empty`].
    pub fn write(&mut self, sender: Ssrc, writer: &mut CompoundWriter<'_>) {
        let first = self.recent.partition_point(|arrival| arrival.seq < self.next);
        let from = first - usize::from(self.tells_of_losses(first));
        let Some(arrivals) = self.recent.get(from..).filter(|arrivals| !arrivals.is_empty()) else {
            return;
        };
        let written = writer.transport_feedback(sender, self.media, self.count, arrivals);
        let last = match written {
            Ok(written) if written > 0 => arrivals.get(written - 1),
            // Nothing that can be expressed: do not try for ever.
            _ => arrivals.last(),
        };
        // More than the repeated one went out, see below; so this ends.
        self.next = last.map_or(self.next, |last| SeqNo(last.seq.0 + 1));
        self.count = self.count.wrapping_add(1);
        let oldest = self.next.0.saturating_sub(u64::from(FEEDBACK_REORDER_MAX));
        let old = self.recent.partition_point(|arrival| arrival.seq.0 < oldest);
        self.recent.drain(..old);
    }

    /// Whether to begin with the arrival before the one at `first` again, because packets between
    /// the two were lost: a feedback begins with an arrival. Not when both do not fit into one.
    fn tells_of_losses(&self, first: usize) -> bool {
        let before = first.checked_sub(1).and_then(|before| self.recent.get(before));
        let (Some(before), Some(after)) = (before, self.recent.get(first)) else { return false };
        let gap = after.seq.0 - before.seq.0;
        after.seq > self.next && gap < GAP_MAX && after.at_us.abs_diff(before.at_us) < DELTA_US_MAX
    }

    /// Makes room, if there are arrivals that have been reported.
    fn forget_oldest(&mut self) -> bool {
        let reported = self.recent.first().is_some_and(|oldest| oldest.seq < self.next);
        if reported {
            self.recent.remove(0);
        }
        reported
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use sfu_proto::rtcp::{Packet, TransportStatus, packets};

    use super::*;

    /// What a feedback packet says: (first number, received?).
    fn said(arrivals: &mut Arrivals) -> Vec<(u16, bool)> {
        let mut out = [0; 1200];
        let mut writer = CompoundWriter::new(&mut out);
        arrivals.write(Ssrc(1), &mut writer);
        let mut said = Vec::new();
        for packet in packets(writer.finish()) {
            let Ok(Packet::TransportFeedback(feedback)) = packet else { panic!("{packet:?}") };
            said.extend(feedback.statuses().map(|(seq, s)| (seq, s != TransportStatus::Lost)));
        }
        said
    }

    #[test]
    fn losses_within_and_between_feedbacks_are_reported() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        for (ms, seq) in [65_534u16, 65_535, 1].into_iter().enumerate() {
            arrivals.on_packet(seq, 7, start + Duration::from_millis(ms as u64));
        }
        let expected = vec![(65_534, true), (65_535, true), (0, false), (1, true)];
        assert_eq!(said(&mut arrivals), expected);
        assert!(arrivals.is_empty());
        arrivals.on_packet(3, 7, start + Duration::from_millis(9));
        assert_eq!(said(&mut arrivals), vec![(1, true), (2, false), (3, true)]);
    }

    #[test]
    fn reordered_and_repeated_arrivals_are_sorted_out() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        for seq in [5u16, 4, 6, 6, 4] {
            arrivals.on_packet(seq, 7, start);
        }
        assert_eq!(said(&mut arrivals), vec![(4, true), (5, true), (6, true)]);
    }

    #[test]
    fn a_packet_that_was_reported_lost_is_reported_when_it_comes_late() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        [10u16, 11, 13, 14].into_iter().for_each(|seq| arrivals.on_packet(seq, 7, start));
        assert!(said(&mut arrivals).contains(&(12, false)));
        arrivals.on_packet(15, 7, start);
        arrivals.on_packet(12, 7, start + Duration::from_millis(60));
        assert_eq!(said(&mut arrivals), [12, 13, 14, 15].map(|seq| (seq, true)));
        assert!(arrivals.is_empty());
        arrivals.on_packet(12, 7, start);
        assert!(arrivals.is_empty(), "a repetition is no news");
        // Too late.
        for seq in 16..700u16 {
            arrivals.on_packet(seq, 7, start);
        }
        while !arrivals.is_empty() {
            said(&mut arrivals);
        }
        arrivals.on_packet(9, 7, start);
        assert!(arrivals.is_empty());
    }

    #[test]
    fn pauses_and_jumps_that_no_feedback_can_express_end() {
        let mut now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        let mut seq = 0u16;
        for (pause, jump) in [(0, 1), (10, 2), (0, 20_000), (60, 30_000), (8, 5), (3_600, 9)] {
            now += Duration::from_secs(pause);
            seq = seq.wrapping_add(jump);
            arrivals.on_packet(seq, 7, now);
            let said = said(&mut arrivals);
            assert_eq!(said.last(), Some(&(seq, true)), "{pause} {jump}");
            assert!(arrivals.is_empty(), "{pause} {jump}");
        }
    }

    #[test]
    fn any_number_of_arrivals_is_reported_in_pieces() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        let mut received = 0;
        for n in 0..20_000u16 {
            arrivals.on_packet(n.wrapping_mul(3), 7, start + Duration::from_micros(u64::from(n)));
            if n % 900 == 0 {
                while !arrivals.is_empty() {
                    received +=
                        said(&mut arrivals).iter().filter(|(_, received)| *received).count();
                }
            }
        }
        // Each feedback after a gap begins with the last arrival once more.
        assert!((19_801..19_900).contains(&received), "{received}");
    }
}
