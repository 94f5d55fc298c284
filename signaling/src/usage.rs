//! Usage: what a bill is written from. A pure [`fold`] over the event log, kept up to date by
//! [`keep_folded`], done again from the log by [`verify`].
//!
//! ```text
//!  events ──▶ fold ──▶ usage_days   (room, day: milliseconds and bytes; no handle)
//!    seq       │ ▲     usage_stays  (who is in now: participant id, since when; no handle)
//!    ▲         └─┘     usage_checkpoints (up to which seq)        all in one transaction
//!    └── recomputed: the same fold from the first event that is kept
//! ```

pub(crate) mod fold;
#[cfg(test)]
pub(crate) mod histories;
mod verify;

pub use verify::{UsageCheck, verify_usage};

use std::sync::Arc;

use crate::{
    limits,
    metrics::Metrics,
    store::{Store, StoreError},
};

/// Counts the events of every project, soon after they come. Ends with its task.
pub(crate) async fn keep_folded(store: Store, metrics: Arc<Metrics>) {
    let mut news = store.news();
    loop {
        if let Err(error) = fold_all(&store).await {
            tracing::error!(%error, "usage could not be counted");
        }
        // What fails stays behind, and shows.
        if let Ok(behind) = store.uncounted().await {
            metrics.usage_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        }
        tokio::time::sleep(limits::FOLD_EVERY).await;
        // Events of other nodes are theirs to count; whoever reads usage counts them first.
        let _ = tokio::time::timeout(limits::FOLD_IDLE, news.changed()).await;
    }
}

async fn fold_all(store: &Store) -> Result<(), StoreError> {
    for project in store.unfolded().await? {
        // One that cannot be counted does not stop the others.
        if let Err(error) = fold_one(store, &project).await {
            tracing::error!(%error, project, "usage could not be counted");
        }
    }
    Ok(())
}

async fn fold_one(store: &Store, project: &str) -> Result<(), StoreError> {
    while store.fold(project, limits::FOLD_BATCH).await? == limits::FOLD_BATCH {
        tokio::task::yield_now().await;
    }
    Ok(())
}
