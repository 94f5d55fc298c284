//! The recorder at work: a thread that writes journals, and tasks that bring what was recorded to the
//! partner's storage.
//!
//! ```text
//! tap ring ─▶ capture (thread) ─▶ journal      ledger: rows, events (somebody else's store)
//!                  ▲ close                         ▲ steps          │ news
//!             supervisor ── a job per recording ───┴── finish, push, purge
//! ```

mod capture;
mod finish;
pub mod ledger;
mod metrics;
mod push;
mod spool;
mod work;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bus::tap::TapReceiver;
use rand::Rng as _;
use sfu_proto::id::RecordingId;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::Instant as Later,
};

pub use self::{capture::load::Admission, metrics::Metrics};
use self::{
    capture::{Capture, Order, load::Load},
    ledger::{Entry, Ledger, News, State, Step},
    work::Job,
};
use crate::{
    evidence::{KeySet, SignerError, Signers, Software},
    journal::Folder,
    key::{DataKey, EpochError, EpochId, EpochKeys},
    limits::{CLOSE_AFTER, EPOCHS_LOOK, JOBS_MAX, LOOK, WARN_PERCENTS},
    storage::{Storages, delay},
};

/// What the recorder needs from outside.
pub struct Parts {
    /// Where its own files are: journals, sealed files, keys.
    pub folder: PathBuf,
    /// Media.
    pub tap: TapReceiver,
    /// Rows and events.
    pub ledger: Arc<dyn Ledger>,
    /// The way to partners' storages.
    pub storages: Storages,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Most recordings that are written at once.
    pub live_max: usize,
}

