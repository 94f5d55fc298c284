//! The ring between media workers and the recorder in one process: bounded in bytes, never blocks a
//! worker.
//!
//! ```text
//! worker ── TapSender::send(Batch) ─▶ ring ─▶ TapReceiver::recv ── recorder's thread
//!   full: the batch comes back; the worker counts it, says Lost in the next, asks for key frames
//! ```

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sfu_proto::tap::Batch;

/// The ring's two ends. `bytes_max`: what may wait in it.
#[must_use]
pub fn tap(bytes_max: usize) -> (TapSender, TapReceiver) {
    let ring = Arc::new(Ring { state: Mutex::default(), filled: Condvar::new(), bytes_max });
    (TapSender(Arc::clone(&ring)), TapReceiver(ring))
}

struct Ring {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    is_closed: bool,
}

impl Ring {
    /// The lock is held for a push or a pop only; no code of others runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where workers put batches.
#[derive(Clone)]
pub struct TapSender(Arc<Ring>);

impl TapSender {
    /// Puts a batch into the ring.
    ///
    /// # Errors
    /// The batch, when the ring is full or nobody receives any more.
    pub fn send(&self, batch: Batch) -> Result<(), Batch> {
        let mut state = self.0.lock();
        if state.is_closed || state.bytes + batch.bytes.len() > self.0.bytes_max {
            return Err(batch);
        }
        state.bytes += batch.bytes.len();
        state.batches.push_back(batch);
        drop(state);
        self.0.filled.notify_one();
        Ok(())
    }
}

/// Where the recorder takes batches.
pub struct TapReceiver(Arc<Ring>);

impl TapReceiver {
    /// The next batch, waiting for at most `timeout`.
    pub fn recv(&self, timeout: Duration) -> Option<Batch> {
        let until = Instant::now() + timeout;
        let mut state = self.0.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.bytes -= batch.bytes.len();
                return Some(batch);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let wait = self.0.filled.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().bytes
    }
}

impl Drop for TapReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.batches.clear();
        state.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sfu_proto::id::RecordingId;

    use super::*;

    fn batch(len: usize) -> Batch {
        Batch { recording: RecordingId::from_bits(1), bytes: vec![0; len] }
    }

    #[test]
    fn a_full_ring_gives_the_batch_back_and_takes_the_next_when_there_is_room() {
        let (sender, receiver) = tap(10);
        assert!(sender.send(batch(6)).is_ok());
        assert!(sender.send(batch(5)).is_err());
        assert!(sender.send(batch(4)).is_ok());
        assert_eq!(receiver.waiting(), 10);
        assert_eq!(receiver.recv(Duration::ZERO).unwrap().bytes.len(), 6);
        assert!(sender.send(batch(5)).is_ok());
        assert_eq!(receiver.recv(Duration::ZERO).unwrap().bytes.len(), 4);
        assert_eq!(receiver.recv(Duration::ZERO).unwrap().bytes.len(), 5);
        assert!(receiver.recv(Duration::ZERO).is_none());
    }

    #[test]
    fn nobody_sends_into_a_ring_that_nobody_reads() {
        let (sender, receiver) = tap(10);
        drop(receiver);
        assert!(sender.send(batch(1)).is_err());
    }

    #[test]
    fn a_waiting_receiver_is_woken() {
        let (sender, receiver) = tap(10);
        let waiting = std::thread::spawn(move || receiver.recv(Duration::from_secs(60)));
        assert!(sender.send(batch(3)).is_ok());
        assert_eq!(waiting.join().unwrap().unwrap().bytes.len(), 3);
    }
}
