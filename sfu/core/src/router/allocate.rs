//! Which track is shown in which slot. Stable: a track stays where it is as long as it is shown,
//! so that a join or a leave costs only the slots that must change.

/// Places `wanted` (most wanted first) into `slots`; returns how many found a place.
/// `fits` says whether a track can be shown in the slot with that number.
///
/// `wanted` is read only as far as there are slots for it: what a change costs depends on what is
/// shown, not on the size of the room.
pub fn allocate<T: Copy + Eq>(
    wanted: impl Iterator<Item = T>,
    slots: &mut [Option<T>],
    fits: impl Fn(T, usize) -> bool,
) -> usize {
    if slots.is_empty() {
        // Otherwise everything would be read in search of what fits nowhere.
        return 0;
    }
    let mut wanted = wanted.filter(|track| (0..slots.len()).any(|slot| fits(*track, slot)));
    let shown: Vec<T> = wanted.by_ref().take(slots.len()).collect();
    let mut next = vec![None; slots.len()];
    for (slot, place) in next.iter_mut().enumerate() {
        *place = slots[slot].filter(|track| shown.contains(track) && fits(*track, slot));
    }
    // First those that should be shown; then, where a codec left slots free, the rest.
    for track in shown.into_iter().chain(wanted) {
        if next.iter().all(Option::is_some) {
            break;
        }
        if next.contains(&Some(track)) {
            continue;
        }
        let free = |slot: &usize| next[*slot].is_none() && fits(track, *slot);
        let place = (0..next.len())
            .filter(free)
            // An empty slot rather than one whose picture would be replaced.
            .min_by_key(|slot| (slots[*slot].is_some(), *slot));
        if let Some(place) = place {
            next[place] = Some(track);
        }
    }
    slots.copy_from_slice(&next);
    next.iter().flatten().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tracks_stay_where_they_are() {
        let mut slots = [Some('a'), Some('b'), None];
        assert_eq!(allocate(['c', 'b', 'a'].into_iter(), &mut slots, |_, _| true), 3);
        assert_eq!(slots, [Some('a'), Some('b'), Some('c')]);
    }

    #[test]
    fn nothing_is_read_where_there_are_no_slots() {
        let wanted = std::iter::repeat_with(|| -> char { panic!("read") });
        assert_eq!(allocate(wanted, &mut [], |_, _| true), 0);
    }

    #[test]
    fn the_least_wanted_gives_way() {
        let mut slots = [Some('a'), Some('b')];
        assert_eq!(allocate(['s', 'a', 'b'].into_iter(), &mut slots, |_, _| true), 2);
        assert_eq!(slots, [Some('a'), Some('s')]);
    }

    #[test]
    fn a_codec_that_a_slot_lacks_is_not_assigned() {
        let mut slots = [None, None];
        // Slot 0 cannot show 'h'; nothing can show 'x'.
        let fits = |track, slot| track != 'x' && (track != 'h' || slot == 1);
        assert_eq!(allocate(['x', 'v', 'h'].into_iter(), &mut slots, fits), 2);
        assert_eq!(slots, [Some('v'), Some('h')]);
    }

    #[test]
    fn no_more_is_read_than_there_are_slots() {
        let mut slots = [None; 3];
        let read = std::cell::Cell::new(0);
        let wanted = (0..1_000).inspect(|_| read.set(read.get() + 1));
        assert_eq!(allocate(wanted, &mut slots, |_, _| true), 3);
        assert!(read.get() <= 4, "{}", read.get());
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
            let placed = allocate(wanted.iter().copied(), &mut slots, |_, _| true);
            let mut shown: Vec<u8> = slots.iter().flatten().copied().collect();
            let mut expected: Vec<u8> = wanted.iter().copied().take(slots.len()).collect();
            for (old, new) in before.iter().zip(&slots) {
                prop_assert!(old == new || old.is_none_or(|track| !expected.contains(&track)));
            }
            shown.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(&shown, &expected);
            prop_assert_eq!(placed, shown.len());
            let again = slots.clone();
            allocate(wanted.iter().copied(), &mut slots, |_, _| true);
            prop_assert_eq!(again, slots);
        }
    }
}
