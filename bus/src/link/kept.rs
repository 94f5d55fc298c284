//! Batches of a session from the ring to their acknowledgement: bounded in bytes, in order, numbered.
//!
//! ```text
//!  first ──────── sent ──────── end
//!    │ not acknowledged │ not sent │
//! ```

use std::{collections::VecDeque, sync::Arc};

use sfu_proto::tap::Batch;

use crate::limits::LINK_KEPT_BYTES_MAX;

/// See the drawing.
#[derive(Default)]
pub(super) struct Kept {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// Number of the front one.
    first: u64,
    /// Number of the next one to send.
    sent: u64,
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
        self.batches.push_back(Arc::new(batch));
    }

    /// All that the ring had at `time_ms` was pushed. While an earlier mark waits this one is left out:
    /// the next comes soon.
    pub(super) fn mark(&mut self, time_ms: u64) {
        let end = self.end();
        self.mark.get_or_insert((end, time_ms));
    }

    /// Sends again from what the recorder wants next.
    pub(super) fn resume(&mut self, next: u64) -> Result<(), Unknown> {
        if next > self.end() {
            return Err(Unknown);
        }
        self.sent = next.max(self.first);
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some((_, time_ms)) = self.mark.take_if(|(after, _)| *after <= self.sent) {
            return Some(Next::Mark(time_ms));
        }
        let at = usize::try_from(self.sent - self.first).ok()?;
        let batch = self.batches.get(at)?;
        self.sent += 1;
        Some(Next::Batch(self.sent - 1, Arc::clone(batch)))
    }

    /// This one and all before are the recorder's.
    pub(super) fn acked(&mut self, number: u64) -> Result<(), Unknown> {
        if number >= self.end() {
            return Err(Unknown);
        }
        while self.first <= number {
            let Some(batch) = self.batches.pop_front() else { break };
            self.bytes -= batch.bytes.len();
            self.first += 1;
        }
        self.sent = self.sent.max(self.first);
        Ok(())
    }

    /// Number of the oldest that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn end(&self) -> u64 {
        self.first + self.batches.len() as u64
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
        kept.acked(0).unwrap();
        assert_eq!((kept.first(), kept.bytes()), (1, 40));
        kept.resume(0).unwrap();
        assert_eq!(number(&mut kept), Some(1), "the oldest that there is");
        kept.resume(4).unwrap();
        assert_eq!((number(&mut kept), number(&mut kept)), (Some(4), None));
        assert_eq!((kept.resume(6), kept.acked(5)), (Err(Unknown), Err(Unknown)));
        kept.acked(4).unwrap();
        kept.acked(2).unwrap();
        assert_eq!((kept.first(), kept.bytes()), (5, 0));
        kept.push(batch(1));
        assert_eq!(number(&mut kept), Some(5));
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
        kept.acked(0).unwrap();
        assert!(kept.has_room());
    }

    proptest! {
        #[test]
        fn each_is_sent_in_order_whatever_the_other_side_says(
            steps in prop::collection::vec((0u8..4, 0u64..40), 0..200),
        ) {
            let mut kept = Kept::default();
            let mut expected = 0;
            for (what, value) in steps {
                match what {
                    0 => kept.push(batch(value as usize)),
                    1 => if let Some(Next::Batch(number, _)) = kept.next() {
                        prop_assert_eq!(number, expected);
                        expected += 1;
                    },
                    2 => if kept.acked(value).is_ok() {
                        expected = expected.max(kept.first());
                    },
                    _ => if kept.resume(value).is_ok() {
                        expected = value.max(kept.first());
                    },
                }
                let bytes: usize = kept.batches.iter().map(|batch| batch.bytes.len()).sum();
                prop_assert_eq!(bytes, kept.bytes());
                prop_assert!(kept.first <= kept.sent && kept.sent <= kept.end());
            }
        }
    }
}
