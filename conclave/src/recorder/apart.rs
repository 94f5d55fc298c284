//! A recorder in a process of its own, as `conclave serve` sees it: media go to it over the link, and what it
//! said last is what rooms and REST are told.
//!
//! ```text
//! media workers ─ ring ─▶ link ═══▶ conclave recorder        store ◀── both
//! rooms, REST ◀── last said, failures ◀═══┘
//! ```

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bus::{link::MediaEnd, tap::TapReceiver};
use prometheus::{IntCounter, IntGauge, Registry};
use sdk_spec::{
    problem::FieldError,
    rest::recordings::{EvidenceKey, Storage, StorageTested},
};
use sfu_proto::id::RecordingId;
use signaling::{Answer, RecordedText, RecorderPort};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::interval,
};

use super::{
    FAILED_MAX, Failed, News, key,
    said::{Said, Test},
    target,
    texts::Texts,
};
use crate::config::Config;

/// Keys that the recorder signs with, as it said them last: answers while the link is down.
const KEYS: &str = "recorder-keys.json";
/// Failures that were passed on are remembered up to this number: the recorder repeats each for a minute.
const TOLD_MAX: usize = 10 * FAILED_MAX;
/// Time between two looks at the link.
const MEASURE: Duration = Duration::from_secs(1);

/// The link to the recorder.
pub(super) struct Apart {
    link: Arc<MediaEnd>,
    said: Arc<Mutex<Said>>,
    follower: JoinHandle<()>,
}

/// Starts the link. It connects as soon as the recorder answers, and again whenever it was cut.
///
/// # Errors
/// The key of the data directory, or of the other side, cannot be used.
pub(super) fn start(
    config: &Config,
    to: String,
    tap: TapReceiver,
    registry: &Registry,
) -> anyhow::Result<(Apart, News)> {
    let trust = key::trust(config, key::Peer::Recorder)?;
    tracing::info!(fingerprint = %trust.identity.fingerprint(), "recordings are made by another process");
    let link = Arc::new(MediaEnd::start(tap, to, &trust)?);
    let (tell, failed) = mpsc::channel(FAILED_MAX);
    let keys = config.storage.data_dir.join(KEYS);
    let said = Arc::new(Mutex::new(Said { keys: kept(&keys), ..Said::default() }));
    let follower = Follower {
        link: Arc::clone(&link),
        said: Arc::clone(&said),
        keys,
        tell,
        told: HashSet::new(),
        absence: Absence::new(config.link.away_seconds),
        away: Arc::default(),
        metrics: Metrics::new(registry)?,
    };
    let news = News { failed, away: Arc::clone(&follower.away) };
    let follower = tokio::spawn(follower.run());
    Ok((Apart { link, said, follower }, news))
}

impl Apart {
    pub(super) fn port(&self, texts: Texts) -> Arc<dyn RecorderPort> {
        let (link, said) = (Arc::clone(&self.link), Arc::clone(&self.said));
        Arc::new(Remote { link, said, texts })
    }

    /// Waits a moment until the recorder has the last media.
    pub(super) async fn shut_down(self) {
        self.follower.abort();
        let _ = self.follower.await; // Aborted.
        self.link.finish().await;
    }
}

/// Takes up what the recorder says.
struct Follower {
    link: Arc<MediaEnd>,
    said: Arc<Mutex<Said>>,
    keys: PathBuf,
    tell: mpsc::Sender<Failed>,
    told: HashSet<RecordingId>,
    absence: Absence,
    /// Told when recordings must end.
    away: Arc<Notify>,
    metrics: Metrics,
}

impl Follower {
    async fn run(mut self) {
        let (mut status, mut ticks) = (self.link.status(), interval(MEASURE));
        loop {
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                _ = ticks.tick() => self.look(),
            }
            let body = status.borrow_and_update().clone();
            match body.map(|body| serde_json::from_slice::<Said>(&body)) {
                None => {}
                Some(Ok(said)) => self.on_said(said).await,
                Some(Err(_)) => tracing::error!("the recorder's state cannot be read"),
            }
        }
    }

    fn look(&mut self) {
        self.metrics.measure(&self.link);
        if self.absence.is_too_long(self.link.is_up(), Instant::now()) {
            tracing::error!("the recorder is away for too long: recordings end");
            self.away.notify_one();
        }
    }

    async fn on_said(&mut self, said: Said) {
        if *lock(&self.said) == said {
            return;
        }
        let (has_news, failed) = {
            let mut known = lock(&self.said);
            let has_news = known.keys != said.keys;
            let failed: Vec<Failed> = said.failed.iter().filter_map(|one| one.read()).collect();
            *known = said;
            (has_news, failed)
        };
        if has_news {
            self.keep().await;
        }
        for failed in failed {
            if self.told.len() >= TOLD_MAX {
                self.told.clear();
            }
            if self.told.insert(failed.1) {
                let _ = self.tell.send(failed).await; // The process ends.
            }
        }
    }

    /// Notes the keys for the time while the recorder is away.
    async fn keep(&self) {
        let (path, keys) = (self.keys.clone(), lock(&self.said).keys.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let new = path.with_extension("json.new");
            fs::write(&new, serde_json::to_vec(&keys)?)?;
            fs::rename(new, path)
        });
        if !matches!(kept.await, Ok(Ok(()))) {
            tracing::warn!("the recorder's keys are not kept for the time when it is away");
        }
    }
}

