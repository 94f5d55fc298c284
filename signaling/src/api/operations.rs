//! Health and metrics, for the operator's probes.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prometheus::TextEncoder;
use sdk_spec::problem::Code;

use super::{Failure, Peer, Shared};

/// The process answers.
pub(super) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Rooms can be created and joined.
pub(super) async fn ready(State(app): State<Shared>) -> Result<StatusCode, Failure> {
    app.store.ping().await?;
    if app.rooms.media().place().is_none() {
        return Err(Failure::new(Code::NoMediaNode));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Prometheus text format 0.0.4, for this machine only: counts tell much of who calls when.
pub(super) async fn metrics(State(app): State<Shared>, peer: Peer) -> Response {
    if !matches!(peer, Peer::Here) {
        return Failure::new(Code::NotFound).into_response();
    }
    match TextEncoder::new().encode_to_string(&app.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics");
            Failure::new(Code::Internal).into_response()
        }
    }
}
