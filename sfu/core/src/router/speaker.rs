//! Who speaks, and which audio is loud enough for a slot when there are more tracks than slots.

use std::{cmp::Reverse, iter};

/// Bonus for tracks that are shown or speaking already: a newcomer must be clearly louder.
const HYSTERESIS: u32 = 8;

/// Orders tracks loudest first; `scored` are (track, score), `current` is the order so far: a track
/// passes one that was before it only when it is clearly louder. Equal newcomers stay in the order
/// given, which is that of publication.
pub fn loudest<T: Copy + Eq>(scored: impl Iterator<Item = (T, f32)>, current: &[T]) -> Vec<T> {
    // Whole units: smaller differences are noise.
    let mut scored: Vec<(T, u32)> = scored.map(|(track, score)| (track, score as u32)).collect();
    let place = |track: &T| current.iter().position(|other| other == track);
    scored.sort_by_key(|(track, score)| (place(track).unwrap_or(usize::MAX), Reverse(*score)));
    let mut ranked: Vec<(T, u32)> = Vec::with_capacity(scored.len());
    for (track, score) in scored {
        let before = ranked.iter().rposition(|(_, other)| other + HYSTERESIS >= score);
        ranked.insert(before.map_or(0, |before| before + 1), (track, score));
    }
    ranked.into_iter().map(|(track, _)| track).collect()
}

/// Orders those who are not announced as speakers for one listener, lazily, from an order that many listeners share: `ranked` is everybody, loudest
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
            let bonus = |t: &char| if current.contains(t) { HYSTERESIS } else { 0 };
            let mut own = ranked.to_vec();
            own.sort_by_key(|(t, s)| Reverse(s + bonus(t)));
            let held = |t: &char| *ranked.iter().find(|(track, _)| track == t).unwrap();
            let shared = loudest_for(ranked.into_iter(), current.iter().map(held).collect());
            let own: Vec<char> = own.into_iter().map(|(t, _)| t).collect();
            assert_eq!(shared.collect::<Vec<_>>(), own);
        }
    }

    #[test]
    fn the_first_of_two_current_ones_is_passed_when_it_is_clearly_less_loud() {
        let order = |a, b| loudest([('a', a), ('b', b)].into_iter(), &['a', 'b']);
        assert_eq!(order(30.0, 38.0), ['a', 'b']);
        assert_eq!(order(30.0, 39.0), ['b', 'a']);
    }

    #[test]
    fn silence_keeps_the_order_of_publication() {
        let silent = [('a', 0.0), ('b', 0.2), ('c', 0.0)].into_iter();
        assert_eq!(loudest(silent, &[]), ['a', 'b', 'c']);
    }
}
