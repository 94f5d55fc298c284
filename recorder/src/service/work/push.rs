//! The stage in which files are pushed and verified.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Job, WorkError};
use crate::{
    evidence::{Delivery, Verified},
    journal::FolderError,
    limits::{PUSH_END, TAKE_BACK_WAIT},
    service::{
        cancel::Cancel,
        ledger::{ArtifactRow, Block, News, State, Step},
        now_ms,
        push::{PushError, Pusher, abort, rows},
        spool::{Export, Push, Spool},
    },
    storage::{self, Store},
};

impl Job {
    /// Pushes and verifies everything.
    pub(super) async fn push(mut self) -> Result<(), WorkError> {
        let Some(folder) = self.folder()? else {
            return Err(self.block(Block::SpoolMissing).await);
        };
        let spool = Spool::of(&folder);
        let Some(export) = spool.export().map_err(FolderError::File)? else {
            spool.forget_export().map_err(FolderError::File)?;
            return Err(WorkError::Changed); // To be made anew.
        };
        let (target, store) = match self.store().await? {
            Ok(found) => found,
            Err(block) => return Err(self.block(block).await),
        };
        self.take_back_elsewhere(&spool, &target).await;
        match self.send(&target, &store, &spool, &export).await {
            Ok(verified) => self.delivered(target, verified, &spool, &export).await,
            Err(WorkError::Push(error)) => {
                self.shared.metrics.push_failures.inc();
                if error.is_unmade() {
                    tracing::error!(recording = %self.entry.id, "files are made anew");
                    spool.forget_export().map_err(FolderError::File)?;
                }
                match error.block() {
                    Some(block) => Err(self.block(block).await),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The storage of the row, with its id, or what keeps it from being used.
    pub(super) async fn store(&self) -> Result<Result<(String, Store), Block>, WorkError> {
        let Some(target) = self.entry.target.clone() else { return Ok(Err(Block::NoTarget)) };
        let found = self.shared.ledger.target(&self.entry.project, &target).await?;
        let Some(found) = found else { return Ok(Err(Block::NoTarget)) };
        Ok(match self.shared.storages.open(&found, &self.entry.project) {
            Ok(store) => Ok((target, store)),
            Err(_) if matches!(found, storage::Target::Local(_)) => Err(Block::LocalFolder),
            Err(error) => Err(PushError::Store(error).block().unwrap_or(Block::Refused)),
        })
    }

    pub(super) async fn send(
        &mut self,
        target: &str,
        store: &Store,
        spool: &Spool,
        export: &Export,
    ) -> Result<Verified, WorkError> {
        let newest: Mutex<Option<Vec<ArtifactRow>>> = Mutex::default();
        let slot = || newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (shared, entry) = (Arc::clone(&self.shared), self.entry.clone());
        let (cancel, metrics) = (Cancel::default(), &shared.metrics);
        let pusher =
            Pusher { entry: &entry, target, store, spool, export, metrics, cancel: &cancel };
        let mut told = |rows| *slot() = Some(rows);
        let progress = |state| {
            // While it goes on its row is told now and then.
            let rows = slot().take().filter(|_| state != State::Live)?;
            Some(Step {
                // The storage took something: it is not blocked any more.
                state: (state == State::PushBlocked).then_some(State::Pushing),
                progress: Some(percent(&rows)),
                artifacts: Some(rows),
                ..Step::default()
            })
        };
        let sending = pusher.run(&mut told);
        tokio::pin!(sending);
        let why = tokio::select! {
            done = &mut sending => return Ok(done?),
            why = self.until_changed(progress) => why,
        };
        // A thread that writes a part now must not do so after the purge.
        cancel.set();
        let _ = tokio::time::timeout(PUSH_END, sending).await;
        Err(why)
    }

    async fn delivered(
        mut self,
        target: String,
        verified: Verified,
        spool: &Spool,
        export: &Export,
    ) -> Result<(), WorkError> {
        let push = spool.push().map_err(FolderError::File)?.unwrap_or_default();
        let mut work = self.entry.work.clone();
        work.delivered =
            Some(Delivery { target, verified, verified_at_ms: now_ms(), only: Vec::new() });
        self.shared.metrics.delivered.inc();
        let step = Step {
            state: Some(State::Delivered),
            progress: Some(100),
            artifacts: Some(rows(&export.artifacts, &push)),
            work: Some(work),
            news: Some(News::Delivered),
            ..Step::default()
        };
        self.step(step).await
    }

    /// A push to another target than before begins anew; what is half there is taken back.
    pub(super) async fn take_back_elsewhere(&self, spool: &Spool, target: &str) {
        if let Ok(Some(push)) = spool.push()
            && push.target != target
        {
            self.take_back(&push).await;
        }
    }

    /// What did not become whole in a storage is taken back, as far as the storage lets us.
    pub(super) async fn take_back(&self, push: &Push) {
        if push.files.values().all(|sending| sending.upload.is_done()) {
            return;
        }
        let project = &self.entry.project;
        let taking = async {
            let found = self.shared.ledger.target(project, &push.target).await.ok()??;
            let store = self.shared.storages.open(&found, project).ok()?;
            abort(push, &store).await;
            Some(())
        };
        let _ = tokio::time::timeout(TAKE_BACK_WAIT, taking).await; // The storage's rules do it else.
    }
}

fn percent(rows: &[ArtifactRow]) -> u32 {
    let all: u64 = rows.iter().map(|row| row.bytes).sum();
    let pushed: u64 = rows.iter().map(|row| row.pushed_bytes).sum();
    u32::try_from(pushed.saturating_mul(100) / all.max(1)).unwrap_or(100).min(99)
}
