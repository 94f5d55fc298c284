//! The server: builds the parts, listens, serves, stops.

mod connections;
mod opening;
mod tls;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use axum_server::{Handle, accept::DefaultAcceptor};
use bus::Bus;
use hyper_util::rt::TokioTimer;
use prometheus::Registry;
use sdk_spec::{limits::HEADER_BYTES_MAX, recording::StopReason};
use sfu_proto::id::{RecordingId, RoomId};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use self::connections::Capped;
use crate::{
    api::{self, App, Failures, KnownKeys, Polls, Rates, Reading, Turns},
    audit, clock,
    config::{Config, ConfigError},
    limits,
    media::{self, Media},
    metrics::Metrics,
    recorder::RecorderPort,
    rooms::{self, Rooms},
    store::{Store, StoreError},
    usage,
    webhook::{self, Shares, Webhooks},
};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Caller: mistakes in the configuration.
    #[error("configuration: {}", list(.0))]
    Config(Vec<ConfigError>),
    /// Environment: the address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Environment or caller: certificate or key.
    #[error("certificate: {0}")]
    Tls(String),
    /// Environment: the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Caller: where webhooks may go.
    #[error("webhooks: {0}")]
    Webhooks(String),
    /// Caller: a metric's name is taken in the registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn list(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A server that runs. Keep it: dropping it ends the work in the background, and rooms hear nothing
/// of media nodes any more. [`Server::shutdown`] stops it in order.
pub struct Server {
    address: SocketAddr,
    operator: Option<SocketAddr>,
    handle: Handle<SocketAddr>,
    app: Arc<App>,
    serving: JoinHandle<io::Result<()>>,
    background: JoinSet<()>,
    /// Sends webhooks; ends by itself when the server stops.
    dispatching: JoinSet<()>,
}

/// Starts signaling and returns when it listens.
///
/// `registry` is what `/metrics` shows, together with what others registered there. `extra_router`
/// adds routes of the binary (a demo page); it must have no fallback. Open rooms of the store are
/// open again, empty, with their time-outs running from now.
///
/// # Errors
/// [`StartError`] with everything that is wrong.
pub async fn serve(
    config: Config,
    store: Store,
    bus: Arc<dyn Bus>,
    registry: Registry,
    extra_router: Option<Router>,
) -> Result<Server, StartError> {
    serve_with(config, store, bus, registry, |_| extra_router).await
}

/// As [`serve`], for routes that use the public API themselves, in process: `extra` gets it.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    config: Config,
    store: Store,
    bus: Arc<dyn Bus>,
    registry: Registry,
    extra: impl FnOnce(Router) -> Option<Router>,
) -> Result<Server, StartError> {
    serve_recording(config, store, bus, registry, None, extra).await
}

/// As [`serve_with`], with a recorder. Without one nothing is recorded.
///
/// # Errors
/// As [`serve`].
pub async fn serve_recording(
    config: Config,
    store: Store,
    bus: Arc<dyn Bus>,
    registry: Registry,
    recorder: Option<Arc<dyn RecorderPort>>,
    extra: impl FnOnce(Router) -> Option<Router>,
) -> Result<Server, StartError> {
    config.validate().map_err(StartError::Config)?;
    let tls = config.tls.as_ref().map(tls::load).transpose()?;
    let (listener, address) = bind(config.listen)?;
    let operator = config.operator_listen.map(bind).transpose()?;
    let app = assemble((config, address), store, bus, registry, recorder).await?;
    let mut background = start_background(&app);
    if let (Some(config), Some(files)) = (&tls, app.config.tls.clone()) {
        background.spawn(tls::watch(config.clone(), files));
    }
    let router = api::router(Arc::clone(&app), extra(api::router(Arc::clone(&app), None)));
    let handle = Handle::new();
    let operator_address = operator.as_ref().map(|(_, address)| *address);
    if let Some((listener, _)) = operator {
        let router = api::operator::router(Arc::clone(&app));
        background.spawn(serve_operator(listener, Arc::clone(&app), handle.clone(), router));
    }
    let serving = tokio::spawn(accept(listener, tls, Arc::clone(&app), handle.clone(), router));
    let dispatching = dispatch(&app);
    let operator = operator_address;
    Ok(Server { address, operator, handle, app, serving, background, dispatching })
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| StartError::Listen { address, source })
}

/// Plain HTTP on loopback; ends with the server.
async fn serve_operator(
    listener: TcpListener,
    app: Arc<App>,
    handle: Handle<SocketAddr>,
    router: Router,
) {
    if let Err(error) = accept(listener, None, app, handle, router).await {
        tracing::error!(%error, "the operator's API ended");
    }
}

