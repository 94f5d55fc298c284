//! Loudness of one audio track from the levels that its packets declare (RFC 6464). A declared
//! level is a hint: history weighs it, so that one loud packet does not make a speaker.

use std::time::{Duration, Instant};

/// Time in which the score rises to 63 % of a steady level.
const ATTACK: Duration = Duration::from_millis(300);
/// Time in which it falls to 37 %.
const RELEASE: Duration = Duration::from_millis(700);
/// A packet stands for the time since the one before, but not for longer: DTX sends few.
const PACKET_MAX: Duration = Duration::from_millis(60);
/// Declared levels quieter than this many −dBov count as silence.
const SILENCE: u8 = 70;
/// Scores from here on count as speech: a steady level of −50 dBov, or −30 for a third of a second.
pub const SPEECH: f32 = 20.0;

/// Smoothed loudness.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    score: f32,
    at: Option<Instant>,
}

impl Level {
    /// A packet declared `minus_dbov` (0 is loudest, 127 silence).
    pub fn on_packet(&mut self, minus_dbov: u8, now: Instant) {
        let since = self.at.map_or(PACKET_MAX, |at| now.saturating_duration_since(at));
        let before = self.score(now);
        let heard = f32::from(SILENCE.saturating_sub(minus_dbov));
        let time = if heard > before { ATTACK } else { RELEASE };
        let weight = since.min(PACKET_MAX).as_secs_f32() / time.as_secs_f32();
        self.score = before + (heard - before) * weight;
        self.at = Some(now);
    }

    /// The score now: 0 for silence to 70 for a long full-scale tone. Without packets it falls.
    pub fn score(&self, now: Instant) -> f32 {
        let Some(at) = self.at else { return 0.0 };
        let quiet = now.saturating_duration_since(at).saturating_sub(PACKET_MAX).as_secs_f32();
        self.score * (-quiet / RELEASE.as_secs_f32()).exp()
    }

    /// Whether this counts as speech.
    pub fn is_speech(&self, now: Instant) -> bool {
        self.score(now) >= SPEECH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(levels: &[(u8, u64)]) -> (Level, Instant) {
        let mut now = Instant::now();
        let mut level = Level::default();
        for (minus_dbov, count) in levels {
            for _ in 0..*count {
                now += Duration::from_millis(20);
                level.on_packet(*minus_dbov, now);
            }
        }
        (level, now)
    }

    #[test]
    fn speech_is_recognised_within_half_a_second_and_forgotten() {
        let (level, now) = after(&[(90, 50), (30, 25)]);
        assert!(level.is_speech(now));
        assert!(!level.is_speech(now + Duration::from_secs(2)));
    }

    #[test]
    fn one_spike_is_not_speech() {
        let (level, now) = after(&[(90, 50), (0, 3)]);
        assert!(!level.is_speech(now), "{level:?}");
    }

    #[test]
    fn the_louder_talker_scores_higher() {
        let (loud, at) = after(&[(20, 100)]);
        let (soft, other) = after(&[(45, 100)]);
        assert!(loud.score(at) > soft.score(other) + 10.0);
        assert!(soft.is_speech(other));
    }
}
