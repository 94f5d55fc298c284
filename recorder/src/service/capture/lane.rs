//! One thread: the recordings of its lane, from their first batch to the end of their journals.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bus::tap::{Hold, TapReceiver};
use sfu_proto::{id::RecordingId, tap::Batch};
use tokio::sync::oneshot;

use super::{
    Common, Message, Order,
    begin::{self, JournalError, Live, Refusal},
    over::Over,
    waiting::Waiting,
};
use crate::{
    journal::{Moment, WriteError},
    key::DataKey,
    limits::{END_WAIT, LEDGER_AGAIN, SPACE_LOOK, STUCK_WAIT, TAP_WAIT, WAITING_MAX},
    service::ledger::Stop,
};

/// Everything that the thread owns. A recording is in one of the three maps, or unknown.
pub(super) struct Lane {
    number: usize,
    tap: TapReceiver,
    messages: mpsc::Receiver<Message>,
    /// To itself, for tasks.
    own: mpsc::Sender<Message>,
    common: Arc<Common>,
    waiting: HashMap<RecordingId, Waiting>,
    live: HashMap<RecordingId, Live>,
    over: Over,
    looked_at: Instant,
    is_ending: bool,
    /// What is being worked on.
    at: Option<RecordingId>,
}

impl Lane {
    pub(super) fn new(
        number: usize,
        tap: TapReceiver,
        (own, messages): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
        common: Arc<Common>,
    ) -> Self {
        Self {
            number,
            tap,
            messages,
            own,
            common,
            waiting: HashMap::new(),
            live: HashMap::new(),
            over: Over::default(),
            looked_at: Instant::now(),
            is_ending: false,
            at: None,
        }
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self) {
        while !self.is_ending {
            self.guarded(|lane| {
                let batch = lane.tap.recv_held(lane.wait());
                lane.work(batch);
                lane.obey();
            });
        }
        self.guarded(Self::drain);
        let mut defects_max = self.live.len(); // Each costs one.
        self.guarded(Self::end);
        while !self.live.is_empty() && defects_max > 0 {
            defects_max -= 1;
            self.guarded(Self::end);
        }
    }

    /// A defect of ours costs the recording that it happened at, not the others of the lane.
    fn guarded(&mut self, turn: impl FnOnce(&mut Self)) {
        self.at = None;
        // What a turn leaves half done is the recording it was at, and that one ends.
        if catch_unwind(AssertUnwindSafe(|| turn(self))).is_err() {
            tracing::error!(recording = ?self.at, "a writer of journals failed by a defect");
            if let Some(recording) = self.at.take() {
                self.end_early(recording, Stop::Failed);
            }
        }
    }

    fn wait(&self) -> Duration {
        let next = self.live.values().map(|live| live.writer.deadline()).min();
        next.map_or(TAP_WAIT, |at| at.saturating_duration_since(Instant::now()).min(TAP_WAIT))
    }

    /// A batch, and what is due.
    fn work(&mut self, batch: Option<(Batch, Hold)>) {
        self.common.load.round_begins(self.number);
        if let Some((batch, hold)) = batch {
            self.on_batch(batch, hold);
        }
        let synced = self.tick();
        self.common.load.round_ends(self.number, synced);
    }

