//! What subscribers receive. Shared by every implementation of the bus.

use sfu_proto::control::Event;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{NodeStatus, Registration};

/// Something that a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A node registered. If it superseded an earlier registration of its id, a
    /// [`Notice::NodeDown`] for that one came before.
    NodeUp(NodeStatus),
    /// A registration ended: left, lost or superseded. Its rooms and sessions are gone.
    NodeDown(Registration),
    /// A node published an event.
    Event {
        /// Who says so.
        from: Registration,
        /// What.
        event: Event,
    },
    /// The subscriber was too slow and this many notices were dropped, oldest first. It must
    /// rebuild what it knows: read [`crate::Bus::nodes`] and give up requests without an answer.
    Missed(u64),
}

/// A stream of [`Notice`]s, bounded by [`crate::limits::NOTICES_MAX`].
pub struct Subscription {
    notices: broadcast::Receiver<Notice>,
}

impl Subscription {
    pub(crate) fn new(notices: broadcast::Receiver<Notice>) -> Self {
        Self { notices }
    }

    /// Waits for the next notice; `None` once the bus is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Notice> {
        Self::read(self.notices.recv().await)
    }

    /// As [`Self::next`], for a thread.
    ///
    /// # Panics
    /// Inside an asynchronous runtime, where it would block it.
    pub fn blocking_next(&mut self) -> Option<Notice> {
        Self::read(self.notices.blocking_recv())
    }

    fn read(result: Result<Notice, RecvError>) -> Option<Notice> {
        match result {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(missed)) => Some(Notice::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
