//! HTTP: translates requests to calls of the inside, and results to answers. Decides nothing.

mod auth;
mod docs;
mod known;
mod limit;
mod operations;
pub(crate) mod operator;
mod peer;
mod poll;
mod problem;
mod reading;
mod rest;
mod sdpfrag;
mod whip;
mod ws;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use prometheus::Registry;
use sdk_spec::{limits as public, problem::Code};
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub(crate) use self::{
    known::KnownKeys,
    limit::{Failures, Rates},
    peer::{Local, Peer, network},
    poll::Polls,
    problem::Failure,
    reading::Reading,
    rest::Turns,
};
use crate::{
    config::Config,
    limits,
    metrics::Metrics,
    recorder::RecorderPort,
    rooms::Rooms,
    store::Store,
    webhook::{Shares, Webhooks},
};

/// What every handler can reach.
pub(crate) struct App {
    pub(crate) config: Config,
    /// Where clients open their WebSocket.
    pub(crate) ws_url: String,
    pub(crate) store: Store,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Registry,
    /// Requests of keys.
    pub(crate) rates: Rates<String>,
    /// Requests of projects.
    pub(crate) project_rates: Rates<String>,
    pub(crate) failures: Failures,
    /// Guesses of the operator's keys.
    pub(crate) operator_failures: Failures,
    /// For when the store does not answer.
    pub(crate) known_keys: KnownKeys,
    /// Places for SDP bodies being read.
    pub(crate) reading: Reading,
    /// Requests with an `Idempotency-Key` that are being answered.
    pub(crate) turns: Turns,
    /// Requests that wait for events.
    pub(crate) polls: Polls,
    pub(crate) webhooks: Webhooks,
    /// What records; none: nothing does.
    pub(crate) recorder: Option<Arc<dyn RecorderPort>>,
    /// Places for tests of storage targets.
    pub(crate) storage_tests: Shares,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// Credentials of this peer were unknown or forged.
    ///
    /// # Errors
    /// [`Code::RateLimited`], to be answered instead of the refusal, after too many.
    fn count_guess(&self, peer: Peer) -> Result<(), Failure> {
        self.failures.count(peer).inspect_err(|_| self.metrics.rate_limited.inc())
    }
}

/// The one route whose requests may wait.
const EVENTS: &str = "/v1/events";

/// Shared by all handlers.
pub(crate) type Shared = Arc<App>;

/// Everything under `/v1`, health and metrics. `extra` adds routes of the binary; it must have no
/// fallback of its own.
pub(crate) fn router(app: Shared, extra: Option<Router>) -> Router {
    let rest = rest::routes()
        .layer(DefaultBodyLimit::max(public::BODY_BYTES_MAX))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), auth::partner));
    // The secret in a session's path is looked at after the body, by the room.
    let sessions = Router::new()
        .route("/v1/whip/sessions/{session}", whip::session_whip())
        .route("/v1/whep/sessions/{session}", whip::session_whep())
        .layer(DefaultBodyLimit::max(public::FRAGMENT_BYTES_MAX));
    let standard = Router::new()
        .route("/v1/whip", post(whip::open_whip))
        .route("/v1/whep", post(whip::open_whep))
        .layer(DefaultBodyLimit::max(public::SDP_BYTES_MAX))
        .merge(sessions)
        // Before the layer: preflight requests are OPTIONS, which no route has.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors(&app.config))
        .layer(middleware::map_response(whip::accept_headers));
    let operations = Router::new()
        .route("/livez", get(operations::live))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics));
    Router::new()
        .merge(rest)
        .merge(standard)
        .merge(operations)
        .merge(docs::routes())
        .route("/v1/ws", get(ws::upgrade))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(&app))
        .merge(extra.unwrap_or_default())
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app, around))
}

/// Pages of other origins may use what is for clients: the token decides, not the origin.
fn cors(config: &Config) -> CorsLayer {
    let origins = if config.allows_origin("") {
        AllowOrigin::any()
    } else {
        let list = config.allowed_origins.iter();
        AllowOrigin::list(list.filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH])
        .expose_headers([
            header::LOCATION,
            header::LINK,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static("accept-patch"),
        ])
        .max_age(std::time::Duration::from_secs(3600))
}

async fn not_found() -> Failure {
    Failure::new(Code::NotFound)
}

async fn method_not_allowed() -> Failure {
    Failure::new(Code::MethodNotAllowed)
}

/// Around every request: time limit, headers, counters. No path, query, header or address is kept.
async fn around(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_label(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let most = if route == EVENTS { limits::REQUEST_WAITING } else { limits::REQUEST };
    let answer = tokio::time::timeout(most, next.run(request)).await;
    let mut answer = answer.unwrap_or_else(|_| Failure::new(Code::RequestTimeout).into_response());
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    let class = status_class(answer.status().as_u16());
    let seconds = began.elapsed().as_secs_f64();
    app.metrics.http_requests.with_label_values(&[route, method, class]).inc();
    app.metrics.http_seconds.with_label_values(&[route]).observe(seconds);
    tracing::debug!(route, method, status = answer.status().as_u16(), seconds, "request");
    answer
}

/// Methods are free text of the client; labels must not be.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}
