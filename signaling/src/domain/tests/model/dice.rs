//! Draws that a seed tells.

use super::*;

/// SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    pub(super) fn flip(&mut self) -> bool {
        self.roll(2) == 0
    }

    pub(super) fn sources(&mut self) -> Vec<Source> {
        let bits = self.roll(16);
        (0..4).filter(|i| bits >> i & 1 == 1).map(|i| ALL[i]).collect()
    }

    pub(super) fn role(&mut self) -> Role {
        [Role::Moderator, Role::Participant, Role::Participant, Role::Viewer][self.roll(4)]
    }

    pub(super) fn grants(&mut self) -> Grants {
        Grants {
            publish: if self.roll(3) == 0 { self.sources() } else { ALL.to_vec() },
            subscribe: true,
            moderate: self.roll(8) == 0,
            record: self.flip(),
            ..Grants::default()
        }
    }
}
