//! Webhook endpoints and deliveries.

use axum::Router;

use crate::api::Shared;

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
}
