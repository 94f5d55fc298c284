//! Batches of a session from the ring to their acknowledgement: bounded in bytes, in order, numbered.
//!
//! ```text
//!  first ──────── sent ──────── end
//!    │ not acknowledged │ not sent │          with holes where one was acknowledged before those ahead of it
//! ```

use std::{collections::BTreeMap, sync::Arc};

use sfu_proto::tap::Batch;

use crate::limits::LINK_KEPT_BYTES_MAX;

/// See the drawing.
#[derive(Default)]
pub(super) struct Kept {
    batches: BTreeMap<u64, Arc<Batch>>,
    bytes: usize,
    /// From here on nothing was sent.
    sent: u64,
    /// Number of the next one to come.
    end: u64,
    /// A mark that follows the batches before this number.
    mark: Option<(u64, u64)>,
}

/// What to send next.
pub(super) enum Next {
    Batch(u64, Arc<Batch>),
    Mark(u64),
}

/// A number that never was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Kept {
    /// Whether another batch is taken.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < LINK_KEPT_BYTES_MAX
    }

    pub(super) fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes.len();
        self.batches.insert(self.end, Arc::new(batch));
        self.end += 1;
    }

    /// All that the ring had at `time_ms` was pushed. While an earlier mark waits this one is left out:
    /// the next comes soon.
    pub(super) fn mark(&mut self, time_ms: u64) {
        self.mark.get_or_insert((self.end, time_ms));
    }

    /// Sends again from what the recorder wants next.
    pub(super) fn resume(&mut self, next: u64) -> Result<(), Unknown> {
        if next > self.end {
            return Err(Unknown);
        }
        self.sent = next;
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Next> {
        let batch = self.batches.range(self.sent..).next();
        self.sent = batch.map_or(self.end, |(number, _)| *number);
        if let Some((_, time_ms)) = self.mark.take_if(|(after, _)| *after <= self.sent) {
            return Some(Next::Mark(time_ms));
        }
        let batch = Arc::clone(batch?.1);
        self.sent += 1;
        Some(Next::Batch(self.sent - 1, batch))
    }

    /// These are safe.
    pub(super) fn acked(&mut self, first: u64, last: u64) -> Result<(), Unknown> {
        if last >= self.end {
            return Err(Unknown);
        }
        while let Some((number, _)) = self.batches.range(first..=last).next() {
            let number = *number;
            let Some(batch) = self.batches.remove(&number) else { break };
            self.bytes -= batch.bytes.len();
        }
        Ok(())
    }

    /// Number of the oldest that is kept.
    pub(super) fn first(&self) -> u64 {
        self.batches.first_key_value().map_or(self.end, |(number, _)| *number)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use sfu_proto::id::RecordingId;

    use super::*;

    fn batch(len: usize) -> Batch {
        Batch { recording: RecordingId::from_bits(1), bytes: vec![7; len] }
    }

    fn number(kept: &mut Kept) -> Option<u64> {
        match kept.next()? {
            Next::Batch(number, _) => Some(number),
            Next::Mark(_) => panic!("a mark"),
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let mut kept = Kept::default();
        (0..5).for_each(|_| kept.push(batch(10)));
        assert_eq!([0; 3].map(|_| number(&mut kept).unwrap()), [0, 1, 2]);
        kept.acked(0, 0).unwrap();
        assert_eq!((kept.first(), kept.bytes()), (1, 40));
        kept.resume(0).unwrap();
        assert_eq!(number(&mut kept), Some(1), "the oldest that there is");
        kept.resume(4).unwrap();
        assert_eq!((number(&mut kept), number(&mut kept)), (Some(4), None));
        assert_eq!((kept.resume(6), kept.acked(0, 5)), (Err(Unknown), Err(Unknown)));
        kept.acked(0, 4).unwrap();
        kept.acked(1, 2).unwrap();
        assert_eq!((kept.first(), kept.bytes()), (5, 0));
        kept.push(batch(1));
        assert_eq!(number(&mut kept), Some(5));
    }

    #[test]
    fn one_that_waits_long_keeps_none_of_those_after_it() {
        let mut kept = Kept::default();
        (0..6).for_each(|_| kept.push(batch(10)));
        kept.mark(100);
        kept.acked(1, 2).unwrap();
        kept.acked(4, 5).unwrap();
        assert_eq!((kept.first(), kept.bytes()), (0, 20));
        kept.resume(0).unwrap();
        assert_eq!([0; 2].map(|_| number(&mut kept).unwrap()), [0, 3]);
        assert!(matches!(kept.next(), Some(Next::Mark(100))), "nothing is left before it");
        assert!(kept.next().is_none());
    }

    #[test]
    fn a_mark_follows_what_came_before_it() {
        let mut kept = Kept::default();
        kept.push(batch(1));
        kept.mark(100);
        kept.push(batch(1));
        kept.mark(200);
        assert_eq!(number(&mut kept), Some(0));
        assert!(matches!(kept.next(), Some(Next::Mark(100))));
        assert_eq!(number(&mut kept), Some(1));
        assert!(kept.next().is_none());
        kept.mark(300);
        kept.resume(0).unwrap();
        assert_eq!([0; 2].map(|_| number(&mut kept).unwrap()), [0, 1], "again, before the mark");
        assert!(matches!(kept.next(), Some(Next::Mark(300))));
    }

    #[test]
    fn a_full_one_takes_no_more_until_something_is_acknowledged() {
        let mut kept = Kept::default();
        while kept.has_room() {
            kept.push(batch(1 << 20));
        }
        assert_eq!(kept.bytes(), LINK_KEPT_BYTES_MAX);
        kept.acked(0, 0).unwrap();
        assert!(kept.has_room());
    }

    proptest! {
        #[test]
        fn each_is_sent_in_order_until_it_is_acknowledged_whatever_the_other_side_says(
            steps in prop::collection::vec((0u8..4, 0u64..40, 0u64..5), 0..200),
        ) {
            let mut kept = Kept::default();
            let (mut wanted, mut sent) = (Vec::new(), 0);
            for (what, value, more) in steps {
                match what {
                    0 => {
                        wanted.push(kept.end);
                        kept.push(batch(value as usize));
                    }
                    1 => {
                        let expected = wanted.iter().copied().find(|number| *number >= sent);
                        prop_assert_eq!(number(&mut kept), expected);
                        sent = expected.map_or(sent, |number| number + 1);
                    }
                    2 => if kept.acked(value, value + more).is_ok() {
                        wanted.retain(|number| !(value..=value + more).contains(number));
                    },
                    _ => if kept.resume(value).is_ok() {
                        sent = value;
                    },
                }
                let bytes: usize = kept.batches.values().map(|batch| batch.bytes.len()).sum();
                prop_assert_eq!(bytes, kept.bytes());
                prop_assert_eq!(kept.first(), wanted.first().copied().unwrap_or(kept.end));
            }
        }
    }
}
