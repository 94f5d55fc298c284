//! Sequence numbers, timestamps and frame numbers of one outgoing stream, continuous over changes of
//! its source.
//!
//! ```text
//! source A:  … 70 71 72            source B:  9 10 (11 not forwarded) 12
//! outgoing:  … 40 41 42                      44 45                     46
//!                        └ 43 is left out when B is video: without that gap a decoder
//!                          would take B's pictures for continuations of A's
//! ```
//! A number that was given out is never given out again: it is also the cipher's nonce.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sfu_proto::unit::{RtpTimestamp, SeqNo};

use crate::{
    limits::{REORDER_AT_START_MAX, REWRITE_RANGES_MAX, REWRITE_WINDOW},
    media::frame::FrameNumbers,
};

/// Source numbers from `from` on are shifted by `offset`, up to the next range.
#[derive(Clone, Copy)]
struct Range {
    from: u64,
    offset: i64,
}

/// Last packet given out: anchor for the next source's timestamps.
#[derive(Clone, Copy)]
struct Last {
    timestamp: RtpTimestamp,
    at: Instant,
}

/// Maps a source's packets to an outgoing stream.
pub struct Rewriter {
    ranges: ArrayVec<Range, REWRITE_RANGES_MAX>,
    /// Highest source number mapped or skipped since [`Self::begin`].
    source_highest: u64,
    /// Highest number given out; before the first packet, the one before the first.
    highest: u64,
    /// Bit `n % REWRITE_WINDOW` says whether `n` was given out, for the newest numbers.
    given: [u64; REWRITE_WINDOW / 64],
    timestamp_offset: u32,
    last: Option<Last>,
    /// Frame numbers, for streams with dependency descriptors.
    pub frames: FrameNumbers,
}

impl Rewriter {
    /// A stream whose first packet will have the number `first` (random, RFC 3550 section 5.1).
    pub fn new(first: u16, timestamp_offset: u32) -> Self {
        // Below 2^14, so that the rollover count of the first packets is beyond doubt for a
        // receiver that misses them; above the headroom for reordering.
        let first = u64::from(first & 0x3fff) + 2 * REORDER_AT_START_MAX;
        Self {
            ranges: ArrayVec::new(),
            source_highest: 0,
            highest: first - 1,
            given: [0; REWRITE_WINDOW / 64],
            timestamp_offset,
            last: None,
            frames: FrameNumbers::default(),
        }
    }

    /// Highest number given out so far, and whether there is one.
    pub fn highest(&self) -> Option<SeqNo> {
        self.last.map(|_| SeqNo(self.highest))
    }

    /// Starts a new source with packet `seq`, leaving out `gap` numbers if there was one before.
    pub fn begin(
        &mut self,
        seq: SeqNo,
        timestamp: RtpTimestamp,
        gap: u64,
        clock_rate: u32,
        now: Instant,
    ) {
        let (headroom, gap) = match self.last {
            // The stream's very first packets may arrive out of order, too.
            None => (REORDER_AT_START_MAX, 0),
            Some(_) => (0, gap),
        };
        let offset = (self.highest + 1 + gap) as i64 - seq.0 as i64;
        self.ranges.clear();
        self.ranges.push(Range { from: seq.0.saturating_sub(headroom), offset });
        self.source_highest = seq.0;
        self.frames.begin();
        if let Some(last) = self.last {
            let ticks = ticks(now.saturating_duration_since(last.at), clock_rate).max(1);
            self.timestamp_offset = last.timestamp.0.wrapping_add(ticks).wrapping_sub(timestamp.0);
        }
    }

    /// The outgoing number of source packet `seq`, given out once. `None`: too old, from before
    /// the source began, or given out already.
    pub fn take(&mut self, seq: SeqNo, timestamp: RtpTimestamp, now: Instant) -> Option<SeqNo> {
        let range = self.ranges.iter().rev().find(|range| range.from <= seq.0)?;
        let out = seq.0.checked_add_signed(range.offset)?;
        if out > self.highest {
            self.advance(out);
            self.last = Some(Last { timestamp: self.timestamp(timestamp), at: now });
        } else if self.highest - out >= REWRITE_WINDOW as u64 || self.is_given(out) {
            return None;
        } else if self.last.is_none() {
            self.last = Some(Last { timestamp: self.timestamp(timestamp), at: now });
        }
        self.given[word(out)] |= bit(out);
        self.source_highest = self.source_highest.max(seq.0);
        Some(SeqNo(out))
    }

    /// Source packet `seq` will never be forwarded: the numbers after it close up, unless later
    /// ones went out already.
    pub fn skip(&mut self, seq: SeqNo) {
        if seq.0 < self.source_highest || self.ranges.is_empty() {
            return;
        }
        self.source_highest = seq.0;
        let Some(last) = self.ranges.last().copied() else { return };
        let next = Range { from: seq.0 + 1, offset: last.offset - 1 };
        if last.from == seq.0 {
            self.ranges.pop();
        } else if self.ranges.is_full() {
            self.ranges.remove(0);
        }
        self.ranges.push(next);
    }

