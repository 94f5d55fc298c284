//! What a subscriber's transport-wide feedback says about loss. Counted only; it will feed the
//! send-side estimate.

use std::time::Instant;

use sfu_proto::rtcp::{TransportFeedback, TransportStatus};

use crate::limits::{
    FEEDBACK_HEEDED_AHEAD, FEEDBACK_HEEDED_INTERVAL, FEEDBACK_REORDER_MAX, FEEDBACKS_PER_COMPOUND,
};

/// Packets of one feedback.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Reported received.
    pub received: u64,
    /// Reported lost.
    pub lost: u64,
}

/// Packets that are worth waiting to be reported on: older numbers are ambiguous soon.
const UNREPORTED_MAX: u16 = 1 << 14;

/// Decides which feedback of a subscriber is read: a status costs it a fraction of a bit, us a
/// step of work.
#[derive(Debug, Default)]
pub struct FeedbackGate {
    /// The next number to be sent, at the last look.
    seen: Option<u16>,
    /// Packets sent that no status was read for.
    unreported: u16,
    /// When the next compound with feedback is due; one may come some time early.
    due: Option<Instant>,
    /// Feedback packets in this compound so far.
    in_compound: usize,
}

impl FeedbackGate {
    /// Another compound is about to be read.
    pub fn begin_compound(&mut self) {
        self.in_compound = 0;
    }

    /// Whether to read this feedback. `next` is the next transport-wide number that we will send.
    pub fn admit(&mut self, feedback: &TransportFeedback<'_>, next: u16, now: Instant) -> bool {
        self.in_compound += 1;
        self.in_compound <= FEEDBACKS_PER_COMPOUND
            && (self.in_compound > 1 || self.is_due(now))
            && self.is_of_sent(feedback.status_count, next)
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let is_due = due.saturating_duration_since(now) <= FEEDBACK_HEEDED_AHEAD;
        if is_due {
            self.due = Some(due + FEEDBACK_HEEDED_INTERVAL);
        } else {
            // What else stands in the compound is refused, too.
            self.in_compound = FEEDBACKS_PER_COMPOUND;
        }
        is_due
    }

    /// No more statuses than packets sent, and those that may be told again because of reordering.
    fn is_of_sent(&mut self, statuses: u16, next: u16) -> bool {
        let sent = next.wrapping_sub(self.seen.replace(next).unwrap_or(next));
        self.unreported = self.unreported.saturating_add(sent).min(UNREPORTED_MAX);
        let is_of_sent = statuses <= self.unreported.saturating_add(FEEDBACK_REORDER_MAX);
        if is_of_sent {
            self.unreported = self.unreported.saturating_sub(statuses);
        }
        is_of_sent
    }
}

/// Counts a feedback's statuses. `next` is the next transport-wide number that we will send: what
/// was not sent yet, or not within the last half cycle, is not believed (SECURITY.md M7).
pub fn count(feedback: &TransportFeedback<'_>, next: u16) -> Reported {
    let mut reported = Reported::default();
    for (seq, status) in feedback.statuses() {
        let age = next.wrapping_sub(1).wrapping_sub(seq);
        if age >= 1 << 15 {
            continue;
        }
        match status {
            TransportStatus::Received { .. } => reported.received += 1,
            TransportStatus::Lost => reported.lost += 1,
        }
    }
    reported
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use sfu_proto::{
        rtcp::{Arrival, CompoundWriter, Packet, packets},
        unit::{SeqNo, Ssrc},
    };

    use super::*;

    /// Which feedbacks of one compound are admitted; each from `base` with so many statuses.
    fn admitted(
        gate: &mut FeedbackGate,
        feedbacks: &[(u16, u16)],
        next: u16,
        now: Instant,
    ) -> Vec<bool> {
        let mut out = [0; 1200];
        let mut writer = CompoundWriter::new(&mut out);
        for (base, count) in feedbacks {
            let seqs = [u64::from(*base), u64::from(*base) + u64::from(*count) - 1];
            let arrivals = seqs.map(|seq| Arrival { seq: SeqNo(seq), at_us: 0 });
            writer.transport_feedback(Ssrc(1), Ssrc(2), 0, &arrivals).unwrap();
        }
        gate.begin_compound();
        let admit = |packet| match packet {
            Ok(Packet::TransportFeedback(feedback)) => gate.admit(&feedback, next, now),
            other => panic!("{other:?}"),
        };
        packets(writer.finish()).map(admit).collect()
    }

    #[test]
    fn honest_feedback_is_heeded_and_reordered_packets_may_be_reported_again() {
        let (mut gate, mut now) = (FeedbackGate::default(), Instant::now());
        let mut next = 65_000_u16;
        for n in 0..1_000 {
            let base = next.wrapping_sub(if n % 10 == 9 { 200 } else { 0 });
            next = next.wrapping_add(40);
            let count = next.wrapping_sub(base);
            assert_eq!(admitted(&mut gate, &[(base, count)], next, now), [true], "{n}");
            now += Duration::from_millis(50);
        }
    }

    #[test]
    fn a_flood_of_statuses_is_refused() {
        let (mut gate, now) = (FeedbackGate::default(), Instant::now());
        assert_eq!(admitted(&mut gate, &[(100, 50)], 150, now), [true]);
        let flood = [(0, 8_191); 20];
        assert_eq!(admitted(&mut gate, &flood, 200, now), [false; 20]);
        let small = [(150, 10); 4];
        assert_eq!(admitted(&mut gate, &small, 200, now), [true, true, false, false]);
        let later = |ms| now + Duration::from_millis(ms);
        let heeded = (0..1_000).filter(|ms| {
            let some = admitted(&mut gate, &[(150, 10), (150, 10)], 200, later(*ms));
            assert_eq!(some[0], some[1]);
            some[0]
        });
        assert!((95..=105).contains(&heeded.count()));
    }
}
