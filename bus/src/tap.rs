//! The ring between media workers and the recorder in one process: bounded in bytes, never blocks a
//! worker.
//!
//! ```text
//!                                  ┌─ lane ─▶ TapReceiver::recv ── a thread of the recorder
//! worker ── TapSender::send(Batch) ┤
//!   full: the batch comes back;    └─ lane ─▶ TapReceiver::recv ── another one
//!   the worker counts it, says Lost in the next, asks for key frames
//! ```
//!
//! All batches of a recording are in one lane, in order. A lane that nobody empties takes half of the
//! ring at most; the other half is left for the others. With a batch goes a [`Hold`], for senders that keep a
//! copy until the batch is safe on disk.

mod hold;
mod lost;

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use sfu_proto::{id::RecordingId, tap::Batch};

pub use self::{
    hold::{Hold, Keeper},
    lost::Lost,
};
use crate::limits::LANE_STUCK;

/// The ring's two ends. `bytes_max`: what may wait in it.
#[must_use]
pub fn tap(bytes_max: usize) -> (TapSender, TapReceiver) {
    let (first, filled) = Lane::new();
    let state = State { lanes: vec![first], bytes: 0 };
    let ring = Arc::new(Ring { state: Mutex::new(state), bytes_max, source: OnceLock::new() });
    (TapSender(Arc::clone(&ring)), TapReceiver { ring, lane: 0, filled })
}

/// In which of `lanes` a recording is.
#[must_use]
pub fn lane_of(recording: RecordingId, lanes: usize) -> usize {
    let bits = recording.bits();
    let folded = (bits >> 64) as u64 ^ bits as u64;
    usize::try_from(folded % lanes.max(1) as u64).unwrap_or(0)
}

struct Ring {
    state: Mutex<State>,
    bytes_max: usize,
    source: OnceLock<HasAllUntil>,
}

/// Whether all that there was at a time, milliseconds since 1970, is in the ring or was.
type HasAllUntil = Box<dyn Fn(u64) -> bool + Send + Sync>;

struct State {
    /// Never empty.
    lanes: Vec<Lane>,
    /// In all of them.
    bytes: usize,
}

struct Lane {
    batches: VecDeque<(Batch, Hold)>,
    bytes: usize,
    is_closed: bool,
    /// When its receiver came for a batch.
    visited: Instant,
    /// When there was one.
    taken: Option<Instant>,
    filled: Arc<Condvar>,
}

impl Lane {
    fn new() -> (Self, Arc<Condvar>) {
        let filled = Arc::new(Condvar::new());
        let lane = Self {
            batches: VecDeque::new(),
            bytes: 0,
            is_closed: false,
            visited: Instant::now(),
            taken: None,
            filled: Arc::clone(&filled),
        };
        (lane, filled)
    }
}

impl State {
    fn lane(&mut self, recording: RecordingId) -> Option<&mut Lane> {
        let at = lane_of(recording, self.lanes.len());
        self.lanes.get_mut(at)
    }

    fn push(&mut self, batch: Batch, hold: Hold) {
        let bytes = batch.bytes.len();
        let Some(lane) = self.lane(batch.recording) else { return };
        lane.bytes += bytes;
        lane.batches.push_back((batch, hold));
        self.bytes += bytes;
    }

    fn pop(&mut self, lane: usize) -> Option<(Batch, Hold)> {
        let lane = self.lanes.get_mut(lane)?;
        let (batch, hold) = lane.batches.pop_front()?;
        lane.bytes -= batch.bytes.len();
        self.bytes -= batch.bytes.len();
        Some((batch, hold))
    }

    /// All that waits in a lane.
    fn pop_all(&mut self, lane: usize) -> Vec<(Batch, Hold)> {
        std::iter::from_fn(|| self.pop(lane)).collect()
    }
}

impl Ring {
    /// The lock is held for a push or a pop only; no code of others runs under it, so no [`Hold`] is dropped.
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
    /// The batch, when the ring or its lane is full or nobody receives any more.
    pub fn send(&self, batch: Batch) -> Result<(), Batch> {
        self.send_held(batch, Hold::default()).map_err(|(batch, _)| batch)
    }

    /// Puts a batch into the ring whose sender keeps it until `hold` is dropped.
    ///
    /// # Errors
    /// Both, when the ring or its lane is full or nobody receives any more.
    pub fn send_held(&self, batch: Batch, hold: Hold) -> Result<(), (Batch, Hold)> {
        let mut state = self.0.lock();
        let bytes = batch.bytes.len();
        let all = self.0.bytes_max;
        let share = if state.lanes.len() > 1 { all / 2 } else { all };
        if state.bytes + bytes > all {
            return Err((batch, hold));
        }
        let filled = match state.lane(batch.recording) {
            Some(lane) if !lane.is_closed && lane.bytes + bytes <= share => {
                Arc::clone(&lane.filled)
            }
            _ => return Err((batch, hold)),
        };
        state.push(batch, hold);
        drop(state);
        filled.notify_one();
        Ok(())
    }

