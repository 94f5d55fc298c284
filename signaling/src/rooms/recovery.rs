//! The start after a stop or a crash, and the sign of life of this process.

use std::{sync::Arc, time::Instant};

use super::{Input, Rooms};
use crate::{
    clock, limits,
    store::{Store, StoreError},
};

impl Rooms {
    /// Makes the store whole after a process that died, and starts the task of every open room. A
    /// room whose time passed meanwhile ends with its first deadline.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is served.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        self.take_over().await?;
        let ended = self.store.recover(&self.node, clock::now_ms()).await?;
        if ended > 0 {
            tracing::warn!(ended, "participants of a process that died have left");
        }
        let mut orphans = Vec::new();
        let rows = self.store.open_rooms().await?;
        let open: std::collections::HashSet<_> = rows.iter().map(|row| row.id).collect();
        for row in rows {
            if row.charter.parent.is_some_and(|parent| !open.contains(&parent)) {
                orphans.push(row.id);
            }
            // Bans are looked up when a token is used: a project may have more than rooms can hold.
            self.open(row, Vec::new());
        }
        // Their parent ended and had no time to say so.
        for orphan in orphans {
            self.send(orphan, Input::Recall { parent_ended: true }).await;
        }
        Ok(())
    }

    /// Waits until no other process uses the database, and takes all open rooms.
    async fn take_over(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut is_told = false;
        while !self.store.take_over(&self.node, clock::now_ms()).await? {
            if began.elapsed() > limits::TAKE_OVER_WAIT {
                return Err(StoreError::Occupied);
            }
            if !is_told {
                tracing::warn!("another signaling process uses this database: waiting for its end");
                is_told = true;
            }
            tokio::time::sleep(limits::TAKE_OVER_AGAIN).await;
        }
        Ok(())
    }

    /// Waits for what is not stored yet, and ends the stays of this process. For its end: nobody is
    /// served any more.
    pub(crate) async fn retire(&self) {
        let stored = async {
            while self.metrics.journal_depth.get() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limits::JOURNAL_DRAIN, stored).await.is_err() {
            tracing::error!("changes of rooms are lost: the store did not take them");
        }
        // What fails here the next start does.
        if let Err(error) = self.store.bury(&self.node, clock::now_ms()).await {
            tracing::error!(%error, "the next start ends the stays of this process");
        }
    }

    async fn beat(&self) {
        match self.store.beat(&self.node, clock::now_ms()).await {
            Ok(true) => {}
            Ok(false) => tracing::error!("{}", StoreError::TakenOver),
            Err(error) => tracing::warn!(%error, "no sign of life stored"),
        }
    }

    async fn bury_dead(store: &Store, node: &str) {
        match store.recover(node, clock::now_ms()).await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "participants of a process that died have left"),
            Err(error) => tracing::warn!(%error, "dead processes are not looked for"),
        }
    }
}

/// Gives signs of life, and looks for processes that give none, until it is dropped.
pub(crate) async fn watch(rooms: Arc<Rooms>) {
    let mut beats = tokio::time::interval(limits::HEARTBEAT);
    let mut looks = tokio::time::interval(limits::RECOVER_EVERY);
    loop {
        tokio::select! {
            _ = beats.tick() => rooms.beat().await,
            _ = looks.tick() => Rooms::bury_dead(&rooms.store, &rooms.node).await,
        }
    }
}
