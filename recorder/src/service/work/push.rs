//! The stage in which files are pushed and verified.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Job, WorkError};
use crate::{
    evidence::{Delivery, Verified},
    journal::{Folder, FolderError},
    limits::{PUSH_END, TAKE_BACK_WAIT},
    service::{
        cancel::Cancel,
        finish::{Again, FinishError},
        ledger::{ArtifactRow, Block, News, State, Step, Work},
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
        let Some(export) = spool.settle().map_err(FolderError::File)? else {
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
            Err(WorkError::Push(PushError::Unsealed(gone))) => {
                self.seal_again(folder, gone).await?;
                Err(WorkError::Changed) // To be pushed.
            }
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

    /// Seals anew what is in no place any more. What cannot be sealed by itself is made anew with all the
    /// rest.
    async fn seal_again(
        &mut self,
        folder: Folder,
        gone: BTreeSet<String>,
    ) -> Result<(), WorkError> {
        let recording = self.entry.id;
        tracing::error!(%recording, files = gone.len(), "sealed files are gone");
        let (shared, entry, of) = (Arc::clone(&self.shared), self.entry.clone(), folder.clone());
        let cancel = Cancel::default();
        let (_stops, stop) = (cancel.on_drop(), cancel.clone());
        let mut sealing = tokio::task::spawn_blocking(move || {
            let (entry, folder, signers) = (&entry, &of, &shared.signers);
            Again { entry, folder, signers, now_ms: now_ms(), cancel: &stop }.run(&gone)
        });
        let why = tokio::select! {
            done = &mut sealing => return match done {
                Ok(Ok(Some(export))) => self.sealed_again(&Spool::of(&folder), export).await,
                Ok(Err(error)) if error.is_full() => Err(self.block(Block::SpoolFull).await),
                // It needs the key, or the journal lacks it too.
                Ok(Ok(None) | Err(FinishError::NoJournal)) => {
                    tracing::error!(%recording, "files are made anew");
                    Ok(Spool::of(&folder).forget_export().map_err(FolderError::File)?)
                }
                // All else may pass, and nobody may have the key any more to make the rest with.
                Ok(Err(error)) => Err(error.into()),
                Err(error) => {
                    tracing::error!(%recording, %error, "a defect while files were sealed again");
                    Err(FinishError::Defect.into())
                }
            },
            why = self.until_changed(|_| None) => why,
        };
        cancel.set();
        let _ = sealing.await; // Only when it has ended may others touch the folder.
        Err(why)
    }

    /// The row names what is to be pushed now.
    async fn sealed_again(&mut self, spool: &Spool, export: Export) -> Result<(), WorkError> {
        let push = spool.push().map_err(FolderError::File)?.unwrap_or_default();
        let manifest_sha256 = Some(export.manifest_sha256);
        let step = Step {
            artifacts: Some(rows(&export.artifacts, &push)),
            work: Some(Work { manifest_sha256, ..self.entry.work.clone() }),
            ..Step::default()
        };
        self.step(step).await
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
        work.manifest_sha256 = Some(export.manifest_sha256.clone()); // Perhaps of one sealed again.
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