    /// Whether the receiver of a recording's lane hangs while others work: something waits for it, it did
    /// not come for [`LANE_STUCK`], and one that took batches until then still comes. When none does it is the
    /// disk, and whoever sends waits.
    #[must_use]
    pub fn is_stuck(&self, recording: RecordingId) -> bool {
        let mut state = self.0.lock();
        let Some(lane) = state.lane(recording) else { return false };
        let (is_empty, last) = (lane.batches.is_empty(), lane.visited);
        let works = |other: &Lane| {
            let took = other.taken.is_some_and(|at| at + LANE_STUCK >= last);
            took && other.visited >= last + LANE_STUCK
        };
        !is_empty && state.lanes.iter().any(works)
    }

    /// As if nobody had come for long to the lane of a recording.
    #[cfg(test)]
    pub(crate) fn age(&self, recording: RecordingId) {
        if let Some(lane) = self.0.lock().lane(recording) {
            lane.visited -= LANE_STUCK;
        }
    }

    /// What fills the ring is somewhere else, and this says how far it came. Without it the ring has
    /// everything at once. Said once, before the ring is used.
    pub fn lags_behind(&self, source: impl Fn(u64) -> bool + Send + Sync + 'static) {
        let _ = self.0.source.set(Box::new(source)); // The first one stays.
    }
}

/// How far the ring is behind those who fill it.
#[derive(Clone)]
pub struct Progress(Arc<Ring>);

impl Progress {
    /// Whether all that there was at this time, milliseconds since 1970, is in the ring or was.
    #[must_use]
    pub fn has_all_until(&self, time_ms: u64) -> bool {
        self.0.source.get().is_none_or(|source| source(time_ms))
    }
}

/// Where the recorder takes batches: of one lane.
pub struct TapReceiver {
    ring: Arc<Ring>,
    lane: usize,
    filled: Arc<Condvar>,
}

impl TapReceiver {
    /// Splits the ring into `count` lanes, at least one, in place of the only one there is at first.
    #[must_use]
    pub fn lanes(self, count: usize) -> Vec<Self> {
        let mut state = self.ring.lock();
        let mut receivers = Vec::with_capacity(count);
        for lane in state.lanes.len()..count {
            let (new, filled) = Lane::new();
            state.lanes.push(new);
            receivers.push(Self { ring: Arc::clone(&self.ring), lane, filled });
        }
        let waiting = state.pop_all(self.lane);
        waiting.into_iter().for_each(|(batch, hold)| state.push(batch, hold));
        drop(state);
        receivers.insert(0, self);
        receivers
    }

    /// The next batch, waiting for at most `timeout`. Its sender keeps it no longer.
    pub fn recv(&self, timeout: Duration) -> Option<Batch> {
        self.recv_held(timeout).map(|(batch, _)| batch)
    }

