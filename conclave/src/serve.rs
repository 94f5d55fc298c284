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
};

/// Runs every role in this process until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot start, for example because a port is taken, or ends by itself.
pub(crate) async fn run(config: Config, demo_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let _alone = data::alone(&config.storage)?;
    let store = data::open(&config.storage).await?;
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let node = Node::start(config.media.node(demo_dir.is_some()), &*bus, None).await?;
    warn_about_buffers(&node, config.media.socket_buffer_bytes);
    let registry = Registry::new();
    registry.register(Box::new(node.metrics()))?;
    let demo = match demo_dir {
        Some(dir) => Some((demo::credentials(&config, &store, &dir).await?, dir)),
        None => None,
    };
    let invitation = demo.as_ref().map(|(credentials, _)| credentials.join_code.clone());
    let tls = config.http.certificate.is_some();
    let reach = Reach { tls, public_url: config.http.public_url.clone() };
    let pages = demo.map(|(credentials, dir)| pages(credentials, dir, reach));
    let mut server = signaling::serve_with(config.signaling(), store, bus, registry, |rest| {
        pages.map(|pages| pages(rest))
    })
    .await?;
    tracing::info!(port = server.local_addr().port(), tls, "ready");
    if let Some(code) = invitation {
        invite(&config, &server, &code)?;
    }
    let ended = tokio::select! {
        stop = stop_requested() => stop,
        end = server.wait() => end.and(Err(io::Error::other("the server ended by itself"))),
    };
    tracing::info!("stopping");
    server.shutdown().await;
    tokio::task::spawn_blocking(move || node.shutdown()).await?;
    tracing::info!("stopped");
    Ok(ended?)
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
async fn stop_requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
