//! Which track is shown in which slot. Stable: a track stays where it is as long as it is shown,
//! so that a join or a leave costs only the slots that must change.

/// Places `wanted` (most wanted first) into `slots`; returns how many found no place.
/// `fits` says whether a track can be shown in the slot with that number.
pub fn allocate<T: Copy + Eq>(
    wanted: &[T],
    slots: &mut [Option<T>],
    fits: impl Fn(T, usize) -> bool,
) -> usize {
    let fits_any = |track: T| (0..slots.len()).any(|slot| fits(track, slot));
    let shown: Vec<T> = wanted.iter().copied().filter(|t| fits_any(*t)).take(slots.len()).collect();
    let mut next = vec![None; slots.len()];
    for (slot, place) in next.iter_mut().enumerate() {
        *place = slots[slot].filter(|track| shown.contains(track) && fits(*track, slot));
    }
    // First those that should be shown; then, where a codec left slots free, the rest.
    for track in shown.iter().chain(wanted) {
        if next.contains(&Some(*track)) {
            continue;
        }
        let free = |slot: &usize| next[*slot].is_none() && fits(*track, *slot);
        let place = (0..next.len())
            .filter(free)
            // An empty slot rather than one whose picture would be replaced.
            .min_by_key(|slot| (slots[*slot].is_some(), *slot));
        if let Some(place) = place {
            next[place] = Some(*track);
        }
    }
    let waiting = wanted.iter().filter(|track| !next.contains(&Some(**track))).count();
    slots.copy_from_slice(&next);
    waiting
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tracks_stay_where_they_are() {
        let mut slots = [Some('a'), Some('b'), None];
        assert_eq!(allocate(&['c', 'b', 'a'], &mut slots, |_, _| true), 0);
        assert_eq!(slots, [Some('a'), Some('b'), Some('c')]);
    }

    #[test]
    fn the_least_wanted_gives_way() {
        let mut slots = [Some('a'), Some('b')];
        assert_eq!(allocate(&['s', 'a', 'b'], &mut slots, |_, _| true), 1);
        assert_eq!(slots, [Some('a'), Some('s')]);
    }

    #[test]
    fn a_codec_that_a_slot_lacks_is_not_assigned() {
        let mut slots = [None, None];
        // Slot 0 cannot show 'h'; nothing can show 'x'.
        let fits = |track, slot| track != 'x' && (track != 'h' || slot == 1);
        assert_eq!(allocate(&['x', 'v', 'h'], &mut slots, fits), 1);
        assert_eq!(slots, [Some('v'), Some('h')]);
    }

    proptest! {
        #[test]
        fn the_most_wanted_are_shown_once_and_a_repetition_changes_nothing(
            wanted in prop::collection::hash_set(0u8..40, 0..30),
            slots in prop::collection::vec(prop::option::of(0u8..40), 0..12),
        ) {
            let wanted: Vec<u8> = wanted.into_iter().collect();
            let mut slots: Vec<Option<u8>> = slots;
            // A track is in one slot at most.
            for at in 0..slots.len() {
                if slots[..at].contains(&slots[at]) {
                    slots[at] = None;
                }
            }
            let before = slots.clone();
            let waiting = allocate(&wanted, &mut slots, |_, _| true);
            let mut shown: Vec<u8> = slots.iter().flatten().copied().collect();
            let mut expected: Vec<u8> = wanted.iter().copied().take(slots.len()).collect();
            for (old, new) in before.iter().zip(&slots) {
                prop_assert!(old == new || old.is_none_or(|track| !expected.contains(&track)));
            }
            shown.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(&shown, &expected);
            prop_assert_eq!(waiting, wanted.len() - shown.len());
            let again = slots.clone();
            allocate(&wanted, &mut slots, |_, _| true);
            prop_assert_eq!(again, slots);
        }
    }
}
