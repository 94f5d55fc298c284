//! Arrival times of a publisher's packets, for transport-wide feedback to it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Instant;

use arrayvec::ArrayVec;
use sfu_proto::{
    rtcp::{Arrival, CompoundWriter},
    rtp::SeqUnwrapper,
    unit::{RtpSeq, Ssrc},
};

use crate::limits::ARRIVALS_MAX;

/// Arrivals since the last feedback, in order of sequence number.
pub struct Arrivals {
    start: Instant,
    unwrapper: SeqUnwrapper,
    pending: Box<ArrayVec<Arrival, ARRIVALS_MAX>>,
    /// Last one reported: first of the next feedback if packets between were lost.
    reported: Option<Arrival>,
    media: Ssrc,
    count: u8,
}

impl Arrivals {
    /// No arrivals. Times are counted from `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            unwrapper: SeqUnwrapper::new(),
            pending: Box::default(),
            reported: None,
            media: Ssrc(0),
            count: 0,
        }
    }

    /// An authentic packet with a transport-wide number arrived. Beyond the bound, and when it was
    /// reported lost already, it is not remembered.
    pub fn on_packet(&mut self, sequence: u16, ssrc: u32, now: Instant) {
        self.media = Ssrc(ssrc);
        // From the second cycle on, so that packets before the first have a number, too.
        let seq = match self.unwrapper.highest() {
            None => {
                let first = sfu_proto::unit::SeqNo(u64::from(sequence) + (1 << 16));
                self.unwrapper.accept(first);
                Some(first)
            }
            Some(_) => self.unwrapper.unwrap(RtpSeq(sequence)),
        };
        let Some(seq) = seq else { return };
        if self.reported.is_some_and(|last| seq <= last.seq) || self.pending.is_full() {
            return;
        }
        let at_us = now.saturating_duration_since(self.start).as_micros() as u64;
        let place = self.pending.partition_point(|arrival| arrival.seq < seq);
        if self.pending.get(place).is_none_or(|arrival| arrival.seq != seq) {
            self.pending.insert(place, Arrival { seq, at_us });
        }
    }

    /// Whether there is something to report.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes one feedback packet; to be repeated with a new writer until [`Self::is_empty`].
    pub fn write(&mut self, sender: Ssrc, writer: &mut CompoundWriter<'_>) {
        let Some(first) = self.pending.first().copied() else { return };
        if let Some(reported) = self.reported
            && first.seq.0 > reported.seq.0 + 1
            && !self.pending.is_full()
        {
            self.pending.insert(0, reported);
        }
        let written = writer.transport_feedback(sender, self.media, self.count, &self.pending);
        let written = match written {
            Ok(written) if written > 0 => written,
            // Nothing that can be expressed: do not try for ever.
            _ => return self.pending.clear(),
        };
        self.reported = self.pending.get(written - 1).copied();
        self.pending.drain(..written);
        self.count = self.count.wrapping_add(1);
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
}
