//! The recorder at work: threads that write journals, and tasks that bring what was recorded to the
//! partner's storage.
//!
//! ```text
//! tap ring ─▶ capture (threads) ─▶ journal     ledger: rows, events (somebody else's store)
//!                  ▲ close                         ▲ steps          │ news
//!             supervisor ── a job per recording ───┴── finish, push, purge
//! ```

mod cancel;
mod capture;
mod clock;
mod finish;
pub mod ledger;
mod metrics;
mod patience;
mod push;
mod spool;
mod supervisor;
mod sweep;
mod tries;
mod turns;
mod work;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bus::tap::{Progress, TapReceiver};
use tokio::{sync::watch, time::timeout};

pub use self::{capture::Admission, metrics::Metrics};
use self::{
    capture::Capture,
    clock::AgeClock,
    ledger::Ledger,
    supervisor::Supervisor,
    tries::{Keys, Tries},
    turns::Turns,
};
use crate::{
    composite::Tools,
    evidence::{KeySet, SignerError, Signers, Software},
    journal::Rotation,
    key::{EpochError, EpochKeys},
    limits::SUPERVISOR_END,
    storage::Storages,
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
    /// What composites are made with; none: they cannot be made here, and recordings that want one come
    /// without it.
    pub composites: Option<Tools>,
    /// How long a wall clock that jumps ahead is doubted before recordings grow old by it.
    pub clock_doubt: Duration,
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
    tries: Tries,
    turns: Turns,
    keys: Keys,
    /// Becomes true when the process ends.
    stop: watch::Receiver<bool>,
    composites: Option<Tools>,
    /// What ages run by.
    ages: AgeClock,
    /// How far the media are that the journals get.
    progress: Progress,
}

/// A recorder that runs.
pub struct Recorder {
    shared: Arc<Shared>,
    capture: Capture,
    stop: watch::Sender<bool>,
    supervisor: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Recorder {
    /// Starts it within a Tokio runtime; goes on with what a process before left.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        Self::start_rotating(parts, Rotation::LIVE)
    }

    /// The same with another size of the journal files that are pushed while their recordings go on.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_rotating(parts: Parts, rotation: Rotation) -> Result<Self, StartError> {
        let spool = parts.folder.join("spool");
        DirBuilder::new().recursive(true).mode(0o700).create(&spool)?;
        let (stop, stopped) = watch::channel(false);
        let doubted = parts.metrics.clock_doubted.clone();
        let shared = Arc::new(Shared {
            epochs: Arc::new(EpochKeys::open(&parts.folder.join("epochs"))?),
            signers: Signers::open(&parts.folder.join("evidence"), now_ms())?,
            software: Software::running()?,
            ledger: parts.ledger,
            storages: parts.storages,
            metrics: parts.metrics,
            tries: Tries::default(),
            turns: Turns::default(),
            keys: Keys::default(),
            stop: stopped,
            composites: parts.composites,
            ages: AgeClock::open(&parts.folder, parts.clock_doubt, doubted)?,
            progress: parts.tap.progress(),
            spool,
        });
        let capture = Capture::start(capture::Parts {
            tap: parts.tap,
            ledger: Arc::clone(&shared.ledger),
            spool: shared.spool.clone(),
            epochs: Arc::clone(&shared.epochs),
            capture: Arc::clone(shared.signers.capture()),
            metrics: Arc::clone(&shared.metrics),
            live_max: parts.live_max,
            rotation,
        })?;
        let supervisor = Supervisor::new(Arc::clone(&shared), capture.orders.clone());
        let supervisor = tokio::spawn(supervisor.run());
        Ok(Self { shared, capture, stop, supervisor: Mutex::new(Some(supervisor)) })
    }

    /// Public keys that ever signed here.
    #[must_use]
    pub fn keys(&self) -> KeySet {
        self.shared.signers.published()
    }

    /// Whether composites and audio mixes can be made here.
    #[must_use]
    pub fn composites(&self) -> bool {
        self.shared.composites.is_some()
    }

    /// Whether one more recording may begin, by what is measured now. Cheap: ask before each.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.capture.admission()
    }

    /// The way to partners' storages, for a test push.
    #[must_use]
    pub fn storages(&self) -> &Storages {
        &self.shared.storages
    }

    /// Closes journals and ends; what is not finished goes on at the next start.
    pub async fn shut_down(&self) {
        let _ = self.stop.send(true); // The supervisor may be gone.
        self.capture.end().await;
        let Some(supervisor) = taken(&self.supervisor) else { return };
        if timeout(SUPERVISOR_END, supervisor).await.is_err() {
            tracing::error!("the work on recordings did not end in time");
        }
    }
}

fn taken<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
