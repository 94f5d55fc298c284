//! Sliding replay window (RFC 3711 section 3.3.2) in the form of RFC 6479: a ring of words, no
//! shifting of long bitmaps.

const WORDS: usize = 32;
const WORD_BITS: u64 = 64;

/// Indexes behind the highest that are still told apart. RTX arrives late, so the window is deep
/// (SECURITY.md T4 asks for 1,024). One word of the ring is always the one being filled.
pub(super) const WINDOW: u64 = (WORDS as u64 - 1) * WORD_BITS;

/// Which indexes were seen. Written only after authentication.
pub(super) struct ReplayWindow {
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Starts with its first authentic index.
    pub(super) fn starting_at(index: u64) -> Self {
        let mut window = Self { highest: index, seen: [0; WORDS] };
        window.seen[slot(index)] |= bit(index);
        window
    }

    /// The highest authentic index.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` is neither seen nor too old to tell.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        self.highest - index < WINDOW && self.seen[slot(index)] & bit(index) == 0
    }

    /// Records an authentic, fresh index.
    pub(super) fn accept(&mut self, index: u64) {
        if index > self.highest {
            let (old, new) = (self.highest / WORD_BITS, index / WORD_BITS);
            for word in old + 1..=new.min(old + WORDS as u64) {
                self.seen[(word % WORDS as u64) as usize] = 0;
            }
            self.highest = index;
        }
        self.seen[slot(index)] |= bit(index);
    }
}

const fn slot(index: u64) -> usize {
    (index / WORD_BITS % WORDS as u64) as usize
}

const fn bit(index: u64) -> u64 {
    1 << (index % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A set of all accepted indexes is the model; jumps reach past the whole ring.
        #[test]
        fn agrees_with_a_set(start in 0_u64..10_000, steps in prop::collection::vec(-2500_i64..2500, 1..400)) {
            let mut window = ReplayWindow::starting_at(start);
            let mut seen = BTreeSet::from([start]);
            let mut highest = start;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let expected = !seen.contains(&index) && (index > highest || highest - index < WINDOW);
                prop_assert_eq!(window.is_fresh(index), expected);
                if expected {
                    window.accept(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }

    #[test]
    fn the_window_is_at_least_1024_deep() {
        const { assert!(WINDOW >= 1024) };
        let mut window = ReplayWindow::starting_at(5000);
        for index in 5000 - WINDOW + 1..5000 {
            assert!(window.is_fresh(index));
            window.accept(index);
            assert!(!window.is_fresh(index));
        }
        assert!(!window.is_fresh(5000 - WINDOW));
    }
}
