//! Who speaks, from audio levels (RFC 6464), for recordings whose forwarding unit did not tell.
//! A hint for layouts, no evidence: levels are what publishers claim.

use std::collections::BTreeMap;

use crate::limits::EVENTS_MAX;

/// Quieter than this, −dBov, is no speech.
const QUIET: u8 = 50;
/// How often the loudest is looked for, µs.
const TURN_US: i64 = 100_000;
/// How long another must be the loudest, turns.
const TURNS_TO_TAKE: u32 = 6;
/// Nobody is heard this long before nobody speaks, turns.
const TURNS_TO_FALL_SILENT: u32 = 15;

/// Follows the levels.
#[derive(Default)]
pub(crate) struct Speakers {
    are_told: bool,
    scores: BTreeMap<u16, f32>,
    next_us: i64,
    current: Option<u16>,
    rival: (Option<u16>, u32),
    changes: Vec<(i64, Option<u16>)>,
}

impl Speakers {
    /// The forwarding unit told; levels are not needed.
    pub(crate) fn are_told(&mut self) {
        self.are_told = true;
    }

    /// A packet of track `index` with its level, the voice bit in front.
    pub(crate) fn heard(&mut self, index: u16, level: u8, at_us: i64) {
        if self.are_told {
            return;
        }
        let loudness = f32::from(QUIET.saturating_sub(level & 0x7f));
        let score = self.scores.entry(index).or_default();
        *score += (loudness - *score) * 0.15;
        if at_us >= self.next_us {
            self.next_us = at_us + TURN_US;
            self.turn(at_us);
        }
    }

    fn turn(&mut self, at_us: i64) {
        let loudest = self.scores.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let loudest = loudest.filter(|(_, score)| **score > 3.0).map(|(index, _)| *index);
        self.scores.values_mut().for_each(|score| *score *= 0.9);
        if loudest == self.current {
            self.rival = (loudest, 0);
            return;
        }
        let turns = if self.rival.0 == loudest { self.rival.1 + 1 } else { 1 };
        self.rival = (loudest, turns);
        let needed = if loudest.is_some() { TURNS_TO_TAKE } else { TURNS_TO_FALL_SILENT };
        if turns >= needed {
            self.current = loudest;
            if self.changes.len() < EVENTS_MAX {
                self.changes.push((at_us, loudest));
            }
        }
    }

    /// Times on the node's clock and tracks; none: nobody speaks.
    pub(crate) fn finish(self) -> Vec<(i64, Option<u16>)> {
        if self.are_told { Vec::new() } else { self.changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loudest_takes_the_floor_and_a_cough_does_not() {
        let mut speakers = Speakers::default();
        for n in 0..500i64 {
            let at_us = n * 20_000;
            let coughs = (150..155).contains(&n);
            let level = |speaks: bool| if speaks { 0x80 | 20 } else { 90 };
            speakers.heard(1, level(n < 250), at_us);
            speakers.heard(2, level(n >= 250 || coughs), at_us + 1);
        }
        let changes = speakers.finish();
        let who: Vec<_> = changes.iter().map(|(_, index)| *index).collect();
        assert_eq!(who, [Some(1), Some(2)]);
        assert!((5_000_000..6_500_000).contains(&changes[1].0), "{changes:?}");
    }
}
