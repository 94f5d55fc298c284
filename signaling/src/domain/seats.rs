//! Places for participants, which the rooms of a project share.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// How many participants the rooms of a project have, and may have, at once.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Table>);

struct Table {
    max: AtomicU32,
    taken: AtomicU32,
}

/// The place of one participant: given back when it is dropped.
pub(crate) struct Seat(Arc<Table>);

impl Seats {
    /// As many as this, none taken.
    pub(crate) fn new(max: u32) -> Self {
        Self(Arc::new(Table { max: AtomicU32::new(max), taken: AtomicU32::new(0) }))
    }

    /// From now on there are as many as this; who has one keeps it.
    pub(crate) fn resize(&self, max: u32) {
        self.0.max.store(max, Relaxed);
    }

    /// Whether none is free at the moment.
    pub(crate) fn is_full(&self) -> bool {
        self.0.taken.load(Relaxed) >= self.0.max.load(Relaxed)
    }

    /// Whether nobody else knows of them.
    pub(crate) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// A place, if one is free. Whatever rooms do at the same time, no more are taken than there are.
    pub(super) fn take(&self) -> Option<Seat> {
        let max = self.0.max.load(Relaxed);
        let one_more = |taken: u32| (taken < max).then(|| taken + 1);
        self.0.taken.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Seat(Arc::clone(&self.0)))
    }
}

impl Default for Seats {
    /// As many as can be counted.
    fn default() -> Self {
        Self::new(u32::MAX)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_burst_takes_more_than_there_are() {
        let seats = Seats::new(50);
        let took: Vec<Vec<Seat>> = std::thread::scope(|scope| {
            let burst = || (0..40).filter_map(|_| seats.take()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(burst)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        assert_eq!(took.iter().map(Vec::len).sum::<usize>(), 50);
        assert!(seats.is_full() && seats.take().is_none() && !seats.is_unused());
        drop(took);
        assert!(!seats.is_full() && seats.is_unused());
        seats.resize(0);
        assert!(seats.take().is_none());
    }
}
