//! Reception statistics of one incoming stream, for receiver reports (RFC 3550 sections 6.4.1,
//! A.3 and A.8).

use std::time::{Duration, Instant};

use sfu_proto::unit::{RtpTimestamp, SeqNo};

/// What a publisher's last sender report said.
#[derive(Debug, Clone, Copy)]
pub struct SenderInfo {
    /// The publisher's wall clock, 64-bit NTP format.
    pub ntp: u64,
    /// The same moment on our wall clock.
    pub wall: u64,
    /// The same moment on the stream's media clock.
    pub rtp: RtpTimestamp,
    /// When the report arrived.
    pub at: Instant,
}

/// By how much a publisher's clock may be off its first report before it counts as set anew: far
/// more than the jitter of its reports. A clock that drifts by 20 ppm takes a day to get there; then
/// all tracks of the publisher take the step together.
const CLOCK_STEP_MIN: u64 = 2 << 32;

/// A moment of a publisher's wall clock on ours, both in NTP format, wrapping. `offset` is between
/// the two, measured once from the first report and shared by all tracks of the publisher, so
/// that they keep in step with each other; `arrived` is our clock now.
///
/// Receivers see one clock behind all sources of a slot: libwebrtc refuses the first reports that
/// do not continue the clock of those before.
pub fn on_our_clock(ntp: u64, arrived: u64, offset: &mut Option<u64>) -> u64 {
    let measured = arrived.wrapping_sub(ntp);
    let is_off = |known: u64| known.wrapping_sub(measured).cast_signed().unsigned_abs();
    let offset = match *offset {
        Some(known) if is_off(known) < CLOCK_STEP_MIN => known,
        _ => *offset.insert(measured),
    };
    ntp.wrapping_add(offset)
}

/// The numbers of one report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Share lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative with duplicates, 24 bits.
    pub lost: i32,
    /// Highest sequence number with its cycles, low 32 bits.
    pub highest: u32,
    /// Interarrival jitter, in ticks.
    pub jitter: u32,
}

/// Counts packets of one stream.
#[derive(Default)]
pub struct Reception {
    first: Option<SeqNo>,
    highest: SeqNo,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Jitter in 1/16 ticks (A.8).
    jitter: u32,
    /// Arrival and timestamp of the newest packet.
    newest: Option<(Instant, RtpTimestamp)>,
}

impl Reception {
    /// The highest number so far.
    pub fn highest(&self) -> Option<SeqNo> {
        self.first.map(|_| self.highest)
    }

    /// When a new packet last arrived.
    pub fn active_at(&self) -> Option<Instant> {
        self.newest.map(|(at, _)| at)
    }

    /// Timestamp of the packet that last arrived.
    pub fn timestamp(&self) -> Option<RtpTimestamp> {
        self.newest.map(|(_, timestamp)| timestamp)
    }

    /// Counts an authenticated, new packet. Retransmissions are no arrivals in this sense: they
    /// would hide the loss that the sender has to learn of.
    pub fn on_packet(&mut self, seq: SeqNo, timestamp: RtpTimestamp, clock: u32, now: Instant) {
        self.received += 1;
        match self.first {
            None => (self.first, self.highest) = (Some(seq), seq),
            Some(first) if seq < first => self.first = Some(seq),
            Some(_) => self.highest = self.highest.max(seq),
        }
        if let Some((at, before)) = self.newest
            && before != timestamp
        {
            let elapsed = super::rewrite::ticks(now.saturating_duration_since(at), clock);
            let sent = timestamp.0.wrapping_sub(before.0);
            // A publisher's timestamp jump is not jitter; a second of difference is capped.
            let d = elapsed.wrapping_sub(sent).cast_signed().unsigned_abs().min(clock);
            self.jitter = (self.jitter + d).saturating_sub((self.jitter + 8) >> 4);
        }
        self.newest = Some((now, timestamp));
    }

    /// The next report block's numbers; begins a new interval. `None` before the first packet.
    pub fn report(&mut self) -> Option<Report> {
        let first = self.first?;
        let expected = self.highest.0 - first.0 + 1;
        let expected_now = expected - self.expected_before.min(expected);
        let received_now = self.received - self.received_before;
        let lost_now = expected_now.saturating_sub(received_now);
        self.expected_before = expected;
        self.received_before = self.received;
        Some(Report {
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            lost: (expected as i64 - self.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: self.highest.0 as u32,
            jitter: self.jitter >> 4,
        })
    }
}

/// Middle 32 bits of an NTP timestamp: `LSR` of a report block (RFC 3550 section 6.4.1).
pub const fn compact_ntp(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A delay in units of 2^-16 s: `DLSR`.
pub fn compact_delay(delay: Duration) -> u32 {
    (delay.as_micros() * 65_536 / 1_000_000).min(u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn loss_is_reported_per_interval_and_in_total() {
        let (mut reception, now) = (Reception::default(), Instant::now());
        for seq in (0..100).filter(|seq| seq % 4 != 3) {
            reception.on_packet(SeqNo(seq), RtpTimestamp(seq as u32 * 3000), 90_000, now);
        }
        let report = reception.report().unwrap();
        // 0..=98 were expected, 75 came.
        assert_eq!((report.lost, report.highest, report.fraction_lost), (24, 98, 62));
        reception.on_packet(SeqNo(99), RtpTimestamp(0), 90_000, now);
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn clocks_are_mapped_by_one_offset_until_they_are_set_anew() {
        const SECOND: u64 = 1 << 32;
        let mut offset = None;
        let mut map = |ntp, arrived| on_our_clock(ntp, arrived, &mut offset);
        assert_eq!(map(5 * SECOND, 1_000 * SECOND), 1_000 * SECOND);
        // Another track's report, half a second late.
        assert_eq!(map(6 * SECOND, 1_001 * SECOND + SECOND / 2), 1_001 * SECOND);
        // The clock was set.
        assert_eq!(map(8_000 * SECOND, 1_002 * SECOND), 1_002 * SECOND);
        assert_eq!(map(8_001 * SECOND, 1_004 * SECOND), 1_003 * SECOND);
    }

    #[test]
    fn steady_arrival_has_no_jitter_and_uneven_has() {
        let start = Instant::now();
        let run = |uneven: u64| {
            let mut reception = Reception::default();
            for n in 0..200 {
                let at = start + Duration::from_millis(20 * n + uneven * (n % 2));
                reception.on_packet(SeqNo(n), RtpTimestamp(n as u32 * 960), 48_000, at);
            }
            reception.report().unwrap().jitter
        };
        assert!(run(0) <= 1);
        // 5 ms up and down: 240 ticks each step.
        assert!((200..=240).contains(&run(5)));
    }
}
