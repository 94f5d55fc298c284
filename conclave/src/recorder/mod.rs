//! The recorder within `conclave serve`: its ledger is signaling's store, its ring is filled by the
//! media workers, and by rooms with what is said in texts.
//!
//! ```text
//! media workers ┬─ ring ─▶ recorder ── steps ─▶ store ◀── REST, rooms
//! rooms, texts ─┘            └─ failed, away ─▶ room: stops, tells everybody
//! ```

mod apart;
pub(crate) mod key;
mod ledger;
mod own;
mod port;
pub(crate) mod process;
mod said;
mod target;
#[cfg(test)]
mod tests;
mod texts;

use std::{
    fs::DirBuilder,
    num::NonZeroU64,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bus::tap::TapReceiver;
use egress::{Dialer, Guard};
use prometheus::{IntGauge, Registry};
use recorder::{
    composite::{Lack, Sandbox, Tools},
    service::{Metrics, Parts, Recorder},
    storage::{Cap, Storages},
};
use sdk_spec::recording::StopReason;
use sfu_proto::id::{RecordingId, RoomId};
use signaling::{RecorderPort, Store};
use tokio::sync::{Notify, mpsc};

pub(crate) use self::texts::Texts;
use self::{ledger::StoreLedger, port::Port};
use crate::config::{Config, file};

/// Bytes that may wait between media workers and the recorder: seconds of a hundred pictures.
pub(crate) const RING_BYTES: usize = 64 * 1024 * 1024;
/// Recordings that failed and of which the rooms have not heard.
const FAILED_MAX: usize = 1000;

/// A recording that the recorder cannot go on with.
pub(crate) type Failed = (RoomId, RecordingId, StopReason);

/// The recorder of this process, or the way to it.
pub(crate) struct Running {
    place: Place,
    pub(crate) news: News,
}

/// What rooms must be told.
pub(crate) struct News {
    /// These recordings.
    pub(crate) failed: mpsc::Receiver<Failed>,
    /// All of them: the recorder is away for too long. Never told of one in this process.
    pub(crate) away: Arc<Notify>,
}

/// Where the recorder is.
enum Place {
    Here { recorder: Arc<Recorder>, local: Option<PathBuf> },
    Apart(apart::Apart),
}

/// The way to a recorder in another process, at `to` (`host:port`).
///
/// # Errors
/// The keys of the link cannot be used.
pub(crate) fn connect(
    config: &Config,
    to: String,
    tap: TapReceiver,
    registry: &Registry,
) -> anyhow::Result<Running> {
    let (apart, news) = apart::start(config, to, tap, registry)?;
    Ok(Running { place: Place::Apart(apart), news })
}

/// Starts the recorder with its files under `<data>/recorder`; `local` is where targets of the kind
/// `local` write to. Waits for a process before this one to end.
///
/// # Errors
/// Its folder or keys cannot be used, or another process uses them.
pub(crate) async fn start(
    config: &Config,
    local: Option<PathBuf>,
    (store, tap): (Store, TapReceiver),
    registry: &Registry,
) -> anyhow::Result<Running> {
    let folder = config.storage.data_dir.join("recorder");
    make(&folder)?;
    let lock = own::lock(&folder, own::LOCK_WAIT).await?;
    let local = local.map(|folder| make(&folder)).transpose()?;
    let (tell, failed) = mpsc::channel(FAILED_MAX);
    let metric = IntGauge::new(
        "conclave_recorder_unreadable",
        "Rows of recordings that cannot be read and are left alone.",
    )?;
    registry.register(Box::new(metric.clone()))?;
    let unreadable = Mutex::default();
    let (recorder, folders) = (own::name(&folder)?, local.clone());
    let ledger = StoreLedger { store, recorder, local: folders, unreadable, metric, tell };
    let webhooks = config.webhooks.server();
    let guard = Arc::new(Guard::new(&webhooks.rules())?);
    let dialer = Dialer::new(guard, webhooks.ca_file.as_deref())?;
    let cap = Cap::new(NonZeroU64::new(config.recorder.push_bytes_per_second));
    let parts = Parts {
        tap,
        ledger: Arc::new(ledger),
        storages: Storages::new(dialer, cap, local.iter().cloned().collect()),
        metrics: Arc::new(Metrics::new(registry)?),
        live_max: config.recorder.recordings_max,
        composites: composites(config.recorder.sandbox),
        clock_doubt: Duration::from_secs(config.recorder.clock_doubt_minutes.saturating_mul(60)),
        folder,
    };
    let recorder = Arc::new(Recorder::start(parts).context("the recorder cannot start")?);
    // For the rest of the process: a writer that hangs may outlive the recorder.
    std::mem::forget(lock);
    let news = News { failed, away: Arc::default() };
    Ok(Running { place: Place::Here { recorder, local }, news })
}

impl Running {
    /// What REST and rooms ask the recorder directly. `texts`: its ring.
    pub(crate) fn port(&self, texts: Texts) -> Arc<dyn RecorderPort> {
        match &self.place {
            Place::Here { recorder, local } => {
                let (recorder, local) = (Arc::clone(recorder), local.clone());
                Arc::new(Port { recorder, local, texts })
            }
            Place::Apart(apart) => apart.port(texts),
        }
    }

    /// Closes journals and ends.
    pub(crate) async fn shut_down(self) {
        match self.place {
            Place::Here { recorder, .. } => recorder.shut_down().await,
            Place::Apart(apart) => apart.shut_down().await,
        }
    }
}

/// What composites are made with, if they can be made here.
fn composites(sandbox: file::Sandbox) -> Option<Tools> {
    if sandbox == file::Sandbox::None {
        tracing::warn!("media of strangers are decoded without a sandbox");
    }
    let found = tools(sandbox);
    found.inspect_err(|lack| tracing::warn!("no composites and audio mixes: {lack}")).ok()
}

/// Looks for the programs that make composites. Blocks for a moment.
///
/// # Errors
/// What is missing.
pub(crate) fn tools(sandbox: file::Sandbox) -> Result<Tools, Lack> {
    Tools::look(match sandbox {
        file::Sandbox::Bwrap => Sandbox::Bwrap,
        file::Sandbox::None => Sandbox::None,
    })
}

/// A folder for the owner only, as an absolute path.
fn make(folder: &Path) -> anyhow::Result<PathBuf> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| folder.canonicalize()).with_context(|| folder.display().to_string())
}

/// Wall clock, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
