//! A worker's events on their way to the bus: in order, bounded, never blocking.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Load, Membership, PublishError};
use sfu_proto::control::Event;

use crate::{limits, stats::IoStats};

/// Publishes events; keeps a bounded number while the bus is busy, then drops the newest.
///
/// What is dropped is made good by its receiver: an answer times out, and the state of slots is
/// told whole by the next change.
pub(crate) struct Outbox {
    membership: Arc<dyn Membership>,
    waiting: VecDeque<Event>,
    retry_at: Option<Instant>,
    reported: Load,
    stats: Arc<IoStats>,
}

impl Outbox {
    pub(crate) fn new(membership: Arc<dyn Membership>, stats: Arc<IoStats>) -> Self {
        let (waiting, reported) = (VecDeque::new(), Load::default());
        Self { membership, waiting, retry_at: None, reported, stats }
    }

    /// Publishes an event, after those that wait.
    pub(crate) fn push(&mut self, event: Event, now: Instant) {
        if self.waiting.len() >= limits::EVENTS_WAITING_MAX {
            self.stats.bus_events_dropped.add(1);
            return;
        }
        self.waiting.push_back(event);
        if self.retry_at.is_none() {
            self.flush(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Offers what waits to the bus again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }

    /// Tells placement how much the node carries, if that has changed.
    pub(crate) fn report(&mut self, load: Load) {
        if self.reported != load {
            self.reported = load;
            self.membership.report(load);
        }
    }

    fn flush(&mut self, now: Instant) {
        const AGAIN: Duration = limits::EVENTS_RETRY;
        self.retry_at = None;
        while let Some(event) = self.waiting.front() {
            match self.membership.publish(event.clone()) {
                // Superseded: nobody may hear us any more; the worker is being stopped.
                Ok(()) | Err(PublishError::Superseded) => drop(self.waiting.pop_front()),
                Err(PublishError::Busy) => {
                    self.retry_at = Some(now + AGAIN);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use bus::Registration;
    use sfu_proto::{
        control::EndReason,
        id::{NodeId, SessionId},
    };

    use super::*;

    #[derive(Default)]
    struct TestBus {
        busy: AtomicBool,
        published: Mutex<Vec<Event>>,
    }

    impl Membership for TestBus {
        fn registration(&self) -> Registration {
            Registration { node: NodeId::from_bits(1), fence: 1 }
        }

        fn publish(&self, event: Event) -> Result<(), PublishError> {
            if self.busy.load(Ordering::SeqCst) {
                return Err(PublishError::Busy);
            }
            self.published.lock().unwrap().push(event);
            Ok(())
        }

        fn report(&self, _: Load) {}
    }

    fn event(n: usize) -> Event {
        let session = SessionId::from_bits(n as u128);
        Event::SessionEnded { session, reason: EndReason::Closed }
    }

    #[test]
    fn events_wait_in_order_while_the_bus_is_busy_and_are_bounded() {
        let (bus, stats) = (Arc::new(TestBus::default()), Arc::<IoStats>::default());
        let mut outbox = Outbox::new(bus.clone(), Arc::clone(&stats));
        let now = Instant::now();
        outbox.push(event(0), now);
        assert_eq!(outbox.poll_timeout(), None);
        bus.busy.store(true, Ordering::SeqCst);
        for n in 1..limits::EVENTS_WAITING_MAX + 3 {
            outbox.push(event(n), now);
        }
        assert_eq!(stats.bus_events_dropped.value(), 2);
        bus.busy.store(false, Ordering::SeqCst);
        outbox.handle_timeout(outbox.poll_timeout().unwrap());
        let expected: Vec<_> = (0..=limits::EVENTS_WAITING_MAX).map(event).collect();
        assert_eq!(*bus.published.lock().unwrap(), expected);
        assert_eq!(outbox.poll_timeout(), None);
    }
}