fn kept(path: &Path) -> Vec<EvidenceKey> {
    let text = fs::read(path).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Held for a moment; no code of others runs under it.
fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For how long the recorder is away: people must not read "recording" for hours when nothing is recorded.
struct Absence {
    longest: Duration,
    since: Option<Instant>,
    is_told: bool,
}

impl Absence {
    fn new(longest_seconds: u32) -> Self {
        let longest = Duration::from_secs(longest_seconds.into());
        Self { longest, since: None, is_told: false }
    }

    /// Whether recordings must end now; said once each time that it is away.
    fn is_too_long(&mut self, is_up: bool, now: Instant) -> bool {
        if is_up {
            (self.since, self.is_told) = (None, false);
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_news = !self.is_told && now.saturating_duration_since(since) >= self.longest;
        self.is_told |= is_news;
        is_news
    }
}

/// How the link is. No label names anybody.
struct Metrics {
    up: IntGauge,
    kept_bytes: IntGauge,
    connections: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let up = IntGauge::new("conclave_link_up", "Whether the recorder is connected.")?;
        let kept_bytes = IntGauge::new(
            "conclave_link_kept_bytes",
            "Bytes of media that the recorder has not acknowledged; at 64 MiB the ring fills, and \
             then records are lost.",
        )?;
        let connections =
            IntCounter::new("conclave_link_connections_total", "Connections to the recorder.")?;
        registry.register(Box::new(up.clone()))?;
        registry.register(Box::new(kept_bytes.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self { up, kept_bytes, connections })
    }

    fn measure(&self, link: &MediaEnd) {
        let counts = link.counts();
        self.up.set(counts.is_up.into());
        self.kept_bytes.set(i64::try_from(counts.kept_bytes).unwrap_or(i64::MAX));
        self.connections.inc_by(counts.connections.saturating_sub(self.connections.get()));
    }
}

/// What rooms and REST ask.
struct Remote {
    link: Arc<MediaEnd>,
    said: Arc<Mutex<Said>>,
    texts: Texts,
}

impl RecorderPort for Remote {
    /// Both processes are of one release, and read settings alike.
    fn check_storage(&self, storage: &Storage) -> Result<(), FieldError> {
        target::check(storage)
    }

    /// The recorder is the one that must reach the storage, so it tries.
    fn test_storage<'a>(&'a self, project: &'a str, storage: Storage) -> Answer<'a, StorageTested> {
        Box::pin(async move {
            // Not its fault: nothing is said of the storage.
            let away = StorageTested { ok: false, step: Some("connect".to_owned()), reason: None };
            let test = Test { project: project.to_owned(), storage };
            let Ok(question) = serde_json::to_vec(&test) else { return away };
            let answer = self.link.ask(question).await;
            answer.and_then(|answer| serde_json::from_slice(&answer).ok()).unwrap_or(away)
        })
    }

    fn composites(&self) -> bool {
        lock(&self.said).composites
    }

    fn has_room(&self) -> bool {
        self.link.is_up() && lock(&self.said).has_room
    }

    fn take_text(&self, text: &RecordedText, lost: u32) -> bool {
        self.texts.take(text, lost)
    }

    fn texts_lost(&self, recording: RecordingId, lost: u32) -> bool {
        self.texts.lost(recording, lost)
    }

    fn evidence_keys(&self) -> Answer<'_, Vec<EvidenceKey>> {
        let keys = lock(&self.said).keys.clone();
        Box::pin(async move { keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_that_is_away_for_too_long_is_told_once_each_time() {
        let (mut absence, began) = (Absence::new(60), Instant::now());
        let mut told =
            |is_up, second| absence.is_too_long(is_up, began + Duration::from_secs(second));
        assert!(!told(false, 0) && !told(false, 59) && told(false, 60) && !told(false, 300));
        assert!(!told(true, 301) && !told(false, 302) && !told(true, 360) && !told(false, 361));
        assert!(!told(false, 420) && told(false, 421));
    }
}
