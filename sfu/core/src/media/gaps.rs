//! Packets that a publisher sent and we did not get: what to ask for again, and when
//! (RFC 4585 generic NACK).

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sfu_proto::unit::SeqNo;

use crate::limits::{GAPS_MAX, NACK_AFTER, NACK_AGE_MAX, NACK_RETRY_MIN, NACK_TRIES_MAX};

#[derive(Clone, Copy)]
struct Missing {
    seq: SeqNo,
    since: Instant,
    tries: u8,
    asked: Instant,
    next: Instant,
}

/// The missing packets of one stream, in order.
#[derive(Default)]
pub struct Gaps {
    missing: ArrayVec<Missing, GAPS_MAX>,
    /// Too much was missing to ask for.
    overflow: bool,
}

/// What came of a look at the gaps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Numbers to ask for now, ascending.
    pub seqs: ArrayVec<SeqNo, GAPS_MAX>,
    /// Whether a packet was given up: the stream needs a new start.
    pub given_up: bool,
}

impl Gaps {
    /// Numbers in `from..to` were jumped over.
    pub fn on_jump(&mut self, from: SeqNo, to: SeqNo, now: Instant) {
        if to.0.saturating_sub(from.0) as usize > self.missing.remaining_capacity() {
            self.missing.clear();
            self.overflow = true;
            return;
        }
        for seq in from.0..to.0 {
            self.missing.push(Missing {
                seq: SeqNo(seq),
                since: now,
                tries: 0,
                asked: now,
                next: now + NACK_AFTER,
            });
        }
    }

    /// `seq` arrived after all. Returns the round trip if it was asked for exactly once.
    pub fn on_arrival(&mut self, seq: SeqNo, now: Instant) -> Option<Duration> {
        let at = self.missing.binary_search_by_key(&seq, |missing| missing.seq).ok()?;
        let found = self.missing.remove(at);
        (found.tries == 1).then(|| now.saturating_duration_since(found.asked))
    }

    /// What to ask for now, given the present estimate of the round trip.
    pub fn poll(&mut self, rtt: Duration, now: Instant) -> Asked {
        let mut asked = Asked { given_up: std::mem::take(&mut self.overflow), ..Asked::default() };
        for missing in self.missing.iter_mut().filter(|missing| missing.next <= now) {
            missing.tries += 1;
            missing.asked = now;
            missing.next = now + retry(rtt);
            if missing.tries <= NACK_TRIES_MAX {
                asked.seqs.push(missing.seq);
            }
        }
        let before = self.missing.len();
        self.missing.retain(|m| {
            m.tries <= NACK_TRIES_MAX && now.saturating_duration_since(m.since) < NACK_AGE_MAX
        });
        asked.given_up |= self.missing.len() < before;
        asked
    }

    /// When [`Self::poll`] has something to do.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.overflow {
            return Some(now);
        }
        self.missing.iter().map(|missing| missing.next).min()
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && !self.overflow
    }
}

/// A retransmission needs a round trip; a little more avoids asking twice for one on its way.
fn retry(rtt: Duration) -> Duration {
    (rtt + rtt / 4).max(NACK_RETRY_MIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn reordered_packets_are_not_asked_for() {
        let (mut gaps, now) = (Gaps::default(), Instant::now());
        gaps.on_jump(SeqNo(5), SeqNo(7), now);
        assert_eq!(gaps.poll(RTT, now), Asked::default());
        assert_eq!(gaps.on_arrival(SeqNo(5), now), None);
        gaps.on_arrival(SeqNo(6), now);
        assert!(gaps.is_empty());
    }

    #[test]
    fn asks_again_after_a_round_trip_then_gives_up() {
        let (mut gaps, mut now) = (Gaps::default(), Instant::now());
        gaps.on_jump(SeqNo(5), SeqNo(6), now);
        let mut times = 0;
        while let Some(at) = gaps.poll_timeout(now) {
            assert!(times == 0 || at - now >= RTT);
            now = at;
            let asked = gaps.poll(RTT, now);
            times += asked.seqs.len();
            assert_eq!(asked.given_up, gaps.is_empty());
        }
        assert!((2..=usize::from(NACK_TRIES_MAX)).contains(&times));
    }

    #[test]
    fn the_round_trip_is_measured_from_the_single_request() {
        let (mut gaps, start) = (Gaps::default(), Instant::now());
        gaps.on_jump(SeqNo(5), SeqNo(6), start);
        let asked_at = gaps.poll_timeout(start).unwrap();
        gaps.poll(RTT, asked_at);
        let arrival = asked_at + Duration::from_millis(37);
        assert_eq!(gaps.on_arrival(SeqNo(5), arrival), Some(Duration::from_millis(37)));
    }

    #[test]
    fn a_huge_jump_gives_up_at_once() {
        let (mut gaps, now) = (Gaps::default(), Instant::now());
        gaps.on_jump(SeqNo(0), SeqNo(100_000), now);
        assert_eq!(gaps.poll(RTT, now), Asked { given_up: true, ..Asked::default() });
        assert!(gaps.is_empty());
    }
}