    /// The source packet that went out as `out`, if that was recent and of the present source.
    pub fn source_of(&self, out: SeqNo) -> Option<SeqNo> {
        if out.0 > self.highest
            || self.highest - out.0 >= REWRITE_WINDOW as u64
            || !self.is_given(out.0)
        {
            return None;
        }
        let mut below = u64::MAX;
        for range in self.ranges.iter().rev() {
            let seq = out.0.checked_add_signed(-range.offset)?;
            if (range.from..below).contains(&seq) {
                return Some(SeqNo(seq));
            }
            below = range.from;
        }
        None
    }

    /// A timestamp of the source in the outgoing stream.
    pub fn timestamp(&self, timestamp: RtpTimestamp) -> RtpTimestamp {
        RtpTimestamp(timestamp.0.wrapping_add(self.timestamp_offset))
    }

    /// The full number of a recent packet, from its 16 bits.
    pub fn unwrap(&self, wire: u16) -> Option<SeqNo> {
        let distance = (self.highest as u16).wrapping_sub(wire);
        self.highest.checked_sub(u64::from(distance)).map(SeqNo)
    }

    fn is_given(&self, out: u64) -> bool {
        self.given[word(out)] & bit(out) != 0
    }

    fn advance(&mut self, out: u64) {
        if out - self.highest >= REWRITE_WINDOW as u64 {
            self.given.fill(0);
        } else {
            for n in self.highest + 1..=out {
                self.given[word(n)] &= !bit(n);
            }
        }
        self.highest = out;
    }
}

const fn word(n: u64) -> usize {
    (n as usize % REWRITE_WINDOW) / 64
}

const fn bit(n: u64) -> u64 {
    1 << (n % 64)
}

/// A duration in ticks of a media clock, wrapping as timestamps do.
pub fn ticks(duration: Duration, clock_rate: u32) -> u32 {
    (duration.as_micros() * u128::from(clock_rate) / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const TS: RtpTimestamp = RtpTimestamp(0);

    fn started(at: u64) -> (Rewriter, u64, Instant) {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(1000, 0);
        rewriter.begin(SeqNo(at), TS, 1, 90_000, now);
        let first = rewriter.take(SeqNo(at), TS, now).unwrap();
        (rewriter, first.0, now)
    }

    #[test]
    fn a_number_is_given_out_once() {
        let (mut rewriter, first, now) = started(500);
        assert_eq!(rewriter.take(SeqNo(500), TS, now), None);
        assert_eq!(rewriter.take(SeqNo(502), TS, now), Some(SeqNo(first + 2)));
        assert_eq!(rewriter.take(SeqNo(501), TS, now), Some(SeqNo(first + 1)));
        assert_eq!(rewriter.take(SeqNo(501), TS, now), None);
    }

    #[test]
    fn a_late_first_packet_still_goes_out() {
        let (mut rewriter, first, now) = started(500);
        assert_eq!(rewriter.take(SeqNo(499), TS, now), Some(SeqNo(first - 1)));
    }

    #[test]
    fn a_new_source_continues_after_the_gap_and_in_time() {
        let (mut rewriter, first, now) = started(500);
        let later = now + Duration::from_millis(100);
        rewriter.begin(SeqNo(9), RtpTimestamp(77), 1, 90_000, later);
        assert_eq!(rewriter.take(SeqNo(9), RtpTimestamp(77), later), Some(SeqNo(first + 2)));
        assert_eq!(rewriter.timestamp(RtpTimestamp(77)), RtpTimestamp(9_000));
        assert_eq!(rewriter.take(SeqNo(8), TS, later), None, "from before the switch");
        assert_eq!(rewriter.source_of(SeqNo(first)), None, "of the source before");
        assert_eq!(rewriter.source_of(SeqNo(first + 2)), Some(SeqNo(9)));
    }

    proptest! {
        #[test]
        fn skipped_packets_leave_no_gap(skipped in prop::collection::hash_set(1u64..300, 0..100)) {
            let (mut rewriter, first, now) = started(70_000);
            let mut expected = first;
            for n in 1..300 {
                if skipped.contains(&n) {
                    rewriter.skip(SeqNo(70_000 + n));
                } else {
                    expected += 1;
                    let out = rewriter.take(SeqNo(70_000 + n), TS, now).unwrap();
                    prop_assert_eq!(out, SeqNo(expected));
                    prop_assert_eq!(rewriter.source_of(out), Some(SeqNo(70_000 + n)));
                    prop_assert_eq!(rewriter.unwrap(out.wire().0), Some(out));
                }
            }
        }

        #[test]
        fn no_order_of_events_reuses_a_number(events in prop::collection::vec((0u64..400, 0u8..10), 1..500)) {
            let (mut rewriter, first, now) = started(1000);
            let mut given = HashSet::from([first]);
            for (n, what) in events {
                match what {
                    0 => rewriter.skip(SeqNo(1000 + n)),
                    1 if n % 7 == 0 => rewriter.begin(SeqNo(1000 + n), TS, 1, 90_000, now),
                    _ => {
                        if let Some(out) = rewriter.take(SeqNo(1000 + n), TS, now) {
                            prop_assert!(given.insert(out.0), "{out:?} twice");
                        }
                    }
                }
            }
        }
    }
}
