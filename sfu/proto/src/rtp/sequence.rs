//! Extended sequence numbers from 16-bit ones.

use crate::unit::{RtpSeq, SeqNo};

/// Extends 16-bit sequence numbers to 48 bits (RFC 3711 section 3.3.1, appendix A): each is taken
/// as the value nearest to the highest one accepted so far.
///
/// Estimate first, accept after authentication: a forged packet must not move the state.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeqUnwrapper {
    highest: Option<SeqNo>,
}

impl SeqUnwrapper {
    /// An unwrapper whose first packet has rollover count 0.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The extended number that `seq` most likely has. `None` if it lies before the stream's
    /// start, that is, its rollover count would be negative.
    #[inline]
    pub fn estimate(&self, seq: RtpSeq) -> Option<SeqNo> {
        let Some(highest) = self.highest else { return Some(SeqNo(u64::from(seq.0))) };
        // Signed distance in −32768..=32767.
        let distance = seq.0.wrapping_sub(highest.wire().0).cast_signed();
        highest.0.checked_add_signed(i64::from(distance)).map(SeqNo)
    }

    /// Notes an authenticated packet's number.
    #[inline]
    pub fn accept(&mut self, seq: SeqNo) {
        self.highest = self.highest.max(Some(seq));
    }

    /// Estimates and accepts at once, for numbers that are authentic already.
    #[inline]
    pub fn unwrap(&mut self, seq: RtpSeq) -> Option<SeqNo> {
        let extended = self.estimate(seq)?;
        self.accept(extended);
        Some(extended)
    }

    /// The highest accepted number.
    pub const fn highest(&self) -> Option<SeqNo> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wraps_forward_and_backward() {
        let mut unwrapper = SeqUnwrapper::new();
        assert_eq!(unwrapper.unwrap(RtpSeq(65_534)), Some(SeqNo(65_534)));
        assert_eq!(unwrapper.unwrap(RtpSeq(1)), Some(SeqNo(65_537)));
        assert_eq!(unwrapper.unwrap(RtpSeq(65_535)), Some(SeqNo(65_535)));
        assert_eq!(unwrapper.highest(), Some(SeqNo(65_537)));
    }

    #[test]
    fn numbers_before_the_start_are_refused() {
        let mut unwrapper = SeqUnwrapper::new();
        unwrapper.accept(SeqNo(3));
        assert_eq!(unwrapper.unwrap(RtpSeq(65_530)), None);
        assert_eq!(unwrapper.unwrap(RtpSeq(1)), Some(SeqNo(1)));
    }

    #[test]
    fn an_estimate_changes_nothing() {
        let mut unwrapper = SeqUnwrapper::new();
        unwrapper.accept(SeqNo(10));
        assert_eq!(unwrapper.estimate(RtpSeq(30_000)), Some(SeqNo(30_000)));
        assert_eq!(unwrapper.highest(), Some(SeqNo(10)));
    }

    proptest! {
        #[test]
        fn any_walk_within_half_the_range_is_followed(
            start in 0u64..1 << 40,
            steps in prop::collection::vec(-100i64..30_000, 1..200),
        ) {
            let (mut unwrapper, mut at, mut highest) = (SeqUnwrapper::new(), start + 100, 0);
            unwrapper.accept(SeqNo(at));
            for step in steps {
                highest = at.max(highest);
                at = highest.saturating_add_signed(step);
                prop_assert_eq!(unwrapper.unwrap(SeqNo(at).wire()), Some(SeqNo(at)));
            }
        }
    }
}
