//! Messages to one client, numbered, and kept until it has acknowledged them.

use std::{collections::VecDeque, sync::Arc};

use sdk_spec::limits::{BYTES_RESUMABLE_MAX, MESSAGES_RESUMABLE_MAX};

/// A message under its number.
#[derive(Clone)]
pub(crate) struct Numbered {
    pub(crate) seq: u64,
    pub(crate) body: Arc<str>,
}

/// Numbers messages from 1 and keeps the newest, within limits; the oldest go first.
#[derive(Default)]
pub(crate) struct Outbox {
    last: u64,
    acked: u64,
    kept: VecDeque<Numbered>,
    bytes: usize,
}

/// An acknowledgement of something that was never sent: the client is at fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AckAhead;

impl Outbox {
    /// Numbers a message and keeps it.
    pub(crate) fn push(&mut self, body: Arc<str>) -> Numbered {
        self.last += 1;
        let numbered = Numbered { seq: self.last, body };
        self.bytes += numbered.body.len();
        self.kept.push_back(numbered.clone());
        while self.kept.len() > MESSAGES_RESUMABLE_MAX || self.bytes > BYTES_RESUMABLE_MAX {
            self.drop_oldest();
        }
        numbered
    }

    /// The number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.last + 1
    }

    /// The number of the newest message.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the newest message that the client has for certain.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// Puts a text of the same length in the place of another, in a message that is kept.
    pub(crate) fn replace(&mut self, seq: u64, old: &str, new: &str) {
        debug_assert_eq!(old.len(), new.len());
        if let Some(message) = self.kept.iter_mut().find(|message| message.seq == seq) {
            message.body = message.body.replace(old, new).into();
        }
    }

    /// Forgets what the client has.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<(), AckAhead> {
        if seq > self.last {
            return Err(AckAhead);
        }
        self.acked = self.acked.max(seq);
        while self.kept.front().is_some_and(|m| m.seq <= self.acked) {
            self.drop_oldest();
        }
        Ok(())
    }

    /// What came after `received`, if all of it is still here.
    pub(crate) fn after(&self, received: u64) -> Option<Vec<Numbered>> {
        let oldest = self.kept.front().map_or(self.last + 1, |m| m.seq);
        let whole = received <= self.last && received + 1 >= oldest;
        whole.then(|| self.kept.iter().filter(|m| m.seq > received).cloned().collect())
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn seqs(list: Option<Vec<Numbered>>) -> Option<Vec<u64>> {
        list.map(|l| l.into_iter().map(|m| m.seq).collect())
    }

    #[test]
    fn replays_what_was_not_received() {
        let mut outbox = Outbox::default();
        (0..5).for_each(|_| drop(outbox.push("m".into())));
        outbox.acknowledge(2).unwrap();
        assert_eq!(seqs(outbox.after(2)), Some(vec![3, 4, 5]));
        assert_eq!(seqs(outbox.after(5)), Some(vec![]));
        assert_eq!(seqs(outbox.after(1)), None, "2 is forgotten");
        assert_eq!(seqs(outbox.after(6)), None, "never sent");
        assert_eq!(outbox.acknowledge(6), Err(AckAhead));
    }

    #[test]
    fn memory_is_bounded_by_count_and_bytes() {
        let mut outbox = Outbox::default();
        (0..3000).for_each(|_| drop(outbox.push("m".into())));
        assert_eq!(outbox.kept.len(), MESSAGES_RESUMABLE_MAX);
        assert!(outbox.after(1).is_none());
        let big: Arc<str> = "x".repeat(100_000).into();
        (0..50).for_each(|_| drop(outbox.push(Arc::clone(&big))));
        assert!(outbox.bytes <= BYTES_RESUMABLE_MAX && outbox.kept.len() == 10);
    }

    proptest! {
        #[test]
        fn a_replay_is_whole_or_refused(steps in proptest::collection::vec(any::<(bool, u64)>(), 0..200)) {
            let mut outbox = Outbox::default();
            for (push, n) in steps {
                if push { outbox.push("m".into()); } else {
                    let _ = outbox.acknowledge(n % (outbox.last + 2));
                }
                let received = n % (outbox.last + 3);
                if let Some(list) = seqs(outbox.after(received)) {
                    prop_assert_eq!(list, (received + 1..=outbox.last).collect::<Vec<_>>());
                } else {
                    prop_assert!(received < outbox.acked || received > outbox.last);
                }
            }
        }
    }
}
