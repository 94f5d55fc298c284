//! When to ask a source for a key frame (PLI, RFC 4585 section 6.3.1): merged over all who want
//! one, repeated while it seems unanswered, bounded for the publisher's sake (SECURITY.md M5).
//!
//! Payloads are opaque, so an answer is recognised by its shape only: a dependency descriptor
//! with a template structure, or a frame far larger than the others. A wrong guess costs one
//! request more or a wait for the receiver's own; never a wrong packet.

use std::time::{Duration, Instant};

use crate::limits::{
    KEY_FRAME_BEGIN_INTERVAL, KEY_FRAME_CHARGE_MAX, KEY_FRAME_INTERVAL_MIN,
    KEY_FRAME_LOSS_INTERVAL, KEY_FRAME_SHARE, KEY_FRAME_TRIES_MAX,
};

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
/// newcomers waiting. Four requests: a debt that a quiet source pays off soon.
const JOIN_CREDIT: i64 = 4 * KEY_FRAME_CHARGE_MAX;
/// Bytes of budget at the start and at most, before the bit rate is known: ten large key frames.
const BUDGET_MAX: i64 = 512 * 1024;
/// A frame this many times the average answers a request.
const KEY_FRAME_RATIO: u32 = 3;
/// Ticks of 90 kHz by which a packet may lag behind the newest frame: 10 s.
const LATE_TICKS_MAX: u32 = 900_000;

/// Bytes per frame, a moving average. A source's first frame is left out: it is a key frame, and
/// with it the average would take minutes to come down to the size of its deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Average {
    /// The first frame has not ended.
    FirstFrame,
    /// The first delta has not ended.
    FirstDelta,
    /// 16 times the average.
    Of(u32),
}

impl Average {
    /// A frame of `bytes` has ended; weight 1/16. Key frames among the deltas count as little as
    /// they may: as the smallest that is recognised as one.
    fn on_frame(&mut self, bytes: u32) {
        *self = match *self {
            Self::FirstFrame => Self::FirstDelta,
            Self::FirstDelta => Self::Of(bytes.saturating_mul(16)),
            Self::Of(sum) => {
                let capped = bytes.min((sum / 16).saturating_mul(KEY_FRAME_RATIO).max(64));
                Self::Of(sum - sum / 16 + capped)
            }
        };
    }

    fn bytes(self) -> Option<u32> {
        match self {
            Self::FirstFrame | Self::FirstDelta => None,
            Self::Of(sum) => Some(sum / 16),
        }
    }
}

/// The frame that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    timestamp: u32,
    bytes: u32,
    /// It began before the last request, so it is no answer to it.
    is_older: bool,
}

/// Key frame requests to one source.
pub struct KeyFrames {
    pending: Option<Pending>,
    sent_at: Option<Instant>,
    budget: i64,
    frame: Option<Frame>,
    average: Average,
}

impl Default for KeyFrames {
    fn default() -> Self {
        Self {
            pending: None,
            sent_at: None,
            budget: BUDGET_MAX,
            frame: None,
            average: Average::FirstFrame,
        }
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

    /// Nobody needs one any more.
    pub fn withdraw(&mut self) {
        self.pending = None;
    }

    /// Whether to send a request now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let Some(pending) = self.pending else { return false };
        if self.sent_at.is_some_and(|at| now < at + self.interval(pending.want)) {
            return false;
        }
        if pending.tries == KEY_FRAME_TRIES_MAX {
            self.pending = None;
            return false;
        }
        self.pending = Some(Pending { tries: pending.tries + 1, ..pending });
        self.sent_at = Some(now);
        if let Some(frame) = &mut self.frame {
            frame.is_older = true;
        }
        self.charge();
        true
    }

    /// Least time after the last request. Over budget everybody waits, but nobody is refused.
    fn interval(&self, want: Want) -> Duration {
        match want {
            Want::Begin if self.budget + JOIN_CREDIT <= 0 => KEY_FRAME_BEGIN_INTERVAL,
            Want::Loss if self.budget <= 0 => KEY_FRAME_LOSS_INTERVAL,
            Want::Begin | Want::Loss => KEY_FRAME_INTERVAL_MIN,
        }
    }

    /// Ten deltas stand for a key frame: its true size is known too late. Bounded, so that neither
    /// a wrong average nor a request beyond the budget is paid off for minutes.
    fn charge(&mut self) {
        let cost = i64::from(self.average.bytes().unwrap_or(0)) * 10;
        self.budget = (self.budget - cost.min(KEY_FRAME_CHARGE_MAX)).max(-JOIN_CREDIT);
    }

