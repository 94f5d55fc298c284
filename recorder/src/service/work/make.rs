//! The stage in which files are made of the journal.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Job, WorkError};
use crate::{
    journal::Folder,
    key::DataKey,
    limits::MAKE_TRIES,
    service::{
        cancel::Cancel,
        finish::{Finish, FinishError, Finished, prepare},
        ledger::{Block, News, Purge, State, Step, Work},
        now_ms,
        push::rows,
        spool::Push,
    },
};

impl Job {
    /// Makes the files; when there was nothing it is purged.
    pub(super) async fn make(mut self) -> Result<(), WorkError> {
        let Some(folder) = self.folder()? else {
            return match self.has_folder() {
                true => Err(self.block(Block::SpoolMissing).await),
                false => self.purge(Purge::Empty).await,
            };
        };
        match self.files(&folder).await {
            Ok(finished) => self.made(&folder, finished).await,
            Err(WorkError::Finish(error)) => self.unmade(error).await,
            Err(error) => Err(error),
        }
    }

    async fn files(&mut self, folder: &Folder) -> Result<Finished, WorkError> {
        if !self.entry.has_journal && !folder.files()?.is_empty() {
            // A crash was faster than the note of it.
            self.shared.ledger.begun(self.entry.id).await?;
            self.entry.has_journal = true;
        }
        let (shared, of, key) = (Arc::clone(&self.shared), folder.clone(), self.key.take());
        let is_last = self.is_last();
        let prepare = move || prepare(&of, key, &shared.epochs, is_last);
        let key = tokio::task::spawn_blocking(prepare).await.map_err(defect)??;
        let step = Step { state: Some(State::Finalizing), progress: Some(0), ..Step::default() };
        self.step(step).await?;
        self.finish(folder.clone(), key, is_last).await
    }

    /// Whether what fails now would fail each time: then the journal is handed over as it is, as long
    /// as there is time for it.
    fn is_last(&self) -> bool {
        let is_old =
            self.entry.stopped_at_ms.zip(self.entry.expires_at_ms).is_some_and(|(from, to)| {
                now_ms().saturating_sub(from) >= to.saturating_sub(from) / 2
            });
        is_old || self.shared.tries.unmade_count(self.entry.id) >= MAKE_TRIES
    }

    /// Works in a thread of its own, which has ended at return.
    async fn finish(
        &mut self,
        folder: Folder,
        key: Option<Arc<DataKey>>,
        is_last: bool,
    ) -> Result<Finished, WorkError> {
        let timeline = self.shared.ledger.timeline(self.entry.id).await?;
        let (shared, entry) = (Arc::clone(&self.shared), self.entry.clone());
        let (told, mut heard) = watch::channel(0u8);
        let cancel = Cancel::default();
        let (_stops, stop) = (cancel.on_drop(), cancel.clone());
        let mut making = tokio::task::spawn_blocking(move || {
            let make = Finish {
                entry: &entry,
                folder: &folder,
                key: key.as_deref(),
                timeline,
                signers: &shared.signers,
                software: shared.software.clone(),
                now_ms: now_ms(),
                is_last,
                cancel: &stop,
                composites: shared.composites,
            };
            make.run(&mut |percent| {
                told.send_replace(percent);
            })
        });
        let progress = move |_| {
            let percent = heard.has_changed().ok()?.then(|| *heard.borrow_and_update())?;
            Some(Step { progress: Some(percent.into()), ..Step::default() })
        };
        let why = tokio::select! {
            done = &mut making => return Ok(done.map_err(defect)??),
            why = self.until_changed(progress) => why,
        };
        cancel.set();
        let _ = making.await; // Only when it has ended may others touch the folder.
        Err(why)
    }

    async fn made(mut self, folder: &Folder, finished: Finished) -> Result<(), WorkError> {
        self.shared.metrics.finalized.inc();
        let export = finished.export;
        let operator = folder.keys().ok().and_then(|keys| keys.operator);
        let work = Work {
            manifest_sha256: Some(export.manifest_sha256.clone()),
            epochs: operator.into_iter().map(|wrap| wrap.epoch.to_string()).collect(),
            ..Work::default()
        };
        let artifacts = rows(&export, &Push::default());
        let bytes = artifacts.iter().map(|artifact| artifact.bytes).sum();
        let (seconds, missing) = (finished.seconds, finished.missing);
        let news = News::Finalized { bytes, seconds, missing };
        self.step(Step {
            state: Some(State::Pushing),
            progress: Some(0),
            artifacts: Some(artifacts),
            work: Some(work),
            news: Some(news),
            ..Step::default()
        })
        .await?;
        self.shared.keys.forget(self.entry.id);
        Ok(())
    }

    async fn unmade(mut self, error: FinishError) -> Result<(), WorkError> {
        match error {
            FinishError::Cancelled => Err(WorkError::Changed),
            FinishError::Empty => self.purge(Purge::Empty).await,
            error if error.is_full() => Err(self.block(Block::SpoolFull).await),
            FinishError::NoKey | FinishError::NoJournal if self.is_last() => {
                tracing::error!(recording = %self.entry.id, %error, "purged unread");
                self.purge(Purge::Unreadable).await
            }
            error => {
                self.shared.tries.unmade(self.entry.id);
                Err(error.into())
            }
        }
    }
}

fn defect(error: tokio::task::JoinError) -> WorkError {
    WorkError::Internal(error.to_string())
}
