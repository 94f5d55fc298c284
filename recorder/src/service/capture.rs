//! The thread that writes journals: batches of the tap in, chunks on disk out.
//!
//! A recording's journal begins with its first batch. It is closed by an order, a while after the
//! recording stopped, so that what the media workers still hand over is in it.

pub(super) mod load;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use bus::tap::TapReceiver;
use sfu_proto::{id::RecordingId, tap::Batch};
use tokio::{runtime::Handle, sync::oneshot};

use self::load::{Load, Place};
use super::{
    ledger::{Entry, Ledger, State, Stop},
    metrics::Metrics,
};
use crate::{
    evidence::SigningKey,
    journal::{Folder, Moment, Space, Watermark, WriteError, Writer},
    key::{DataKey, EpochKeys, WrappedKeys},
    limits::{LIVE_REFUSED_MAX, SPACE_LOOK, TAP_WAIT},
    seal::Recipients,
};

/// What the thread is told.
pub(super) enum Order {
    /// Close the journal; the answer is the data key, if there was a journal.
    Close(RecordingId, oneshot::Sender<Option<Arc<DataKey>>>),
    /// Close all of them and end.
    End,
}

/// Everything that the thread owns.
pub(super) struct Capture {
    pub(super) tap: TapReceiver,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) runtime: Handle,
    pub(super) spool: PathBuf,
    pub(super) epochs: Arc<EpochKeys>,
    pub(super) capture: Arc<SigningKey>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) load: Arc<Load>,
    pub(super) live: HashMap<RecordingId, Live>,
    /// Not written: ended by us, unknown, or too many. Bounded.
    pub(super) refused: HashMap<RecordingId, Instant>,
    pub(super) looked_at: Instant,
}

/// A recording that is written.
pub(super) struct Live {
    writer: Writer,
    key: Arc<DataKey>,
    _place: Place,
}

impl Capture {
    /// Runs until it is told to end.
    pub(super) fn run(mut self) {
        self.look_at_space();
        loop {
            let batch = self.tap.recv(self.wait());
            if let Some(batch) = batch {
                self.on_batch(&batch);
            }
            self.tick();
            match self.orders.try_recv() {
                Ok(Order::Close(recording, done)) => {
                    self.drain();
                    let key = self.close(recording);
                    let _ = done.send(key); // Whoever asked may be gone.
                }
                Ok(Order::End) | Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => {}
            }
        }
        self.drain();
        let all: Vec<RecordingId> = self.live.keys().copied().collect();
        all.into_iter().for_each(|recording| drop(self.close(recording)));
    }

    fn wait(&self) -> Duration {
        let next = self.live.values().map(|live| live.writer.deadline()).min();
        let now = Instant::now();
        next.map_or(TAP_WAIT, |at| at.saturating_duration_since(now).min(TAP_WAIT))
    }

    /// What waits in the ring belongs to what ends now.
    fn drain(&mut self) {
        while let Some(batch) = self.tap.recv(Duration::ZERO) {
            self.on_batch(&batch);
        }
    }

    fn on_batch(&mut self, batch: &Batch) {
        let recording = batch.recording;
        if !self.live.contains_key(&recording) && !self.begin(recording) {
            self.metrics.batches_refused.inc();
            return;
        }
        let Some(live) = self.live.get_mut(&recording) else { return };
        self.metrics.captured_bytes.inc_by(batch.bytes.len() as u64);
        if let Err(error) = live.writer.append(&batch.bytes) {
            self.fail(recording, &error);
        }
    }

    fn tick(&mut self) {
        let now = Moment::now();
        self.load.round_begins(0);
        let due = |live: &Live| live.writer.deadline() <= now.at;
        let due: Vec<RecordingId> =
            self.live.iter().filter(|(_, live)| due(live)).map(|(id, _)| *id).collect();
        let counts = !due.is_empty();
        for recording in due {
            let Some(live) = self.live.get_mut(&recording) else { continue };
            let result = live.writer.tick(now);
            let stats = live.writer.stats();
            self.metrics.sync_seconds.observe(stats.sync_last.as_secs_f64());
            if let Err(error) = result {
                self.fail(recording, &error);
            }
        }
        self.load.round_ends(0, counts);
        if now.at.saturating_duration_since(self.looked_at) >= SPACE_LOOK {
            self.looked_at = now.at;
            self.look_at_space();
        }
    }

