//! The stage in which files are made of the journal.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Job, WorkError};
use crate::{
    journal::{Folder, FolderError},
    key::DataKey,
    service::{
        cancel::Cancel,
        finish::{Finish, FinishError, prepare},
        ledger::{Block, News, Purge, State, Step, Work},
        now_ms,
        patience::Patience,
        push::rows,
        spool::{Export, Live, Push, Spool},
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
            Ok(export) => self.made(&folder, export).await,
            Err(WorkError::Finish(error)) => self.unmade(error).await,
            Err(error) => Err(error),
        }
    }

    async fn files(&mut self, folder: &Folder) -> Result<Export, WorkError> {
        let spool = Spool::of(folder);
        if let Some(export) = self.unfinished(&spool)? {
            return Ok(export);
        }
        if let (Ok(Some(push)), Ok(live)) = (spool.push(), spool.live()) {
            self.take_back(&self.made_anew(push, &live)).await;
        }
        if !self.entry.has_journal && !folder.files()?.is_empty() {
            // A crash was faster than the note of it.
            self.shared.ledger.begun(self.entry.id).await?;
            self.entry.has_journal = true;
        }
        let (shared, of, key) = (Arc::clone(&self.shared), folder.clone(), self.key.take());
        let patience = self.patience();
        let entry = self.entry.clone();
        let prepare = move || prepare(&entry, &of, key, &shared.epochs, patience.is_last);
        let key = tokio::task::spawn_blocking(prepare).await.map_err(defect)??;
        let step = Step { state: Some(State::Finalizing), progress: Some(0), ..Step::default() };
        self.step(step).await?;
        self.finish(folder.clone(), key, patience).await
    }

    /// Files that were made and whose step was lost.
    fn unfinished(&self, spool: &Spool) -> Result<Option<Export>, WorkError> {
        match self.entry.state {
            State::Finalizing => Ok(spool.settle().map_err(FolderError::File)?),
            _ => Ok(None),
        }
    }

    /// Of what is half sent the files that are made anew now: not those that were sealed while the recording
    /// went on, unless they went elsewhere.
    fn made_anew(&self, mut push: Push, live: &Live) -> Push {
        if self.entry.target.as_ref() == Some(&push.target) {
            let sealed = live.names();
            push.files.retain(|name, _| !sealed.contains(name.as_str()));
        }
        push
    }

    fn patience(&self) -> Patience {
        let failed = self.shared.tries.unmade_so_far(self.entry.id);
        Patience::of(&self.entry, failed, self.shared.ages.now_ms())
    }

    /// Works in a thread of its own, which has ended at return.
    async fn finish(
        &mut self,
        folder: Folder,
        key: Option<Arc<DataKey>>,
        patience: Patience,
    ) -> Result<Export, WorkError> {
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
                patience,
                cancel: &stop,
                composites: shared.composites,
                ages: &shared.ages,
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

    async fn made(mut self, folder: &Folder, export: Export) -> Result<(), WorkError> {
        self.shared.metrics.finalized.inc();
        let operator = folder.keys().ok().and_then(|keys| keys.operator);
        let work = Work {
            manifest_sha256: Some(export.manifest_sha256.clone()),
            epochs: operator.into_iter().map(|wrap| wrap.epoch.to_string()).collect(),
            ..Work::default()
        };
        let push = Spool::of(folder).push().ok().flatten().unwrap_or_default();
        let artifacts = rows(&export.artifacts, &push);
        let bytes = artifacts.iter().map(|artifact| artifact.bytes).sum();
        let flawed = export.artifacts.iter().map(|artifact| artifact.flawed_tracks);
        let flawed_tracks = flawed.max().unwrap_or(0);
        let (seconds, missing) = (export.seconds, export.missing);
        let news = News::Finalized { bytes, seconds, missing, flawed_tracks };
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
            // Nothing is left of it. Whatever else fails may be mended until its age is over.
            FinishError::NoJournal if self.patience().is_last => {
                tracing::error!(recording = %self.entry.id, %error, "purged unread");
                self.purge(Purge::Unreadable).await
            }
            error => {
                self.shared.tries.unmade(self.entry.id, matches!(error, FinishError::Defect));
                Err(error.into())
            }
        }
    }
}

fn defect(error: tokio::task::JoinError) -> WorkError {
    tracing::error!(%error, "a defect while files were made");
    FinishError::Defect.into()
}
