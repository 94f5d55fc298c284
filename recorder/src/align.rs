//! Puts every packet of a recording on one timeline: the node's clock.
//!
//! ```text
//! RTP timestamp ──sender reports, per epoch──▶ publisher's clock ──least delay──▶ node's clock
//!       └────────────── no report: least of (arrival − timestamp) ──────────────────▶
//! ```
//! Tracks of one participant share the second step, so between them sender reports alone decide
//! (RFC 3550 section 6.4.1): a network that delays audio by 400 ms does not move it in the recording.
//! Between participants the least delay seen stands for the network's own, as nothing better is known.
//! What does not live here: files, frames, and the order of packets.

mod clock;
mod line;
mod points;

pub(crate) use clock::{Aligner, Clocks};
use sfu_proto::unit::RtpTimestamp;

/// Where something is in time, as a packet tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Counts the epochs of a track index.
    pub(crate) epoch: u32,
    /// RTP timestamp, extended, ticks.
    pub(crate) ticks: i64,
    /// When the node had it, µs since 1970.
    pub(crate) arrival_us: i64,
}

/// Extends the wrapping timestamps of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Unwrap {
    hz: u32,
    last: Option<(i64, i64)>,
}

impl Unwrap {
    pub(crate) const fn new(hz: u32) -> Self {
        Self { hz, last: None }
    }

    /// The extended timestamp nearest to where the clock should be at `arrival_us`. So silence of any
    /// length is bridged, though the timestamp wraps after 13 hours (90 kHz).
    pub(crate) fn extend(&mut self, timestamp: RtpTimestamp, arrival_us: i64) -> i64 {
        let ticks = self.peek(timestamp, arrival_us);
        self.last = Some((ticks, arrival_us));
        ticks
    }

    /// As [`Self::extend`], for a timestamp that is no packet's.
    pub(crate) fn peek(&self, timestamp: RtpTimestamp, arrival_us: i64) -> i64 {
        let Some((ticks, at_us)) = self.last else { return i64::from(timestamp.0) };
        let since = arrival_us.saturating_sub(at_us).saturating_mul(i64::from(self.hz)) / 1_000_000;
        let expected = ticks.saturating_add(since);
        expected.saturating_add(i64::from(timestamp.0.wrapping_sub(expected as u32) as i32))
    }
}

/// Ticks as microseconds.
pub(crate) const fn micros(ticks: i64, hz: u32) -> i64 {
    let micros = ticks as i128 * 1_000_000 / hz as i128;
    if micros > i64::MAX as i128 {
        i64::MAX
    } else if micros < i64::MIN as i128 {
        i64::MIN
    } else {
        micros as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_extended_over_wraps_and_silence() {
        let mut unwrap = Unwrap::new(90_000);
        let first = unwrap.extend(RtpTimestamp(u32::MAX - 10), 0);
        assert_eq!(unwrap.extend(RtpTimestamp(20), 1_000), first + 31);
        assert_eq!(unwrap.extend(RtpTimestamp(u32::MAX - 5), 2_000), first + 5, "a late one");
        // 30 hours later: the clock has wrapped twice.
        let hours = 30 * 3600 * 90_000i64;
        let wire = (first + hours) as u32;
        assert_eq!(unwrap.extend(RtpTimestamp(wire), 30 * 3600 * 1_000_000), first + hours);
    }
}
