//! `conclave recorder`: the recorder in a process of its own. It shares the store and the data key with the
//! servers; media come over the link.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, routing::get};
use bus::{
    link::{Answer, Answers, RecorderEnd, Sessions},
    tap::tap,
};
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};
use signaling::RecorderPort;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{interval, timeout},
};

use super::{
    FAILED_MAX, Failed, RING_BYTES, Running, Texts, key,
    said::{Failure, Said, Test},
};
use crate::{config::Config, data, serve::stop_requested};

/// Time between two looks at how the recorder is.
const LOOK: Duration = Duration::from_millis(250);
/// How long a failure is repeated: longer than a cut of the link that servers get over.
const REPEAT: Duration = Duration::from_secs(60);

/// Runs the recorder until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot start, for example because the port is taken or another process records here.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let listen = config.link.listen.context(
        "link.listen is not set: the address and port at which servers connect, such as \
         127.0.0.1:7890",
    )?;
    let store = data::open(&config.storage).await?;
    let trust = key::trust(&config, key::Peer::Server)?;
    let registry = Registry::new();
    let (ring, receiver) = tap(RING_BYTES);
    let sessions = Arc::<Sessions>::default();
    let progress = Arc::clone(&sessions);
    ring.lags_behind(move |time_ms| progress.has_all_until(time_ms));
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("link.listen {listen}"))?;
    let local = config.recorder.local_folder.clone();
    let mut running = super::start(&config, local, (store, receiver), &registry).await?;
    let port = running.port(Texts::new(ring.clone()));
    let mut now = Now { port, failed: Vec::new(), said: watch::Sender::new(Arc::from(*b"{}")) };
    now.look().await;
    let asked = Arc::new(Asked(Arc::clone(&now.port)));
    let told = now.said.subscribe();
    let end = RecorderEnd::new(&trust, ring, Arc::clone(&sessions), told, asked)?;
    let serving = tokio::spawn(end.serve(listener));
    if let Some(address) = config.link.metrics {
        tokio::spawn(metrics(address, registry.clone()));
    }
    let fingerprint = trust.identity.fingerprint();
    tracing::info!(port = listen.port(), %fingerprint, "the recorder is ready");
    let ended = until_the_end(&mut running, &mut now, &sessions, &registry).await;
    tracing::info!("stopping");
    serving.abort();
    let _ = serving.await; // Aborted.
    sessions.end();
    running.shut_down().await;
    tracing::info!("stopped");
    ended
}

async fn until_the_end(
    running: &mut Running,
    now: &mut Now,
    sessions: &Sessions,
    registry: &Registry,
) -> anyhow::Result<()> {
    let servers = IntGauge::new("conclave_link_servers", "Media processes that are connected.")?;
    let dropped = IntCounter::new(
        "conclave_link_dropped_total",
        "Batches for which a writer of journals that hung had no room.",
    )?;
    registry.register(Box::new(servers.clone()))?;
    registry.register(Box::new(dropped.clone()))?;
    let stop = stop_requested();
    tokio::pin!(stop);
    let mut ticks = interval(LOOK);
    loop {
        tokio::select! {
            stop = &mut stop => return Ok(stop?),
            Some(failed) = running.news.failed.recv() => now.on_failed(failed),
            _ = ticks.tick() => {
                servers.set(sessions.count() as i64);
                dropped.inc_by(sessions.dropped().saturating_sub(dropped.get()));
            }
        }
        now.look().await;
    }
}

/// How the recorder is, for the servers.
struct Now {
    port: Arc<dyn RecorderPort>,
    failed: Vec<(Instant, Failure)>,
    said: watch::Sender<Arc<[u8]>>,
}

impl Now {
    fn on_failed(&mut self, failed: Failed) {
        if self.failed.len() >= FAILED_MAX {
            self.failed.remove(0); // Rows say it too.
        }
        self.failed.push((Instant::now(), failed.into()));
    }

    /// Says it when it changed.
    async fn look(&mut self) {
        self.failed.retain(|(since, _)| since.elapsed() < REPEAT);
        let said = Said {
            has_room: self.port.has_room(),
            composites: self.port.composites(),
            keys: self.port.evidence_keys().await,
            failed: self.failed.iter().map(|(_, failure)| failure.clone()).collect(),
        };
        let Ok(body) = serde_json::to_vec(&said) else { return };
        self.said.send_if_modified(|before| {
            let is_news = **before != *body;
            if is_news {
                *before = body.into();
            }
            is_news
        });
    }
}

/// Tests storages for servers.
struct Asked(Arc<dyn RecorderPort>);

impl Answers for Asked {
    fn answer(&self, body: Vec<u8>) -> Answer {
        let port = Arc::clone(&self.0);
        Box::pin(async move {
            let Ok(Test { project, storage }) = serde_json::from_slice(&body) else {
                return Vec::new();
            };
            let tested = port.test_storage(&project, storage);
            let tested = timeout(signaling::limits::STORAGE_TEST, tested).await;
            tested.ok().and_then(|tested| serde_json::to_vec(&tested).ok()).unwrap_or_default()
        })
    }
}

/// The recorder's own metrics, on a loopback address.
async fn metrics(address: SocketAddr, registry: Registry) {
    let page = get(move || async move {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
    });
    let router = Router::new().route("/metrics", page);
    match TcpListener::bind(address).await {
        Ok(listener) => {
            if axum::serve(listener, router).await.is_err() {
                tracing::error!("the recorder's metrics ended");
            }
        }
        Err(error) => tracing::error!(%error, "the recorder's metrics have no port"),
    }
}