    fn obey(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.on_message(message);
            self.work(None);
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Order(Order::Close(recording, done)) => self.on_close(recording, done),
            Message::Order(Order::End) => self.is_ending = true,
            Message::Begun(recording, begun) => self.on_begun(recording, *begun),
            Message::Foreign(recording) => self.on_foreign(recording),
        }
    }

    /// What waits in the ring belongs to what ends now; what comes meanwhile does not.
    fn drain(&mut self) {
        let mut left = self.tap.waiting();
        while left > 0 {
            let Some(batch) = self.tap.recv_held(Duration::ZERO) else { return };
            left = left.saturating_sub(batch.0.bytes.len().max(1));
            self.work(Some(batch));
        }
    }

    fn on_batch(&mut self, batch: Batch, hold: Hold) {
        let Batch { recording, bytes } = batch;
        self.at = Some(recording);
        if self.live.contains_key(&recording) {
            self.write(recording, &bytes, hold);
        } else if let Some(waiting) = self.waiting.get_mut(&recording) {
            waiting.push(bytes, hold);
        } else if self.over.has(recording) || self.waiting.len() >= WAITING_MAX {
            self.common.metrics.batches_refused.inc();
        } else {
            let mut waiting = Waiting::new(Arc::clone(&self.common));
            waiting.push(bytes, hold);
            self.waiting.insert(recording, waiting);
            self.ask(recording);
        }
    }

    fn write(&mut self, recording: RecordingId, bytes: &[u8], hold: Hold) {
        let Some(live) = self.live.get_mut(&recording) else { return };
        match live.writer.append(bytes) {
            Ok(()) => {
                live.unsynced.took(hold, live.writer.stats().chunks);
                live.place.grew(bytes.len());
                self.common.metrics.captured_bytes.inc_by(bytes.len() as u64);
            }
            Err(error) => self.fail(recording, &error),
        }
    }

    /// Writes what is due; gives whether it waited for the disk.
    fn tick(&mut self) -> bool {
        let now = Instant::now();
        let due = self.live.iter().filter(|(_, live)| live.writer.deadline() <= now);
        let due: Vec<RecordingId> = due.map(|(id, _)| *id).collect();
        for recording in &due {
            self.at = Some(*recording);
            let Some(live) = self.live.get_mut(recording) else { continue };
            let result = live.writer.tick(Moment::now());
            let stats = live.writer.stats();
            live.unsynced.synced(stats.chunks);
            self.common.metrics.sync_seconds.observe(stats.sync_last.as_secs_f64());
            if let Err(error) = result {
                self.fail(*recording, &error);
            }
        }
        self.end_told();
        self.ask_again(now);
        if self.number == 0 && now.saturating_duration_since(self.looked_at) >= SPACE_LOOK {
            self.looked_at = now;
            self.common.look_at_space();
            self.common.show_load();
        }
        !due.is_empty()
    }

    fn ask(&self, recording: RecordingId) {
        let task = begin::begin(Arc::clone(&self.common), recording, self.own.clone());
        self.common.runtime.spawn(task);
    }

    fn ask_again(&mut self, now: Instant) {
        let due = |waiting: &Waiting| waiting.again.is_some_and(|at| at <= now);
        let due = self.waiting.iter_mut().filter(|(_, waiting)| due(waiting));
        let due = due.map(|(id, waiting)| {
            waiting.again = None;
            *id
        });
        due.collect::<Vec<_>>().into_iter().for_each(|recording| self.ask(recording));
    }

    fn ask_later(&mut self, recording: RecordingId) {
        if let Some(waiting) = self.waiting.get_mut(&recording) {
            waiting.again = Some(Instant::now() + LEDGER_AGAIN);
        }
    }

    /// Whether a journal that the disk does not give is waited for still. Told when that begins.
    fn may_be_stuck(&mut self, recording: RecordingId, error: &JournalError) -> bool {
        let Some(waiting) = self.waiting.get_mut(&recording) else { return false };
        if waiting.stuck_since.is_none() {
            tracing::error!(%recording, %error, "a journal cannot begin now");
        }
        waiting.stuck_since.get_or_insert_with(Instant::now).elapsed() < STUCK_WAIT
    }

    fn on_begun(&mut self, recording: RecordingId, begun: Result<Live, Refusal>) {
        let why = match begun {
            Ok(live) => return self.on_live(recording, live),
            Err(Refusal::Later) => return self.ask_later(recording),
            Err(Refusal::Stuck(error)) => match self.may_be_stuck(recording, &error) {
                true => return self.ask_later(recording),
                false => Some(error.stop()),
            },
            Err(Refusal::Over) => None,
            Err(Refusal::Stop(why)) => Some(why),
        };
        self.over.insert(recording, None);
        if let Some(why) = why {
            self.stop(recording, why);
        }
        let Some(mut waiting) = self.waiting.remove(&recording) else { return };
        self.common.metrics.batches_refused.inc_by(waiting.len() as u64);
        if let Some(done) = waiting.close.take() {
            let _ = done.send(None); // Whoever asked may be gone.
        }
    }

    fn on_live(&mut self, recording: RecordingId, live: Live) {
        self.at = Some(recording);
        self.live.insert(recording, live);
        self.common.show_load();
        let Some(mut waiting) = self.waiting.remove(&recording) else { return };
        for (batch, hold) in waiting.take() {
            self.write(recording, &batch, hold);
            self.tick(); // The others are due meanwhile.
        }
        if let Some(done) = waiting.close.take() {
            self.on_close(recording, done);
        }
    }

    /// The row is another recorder's: what we wrote was not for us to write.
    fn on_foreign(&mut self, recording: RecordingId) {
        tracing::error!(%recording, "another recorder writes this recording");
        self.over.insert(recording, None);
        if let Some(Live { writer, folder, place, is_new, .. }) = self.live.remove(&recording) {
            drop((writer, place));
            self.common.show_load();
            if is_new {
                self.common.runtime.spawn_blocking(move || begin::destroy(folder));
            }
        }
    }

    fn on_close(&mut self, recording: RecordingId, done: oneshot::Sender<Option<Arc<DataKey>>>) {
        self.drain();
        if let Some(waiting) = self.waiting.get_mut(&recording) {
            waiting.close = Some(done); // Its journal has yet to be.
            return;
        }
        let key = self.close(recording).or_else(|| self.over.take_key(recording));
        self.over.insert(recording, None);
        let _ = done.send(key); // Whoever asked may be gone.
    }

    fn close(&mut self, recording: RecordingId) -> Option<Arc<DataKey>> {
        self.at = Some(recording);
        let Live { writer, key, place, .. } = self.live.remove(&recording)?;
        if let Err(error) = writer.close(Moment::now()) {
            tracing::warn!(%recording, %error, "the end of a journal is not written");
        }
        drop(place);
        self.common.show_load();
        Some(key)
    }

    /// A batch or the disk is not as it must be. What was written before is safe, and its key is kept
    /// until somebody makes files of it.
    fn fail(&mut self, recording: RecordingId, error: &WriteError) {
        self.common.metrics.batches_refused.inc();
        if let WriteError::Batch(_) = error {
            return;
        }
        tracing::error!(%recording, %error, "a journal ends early");
        let why = match error {
            WriteError::DiskFull => Stop::DiskFull,
            _ => Stop::Failed,
        };
        self.end_early(recording, why);
    }

    fn end_early(&mut self, recording: RecordingId, why: Stop) {
        let key = self.live.remove(&recording).map(|live| live.key);
        self.common.show_load();
        self.over.insert(recording, key);
        self.stop(recording, why);
    }

    /// Closes the journals that must end while the disk still has room for their ends.
    fn end_told(&mut self) {
        let told = self.live.iter().filter(|(_, live)| live.place.must_end());
        for recording in told.map(|(id, _)| *id).collect::<Vec<_>>() {
            let key = self.close(recording);
            self.over.insert(recording, key);
            self.stop(recording, Stop::DiskFull);
        }
    }

    fn stop(&self, recording: RecordingId, why: Stop) {
        let ledger = Arc::clone(&self.common.ledger);
        self.common.runtime.spawn(async move {
            while ledger.stop(recording, why).await.is_err() {
                tokio::time::sleep(LEDGER_AGAIN).await;
            }
        });
    }

    /// Closes all journals; those that are about to begin are waited for, but not for long.
    fn end(&mut self) {
        let until = Instant::now() + END_WAIT;
        while !self.waiting.is_empty() && Instant::now() < until {
            if let Ok(message) = self.messages.recv_timeout(TAP_WAIT) {
                self.on_message(message);
            }
            self.work(None);
        }
        let all: Vec<RecordingId> = self.live.keys().copied().collect();
        all.into_iter().for_each(|recording| drop(self.close(recording)));
    }
}

#[cfg(test)]
mod tests;