async fn assemble(
    (config, address): (Config, SocketAddr),
    store: Store,
    bus: Arc<dyn Bus>,
    registry: Registry,
    recorder: Option<Arc<dyn RecorderPort>>,
) -> Result<Arc<App>, StartError> {
    let metrics = Arc::new(Metrics::new(&registry)?);
    let webhooks = Webhooks::new(&config.webhooks, &registry);
    let webhooks = webhooks.map_err(|error| StartError::Webhooks(error.to_string()))?;
    let (media, metrics_of_rooms) = (Media::new(bus), Arc::clone(&metrics));
    let rooms = Rooms::new(media, store.clone(), metrics_of_rooms, recorder.clone());
    rooms.recover().await?;
    Ok(Arc::new(App {
        ws_url: config.ws_url(address),
        config,
        store,
        rooms,
        metrics,
        registry,
        rates: Rates::of(limits::RATED_KEYS_MAX),
        project_rates: Rates::of(limits::RATED_PROJECTS_MAX),
        failures: Failures::default(),
        operator_failures: Failures::default(),
        known_keys: KnownKeys::default(),
        reading: Reading::default(),
        turns: Turns::default(),
        polls: Polls::default(),
        webhooks,
        recorder,
        storage_tests: Shares::new(limits::STORAGE_TESTS_MAX, limits::STORAGE_PROJECT_TESTS_MAX),
        stopping: watch::Sender::new(false),
    }))
}

fn start_background(app: &Arc<App>) -> JoinSet<()> {
    let mut background = JoinSet::new();
    let notices = app.rooms.media().subscribe();
    background.spawn(media::pump(Arc::clone(&app.rooms), notices));
    background.spawn(rooms::watch(Arc::clone(&app.rooms)));
    background.spawn(audit::keeper::run(app.store.clone()));
    background.spawn(usage::keep_folded(app.store.clone(), Arc::clone(&app.metrics)));
    let app = Arc::clone(app);
    background.spawn(async move {
        let mut ticks = tokio::time::interval(limits::PURGE_EVERY);
        loop {
            ticks.tick().await;
            app.failures.forget(Instant::now());
            match app.store.purge(clock::now_ms()).await {
                Ok(rows) => tracing::debug!(rows, "expired rows deleted"),
                Err(error) => tracing::error!(%error, "expired rows could not be deleted"),
            }
            match app.store.purge_kept(&app.config.retention, clock::now_ms()).await {
                Ok(rows) => tracing::debug!(rows, "rows kept long enough deleted"),
                Err(error) => tracing::error!(%error, "old rows could not be deleted"),
            }
        }
    });
    background
}

/// Sends webhooks, again after a panic, which is a defect of ours.
fn dispatch(app: &Arc<App>) -> JoinSet<()> {
    let mut dispatching = JoinSet::new();
    let app = Arc::clone(app);
    dispatching.spawn(async move {
        loop {
            let mut run = JoinSet::new();
            let dispatcher = app.webhooks.dispatcher(app.store.clone());
            let changed = Arc::clone(&app.webhooks.changed);
            run.spawn(webhook::run(dispatcher, changed, app.stopping.subscribe()));
            match run.join_next().await {
                Some(Err(error)) if error.is_panic() => tracing::error!("webhooks: begun again"),
                _ => return,
            }
            tokio::time::sleep(limits::WEBHOOK_LOOK).await;
        }
    });
    dispatching
}

async fn accept(
    listener: TcpListener,
    tls: Option<axum_server::tls_rustls::RustlsConfig>,
    app: Arc<App>,
    handle: Handle<SocketAddr>,
    router: Router,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let plain = Capped::new(DefaultAcceptor::new(), &app);
    match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.acceptor(plain).handle(handle);
            bound(server.http_builder());
            server.serve(service).await
        }
        Some(config) => {
            let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(config)
                .handshake_timeout(limits::TLS_HANDSHAKE);
            let capped = Capped::new(acceptor, &app);
            let mut server = axum_server::from_tcp(listener)?.acceptor(capped).handle(handle);
            bound(server.http_builder());
            server.serve(service).await
        }
    }
}

/// Bounds in time and size what a connection may do before a handler sees it.
fn bound(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_HEAD)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(limits::REQUEST_HEAD);
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the operator's API listens.
    pub fn operator_addr(&self) -> Option<SocketAddr> {
        self.operator
    }

    /// The recorder cannot go on with a recording of a room: the room stops it for this reason and
    /// tells everybody. What is over already stays as it is.
    pub async fn recording_failed(&self, room: RoomId, recording: RecordingId, reason: StopReason) {
        self.app.rooms.send(room, rooms::Input::RecordingFailed { recording, reason }).await;
    }

    /// Nobody records any more: all rooms stop what they record and tell everybody.
    pub async fn recorder_lost(&self) {
        self.app.rooms.send_all(|| rooms::Input::RecorderLost).await;
    }

    /// Waits until the server ends by itself, which is an error.
    pub async fn wait(&mut self) -> io::Result<()> {
        match (&mut self.serving).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the server's task failed")),
        }
    }

    /// Stops: no new connections, WebSockets are told to go (close code 1001), requests get some
    /// seconds to finish. Rooms stay open in the store.
    pub async fn shutdown(mut self) {
        self.app.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(limits::SHUTDOWN));
        let _ = tokio::time::timeout(limits::SHUTDOWN * 2, self.serving).await;
        let websockets = async {
            while self.app.metrics.websockets.get() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(limits::SOCKET_CLOSE * 2, websockets).await;
        let _ = tokio::time::timeout(limits::SHUTDOWN, self.dispatching.join_next()).await;
        drop(self.background);
        self.app.rooms.retire().await;
        self.app.store.close().await;
    }
}
