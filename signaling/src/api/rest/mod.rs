//! REST `/v1` for partners' servers: types, paths and answers as in [`sdk_spec::rest`].
//!
//! Every handler asks [`super::auth::Partner::may`] first.

mod audit;
mod bans;
mod cursor;
mod events;
pub(super) mod idempotency;
pub(super) mod keys;
pub(super) mod paging;
mod project;
mod recordings;
mod rooms;
mod sessions;
mod storage;
mod token_keys;
mod usage;
mod webhooks;

use axum::Router;

pub(crate) use idempotency::Turns;

use super::{Failure, Shared};

/// Everything that needs an API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .merge(rooms::routes())
        .merge(keys::routes())
        .merge(token_keys::routes())
        .merge(bans::routes())
        .merge(project::routes())
        .merge(events::routes())
        .merge(recordings::routes())
        .merge(storage::routes())
        .merge(webhooks::routes())
        .merge(usage::routes())
        .merge(audit::routes())
}

/// Runs work whose steps belong together to its end, even when the client goes away meanwhile: the
/// server drops a handler whose connection is closed.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let failed = || Failure::new(sdk_spec::problem::Code::Internal);
    tokio::spawn(work).await.unwrap_or_else(|_| Err(failed()))
}