    fn look_at_space(&self) {
        let Ok(space) = Space::of(&self.spool) else { return };
        self.metrics.free_bytes.set(i64::try_from(space.free).unwrap_or(i64::MAX));
        let mark = space.watermark();
        if self.load.set_mark(mark) {
            match mark {
                Watermark::Plenty => tracing::info!("the recorder's disk has room again"),
                mark => tracing::warn!(?mark, "the recorder's disk runs full"),
            }
        }
    }

    /// Begins the journal of a recording, if there is one to be written.
    fn begin(&mut self, recording: RecordingId) -> bool {
        if self.refused.contains_key(&recording) {
            return false;
        }
        let entry = match self.runtime.block_on(self.ledger.entry(recording)) {
            Ok(Some(entry)) if entry.state == State::Live => entry,
            Ok(_) => {
                self.refuse(recording);
                return false;
            }
            // The store stands still: what cannot be asked about is lost, the rest comes later.
            Err(_) => return false,
        };
        if self.load.is_disk_low() {
            self.end(recording, Stop::DiskFull);
            return false;
        }
        let Some(place) = self.load.place() else {
            self.end(recording, Stop::NoCapacity);
            return false;
        };
        match self.open(&entry, place) {
            Ok(live) => {
                self.live.insert(recording, live);
                self.metrics.live.set(self.live.len() as i64);
                true
            }
            Err(error) => {
                tracing::error!(%recording, %error, "a journal cannot begin");
                self.end(recording, Stop::DiskFull);
                false
            }
        }
    }

    fn open(&self, entry: &Entry, place: Place) -> Result<Live, Box<dyn std::error::Error>> {
        let recipients = Recipients::parse(&entry.recipients)?;
        let key = DataKey::generate();
        let epochs = (!entry.sealed).then_some(&*self.epochs);
        let now = SystemTime::now();
        let keys = WrappedKeys::wrap(entry.id, &key, recipients.as_slice(), epochs, now)?;
        let folder = Folder::create(&self.spool, entry.id)?;
        folder.write_keys(&keys)?;
        let key = Arc::new(key);
        let capture = Arc::clone(&self.capture);
        let writer = Writer::create(&folder, Arc::clone(&key), capture, Moment::now())?;
        Ok(Live { writer, key, _place: place })
    }

    fn fail(&mut self, recording: RecordingId, error: &WriteError) {
        if let WriteError::Batch(_) = error {
            self.metrics.batches_refused.inc();
            return;
        }
        tracing::error!(%recording, %error, "a journal ends early");
        self.close(recording);
        self.end(recording, Stop::DiskFull);
    }

    fn end(&mut self, recording: RecordingId, why: Stop) {
        self.refuse(recording);
        let ledger = Arc::clone(&self.ledger);
        self.runtime.spawn(async move {
            while ledger.stop(recording, why).await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    fn refuse(&mut self, recording: RecordingId) {
        if self.refused.len() >= LIVE_REFUSED_MAX {
            let oldest = self.refused.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id);
            oldest.map(|id| self.refused.remove(&id));
        }
        self.refused.insert(recording, Instant::now());
    }

    fn close(&mut self, recording: RecordingId) -> Option<Arc<DataKey>> {
        self.refuse(recording);
        let live = self.live.remove(&recording)?;
        self.metrics.live.set(self.live.len() as i64);
        if let Err(error) = live.writer.close(Moment::now()) {
            tracing::warn!(%recording, %error, "the end of a journal is not written");
        }
        Some(live.key)
    }
}
