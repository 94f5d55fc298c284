//! Who speaks, and which audio is loud enough for a slot when there are more tracks than slots.

use std::{cmp::Reverse, iter};

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

/// As [`loudest`], lazily, from an order that many listeners share: `ranked` is everybody, loudest
/// first; `current` are those that hold a place for this listener.
pub fn loudest_for<T: Copy + Eq>(
    ranked: impl Iterator<Item = (T, u32)>,
    mut current: Vec<(T, u32)>,
) -> impl Iterator<Item = T> {
    current.sort_by_key(|(_, score)| Reverse(*score));
    let holders: Vec<T> = current.iter().map(|(track, _)| *track).collect();
    let mut others = ranked.filter(move |(track, _)| !holders.contains(track)).peekable();
    let mut current = current.into_iter().peekable();
    iter::from_fn(move || {
        let holder = current.peek().map(|(_, score)| score + HYSTERESIS);
        let other = others.peek().map(|(_, score)| *score);
        // `None` is least; a tie is the holder's.
        let next = if holder >= other { current.next() } else { others.next() };
        next.map(|(track, _)| track)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_slightly_louder_track_does_not_displace_a_current_one() {
        let scores = |c| [('a', 30.0), ('b', 40.0), ('c', c)].into_iter();
        assert_eq!(loudest(scores(35.0), &['a', 'b'])[..2], ['b', 'a']);
        assert_eq!(loudest(scores(45.0), &['a', 'b'])[..2], ['b', 'c']);
    }

    #[test]
    fn a_shared_order_gives_each_listener_the_same_as_an_own_one() {
        let ranked = [('a', 60), ('b', 50), ('c', 40), ('d', 33), ('e', 20), ('f', 0)];
        for current in [&[][..], &['c'], &['d', 'f'], &['e', 'd', 'b'], &['f', 'a']] {
            let own = loudest(ranked.iter().map(|(t, s)| (*t, *s as f32)), current);
            let held = |t: &char| *ranked.iter().find(|(track, _)| track == t).unwrap();
            let shared = loudest_for(ranked.into_iter(), current.iter().map(held).collect());
            assert_eq!(shared.collect::<Vec<_>>(), own);
        }
    }

    #[test]
    fn silence_keeps_the_order_of_publication() {
        let silent = [('a', 0.0), ('b', 0.2), ('c', 0.0)].into_iter();
        assert_eq!(loudest(silent, &[]), ['a', 'b', 'c']);
    }
}