    /// When [`Self::poll`] may have something to do.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let pending = self.pending?;
        Some(self.sent_at.map_or(now, |at| at + self.interval(pending.want)))
    }

    /// A packet of the source arrived. `structure`: its dependency descriptor carries one.
    pub fn on_packet(&mut self, timestamp: u32, bytes: usize, structure: bool) {
        self.budget = (self.budget + (bytes as u64 / KEY_FRAME_SHARE) as i64).min(BUDGET_MAX);
        let bytes = bytes as u32;
        match &mut self.frame {
            Some(frame) if frame.timestamp == timestamp => {
                frame.bytes = frame.bytes.saturating_add(bytes);
            }
            // A late packet does not end the frame that is arriving.
            Some(frame) if frame.timestamp.wrapping_sub(timestamp) < LATE_TICKS_MAX => return,
            frame => {
                if let Some(ended) = frame {
                    self.average.on_frame(ended.bytes);
                }
                *frame = Some(Frame { timestamp, bytes, is_older: false });
            }
        }
        if structure || self.is_large() {
            self.on_answer();
        }
    }

    /// Whether the frame that is arriving is so far larger than the others that it answers.
    fn is_large(&self) -> bool {
        let (Some(frame), Some(average)) = (self.frame, self.average.bytes()) else { return false };
        !frame.is_older && frame.bytes / KEY_FRAME_RATIO > average
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

    /// One source of 15 small frames a second that answers each request after 50 ms with a key
    /// frame of 200 kB, as a shared screen does. Returns how long each joiner waited for one.
    fn waits(joins: impl Fn(u64) -> bool, losses: bool) -> Vec<u64> {
        let (mut keyframes, start) = (KeyFrames::default(), Instant::now());
        let (mut key_at, mut waiting, mut waits) = (Some(0), Vec::new(), Vec::new());
        for ms in 0..60_000 {
            if joins(ms) {
                keyframes.request(Want::Begin);
                waiting.push(ms);
            } else if losses {
                keyframes.request(Want::Loss);
            }
            if key_at.is_some_and(|at| at <= ms) {
                key_at = None;
                waits.extend(waiting.drain(..).map(|from| ms - from));
                (0..180).for_each(|_| keyframes.on_packet(ms as u32 * 90, 1_111, false));
            } else if ms % 66 == 0 {
                keyframes.on_packet(ms as u32 * 90, 1_000, false);
            }
            if keyframes.poll(start + Duration::from_millis(ms)) {
                key_at.get_or_insert(ms + 50);
            }
        }
        // Those who joined in the last second may still wait.
        waits.extend(waiting.into_iter().filter(|from| *from < 59_000).map(|from| 60_000 - from));
        waits
    }

    #[test]
    fn every_joiner_of_a_source_with_large_key_frames_gets_one_within_a_second() {
        for losses in [false, true] {
            let waits = waits(|ms| ms % 1_000 == 700, losses);
            assert!(waits.len() >= 59 && waits.iter().all(|ms| *ms < 1_000), "{waits:?}");
        }
        let crowd = waits(|ms| ms % 130 == 0, true);
        assert!(crowd.iter().all(|ms| *ms < 1_000), "{:?}", crowd.iter().max());
    }

    #[test]
    fn over_budget_a_beginner_waits_but_is_served() {
        let (mut keyframes, start) = (KeyFrames::default(), Instant::now());
        for frame in 0..100 {
            keyframes.on_packet(frame, 8_000, false);
        }
        let asked = |keyframes: &mut KeyFrames, from: u64, to: u64| {
            let wish = |ms| {
                keyframes.request(Want::Begin);
                keyframes.poll(start + Duration::from_millis(ms))
            };
            (from..to).map(wish).filter(|sent| *sent).count()
        };
        // The account pays for about 16 in a row.
        let beginning = asked(&mut keyframes, 0, 20_000);
        let drained = asked(&mut keyframes, 20_000, 40_000);
        assert!(beginning > drained, "{beginning} {drained}");
        assert!((20..=26).contains(&drained), "{drained} in 20 s");
    }

    #[test]
    fn over_budget_losses_are_served_seldom() {
        let (mut keyframes, start) = (KeyFrames::default(), Instant::now());
        (0..100).for_each(|frame| keyframes.on_packet(frame, 8_000, false));
        let asked = |keyframes: &mut KeyFrames, want, from: u64, to: u64| {
            let wish = |ms| {
                keyframes.request(want);
                keyframes.poll(start + Duration::from_millis(ms))
            };
            (from..to).map(wish).filter(|sent| *sent).count()
        };
        asked(&mut keyframes, Want::Begin, 0, 20_000);
        keyframes.pending = None;
        // Each is answered by nothing, so a wish is dropped after its tries and made again.
        let served = asked(&mut keyframes, Want::Loss, 20_000, 50_000);
        assert!((7..=10).contains(&served), "{served} in 30 s");
    }

    #[test]
    fn a_frame_that_was_on_its_way_answers_nothing() {
        let (mut keyframes, now) = (KeyFrames::default(), Instant::now());
        (1..100).for_each(|frame| keyframes.on_packet(frame, 4_000, false));
        keyframes.on_packet(100, 20_000, false);
        keyframes.request(Want::Begin);
        assert!(keyframes.poll(now));
        keyframes.on_packet(100, 20_000, false);
        assert!(keyframes.poll_timeout(now).is_some());
        keyframes.on_packet(101, 40_000, false);
        assert_eq!(keyframes.poll_timeout(now), None);
    }
}
