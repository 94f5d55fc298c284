//! The one writer of all rooms' commits: what came while a transaction was written goes into the
//! next, so that many joins cost one sync to disk.
//!
//! ```text
//!  room ─▶ Commits ─ bounded queue ─▶ write ─▶ store
//!    ▲                                  │
//!    └────── number of the last stored ◀┘   (a watch: the writer waits for no room)
//! ```

use std::{sync::Arc, time::Instant};

use sdk_spec::action::ActionRefusal;
use sfu_proto::id::{RecordingId, RoomId};
use tokio::sync::{mpsc, watch};

use crate::{
    domain::{Commit, RecordingChange},
    limits,
    metrics::Metrics,
    store::{Refused, RoomCommit, Store, StoreError},
};

/// How far a room's commits are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stored {
    /// Number of the last one.
    pub(super) number: u64,
    /// A commit of the room cannot be stored, ever: a defect of ours. The room must end.
    pub(super) is_broken: bool,
    /// Breakout rooms of stored commits that were not created, until the room takes note. Bounded by
    /// what it creates in an hour.
    pub(super) refused: Vec<RoomId>,
    /// Recordings of stored commits that were not begun, likewise.
    pub(super) unrecorded: Vec<(RecordingId, ActionRefusal)>,
}

/// A commit and who waits for it.
pub(super) struct Pending {
    pub(super) commit: RoomCommit,
    pub(super) stored: Arc<watch::Sender<Stored>>,
}

/// Writes until every room and the table of rooms is gone, or the store is closed.
pub(super) async fn write(store: Store, metrics: Arc<Metrics>, mut queue: mpsc::Receiver<Pending>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, limits::JOURNAL_BATCH_MAX).await > 0 {
        let (commits, waiting): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|p| (p.commit, p.stored)).unzip();
        let began = Instant::now();
        let refused = match store_again(&store, &metrics, &commits).await {
            Ok(refused) => refused,
            Err(error) if error.is_closed() => return,
            Err(_) => store_singly(&store, &metrics, &commits, &waiting).await,
        };
        metrics.journal_seconds.observe(began.elapsed().as_secs_f64());
        for (all, stored) in commits.iter().zip(waiting) {
            let created = all.commit.breakouts.iter().map(|(id, _)| *id);
            stored.send_modify(|s| {
                s.number = all.number;
                s.refused.extend(created.filter(|id| refused.rooms.contains(id)));
                let of_room = refused.recordings.iter().filter(|r| starts(&all.commit, r.0));
                s.unrecorded.extend(of_room.copied());
            });
            metrics.journal_depth.dec();
        }
    }
}

fn starts(commit: &Commit, recording: RecordingId) -> bool {
    let is = |change: &RecordingChange| matches!(change, RecordingChange::Started { id, .. } if *id == recording);
    commit.recordings.iter().any(is)
}

/// Tries until it is stored, or cannot be. Gives what of it was refused, as the next one.
async fn store_again(
    store: &Store,
    metrics: &Metrics,
    commits: &[RoomCommit],
) -> Result<Refused, StoreError> {
    let mut pause = limits::JOURNAL_AGAIN;
    loop {
        let error = match store.store_commits(commits).await {
            Ok(refused) => return Ok(refused),
            Err(error) if error.is_final() || error.is_closed() => return Err(error),
            Err(error) => error,
        };
        metrics.journal_failures.inc();
        tracing::warn!(%error, commits = commits.len(), "changes of rooms are not stored yet");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(limits::JOURNAL_AGAIN_MAX);
    }
}

/// One commit of many does not fit the store: it must not keep the others from it.
async fn store_singly(
    store: &Store,
    metrics: &Metrics,
    commits: &[RoomCommit],
    waiting: &[Arc<watch::Sender<Stored>>],
) -> Refused {
    let mut all_refused = Refused::default();
    for (commit, stored) in commits.iter().zip(waiting) {
        match store_again(store, metrics, std::slice::from_ref(commit)).await {
            Ok(refused) => all_refused.add(refused),
            Err(error) => {
                metrics.journal_failures.inc();
                tracing::error!(room = %commit.room, %error, "a change of a room cannot be stored");
                stored.send_modify(|s| s.is_broken = true);
            }
        }
    }
    all_refused
}
