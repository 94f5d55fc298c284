//! Who speaks, and which audio is loud enough for a slot when there are more tracks than slots.

use std::cmp::Reverse;

/// Bonus for tracks that are shown or speaking already: a newcomer must be clearly louder.
const HYSTERESIS: u32 = 8;

/// Orders tracks loudest first; `scored` are (track, score), `current` those that hold a place.
/// Equal ones stay in the order given, which is that of publication.
pub fn loudest<T: Copy + Eq>(scored: impl Iterator<Item = (T, f32)>, current: &[T]) -> Vec<T> {
    let mut ranked: Vec<(T, u32)> = scored
        .map(|(track, score)| {
            let bonus = if current.contains(&track) { HYSTERESIS } else { 0 };
            // Whole units: smaller differences are noise.
            (track, score as u32 + bonus)
        })
        .collect();
    ranked.sort_by_key(|(_, score)| Reverse(*score));
    ranked.into_iter().map(|(track, _)| track).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slightly_louder_track_does_not_displace_a_current_one() {
        let scores = |c| [('a', 30.0), ('b', 40.0), ('c', c)].into_iter();
        assert_eq!(loudest(scores(35.0), &['a', 'b'])[..2], ['b', 'a']);
        assert_eq!(loudest(scores(45.0), &['a', 'b'])[..2], ['b', 'c']);
    }

    #[test]
    fn silence_keeps_the_order_of_publication() {
        let silent = [('a', 0.0), ('b', 0.2), ('c', 0.0)].into_iter();
        assert_eq!(loudest(silent, &[]), ['a', 'b', 'c']);
    }
}