/// Why the recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder.
    #[error("the recorder's folder: {0}")]
    Folder(#[from] io::Error),
    /// The operator's keys.
    #[error(transparent)]
    Epochs(#[from] EpochError),
    /// The evidence keys.
    #[error(transparent)]
    Signers(#[from] SignerError),
    /// The capture key is not one.
    #[error("the capture key cannot be used")]
    CaptureKey,
}

/// What all jobs share.
struct Shared {
    spool: PathBuf,
    ledger: Arc<dyn Ledger>,
    storages: Storages,
    epochs: Arc<EpochKeys>,
    signers: Signers,
    software: Software,
    metrics: Arc<Metrics>,
    /// Failures in a row, by recording.
    failures: Mutex<HashMap<RecordingId, u32>>,
}

impl Shared {
    fn failed(&self, recording: RecordingId) {
        *self.failures().entry(recording).or_default() += 1;
    }

    fn forget(&self, recording: RecordingId) {
        self.failures().remove(&recording);
    }

    /// How long to wait after the failures so far and one more.
    fn again_after(&self, recording: RecordingId) -> Duration {
        let failures = self.failures().get(&recording).copied().unwrap_or_default();
        delay(failures + 1, rand::rng().next_u32())
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<RecordingId, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recorder that runs.
pub struct Recorder {
    shared: Arc<Shared>,
    load: Arc<Load>,
    orders: mpsc::Sender<Order>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    supervisor: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Recorder {
    /// Starts it within a Tokio runtime; goes on with what a process before left.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let spool = parts.folder.join("spool");
        DirBuilder::new().recursive(true).mode(0o700).create(&spool)?;
        let shared = Arc::new(Shared {
            epochs: Arc::new(EpochKeys::open(&parts.folder.join("epochs"))?),
            signers: Signers::open(&parts.folder.join("evidence"), now_ms())?,
            software: Software::running()?,
            ledger: parts.ledger,
            storages: parts.storages,
            metrics: parts.metrics,
            failures: Mutex::default(),
            spool,
        });
        let (orders, taken) = mpsc::channel();
        let load = Arc::new(Load::new(parts.live_max, 1));
        let capture = Capture {
            tap: parts.tap,
            orders: taken,
            ledger: Arc::clone(&shared.ledger),
            runtime: tokio::runtime::Handle::current(),
            spool: shared.spool.clone(),
            epochs: Arc::clone(&shared.epochs),
            capture: Arc::clone(shared.signers.capture()),
            metrics: Arc::clone(&shared.metrics),
            load: Arc::clone(&load),
            live: HashMap::new(),
            refused: HashMap::new(),
            looked_at: Instant::now(),
        };
        let thread =
            thread::Builder::new().name("recorder".to_owned()).spawn(move || capture.run())?;
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor::new(Arc::clone(&shared), orders.clone());
        let supervisor = tokio::spawn(supervisor.run(stopped));
        Ok(Self {
            shared,
            load,
            orders,
            thread: Mutex::new(Some(thread)),
            stop,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }

    /// Public keys that ever signed here.
    #[must_use]
    pub fn keys(&self) -> KeySet {
        self.shared.signers.published()
    }

    /// Whether one more recording may begin, by what is measured now. Cheap: ask before each.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.load.admission()
    }

    /// The way to partners' storages, for a test push.
    #[must_use]
    pub fn storages(&self) -> &Storages {
        &self.shared.storages
    }

    /// Closes journals and ends; what is not finished goes on at the next start.
    pub async fn shut_down(&self) {
        let _ = self.stop.send(true); // The supervisor may be gone.
        let supervisor = taken(&self.supervisor);
        if let Some(supervisor) = supervisor {
            let _ = supervisor.await;
        }
        let _ = self.orders.send(Order::End);
        let thread = taken(&self.thread);
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn taken<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Looks at all rows and starts what is due.
struct Supervisor {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    /// Data keys of journals that this process wrote, until their files are made.
    keys: HashMap<RecordingId, Arc<DataKey>>,
    closed: HashSet<RecordingId>,
    running: HashSet<RecordingId>,
    due: HashMap<RecordingId, Later>,
    jobs: JoinSet<(RecordingId, bool)>,
    places: Arc<Semaphore>,
    epochs_at: Option<Later>,
}

impl Supervisor {
    fn new(shared: Arc<Shared>, orders: mpsc::Sender<Order>) -> Self {
        Self {
            shared,
            orders,
            keys: HashMap::new(),
            closed: HashSet::new(),
            running: HashSet::new(),
            due: HashMap::new(),
            jobs: JoinSet::new(),
            places: Arc::new(Semaphore::new(JOBS_MAX)),
            epochs_at: None,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut news = self.shared.ledger.news();
        loop {
            match self.shared.ledger.open().await {
                Ok(entries) => self.look(entries).await,
                Err(error) => tracing::warn!(%error, "recordings cannot be read"),
            }
            tokio::select! {
                _ = stop.changed() => break,
                changed = news.changed() => if changed.is_err() {
                    tokio::time::sleep(LOOK).await;
                },
                Some(done) = self.jobs.join_next() => self.on_done(done),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.jobs.shutdown().await;
    }

    fn on_done(&mut self, done: Result<(RecordingId, bool), tokio::task::JoinError>) {
        let Ok((recording, is_well)) = done else {
            tracing::error!("the work on a recording failed by a defect");
            self.running.clear();
            return;
        };
        self.running.remove(&recording);
        if is_well {
            self.shared.forget(recording);
            self.due.remove(&recording);
        } else {
            let again = self.shared.again_after(recording);
            self.shared.failed(recording);
            self.due.insert(recording, Later::now() + again);
        }
    }

    async fn look(&mut self, entries: Vec<Entry>) {
        self.measure(&entries);
        self.destroy_epochs(&entries);
        self.remove_orphans(&entries);
        let known: HashSet<RecordingId> = entries.iter().map(|entry| entry.id).collect();
        self.keys.retain(|id, _| known.contains(id));
        self.closed.retain(|id| known.contains(id));
        self.due.retain(|id, _| known.contains(id));
        for entry in entries {
            if entry.state == State::Live || self.running.contains(&entry.id) {
                continue;
            }
            let entry = self.warn(entry).await;
            if self.is_due(&entry) && self.close(&entry).await {
                self.begin(entry);
            }
        }
    }

    /// Whether something can be done now.
    fn is_due(&self, entry: &Entry) -> bool {
        let is_idle = entry.held && entry.state == State::Delivered;
        let must = work::is_over(entry, now_ms()) || entry.push_wanted;
        must || !is_idle && self.due.get(&entry.id).is_none_or(|at| *at <= Later::now())
    }

    /// Closes the journal of a recording that is over. False: not yet.
    async fn close(&mut self, entry: &Entry) -> bool {
        if self.closed.contains(&entry.id) {
            return true;
        }
        let since = entry.stopped_at_ms.map_or(0, |at| now_ms().saturating_sub(at));
        if Duration::from_millis(since) < CLOSE_AFTER {
            return false; // Media workers may still hand over what came before the end.
        }
        let (done, answer) = oneshot::channel();
        if self.orders.send(Order::Close(entry.id, done)).is_err() {
            return false;
        }
        let Ok(key) = answer.await else { return false };
        self.closed.insert(entry.id);
        if let Some(key) = key {
            self.keys.insert(entry.id, key);
        }
        true
    }

    fn begin(&mut self, entry: Entry) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let recording = entry.id;
        let key = self.keys.get(&recording).cloned();
        let job = Job { shared: Arc::clone(&self.shared), entry, key };
        self.running.insert(recording);
        self.jobs.spawn(async move {
            let _place = place;
            match Box::pin(job.run()).await {
                Ok(_) => (recording, true),
                Err(error) => {
                    tracing::warn!(%recording, %error, "a recording waits");
                    (recording, false)
                }
            }
        });
    }

    /// Says at some ages that a recording is not delivered yet.
    async fn warn(&self, mut entry: Entry) -> Entry {
        let (Some(from), Some(to)) = (entry.stopped_at_ms, entry.expires_at_ms) else {
            return entry;
        };
        if entry.held || entry.state == State::Delivered || to <= from {
            return entry;
        }
        let age = now_ms().saturating_sub(from).saturating_mul(100) / (to - from);
        let passed = WARN_PERCENTS.iter().filter(|percent| u64::from(**percent) <= age);
        let Some(percent) = passed.max().copied() else { return entry };
        if percent > entry.warned_percent {
            let news = Some(News::Expiring { age_percent: percent });
            let step = Step { news, ..Step::default() };
            // A failure is tried again soon.
            if let Ok(version) = self.shared.ledger.step(entry.id, entry.version, step).await {
                (entry.version, entry.warned_percent) = (version, percent);
            }
        }
        entry
    }

    fn measure(&self, entries: &[Entry]) {
        let metrics = &self.shared.metrics;
        let over = || entries.iter().filter(|entry| !entry.held);
        let oldest = over().filter_map(|entry| entry.stopped_at_ms).min();
        let age = oldest.map_or(0, |at| now_ms().saturating_sub(at) / 1000);
        metrics.oldest_seconds.set(i64::try_from(age).unwrap_or(i64::MAX));
        metrics.unpurged.set(entries.len() as i64);
        let blocked = entries.iter().filter(|entry| entry.state == State::PushBlocked).count();
        metrics.blocked.set(blocked as i64);
        let rows = entries.iter().flat_map(|entry| &entry.artifacts);
        let lag: u64 = rows.map(|row| row.bytes.saturating_sub(row.pushed_bytes)).sum();
        metrics.push_lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Destroys the operator's keys of hours that no recording needs any more.
    fn destroy_epochs(&mut self, _: &[Entry]) {
        if self.epochs_at.is_some_and(|at| at > Later::now()) {
            return;
        }
        self.epochs_at = Some(Later::now() + EPOCHS_LOOK);
        let Ok(keep) = self.epochs_in_use() else { return };
        let before = SystemTime::now() - EPOCHS_LOOK;
        match self.shared.epochs.destroy_before(before, &keep) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => tracing::info!(keys = gone.len(), "operator's keys destroyed"),
            Err(error) => tracing::error!(%error, "operator's keys cannot be destroyed"),
        }
    }

    /// Hours of all recordings that are on this disk. An unreadable one keeps all of them.
    fn epochs_in_use(&self) -> io::Result<BTreeSet<EpochId>> {
        let mut keep = BTreeSet::new();
        for path in std::fs::read_dir(&self.shared.spool)? {
            let folder = Folder::open(&path?.path()).map_err(io::Error::other)?;
            match folder.keys() {
                Ok(keys) => keep.extend(keys.operator.map(|wrap| wrap.epoch)),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(keep)
    }

    /// Destroys folders that have no row: their recording is purged.
    fn remove_orphans(&self, entries: &[Entry]) {
        let Ok(paths) = std::fs::read_dir(&self.shared.spool) else { return };
        for path in paths.filter_map(Result::ok) {
            let Ok(folder) = Folder::open(&path.path()) else { continue };
            let is_known = entries.iter().any(|entry| entry.id == folder.recording());
            if !is_known && !self.running.contains(&folder.recording()) {
                self.remove_orphan(folder);
            }
        }
    }

    /// The rows were read before the folders: one that is new since then is not an orphan.
    fn remove_orphan(&self, folder: Folder) {
        let (ledger, recording) = (Arc::clone(&self.shared.ledger), folder.recording());
        tokio::spawn(async move {
            match ledger.entry(recording).await {
                Ok(Some(entry)) if entry.state == State::Purged => {
                    tracing::warn!(%recording, "what is left of a purged recording is destroyed");
                    let _ = tokio::task::spawn_blocking(move || folder.destroy()).await;
                }
                // A database that was restored or replaced knows it not: somebody must decide.
                Ok(None) => tracing::error!(%recording, "a folder of an unknown recording"),
                _ => {}
            }
        });
    }
}

fn is_missing(error: &crate::journal::FolderError) -> bool {
    let crate::journal::FolderError::File(error) = error else { return false };
    error.kind() == io::ErrorKind::NotFound
}

/// Wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