    /// The next batch, waiting for at most `timeout`, and what its sender keeps it for.
    pub fn recv_held(&self, timeout: Duration) -> Option<(Batch, Hold)> {
        let until = Instant::now() + timeout;
        let mut state = self.ring.lock();
        loop {
            let found = state.pop(self.lane);
            if let Some(lane) = state.lanes.get_mut(self.lane) {
                lane.visited = Instant::now();
                lane.taken = found.as_ref().map(|_| lane.visited).or(lane.taken);
            }
            if found.is_some() {
                return found;
            }
            let left = until.checked_duration_since(Instant::now())?;
            let wait = self.filled.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How far the ring is behind those who fill it.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress(Arc::clone(&self.ring))
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ring.lock().lanes.get(self.lane).map_or(0, |lane| lane.bytes)
    }
}

impl Drop for TapReceiver {
    fn drop(&mut self) {
        let mut state = self.ring.lock();
        let left = state.pop_all(self.lane);
        if let Some(lane) = state.lanes.get_mut(self.lane) {
            lane.is_closed = true;
        }
        drop(state);
        drop(left); // Their holds tell others.
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

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
    fn a_ring_is_never_behind_unless_somebody_says_so() {
        let (sender, receiver) = tap(10);
        let progress = receiver.progress();
        assert!(progress.has_all_until(u64::MAX));
        sender.lags_behind(|time_ms| time_ms <= 5);
        assert!(progress.has_all_until(5) && !progress.has_all_until(6));
    }

    #[test]
    fn nobody_sends_into_a_ring_that_nobody_reads() {
        let (sender, receiver) = tap(10);
        drop(receiver);
        assert!(sender.send(batch(1)).is_err());
    }

    fn of(recording: u128, len: usize) -> Batch {
        Batch { recording: RecordingId::from_bits(recording), bytes: vec![0; len] }
    }

    #[test]
    fn each_recording_keeps_its_lane_and_its_order() {
        let (sender, receiver) = tap(1000);
        assert!(sender.send(of(1, 1)).is_ok());
        let lanes = receiver.lanes(3);
        for n in 2..=9 {
            assert!(sender.send(of(n % 4, n as usize)).is_ok());
        }
        let mut seen = 0;
        for (at, lane) in lanes.iter().enumerate() {
            let mut last = [0; 4];
            while let Some(batch) = lane.recv(Duration::ZERO) {
                assert_eq!(lane_of(batch.recording, 3), at);
                let last = &mut last[batch.recording.bits() as usize];
                assert!(batch.bytes.len() > *last, "in order");
                *last = batch.bytes.len();
                seen += 1;
            }
            assert_eq!(lane.waiting(), 0);
        }
        assert_eq!(seen, 9);
    }

    #[test]
    fn a_lane_that_nobody_empties_leaves_half_of_the_ring_to_the_others() {
        let (sender, receiver) = tap(100);
        let mut lanes = receiver.lanes(2);
        assert!(sender.send(of(2, 50)).is_ok());
        assert!(sender.send(of(2, 1)).is_err(), "half is what a lane may have");
        assert!(sender.send(of(3, 40)).is_ok());
        assert_eq!(lanes[1].recv(Duration::ZERO).unwrap().bytes.len(), 40);
        assert!(sender.send(of(3, 50)).is_ok());
        assert_eq!((lanes[0].waiting(), lanes[1].waiting()), (50, 50));
        drop(lanes.pop());
        assert!(sender.send(of(3, 1)).is_err(), "nobody reads it");
        assert_eq!(lanes[0].recv(Duration::ZERO).unwrap().bytes.len(), 50);
        assert!(sender.send(of(2, 50)).is_ok(), "what the other had is free again");
    }

    #[derive(Default)]
    struct Noted(Mutex<Vec<u64>>);

    impl Keeper for Noted {
        fn let_go(&self, number: u64) {
            self.0.lock().unwrap().push(number);
        }
    }

    #[test]
    fn a_batch_is_held_until_its_receiver_lets_go_also_when_that_ends() {
        let (sender, receiver) = tap(10);
        let noted = Arc::<Noted>::default();
        let held = |number| Hold::new(Arc::clone(&noted) as Arc<dyn Keeper>, number);
        for number in 0..3 {
            assert!(sender.send_held(batch(3), held(number)).is_ok());
        }
        let (_, hold) = sender.send_held(batch(3), held(3)).unwrap_err();
        hold.cancel();
        let (_, first) = receiver.recv_held(Duration::ZERO).unwrap();
        assert!(receiver.recv(Duration::ZERO).is_some());
        assert_eq!(*noted.0.lock().unwrap(), [1], "taken without its hold");
        drop(first);
        drop(receiver);
        assert_eq!(*noted.0.lock().unwrap(), [1, 0, 2]);
    }

    #[test]
    fn a_lane_is_stuck_when_something_waits_for_it_and_another_one_is_worked_on() {
        let (sender, receiver) = tap(10);
        let lanes = receiver.lanes(2);
        let stuck = || [2, 3].map(|id| sender.is_stuck(RecordingId::from_bits(id)));
        let take = |lane: usize| lanes[lane].recv(Duration::ZERO).is_some();
        assert!(sender.send(of(2, 1)).is_ok() && sender.send(of(3, 1)).is_ok());
        sender.age(RecordingId::from_bits(2));
        assert_eq!(stuck(), [false, false], "nobody took anything since");
        assert!(take(1));
        assert_eq!(stuck(), [true, false]);
        assert!(sender.send(of(3, 1)).is_ok());
        sender.age(RecordingId::from_bits(3));
        assert_eq!(stuck(), [false, false], "both hang: the disk");
        assert!(take(1));
        assert_eq!(stuck(), [true, false], "one comes again");
        assert!(take(0) && sender.send(of(2, 1)).is_ok());
        assert_eq!(stuck(), [false, false], "it came");
    }

    #[test]
    fn a_waiting_receiver_is_woken() {
        let (sender, receiver) = tap(10);
        let waiting = std::thread::spawn(move || receiver.recv(Duration::from_secs(60)));
        assert!(sender.send(batch(3)).is_ok());
        assert_eq!(waiting.join().unwrap().unwrap().bytes.len(), 3);
    }
}
