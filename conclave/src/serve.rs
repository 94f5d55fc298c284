//! `conclave serve`: builds the parts, wires them, waits for the end, and takes them down in order.
//!
//! ```text
//! store ─┐
//! bus ───┼─▶ signaling ─▶ clients         start: store, bus, node, signaling with the demo
//! node ──┘                                end:   signaling, node, store
//! ```

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use bus::{Bus, InProcessBus};
use prometheus::Registry;
use sfu::{Node, NodeHandle};
use signaling::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    data,
    demo::{self, Credentials, Reach},
    recorder,
};

/// Runs every role in this process until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot start, for example because a port is taken, or ends by itself.
pub(crate) async fn run(config: Config, demo_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let _alone = data::alone(&config.storage)?;
    let store = data::open(&config.storage).await?;
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let (sender, receiver) = bus::tap::tap(recorder::RING_BYTES);
    let sender = config.recorder.enabled.then_some(sender);
    let texts = sender.clone().map(recorder::Texts::new);
    let node = Node::start(config.media.node(demo_dir.is_some()), &*bus, sender).await?;
    warn_about_buffers(&node, config.media.socket_buffer_bytes);
    let registry = Registry::new();
    registry.register(Box::new(node.metrics()))?;
    let is_demo = demo_dir.is_some();
    let demo = match demo_dir {
        Some(dir) => Some((demo::credentials(&config, &store, &dir).await?, dir)),
        None => None,
    };
    let invitation = demo.as_ref().map(|(credentials, _)| credentials.join_code.clone());
    let tls = config.http.certificate.is_some();
    let reach = Reach { tls, public_url: config.http.public_url.clone() };
    let pages = demo.map(|(credentials, dir)| pages(credentials, dir, reach));
    let local = config.recorder.local_folder.clone();
    let local = local.or_else(|| is_demo.then(|| config.storage.data_dir.join("delivered")));
    let mut recorder = match &config.link.connect {
        _ if !config.recorder.enabled => None,
        Some(to) => Some(recorder::connect(&config, to.clone(), receiver, &registry)?),
        None => Some(recorder::start(&config, local, (store.clone(), receiver), &registry).await?),
    };
    let port = recorder.as_ref().zip(texts).map(|(recorder, texts)| recorder.port(texts));
    let extra = |rest| pages.map(|pages| pages(rest));
    let serving = signaling::serve_recording(config.signaling(), store, bus, registry, port, extra);
    let mut server = serving.await?;
    tracing::info!(port = server.local_addr().port(), tls, "ready");
    if let Some(code) = invitation {
        invite(&config, &server, &code)?;
    }
    let ended = until_the_end(&mut server, recorder.as_mut()).await;
    tracing::info!("stopping");
    server.shutdown().await;
    tokio::task::spawn_blocking(move || node.shutdown()).await?;
    if let Some(recorder) = recorder {
        recorder.shut_down().await;
    }
    tracing::info!("stopped");
    Ok(ended?)
}

/// Tells rooms of recordings that failed, until the process is to end.
async fn until_the_end(
    server: &mut Server,
    mut recorder: Option<&mut recorder::Running>,
) -> io::Result<()> {
    let stop = stop_requested();
    tokio::pin!(stop);
    loop {
        let trouble = async {
            let Some(recorder) = &mut recorder else { return std::future::pending().await };
            tokio::select! {
                Some(failed) = recorder.news.failed.recv() => Some(failed),
                () = recorder.news.away.notified() => None,
            }
        };
        let trouble = tokio::select! {
            stop = &mut stop => return stop,
            end = server.wait() => {
                return end.and(Err(io::Error::other("the server ended by itself")));
            }
            trouble = trouble => trouble,
        };
        match trouble {
            Some((room, recording, reason)) => {
                server.recording_failed(room, recording, reason).await;
            }
            None => server.recorder_lost().await,
        }
    }
}

/// The demo's routes, once the REST API is there.
fn pages(
    credentials: Credentials,
    dir: PathBuf,
    reach: Reach,
) -> impl FnOnce(axum::Router) -> axum::Router {
    move |rest| demo::router(rest, credentials, &dir, reach)
}

/// Prints the one URL that lets people into the demo.
fn invite(config: &Config, server: &Server, code: &str) -> io::Result<()> {
    let scheme = if config.http.certificate.is_some() { "https" } else { "http" };
    let base = match &config.http.public_url {
        Some(url) => url.clone(),
        None => format!("{scheme}://localhost:{}", server.local_addr().port()),
    };
    writeln!(io::stdout(), "{base}/demo/#room=lobby&code={code}")
}

/// The kernel accounts twice what can be used.
fn warn_about_buffers(node: &NodeHandle, wanted_bytes: usize) {
    let short = |granted: usize| granted / 2 < wanted_bytes;
    let all = node.workers();
    if all.iter().any(|w| short(w.receive_buffer_bytes) || short(w.send_buffer_bytes)) {
        tracing::warn!("UDP buffers are smaller than asked for; `conclave doctor` says what to do");
    }
}

/// Waits for SIGTERM (service managers) or SIGINT (Ctrl-C).
pub(crate) async fn stop_requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
