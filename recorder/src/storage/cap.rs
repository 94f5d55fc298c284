//! How much of the line pushes may take: a bucket of tokens for the whole process.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::limits::{PUSH_BURST, PUSH_RATE_MIN, PUSH_SLICE_BYTES};

/// Bytes per second of all pushes and read-backs together; cloned, it is the same bucket.
#[derive(Clone)]
pub struct Cap(Option<Arc<Bucket>>);

struct Bucket {
    rate: NonZeroU64,
    /// When all that was taken so far will have gone out.
    busy_until: Mutex<Option<Instant>>,
}

impl Cap {
    /// No more than `rate` bytes per second, and 256 KiB/s at the least; without one, all there is.
    pub fn new(rate: Option<NonZeroU64>) -> Self {
        let bucket = |rate: NonZeroU64| {
            Arc::new(Bucket { rate: rate.max(PUSH_RATE_MIN), busy_until: Mutex::default() })
        };
        Self(rate.map(bucket))
    }

    /// Takes `bytes`; the caller waits for so long before it moves them.
    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let Some(bucket) = &self.0 else { return Duration::ZERO };
        let cost = Duration::from_secs_f64(bytes as f64 / bucket.rate.get() as f64);
        let mut busy_until = bucket.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        let from = busy_until.map_or(now, |until| until.max(now));
        *busy_until = Some(from + cost);
        (from + cost).saturating_duration_since(now + PUSH_BURST)
    }

    /// Waits until `bytes` may move.
    pub(super) async fn wait(&self, bytes: usize) {
        let delay = self.take(bytes, Instant::now());
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
    }
}

/// Whether something moved lately.
pub(super) struct Progress {
    began: Instant,
    last_ms: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last_ms: AtomicU64::new(0) })
    }

    pub(super) fn touch(&self) {
        self.hold(Duration::ZERO);
    }

    /// Standing still for `wait` is our own will.
    fn hold(&self, wait: Duration) {
        let until = (self.began.elapsed() + wait).as_millis();
        self.last_ms.store(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
    }

    /// Ends when nothing has moved for `longest`.
    pub(super) async fn stalled(&self, longest: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Relaxed));
            match (last + longest).checked_sub(self.began.elapsed()) {
                Some(left) if left > Duration::ZERO => sleep(left).await,
                _ => return,
            }
        }
    }
}

/// Bytes on their way out, no faster than the cap allows.
pub(super) struct Paced {
    slices: VecDeque<Bytes>,
    cap: Cap,
    progress: Arc<Progress>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(mut data: Bytes, cap: Cap, progress: Arc<Progress>) -> Self {
        let mut slices = VecDeque::with_capacity(data.len() / PUSH_SLICE_BYTES + 1);
        while !data.is_empty() {
            slices.push_back(data.split_to(data.len().min(PUSH_SLICE_BYTES)));
        }
        Self { slices, cap, progress, waiting: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.waiting.is_none() {
            let Some(next) = self.slices.front() else { return Poll::Ready(None) };
            let delay = self.cap.take(next.len(), Instant::now());
            self.progress.hold(delay);
            self.waiting = (delay > Duration::ZERO).then(|| Box::pin(sleep(delay)));
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        Poll::Ready(self.slices.pop_front().map(|slice| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.slices.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.slices.iter().map(|slice| slice.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn all_together_get_what_was_set_and_a_small_burst() {
        let cap = Cap::new(NonZeroU64::new(1_000_000));
        let (other, now) = (cap.clone(), Instant::now());
        let mut delay = Duration::ZERO;
        for _ in 0..50 {
            delay = cap.take(100_000, now).max(other.take(100_000, now));
        }
        assert_eq!(delay, Duration::from_secs(10) - PUSH_BURST, "10 MB at 1 MB/s");
        let later = now + Duration::from_secs(100);
        assert_eq!(cap.take(10_000, later), Duration::ZERO, "nothing is saved up either");
        assert!(cap.take(1_000_000, later) > Duration::from_millis(500));
        assert_eq!(Cap::new(None).take(usize::MAX, now), Duration::ZERO);
    }

    #[test]
    fn a_cap_that_could_never_finish_is_raised() {
        let cap = Cap::new(NonZeroU64::new(1));
        assert!(cap.take(PUSH_SLICE_BYTES, Instant::now()) < Duration::from_secs(1));
    }
}
