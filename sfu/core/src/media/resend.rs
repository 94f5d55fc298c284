//! What bounds retransmissions to one subscriber (SECURITY.md M6): a byte budget that grows with
//! the media sent, and a count and spacing per packet.

use std::time::{Duration, Instant};

use sfu_proto::unit::SeqNo;

use crate::limits::{
    RESEND_BUDGET_MAX, RESEND_FLOOR_PER_SECOND, RESEND_SHARE, RESENDS_MAX, REWRITE_WINDOW,
};

/// Byte budget of one subscriber, over all its slots.
pub struct Budget {
    bytes: u64,
    at: Instant,
}

impl Budget {
    /// A full budget.
    pub fn new(now: Instant) -> Self {
        Self { bytes: RESEND_BUDGET_MAX, at: now }
    }

    /// Media of `bytes` went out: a share of it may be repeated.
    pub fn on_media(&mut self, bytes: usize) {
        self.bytes = (self.bytes + bytes as u64 / RESEND_SHARE).min(RESEND_BUDGET_MAX);
    }

    /// Takes `bytes` if they are there.
    pub fn spend(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        let grown = (elapsed.as_millis() as u64).saturating_mul(RESEND_FLOOR_PER_SECOND) / 1000;
        if grown > 0 {
            self.bytes = self.bytes.saturating_add(grown).min(RESEND_BUDGET_MAX);
            self.at = now;
        }
        let Some(rest) = self.bytes.checked_sub(bytes as u64) else { return false };
        self.bytes = rest;
        true
    }
}

#[derive(Clone, Copy, Default)]
struct Resent {
    /// Low bits of the number: the window is far smaller.
    seq: u32,
    /// Milliseconds since [`Resends::start`].
    at_ms: u32,
    /// 0: the place was never used.
    times: u8,
}

/// How often the recent packets of one slot were repeated. Made with the first request.
pub struct Resends {
    start: Instant,
    recent: Box<[Resent; REWRITE_WINDOW]>,
}

impl Resends {
    /// Nothing repeated yet.
    pub fn new(now: Instant) -> Self {
        Self { start: now, recent: Box::new([Resent::default(); REWRITE_WINDOW]) }
    }

    /// Whether `seq` may be repeated now, if `pay` agrees, and notes that it is. What was not paid
    /// for was not repeated, so it does not count.
    pub fn allow(
        &mut self,
        seq: SeqNo,
        rtt: Duration,
        now: Instant,
        pay: impl FnOnce() -> bool,
    ) -> bool {
        let at_ms = now.saturating_duration_since(self.start).as_millis() as u32;
        let place = &mut self.recent[seq.0 as usize % REWRITE_WINDOW];
        let seq = seq.0 as u32;
        let mut times = 1;
        if place.times > 0 && place.seq == seq {
            // A request that crossed the repetition on its way.
            let recently = u128::from(at_ms.wrapping_sub(place.at_ms)) < rtt.as_millis();
            if recently || place.times >= RESENDS_MAX {
                return false;
            }
            times += place.times;
        }
        if !pay() {
            return false;
        }
        *place = Resent { seq, at_ms, times };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_repeated_a_few_times_and_not_within_a_round_trip() {
        let (mut resends, start) = (Resends::new(Instant::now()), Instant::now());
        let rtt = Duration::from_millis(50);
        let allowed = (0..1000)
            .filter(|ms| resends.allow(SeqNo(7), rtt, start + Duration::from_millis(*ms), || true))
            .count();
        assert_eq!(allowed, usize::from(RESENDS_MAX));
    }

    #[test]
    fn what_the_budget_refuses_does_not_count_as_repeated() {
        let (mut resends, now) = (Resends::new(Instant::now()), Instant::now());
        let rtt = Duration::from_millis(50);
        for _ in 0..10 {
            assert!(!resends.allow(SeqNo(7), rtt, now, || false));
        }
        assert!(resends.allow(SeqNo(7), rtt, now, || true));
        let is_asked = || panic!("too soon anyway, so nothing is spent");
        assert!(!resends.allow(SeqNo(7), rtt, now, is_asked));
    }

    #[test]
    fn repetitions_are_a_share_of_the_media() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let (mut media, mut repeated) = (0u64, 0u64);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            budget.on_media(1200);
            media += 1200;
            while budget.spend(1200, now) {
                repeated += 1200;
            }
        }
        let floor = 10 * RESEND_FLOOR_PER_SECOND + RESEND_BUDGET_MAX;
        assert!(repeated <= media / RESEND_SHARE + floor, "{repeated} of {media}");
        assert!(repeated >= media / RESEND_SHARE);
    }
}
