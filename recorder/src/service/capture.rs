//! The threads that write journals: batches of the tap in, chunks on disk out.
//!
//! ```text
//!              lane ─▶ thread ─▶ journals of its recordings       several, so that their syncs run at once
//! tap ring ─┤  lane ─▶ thread ─▶ …
//!                        │ ▲
//!     unknown recording  ▼ │ its journal, begun
//!                      task: asks the ledger, makes the folder     no thread waits for the ledger
//! ```
//!
//! A recording's journal begins with its first batch. It is closed by an order, a while after the
//! recording stopped, so that what the media workers still hand over is in it. With each batch comes a hold, which
//! is dropped once the disk has the batch, or when the batch is given up: whoever sent it keeps it until then.

mod begin;
mod lane;
mod load;
mod over;
mod reserve;
mod unsynced;
mod waiting;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use bus::tap::{TapReceiver, lane_of};
use sfu_proto::id::RecordingId;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep},
};

pub use self::load::Admission;
use self::{
    begin::{Live, Refusal},
    lane::Lane,
    load::Load,
    reserve::Reserve,
};
use super::{ledger::Ledger, metrics::Metrics};
use crate::{
    evidence::SigningKey,
    journal::{Rotation, Space, Watermark},
    key::{DataKey, EpochKeys},
    limits::{WRITERS, WRITERS_END},
};

/// Time between two looks whether a thread ended.
const ENDED_LOOK: Duration = Duration::from_millis(10);

/// What threads are told.
pub(super) enum Order {
    /// Close the journal; the answer is the data key, if there was a journal.
    Close(RecordingId, oneshot::Sender<Option<Arc<DataKey>>>),
    /// Close all of them and end.
    End,
}

/// What a thread is told by others.
enum Message {
    Order(Order),
    /// What a recording's first batch led to.
    Begun(RecordingId, Box<Result<Live, Refusal>>),
    /// Another recorder writes it.
    Foreign(RecordingId),
}

/// What capturing needs.
pub(super) struct Parts {
    pub(super) tap: TapReceiver,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) spool: PathBuf,
    pub(super) epochs: Arc<EpochKeys>,
    pub(super) capture: Arc<SigningKey>,
    pub(super) metrics: Arc<Metrics>,
    /// Most recordings that are written at once.
    pub(super) live_max: usize,
    /// Of journals that are pushed meanwhile.
    pub(super) rotation: Rotation,
}

/// What all threads share.
struct Common {
    ledger: Arc<dyn Ledger>,
    runtime: Handle,
    spool: PathBuf,
    epochs: Arc<EpochKeys>,
    capture: Arc<SigningKey>,
    metrics: Arc<Metrics>,
    load: Arc<Load>,
    rotation: Rotation,
    reserve: Reserve,
    /// Bytes of batches whose journal has not begun.
    waiting: AtomicUsize,
}

impl Common {
    /// Whether so many more bytes may wait, besides those of all others; they are counted then.
    fn may_wait(&self, bytes: usize, total_max: usize) -> bool {
        let more = |all: usize| Some(all + bytes).filter(|all| *all <= total_max);
        self.waiting.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn waited(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Relaxed);
    }

    fn show_load(&self) {
        let round = i64::try_from(self.load.round().as_millis()).unwrap_or(i64::MAX);
        self.metrics.round_ms.set(round);
        self.metrics.live.set(i64::try_from(self.load.live()).unwrap_or(i64::MAX));
    }

    fn look_at_space(&self) {
        let Ok(space) = Space::of(&self.spool) else { return };
        self.metrics.free_bytes.set(i64::try_from(space.free).unwrap_or(i64::MAX));
        let mark = space.watermark();
        self.metrics.disk_mark.set(mark as i64);
        if self.load.set_mark(mark) {
            match mark {
                Watermark::Plenty => tracing::info!("the recorder's disk has room again"),
                Watermark::Low => tracing::warn!("the recorder's disk runs full"),
                mark => tracing::error!(?mark, "the recorder's disk is nearly full"),
            }
        }
        for recording in self.load.end_largest(space) {
            tracing::error!(%recording, "the disk is nearly full: the largest recording ends");
        }
        self.reserve.keep(space, self.load.live());
    }
}

/// The way to the threads.
#[derive(Clone)]
pub(super) struct Orders(Arc<[mpsc::Sender<Message>]>);

/// The threads have ended.
#[derive(Debug)]
pub(super) struct Ended;

impl Orders {
    /// Tells whom it concerns.
    pub(super) fn send(&self, order: Order) -> Result<(), Ended> {
        match order {
            Order::Close(recording, done) => {
                let lane = self.0.get(lane_of(recording, self.0.len())).ok_or(Ended)?;
                let order = Order::Close(recording, done);
                lane.send(Message::Order(order)).map_err(|_| Ended)
            }
            Order::End => {
                for lane in self.0.iter() {
                    let _ = lane.send(Message::Order(Order::End)); // It may have ended.
                }
                Ok(())
            }
        }
    }
}

/// Capturing at work. Dropped, it ends like by [`Order::End`].
pub(super) struct Capture {
    pub(super) orders: Orders,
    load: Arc<Load>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Capture {
    /// Starts the threads within a Tokio runtime.
    ///
    /// # Errors
    /// The system has no room for threads.
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let load = Arc::new(Load::new(parts.live_max, WRITERS));
        let common = Arc::new(Common {
            reserve: Reserve::beside(&parts.spool),
            ledger: parts.ledger,
            runtime: Handle::current(),
            spool: parts.spool,
            epochs: parts.epochs,
            capture: parts.capture,
            metrics: parts.metrics,
            load: Arc::clone(&load),
            rotation: parts.rotation,
            waiting: AtomicUsize::new(0),
        });
        common.look_at_space();
        common.runtime.spawn(begin::adopt(Arc::clone(&common)));
        let channels: Vec<_> = (0..WRITERS).map(|_| mpsc::channel()).collect();
        let orders = Orders(channels.iter().map(|(sender, _)| sender.clone()).collect());
        // From here on what was started ends with it.
        let capture = Self { orders, load, threads: Mutex::default() };
        for (number, (tap, channel)) in
            parts.tap.lanes(WRITERS).into_iter().zip(channels).enumerate()
        {
            let lane = Lane::new(number, tap, channel, Arc::clone(&common));
            let name = format!("recorder-{number}");
            let thread = thread::Builder::new().name(name).spawn(move || lane.run())?;
            capture.lock().push(thread);
        }
        Ok(capture)
    }

    /// Whether one more recording may begin.
    pub(super) fn admission(&self) -> Admission {
        self.load.admission()
    }

    /// Closes all journals and waits for the threads, but not for ever.
    pub(super) async fn end(&self) {
        let _ = self.orders.send(Order::End); // It never fails.
        let threads = std::mem::take(&mut *self.lock());
        let until = Instant::now() + WRITERS_END;
        for thread in threads {
            while !thread.is_finished() && Instant::now() < until {
                sleep(ENDED_LOOK).await;
            }
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if !thread.is_finished() {
                tracing::error!(name, "a writer did not end: its journals stay open");
            } else if thread.join().is_err() {
                tracing::error!(name, "a writer of journals failed by a defect");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<thread::JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End); // It never fails.
    }
}
