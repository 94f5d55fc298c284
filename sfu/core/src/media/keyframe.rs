//! When to ask a source for a key frame (PLI, RFC 4585 section 6.3.1): merged over all who want
//! one, repeated while it seems unanswered, bounded for the publisher's sake (SECURITY.md M5).
//!
//! Payloads are opaque, so an answer is recognised by its shape only: a dependency descriptor
//! with a template structure, or a frame far larger than the others. A wrong guess costs one
//! request more or a wait for the receiver's own; never a wrong packet.

use std::time::{Duration, Instant};

use crate::limits::{KEY_FRAME_INTERVAL_MIN, KEY_FRAME_SHARE, KEY_FRAME_TRIES_MAX};

/// Why a key frame is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A receiver begins to show the source: it must see a picture within a second.
    Begin,
    /// A receiver, or we, lost something.
    Loss,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    tries: u8,
    want: Want,
}

/// Bytes by which joins may overdraw the budget, so that a flood of loss reports cannot keep
/// newcomers waiting.
const JOIN_CREDIT: i64 = 512 * 1024;
/// Bytes of budget at the start and at most, before the bit rate is known: ten large key frames.
const BUDGET_MAX: i64 = 512 * 1024;
/// A frame this many times the average answers a request.
const KEY_FRAME_RATIO: u32 = 3;
/// Weight of a new frame in the average: 1/16.
const AVERAGE_SHIFT: u32 = 4;

/// Key frame requests to one source.
pub struct KeyFrames {
    pending: Option<Pending>,
    sent_at: Option<Instant>,
    budget: i64,
    /// Timestamp and bytes of the frame that is arriving.
    frame: (u32, u32),
    /// Average bytes per frame.
    average: u32,
}

impl Default for KeyFrames {
    fn default() -> Self {
        Self { pending: None, sent_at: None, budget: BUDGET_MAX, frame: (0, 0), average: 0 }
    }
}

impl KeyFrames {
    /// Someone needs a key frame.
    pub fn request(&mut self, want: Want) {
        match &mut self.pending {
            Some(pending) if want == Want::Begin => *pending = Pending { tries: 0, want },
            Some(_) => {}
            None => self.pending = Some(Pending { tries: 0, want }),
        }
    }

    /// Whether to send a request now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        let overdraft = if pending.want == Want::Begin { JOIN_CREDIT } else { 0 };
        if self.budget + overdraft <= 0 {
            // The receiver will ask again; by then the source has earned it.
            self.pending = None;
            return false;
        }
        if self.sent_at.is_some_and(|at| now < at + KEY_FRAME_INTERVAL_MIN) {
            return false;
        }
        if pending.tries == KEY_FRAME_TRIES_MAX {
            self.pending = None;
            return false;
        }
        pending.tries += 1;
        self.sent_at = Some(now);
        // Ten deltas stand for a key frame until its size is seen.
        self.budget -= i64::from(self.average) * 10;
        true
    }

    /// When [`Self::poll`] may have something to do.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.pending?;
        Some(self.sent_at.map_or(now, |at| at + KEY_FRAME_INTERVAL_MIN))
    }

    /// A packet of the source arrived. `structure`: its dependency descriptor carries one.
    pub fn on_packet(&mut self, timestamp: u32, bytes: usize, structure: bool) {
        self.budget = (self.budget + (bytes as u64 / KEY_FRAME_SHARE) as i64).min(BUDGET_MAX);
        if self.frame.0 != timestamp {
            let last = self.frame.1;
            self.average = match self.average {
                0 => last,
                average => average - (average >> AVERAGE_SHIFT) + (last >> AVERAGE_SHIFT),
            };
            self.frame = (timestamp, 0);
        }
        self.frame.1 = self.frame.1.saturating_add(bytes as u32);
        let large = self.average > 0 && self.frame.1 / KEY_FRAME_RATIO > self.average;
        if structure || large {
            self.on_answer();
        }
    }

    /// The source looks like it sent a key frame: no more tries, if it was asked at all.
    fn on_answer(&mut self) {
        if self.pending.is_some_and(|pending| pending.tries > 0) {
            self.pending = None;
        }
    }

    /// Time since the last request.
    pub fn since_sent(&self, now: Instant) -> Option<Duration> {
        self.sent_at.map(|at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(keyframes: &mut KeyFrames, wants: impl Fn(u64) -> Option<Want>, bitrate: u64) -> usize {
        let start = Instant::now();
        let mut sent = 0;
        for ms in 0..10_000 {
            if let Some(want) = wants(ms) {
                keyframes.request(want);
            }
            if ms % 33 == 0 {
                keyframes.on_packet(ms as u32 * 90, (bitrate / 8 / 30) as usize, false);
            }
            sent += usize::from(keyframes.poll(start + Duration::from_millis(ms)));
        }
        sent
    }

    #[test]
    fn the_first_request_goes_at_once() {
        let mut keyframes = KeyFrames::default();
        keyframes.request(Want::Begin);
        assert!(keyframes.poll(Instant::now()));
    }

    #[test]
    fn an_unanswered_request_is_repeated_then_dropped() {
        let once = |ms| (ms == 0).then_some(Want::Begin);
        let sent = sent(&mut KeyFrames::default(), once, 1_000_000);
        assert_eq!(sent, usize::from(KEY_FRAME_TRIES_MAX));
    }

    #[test]
    fn a_large_frame_or_a_structure_answers() {
        for structure in [false, true] {
            let (mut keyframes, now) = (KeyFrames::default(), Instant::now());
            for frame in 1..100 {
                keyframes.on_packet(frame, 4_000, false);
            }
            keyframes.request(Want::Begin);
            assert!(keyframes.poll(now));
            keyframes.on_packet(100, if structure { 1 } else { 40_000 }, structure);
            assert_eq!(keyframes.poll_timeout(now), None);
        }
    }

    #[test]
    fn a_flood_of_requests_is_bounded() {
        let flood = |_| Some(Want::Begin);
        assert!(sent(&mut KeyFrames::default(), flood, 1_000_000) <= 20);
    }
}
