//! The operator's API, on a listener of its own: partners, projects, keys of projects.
//!
//! Knows nothing of rooms and participants: an operator sees who may have how much, not what they
//! say to whom.

mod partners;
mod projects;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use sdk_spec::limits::BODY_BYTES_MAX;

use super::{Shared, around, auth, method_not_allowed, not_found};

/// Everything under `/operator/v1`.
pub(crate) fn router(app: Shared) -> Router {
    Router::new()
        .merge(partners::routes())
        .merge(projects::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), auth::operator))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(&app))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app, around))
}
